"""How styles come in: packs, other tools' files, and new ones that are begun here."""

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from app.components import errors, widgets
from app.operators.styles import form, labels
from app.session import client, go, let_go, recall, remember, say
from portrait.errors import PortraitError
from tasks import schemas

FILES = ["zip", "json", "jpg", "jpeg", "toml"]
KINDS = ("template", "studio", "text", "idphoto")
SHOWN = 100
"""Lines about what was left behind that are shown."""


def show() -> None:
    """The two ways in, and what came of the last import."""
    left, right = st.columns(2)
    with left, st.expander(say("arrivals.bring"), icon=":material/upload_file:"):
        _bring()
    with right, st.expander(say("arrivals.begin"), icon=":material/add:"):
        _begin()
    _brought()


def _bring() -> None:
    """Choose files, and take them in together."""
    batch = recall("arrivals", 0)
    widgets.soft(say("arrivals.bring_help"))
    files = st.file_uploader(say("arrivals.files"), FILES, accept_multiple_files=True, key=f"arrivals-{batch}")
    if not st.button(say("arrivals.take"), type="primary", disabled=not files, key="arrivals-take"):
        return
    with errors.told():
        remember("brought", client().import_styles([(each.name, each) for each in files]))
        for each in files:
            let_go(each)
        remember("arrivals", batch + 1)
        st.rerun()


def _brought() -> None:
    """What came in, and line by line what did not."""
    came: schemas.StylesBrought | None = recall("brought")
    if came is None:
        return
    with st.container(border=True, key="brought"):
        st.success(say("arrivals.came", count=len(came.styles)), icon=":material/check_circle:")
        with st.container(horizontal=True):
            for style in came.styles:
                if st.button(labels.title(style), key=f"came-{style.id}", icon=":material/edit:"):
                    go("style", id=style.id)
        if came.left:
            st.html(widgets.title(say("arrivals.left", count=len(came.left))) + _left(came.left))
        if st.button(say("arrivals.seen"), key="arrivals-seen", type="tertiary"):
            remember("brought", None)
            st.rerun()


def _left(left: Sequence[schemas.StyleLeft]) -> str:
    lines = [" · ".join(part for part in (each.source, each.field, each.why) if part) for each in left[:SHOWN]]
    if len(left) > SHOWN:
        lines.append(say("arrivals.more", count=len(left) - SHOWN))
    return widgets.points(lines)


def _begin() -> None:
    """A new style of a kind, with the least that it must say."""
    kind = st.segmented_control(
        say("arrivals.kind"),
        KINDS,
        default=KINDS[0],
        required=True,
        format_func=lambda each: say(f"style_kind.{each}"),
        key="begin-kind",
    )
    title = st.text_input(say("style_field.title"), max_chars=80, key="begin-title")
    id = st.text_input(say("arrivals.id"), max_chars=60, key="begin-id", help=say("arrivals.id_help"))
    picture: UploadedFile | None = None
    content: dict[str, Any] = {"schema": 1, "kind": kind, "title": title, "licence": "LicenseRef-unknown"}
    if kind == "studio":
        content["backdrop"] = st.selectbox(say("style_field.backdrop"), form.used("backdrop"), key="begin-backdrop")
    elif kind == "idphoto":
        content["preset"] = st.selectbox(
            say("style_field.preset"),
            form.used("preset"),
            key="begin-preset",
            help=say("style_help.preset"),
            accept_new_options=True,
        )
    elif kind == "template":
        content["picture"] = {"file": "picture.jpg"}
        picture = st.file_uploader(say("style_field.picture"), form.PICTURES, key=f"begin-{recall('begun', 0)}")
    else:
        content["prompt"] = st.text_area(say("style_field.prompt"), "portrait of {who}, {traits}", key="begin-prompt")
    ready = bool(title.strip()) and (kind != "template" or picture is not None)
    if st.button(say("arrivals.start"), type="primary", disabled=not ready, key="begin-start"):
        with errors.told():
            content["id"] = id.strip() or named_like(title)
            client().write_style(content["id"], content)
            if picture is not None:
                _hang(content["id"], picture)
                remember("begun", recall("begun", 0) + 1)
            go("style", id=content["id"])


def _hang(id: str, picture: UploadedFile) -> None:
    """The picture of a style that was begun; without it there is no style, so that another picture can be tried."""
    try:
        client().hang_picture(id, picture.name, picture)
    except PortraitError:
        client().delete_draft(id)
        raise
    let_go(picture)


def named_like(title: str) -> str:
    """An id made of a title; of a title without Latin letters `style`."""
    plain = unicodedata.normalize("NFKD", title.casefold()).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:60].strip("-") or "style"
