"""Adds styles: imports packs and other tools' files, and creates new drafts."""

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from app.components import errors, markdown, style_titles, widgets
from app.operators.styles import form
from app.operators.styles.fields import PAPER
from app.session import client, get_state, release_upload, set_state, switch_page, translate
from portrait.errors import PortraitError
from tasks import schemas

IMPORT_TYPES = ["zip", "json", "csv", "jpg", "jpeg", "toml"]
KINDS = ("template", "studio", "text", "idphoto")
MAX_SKIPPED_LINES = 100
"""Number of lines about skipped content that are listed."""


def show_import() -> None:
    """Show the forms to import and to create styles, and the result of the last import."""
    left, right = st.columns(2)
    with left, st.expander(translate("arrivals.bring"), icon=":material/upload_file:"):
        _import_form()
    with right, st.expander(translate("arrivals.begin"), icon=":material/add:"):
        _new_style_form()
    _show_result()


def _import_form() -> None:
    """Choose files and import them together."""
    batch = get_state("arrivals", 0)
    widgets.muted_text(translate("arrivals.bring_help"))
    label = translate("arrivals.files")
    files = st.file_uploader(label, IMPORT_TYPES, accept_multiple_files=True, key=f"arrivals-{batch}")
    if not st.button(translate("arrivals.take"), type="primary", disabled=not files, key="arrivals-take"):
        return
    with errors.show_errors():
        set_state("import_result", client().import_styles([(each.name, each) for each in files]))
        for each in files:
            release_upload(each)
        set_state("arrivals", batch + 1)
        st.rerun()


def _show_result() -> None:
    """Show the drafts of the last import, and line by line what it skipped."""
    result: schemas.StyleImportResult | None = get_state("import_result")
    if result is None:
        return
    with st.container(border=True, key="brought"):
        st.success(translate("arrivals.came", count=len(result.styles)), icon=":material/check_circle:")
        with st.container(horizontal=True):
            for style in result.styles:
                if st.button(
                    markdown.plain(style_titles.localized_title(style)), key=f"came-{style.id}", icon=":material/edit:"
                ):
                    switch_page("style", id=style.id)
        if result.left:
            title = widgets.card_title(translate("arrivals.left", count=len(result.left)))
            st.html(title + _skipped_lines(result.left))
        if st.button(translate("arrivals.seen"), key="arrivals-seen", type="tertiary"):
            set_state("import_result", None)
            st.rerun()


def _skipped_lines(left: Sequence[schemas.SkippedContent]) -> str:
    parts = ((each.source, each.field, errors.sentence(each.why)) for each in left[:MAX_SKIPPED_LINES])
    lines = [" · ".join(filter(None, each)) for each in parts]
    if len(left) > MAX_SKIPPED_LINES:
        lines.append(translate("arrivals.more", count=len(left) - MAX_SKIPPED_LINES))
    return widgets.bullet_list(lines)


def _new_style_form() -> None:
    """Create a draft of a kind, with the fields that the kind requires."""
    kind = st.segmented_control(
        translate("arrivals.kind"),
        KINDS,
        default=KINDS[0],
        required=True,
        format_func=lambda each: translate(f"style_kind.{each}"),
        key="begin-kind",
    )
    title = st.text_input(translate("style_field.title"), max_chars=80, key="begin-title")
    id = st.text_input(translate("arrivals.id"), max_chars=60, key="begin-id", help=translate("arrivals.id_help"))
    picture: UploadedFile | None = None
    content: dict[str, Any] = {"schema": 1, "kind": kind, "title": title, "licence": "LicenseRef-unknown"}
    field = {"studio": "backdrop", "idphoto": "preset", "template": "picture"}.get(kind, "prompt")
    label, key = translate(f"style_field.{field}"), f"begin-{field}"
    needs_picture = kind == "template"
    if kind == "studio":
        color, own = translate("style_form.own_color"), translate("style_form.own_backdrop")
        named = [each for each in form.values_in_use("backdrop") if not each.startswith("#")]
        choice = st.selectbox(label, [*named, color, own], key=key)
        needs_picture = choice == own
        if not needs_picture:
            content["backdrop"] = (
                st.color_picker(color, PAPER, key=f"{key}-color").lower() if choice == color else choice
            )
    elif kind == "idphoto":
        titles = form.preset_titles()
        content["preset"] = st.selectbox(label, sorted(titles), format_func=lambda each: titles[each], key=key)
    elif kind == "text":
        content["prompt"] = st.text_area(label, "portrait of {who}, {traits}", key=key)
    if needs_picture:
        content["picture"] = {"file": "picture.jpg"}
        label = translate("style_field.picture")
        picture = st.file_uploader(label, form.PICTURES, key=f"begin-{get_state('picture_form', 0)}")
    ready = bool(title.strip()) and (not needs_picture or picture is not None)
    if st.button(translate("arrivals.start"), type="primary", disabled=not ready, key="begin-start"):
        with errors.show_errors():
            content["id"] = id.strip() or id_from_title(title)
            client().write_draft(content["id"], content)
            if picture is not None:
                _upload_picture(content["id"], picture)
                set_state("picture_form", get_state("picture_form", 0) + 1)
            switch_page("style", id=content["id"])


def _upload_picture(id: str, picture: UploadedFile) -> None:
    """Upload the picture of a new draft; where that fails, the draft is deleted, so that another picture can be tried."""
    try:
        client().set_style_picture(id, picture.name, picture)
    except PortraitError:
        client().delete_draft(id)
        raise
    release_upload(picture)


def id_from_title(title: str) -> str:
    """An id made of a title's Latin letters and digits; `style` where it has none."""
    plain = unicodedata.normalize("NFKD", title.casefold()).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:60].strip("-") or "style"
