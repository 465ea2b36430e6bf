"""Edits of a portrait: other details, words, a part drawn anew, another shape; or why a portrait cannot be edited."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from app.components import errors, widgets
from app.components.canvas import editing
from app.session import client, switch_page, translate
from tasks import schemas

if TYPE_CHECKING:  # numpy comes with these: nobody needs it before a form is open
    from portrait.arrays import Mask
    from portrait.generation.edits import EditKind

EDITS_BY_KIND: "Mapping[str, tuple[EditKind, ...]]" = {
    "text": ("variations", "change", "instruct", "repaint", "extend"),
    "studio": (),
    "template": (),
    "idphoto": (),
}
"""What the technique of each kind of style can do to its portraits; a new technique gets its line here."""
ICONS: "Mapping[EditKind, str]" = {
    "variations": ":material/filter_none:",
    "change": ":material/edit_note:",
    "instruct": ":material/edit_note:",
    "repaint": ":material/brush:",
    "extend": ":material/aspect_ratio:",
}
COUNTS = (1, 2, 4)
VARIATIONS = 4
"""Number of variations that one click requests."""
SHAPES = {"square": (1, 1), "landscape": (3, 2), "wide": (16, 9), "upright": (2, 3), "tall": (9, 16)}
"""Aspect ratios as width and height."""
SHAPE_TOLERANCE = 0.02
"""A portrait has a shape already when its aspect ratio differs by less than this share."""


def show(portrait: schemas.Portrait) -> None:
    """Show what can be changed about a portrait, each edit with what it asks for; it goes into a portrait of its own."""
    kind = str(dict(portrait.recipe.get("style", {})).get("kind", ""))
    instructs = _can_instruct(portrait)
    other: EditKind = "change" if instructs else "instruct"
    possible = tuple(each for each in EDITS_BY_KIND.get(kind, ()) if each != other)
    expander = st.expander(translate("edit.title"), icon=":material/edit:", key="edits", on_change="rerun")
    if not expander.open:
        return
    with expander:
        if not possible:
            why = f"edit.not_{kind}" if kind in EDITS_BY_KIND else "edit.not_known"
            st.info(translate(why), icon=":material/info:")
            return
        chosen = st.segmented_control(
            translate("edit.what"),
            possible,
            default=possible[0],
            required=True,
            format_func=lambda each: f"{ICONS[each]} {translate(f'edit.{each}')}",
            key="edit-kind",
        )
        forms: Mapping[str, Callable[[schemas.Portrait], None]] = {
            "variations": _variations,
            "change": _change,
            "instruct": _instruct,
            "repaint": partial(_repaint, instructs=instructs),
            "extend": _extend,
        }
        forms[chosen or possible[0]](portrait)


def request(portrait: schemas.Portrait, **order: object) -> None:
    """Order an edit and go to the page of progress; an error is shown in place."""
    with errors.show_errors():
        client().edit(portrait.id, schemas.EditRequest.model_validate(order))
        switch_page("progress")


def shapes_of(portrait: schemas.Portrait) -> list[tuple[str, int, int]]:
    """The shapes that a portrait does not have yet and can get: name, width and height in pixels."""
    from portrait.arrays import LARGEST_SIDE
    from portrait.generation.edits import canvas_size

    found = []
    for name, (wide, tall) in SHAPES.items():
        there = abs(portrait.width * tall - portrait.height * wide) < portrait.height * wide * SHAPE_TOLERANCE
        width, height = canvas_size(portrait.width, portrait.height, (wide, tall))
        if not there and max(width, height) <= LARGEST_SIDE:
            found.append((translate(f"portrait.shape_{name}", shape=f"{wide}:{tall}"), width, height))
    return found


def _variations(portrait: schemas.Portrait) -> None:
    widgets.muted_text(translate("edit.variations_help", count=VARIATIONS))
    if st.button(translate("edit.variations_now", count=VARIATIONS), type="primary"):
        request(portrait, kind="variations", count=VARIATIONS)


def _change(portrait: schemas.Portrait) -> None:
    from portrait.generation.edits import MAX_PROMPT_LENGTH

    with st.form("change-form", border=False):
        words = st.text_input(
            translate("edit.words"), max_chars=MAX_PROMPT_LENGTH, placeholder=translate("edit.words_example")
        )
        count = st.segmented_control(translate("edit.count"), COUNTS, default=1, required=True)
        pressed = st.form_submit_button(translate("edit.now"), type="primary")
    if pressed and not words.strip():
        st.warning(translate("edit.words_missing"), icon=":material/edit:")
    elif pressed:
        request(portrait, kind="change", words=words, count=count or 1)


def _can_instruct(portrait: schemas.Portrait) -> bool:
    """Whether the base that drew a portrait changes pictures by words alone, and a worker is ready for it."""
    base = dict(portrait.recipe.get("drawn", {})).get("base", "")
    return any(each.ready and each.name == f"base:{base}:instruct" for each in client().abilities())


def _instruct(portrait: schemas.Portrait) -> None:
    from portrait.generation.edits import MAX_PROMPT_LENGTH

    with st.form("instruct-form", border=False):
        words = st.text_area(
            translate("edit.instruction"),
            max_chars=MAX_PROMPT_LENGTH,
            placeholder=translate("edit.instruction_example"),
        )
        pictures = _picture_field("instruct-picture")
        count = st.segmented_control(translate("edit.count"), COUNTS, default=1, required=True)
        pressed = st.form_submit_button(translate("edit.now"), type="primary")
    if pressed and not words.strip():
        st.warning(translate("edit.words_missing"), icon=":material/edit:")
    elif pressed:
        request(portrait, kind="instruct", words=" ".join(words.split()), count=count or 1, pictures=pictures)


def _picture_field(key: str) -> list[str]:
    """The id of the uploaded picture that goes with an edit; empty without one."""
    pictures = {each.id: each.name for each in client().templates()}
    if not pictures:
        return []
    chosen = st.selectbox(
        translate("edit.with"),
        ["", *pictures],
        format_func=lambda each: pictures.get(each, translate("edit.with_none")),
        help=translate("edit.with_help"),
        key=key,
    )
    return [chosen] if chosen else []


def _repaint(portrait: schemas.Portrait, instructs: bool = False) -> None:
    from portrait.generation.edits import MAX_PROMPT_LENGTH

    words = st.text_input(
        translate("edit.repaint_words"),
        max_chars=MAX_PROMPT_LENGTH,
        placeholder=translate("edit.words_example"),
        key="repaint-words",
    )

    pictures = _picture_field("repaint-picture") if instructs else []

    def painted(mask: "Mask") -> None:
        from portrait.generation import edit_masks

        st.session_state["repainted"] = edit_masks.trace_mask(mask)

    url = widgets.picture_url("portrait", portrait.id, widgets.LARGE)
    alt = translate("edit.picture_alt")
    editing.paint_mask(url, alt, (portrait.width, portrait.height), painted, f"mask-{portrait.id}")
    area = st.session_state.pop("repainted", None)
    if area is not None:
        request(portrait, kind="repaint", area=area, words=words, pictures=pictures)


def _extend(portrait: schemas.Portrait) -> None:
    from portrait.arrays import LARGEST_SIDE
    from portrait.generation.edits import MAX_ASPECT

    def extended(width: int, height: int) -> None:
        st.session_state["extended"] = [width, height]

    picture = {
        "picture": widgets.picture_url("portrait", portrait.id, widgets.LARGE),
        "alt": translate("edit.picture_alt"),
        "width": portrait.width,
        "height": portrait.height,
    }
    limits = (MAX_ASPECT, LARGEST_SIDE)
    editing.extend_shape(picture, limits, shapes_of(portrait), extended, f"shape-{portrait.id}")
    shape = st.session_state.pop("extended", None)
    if shape is not None:
        request(portrait, kind="extend", shape=shape)
