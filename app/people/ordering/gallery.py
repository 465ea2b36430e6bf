"""The gallery of styles by groups: cards to choose from, and those that cannot be drawn, folded with the reason."""

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

import streamlit as st

from app.components import errors, markdown, style_titles, widgets
from app.components.canvas import parts
from app.people.ordering import choices
from app.people.ordering.generation_options import GenerationAbilities
from app.session import is_operator, page_address, query, translate, translate_or
from tasks import schemas

GROUPS = ("backdrop", "place", "picture", "idphoto", "words")
"""Groups of styles in the order in which they are shown; own pictures, `own`, come before them."""
_SERVED_BY: Mapping[str, Callable[[schemas.Serves], object]] = {
    "studio": lambda serves: serves.studio,
    "idphoto": lambda serves: serves.idphoto,
    "template": lambda serves: serves.template,
}
_HALF_FIGURE = "half_figure"

Card = dict[str, Any]
"""One card as the component `gallery` takes it."""


def style_for(style: schemas.Style, person: schemas.Person, abilities: GenerationAbilities) -> schemas.Style:
    """The style with `ready` for a person: a prompt can be drawn only of somebody for whom there is an adapter, and other
    styles only where a photo serves them."""
    able = style.kind != "text" or abilities.for_families(style.families).can_generate
    return style.model_copy(update={"ready": style.ready and able and not what_opens(style, person)})


def what_opens(style: schemas.Style, person: schemas.Person) -> str:
    """What photo would open a style that no photo of the person serves; empty where one does, or it is not known."""
    serves = person.serves
    if serves is None:
        return ""
    if not _SERVED_BY.get(style.kind, lambda _: True)(serves):
        return _opening(style.kind, person)
    if style.compositions and not set(style.compositions) & set(serves.studio):
        key = "create.needs_half_figure" if _HALF_FIGURE in style.compositions else "create.needs_composition"
        return translate(key)
    return ""


def what_opens_pictures(person: schemas.Person) -> str:
    """What photo would open portraits in pictures; empty where one serves, or it is not known."""
    return _opening("template", person) if person.serves is not None and not person.serves.template else ""


def show_groups(groups: Sequence[str]) -> str:
    """Show links to all styles and to those of each group, and return the group of the address, empty for all of them."""
    wanted = query("group")
    wanted = wanted if wanted in groups else ""
    links = "".join(_group_link(each, each == wanted) for each in ("", *groups))
    st.html(f'<nav class="p-groups" aria-label="{escape(translate("create.filter"))}">{links}</nav>')
    return wanted


def show_styles(styles: Sequence[schemas.Style], wanted: str, person: schemas.Person) -> None:
    """Show the styles of the wanted group, or of all groups; those that cannot be drawn are folded below with the reason."""
    shown = [style for style in styles if not wanted or style.group == wanted]
    sections = [_section(group, shown, person) for group in GROUPS]
    sections = [each for each in sections if each["cards"]]
    if any(style.ready and style.kind == "studio" for style in shown):
        widgets.muted_text(translate("create.clothes_stay"))
    if sections:
        show_cards("styles", sections)
    if wanted == "idphoto":
        address = escape(page_address("idphoto"))
        st.html(
            f'<p class="p-soft"><a href="{address}" target="_self">{escape(translate("create.to_idphoto"))}</a></p>'
        )
    others = [style for style in shown if not style.ready]
    if others:
        with st.expander(translate("create.others", count=len(others)), expanded=len(others) == len(shown)):
            _explain_unavailable(others, person)
            st.html(
                f'<ul class="p-cards">{"".join(_grey_card(style, number) for number, style in enumerate(others))}</ul>'
            )


def show_cards(key: str, sections: Sequence[Mapping[str, Any]]) -> str:
    """Show cards by sections; a click chooses one or leaves it out. Returns the id of the card that is to be removed, or ""."""
    name = f"gallery-{key}"
    ids = [card["id"] for section in sections for card in section["cards"]]
    state = st.session_state.get(name) or {}
    clicks = (state.get("picked") or {}).get("clicks", 0)
    data = {"sections": list(sections), "chosen": choices.chosen(), "clicks": clicks}
    result = parts.component("gallery")(
        data=data, key=name, on_picked_change=lambda: _follow(name, ids), on_remove_change=lambda: None
    )
    return str(result.get("remove") or "")


