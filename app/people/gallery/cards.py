"""Cards of portraits: the picture, which opens, with a heart and a box to select it, its name and its likeness in words."""

from collections.abc import Mapping, Sequence
from html import escape

import streamlit as st

from app.components import errors, idphoto_rules, likeness, markdown, style_titles, widgets
from app.people.gallery.lists import PortraitList
from app.session import client, page_address, translate
from tasks import schemas


def portrait_name(portrait: schemas.Portrait, titles: Mapping[str, str]) -> str:
    """The name that its owner gave a portrait, or the title of its style."""
    return portrait.name or style_titles.display_name(portrait.style, dict(titles))


def people_of(portrait: schemas.Portrait, names: Mapping[str, str]) -> list[str]:
    """The names of the people on a portrait, by their faces; `names` are by id."""
    return [names[id] for _, id in sorted(portrait.people.items(), key=lambda item: int(item[0])) if id in names]


def chips(portrait: schemas.Portrait, names: Mapping[str, str]) -> str:
    """The likeness of each face, and whether an ID photo meets its rules, as HTML."""
    parts = [widgets.chip(text, variant) for text, variant in likeness.texts(portrait, names)]
    rules = idphoto_rules.chip(portrait)
    return widgets.row(*parts, *([rules] if rules else []))


def favourite_button(portrait: schemas.Portrait, name: str) -> None:
    """The heart that makes a portrait a favourite, or no longer; what it does is read to screen readers."""
    icon = ":material/favorite:" if portrait.favourite else ":material/favorite_border:"
    label = translate("results.unfavour_name" if portrait.favourite else "results.favour_name", name=name)
    action = errors.as_callback(lambda: client().set_favourite(portrait.id, not portrait.favourite))
    kind = "primary" if portrait.favourite else "secondary"
    st.button(markdown.plain(label), key=f"favour-{portrait.id}", icon=icon, type=kind, on_click=action)


def select_key(id: str) -> str:
    """The key of the box that selects a portrait."""
    return f"select-{id}"


def show_cards(
    portraits: Sequence[schemas.Portrait], titles: Mapping[str, str], names: Mapping[str, str], wanted: PortraitList
) -> None:
    """Show portraits as cards beside each other; `titles` are those of styles by id, `names` those of people.

    `wanted` is the list that they are of: a portrait that is opened keeps it in its address.
    """
    grid = st.grid(4, min_column_width=150)
    for portrait in portraits:
        with grid.container(border=True, height="stretch", key=f"portrait-{portrait.id}"):
            _show_card(portrait, titles, names, wanted)


def _show_card(
    portrait: schemas.Portrait, titles: Mapping[str, str], names: Mapping[str, str], wanted: PortraitList
) -> None:
    name, people = portrait_name(portrait, titles), people_of(portrait, names)
    words = "; ".join(text for text, _ in likeness.texts(portrait, names))
    alt = translate("results.alt", style=name, likeness=words)
    picture = widgets.picture(widgets.picture_url("portrait", portrait.id), alt, "entire")
    address = page_address("portrait", id=portrait.id, **wanted.query)
    # Chips name people, but those of faces that were not measured.
    whose = widgets.muted(widgets.format_list(people)) if people and not portrait.likeness else ""
    st.html(
        f'<a class="p-open" href="{escape(address)}" target="_self">{picture}{widgets.card_title(name)}</a>'
        + whose
        + chips(portrait, names)
    )
    favourite_button(portrait, name)
    label = markdown.plain(translate("results.select", name=name))
    st.checkbox(label, key=select_key(portrait.id), label_visibility="collapsed")
