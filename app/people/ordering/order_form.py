"""The order: what is chosen, who is where, how many of each, in which size; all of it is placed together or not at all."""

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app.components import errors, markdown, widgets
from app.people.ordering import choices, generation_options
from app.people.ordering.choices import StyleChoice
from app.people.ordering.faces import Assignment, assign_faces
from app.session import client, get_state, set_state, switch_page, translate
from portrait.errors import UserError
from portrait.numbers import read_integer
from tasks import schemas

COUNTS = (1, 2, 4, 8)
SIZES: Mapping[str, tuple[int, int] | None] = {
    "usual": None,
    "large": (2048, 2560),
    "square": (1536, 1536),
    "wide": (1920, 1080),
    "story": (1080, 1920),
}
"""Width and height in pixels; the usual size is the style's own."""
SKINS = ("usual", "person", "template")
"""Whose skin tone a face in a picture has; `usual` leaves it to the style."""
_SEED_LIMIT = 2**31
_WHERE = "generations."
"""Begins the place of an error of an order: the number of the style follows, from 0."""


@dataclass(frozen=True, slots=True)
class _Settings:
    """How the chosen styles are to be drawn."""

    counts: Mapping[str, int]
    """How many by kind of style: of `idphoto`, and of all `others`."""
    size: str
    skin: str
    generation: generation_options.GenerationChoices

    def count(self, choice: StyleChoice) -> int:
        """How many portraits of one style."""
        return self.counts["idphoto" if choice.kind == "idphoto" else "others"]


def order_form(
    person: schemas.Person, selected: Sequence[StyleChoice], abilities: generation_options.GenerationAbilities
) -> None:
    """Show what is chosen and the form of the order, with the button that places it."""
    if selected:
        st.html(f'<a class="p-onward" href="#order">{escape(translate("create.onward", count=len(selected)))}</a>')
    st.subheader(translate("create.order"), anchor="order")
    if not selected:
        st.info(translate("create.choose_first"), icon=":material/touch_app:")
        return
    _show_chosen(selected)
    faces = {choice.id: assign_faces(choice, person) for choice in selected}
    wishes = _ask(selected, person, abilities)
    ready = [choice for choice in selected if faces[choice.id].people]
    total = sum(wishes.count(choice) for choice in ready)
    st.html(widgets.muted(translate("create.summary", count=total)))
    label = translate("create.draw", count=total)
    if st.button(label, type="primary", icon=":material/brush:", disabled=not ready):
        with errors.show_errors():
            _place(ready, [_request(choice, faces[choice.id], wishes) for choice in ready])


def _show_chosen(selected: Sequence[StyleChoice]) -> None:
    """Show the chosen styles with their pictures, each with a button that leaves it out."""
    for choice in selected:
        with st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"chosen-{choice.id}"):
            image = f'<img src="{escape(choice.picture)}" alt="" loading="lazy">'
            st.html(f'<p class="p-chosen">{image}<span>{escape(choice.name)}</span></p>')
            label = markdown.sentence("create.leave_out", style=choice.name)
            if st.button(label, key=f"leave-{choice.id}", icon=":material/close:", type="tertiary"):
                choices.choose([each for each in choices.chosen() if each != choice.id])
                st.rerun()