def card(id: str, title: str, picture: str, alt: str, note: str = "") -> Card:
    """A card to choose; `picture` is an address, `alt` the text for who does not see it."""
    return {"id": id, "title": title, "picture": picture, "alt": alt, "note": note, "label": _choose_label(title)}


def preview_url(style: schemas.Style, person: str = "", number: int = 0, side: int | None = widgets.CARD) -> str:
    """The address of what a style looks like: with the person's own photo, else with sample people in turn, by `number`."""
    if person and style.kind == "studio" and style.ready:
        return widgets.picture_url("own_style", f"{style.id}.{person}", side)
    if style.samples:
        return widgets.picture_url("sample_look", f"{style.id}.{number % style.samples + 1}", side)
    return widgets.picture_url("style", style.id, side)


def show_to_operators(lines: Sequence[str]) -> None:
    """Show lines about what is missing to operators alone, without the marks of commands in them."""
    if is_operator():
        for line in dict.fromkeys(lines):
            widgets.muted_text(errors.sentence(line))


def _group_link(group: str, here: bool) -> str:
    address, current = (
        page_address("create", styles=query("styles"), group=group),
        ' aria-current="true"' if here else "",
    )
    label = escape(translate(f"group.{group or 'all'}"))
    return f'<a href="{escape(address)}" target="_self"{current}>{label}</a>'


def _section(group: str, styles: Sequence[schemas.Style], person: schemas.Person) -> dict[str, Any]:
    cards = [
        _style_card(style, number, person)
        for number, style in enumerate(styles)
        if style.group == group and style.ready
    ]
    note = translate_or(f"group_note.{group}", "")
    return {"title": translate(f"group.{group}"), "note": note, "cards": cards}


def _style_card(style: schemas.Style, number: int, person: schemas.Person) -> Card:
    title = style_titles.localized_title(style)
    serves = person.serves.studio if person.serves is not None else [_HALF_FIGURE]
    closer = style.compositions[:1] == [_HALF_FIGURE] and _HALF_FIGURE not in serves
    note = translate("create.half_note") if closer else style.credit
    return card(style.id, title, preview_url(style, person.id, number), _alt(style, title), note)


def _grey_card(style: schemas.Style, number: int) -> str:
    title = style_titles.localized_title(style)
    picture = widgets.picture(
        preview_url(style, number=number, side=widgets.THUMB), _alt(style, title), "tall", grey=True
    )
    return f"<li>{picture}{widgets.card_title(title)}</li>"


def _alt(style: schemas.Style, title: str) -> str:
    return translate("create.card_alt" if style.kind == "text" else "create.style_alt", style=title)


def _choose_label(title: str) -> str:
    return translate("create.choose_one", style=title)


def _opening(kind: str, person: schemas.Person) -> str:
    tip = next((each.tip for each in person.opens if each.code == kind), "")
    return translate_or(f"opens.{kind}", tip).format(name=person.name)


def _follow(name: str, ids: Sequence[str]) -> None:
    """Choose what was clicked in the gallery `name`, whose cards have these ids; what was chosen elsewhere stays."""
    picked = [str(each) for each in (st.session_state[name].get("picked") or {}).get("chosen") or ()]
    now = choices.chosen()
    kept = [each for each in now if each not in ids or each in picked]
    choices.choose([*kept, *(each for each in picked if each in ids and each not in kept)])


def _explain_unavailable(others: Sequence[schemas.Style], person: schemas.Person) -> None:
    """Explain why styles cannot be drawn, and show operators exactly what is missing."""
    for reason in dict.fromkeys(what_opens(style, person) for style in others):
        if reason:
            st.write(markdown.plain(reason))
    if any(style.kind == "text" and not style.missing for style in others):
        st.write(markdown.sentence("create.needs_learning", name=person.name))
    missing = [style for style in others if style.missing]
    if missing:
        st.write(
            translate("create.needs_model" if all(style.kind == "text" for style in missing) else "create.not_here")
        )
    show_to_operators([line for style in missing for line in style.missing])