def _ask(
    selected: Sequence[StyleChoice], person: schemas.Person, abilities: generation_options.GenerationAbilities
) -> _Settings:
    """Show the fields of the order that concern what is selected."""
    settings = get_state("settings", {})
    version = settings.get("version", 0)
    kinds = {choice.kind for choice in selected}
    counts, size, skin = {"idphoto": 1, "others": 1 if person.photos == 1 else 2}, "usual", "usual"
    left, right = st.columns(2)
    if kinds - {"idphoto"}:
        counts["others"] = _count_field(
            left, "create.count", settings.get("count", counts["others"]), f"count-{version}"
        )
        size = right.selectbox(
            translate("create.size"),
            list(SIZES),
            index=list(SIZES).index(settings.get("size", "usual")),
            format_func=lambda each: translate(f"size.{each}"),
            key=f"size-{version}",
        )
        if person.photos == 1 and counts["others"] > 1:
            left.html(widgets.muted(translate("create.one_photo")))
    if "idphoto" in kinds:
        counts["idphoto"] = _count_field(left, "create.count_idphoto", counts["idphoto"], f"count-idphoto-{version}")
        right.html(widgets.muted(translate("create.idphoto_size")))
    if "template" in kinds:
        skin = (
            st.segmented_control(
                translate("create.skin"),
                SKINS,
                default=SKINS[0],
                required=True,
                format_func=lambda each: translate(f"skin.{each}"),
                help=translate("create.skin_help"),
                key="skin",
            )
            or SKINS[0]
        )
    from_text = [choice for choice in selected if choice.from_text]
    return _Settings(counts, size, skin, generation_options.generation_form(from_text, abilities))


def _count_field(column: DeltaGenerator, label: str, default: int, key: str) -> int:
    options = sorted({*COUNTS, default})
    found = column.segmented_control(translate(label), options, default=default, required=True, key=key)
    return found or default


def _request(choice: StyleChoice, faces: Assignment, wishes: _Settings) -> schemas.GenerationRequest:
    """The request for portraits of one style; the seed is that of the reused settings of this style, or a random one."""
    settings = get_state("settings", {})
    sides = None if choice.kind == "idphoto" else SIZES[wishes.size]
    order = {
        "people": dict(faces.people),
        "template" if choice.template else "style": choice.id,
        "count": wishes.count(choice),
        "seed": settings["seed"] if settings.get("style") == choice.id else _seed(choice.id),
        "size": None if sides is None else {"width": sides[0], "height": sides[1]},
    }
    if faces.places:
        order |= {"places": dict(faces.places)}
    if choice.kind == "template" and wishes.skin != "usual":
        order |= {"skin": wishes.skin}
    if choice.from_text:
        order |= {"technique": dict(wishes.generation.options), "traits": dict(wishes.generation.traits[choice.id])}
    return schemas.GenerationRequest.model_validate(order)


def _place(ready: Sequence[StyleChoice], requests: Sequence[schemas.GenerationRequest]) -> None:
    """Place the order, forget what was chosen and go to its progress; or say which style was refused, and why."""
    # The same order again, after an answer that never came, is the same order.
    content = "".join([_nonce(), *(each.model_dump_json() for each in requests)])
    try:
        order = client().place_order(requests, hashlib.sha256(content.encode()).hexdigest()[:40])
    except UserError as error:
        refused = [each for each in error.details.get("errors") or [] if str(each.get("where", "")).startswith(_WHERE)]
        if not refused:
            raise
        _show_refused(refused, ready)
        return
    set_state("settings", {})
    set_state("order_nonce", "")
    choices.choose([])
    switch_page("progress", order=order.id)


def _show_refused(refused: Sequence[Mapping[str, object]], ready: Sequence[StyleChoice]) -> None:
    """Say which styles were refused and why, and that nothing was placed."""
    lines = []
    for each in refused:
        number = read_integer(str(each["where"]).removeprefix(_WHERE).partition(".")[0], len(ready) - 1)
        why = errors.error_message(str(each.get("code", "")), str(each.get("message", "")))
        lines.append(translate("create.refused_one", style=ready[number].name, why=why) if number is not None else why)
    text = "".join(f"\n- {markdown.plain(line)}" for line in lines)
    st.warning(f"{translate('create.refused')}\n{text}", icon=":material/info:")


def _nonce() -> str:
    """What the next order's seeds and key are made of; another one for each order."""
    if not get_state("order_nonce"):
        set_state("order_nonce", secrets.token_hex(16))
    return get_state("order_nonce")


def _seed(id: str) -> int:
    digest = hashlib.sha256(f"{_nonce()} {id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % _SEED_LIMIT
