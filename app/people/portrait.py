"""The page of one portrait: large, with the ones beside it in the list, compared, and with all that can be done with it."""

from collections.abc import Mapping
from typing import Any

import streamlit as st

from app.components import idphoto_rules, likeness, markdown, style_titles, undo, widgets
from app.components.canvas import viewer
from app.people.gallery import actions, cards, comparison, edits
from app.people.gallery.lists import PortraitList, list_of_address
from app.session import client, get_state, query, set_query, set_state, switch_page, translate
from portrait.errors import UserError
from tasks import schemas

_CLOSED = "portrait_closed"
"""Set by the Escape key; the page then goes back to the list."""


def page() -> None:
    """Show the portrait of `?id=`, of the list whose filters stand in the address beside it."""
    id, wanted = query("id"), list_of_address()
    if not id:
        switch_page("results", **wanted.query)
        return
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center", key="head"):
        back = st.button(translate("portrait.back"), type="tertiary", icon=":material/arrow_back:", key="back")
        comparing = st.toggle(translate("portrait.compare"), key="compare")
    if back or get_state(_CLOSED):
        set_state(_CLOSED, False)
        actions.back_to_list(wanted)
    undo.show()
    try:
        portrait = client().portrait(id)
    except UserError as error:
        if error.code not in {"not_found", "erased"}:
            raise
        st.info(translate("portrait.gone"), icon=":material/portrait:")
        return
    neighbours = _neighbours(portrait, wanted)
    titles = style_titles.localized_titles([portrait.style])
    names = {each.id: each.name for each in client().people()}
    name = cards.portrait_name(portrait, titles)
    left, right = st.columns([3, 2], gap="medium")
    measured = "; ".join(text for text, _ in likeness.texts(portrait, names))
    alt = translate("results.alt", style=name, likeness=measured)
    with left:
        if not comparing or not comparison.show(portrait, alt, names):
            _show_viewer(portrait, name, alt, neighbours)
    with right:
        st.header(markdown.plain(name), anchor=False)
        style = style_titles.display_name(portrait.style, titles)
        told = [*([style] if portrait.name else []), *cards.people_of(portrait, names)]
        st.html(widgets.muted(" · ".join([*told, widgets.time_ago(portrait.created)])) + cards.chips(portrait, names))
        idphoto_rules.show_rules(portrait)
        actions.show(portrait, name, wanted, neighbours.next or neighbours.previous)
        _show_details(portrait, style, names)
    edits.show(portrait)


def _neighbours(portrait: schemas.Portrait, wanted: PortraitList) -> schemas.Neighbours:
    """The portraits beside this one in the list; those of all where it is not in the list any more, as after a change."""
    try:
        return client().neighbours(portrait.id, wanted.sort, **wanted.filters)
    except UserError as error:
        if error.code != "not_found":
            raise
        return client().neighbours(portrait.id)


def _show_viewer(portrait: schemas.Portrait, name: str, alt: str, neighbours: schemas.Neighbours) -> None:
    """Show the portrait to be looked at, with the way to those beside it in the list."""
    picture = viewer.ViewedPicture(
        widgets.picture_url("portrait", portrait.id, widgets.LARGE),
        widgets.picture_url("portrait", portrait.id, None),
        f"/take/portrait/{portrait.id}",
        name,
        alt,
        (portrait.width, portrait.height),
    )
    place = translate("viewer.place", place=neighbours.place, total=neighbours.total)
    beside = (neighbours.previous, neighbours.next)
    viewer.show(picture, beside, place, lambda id: set_query(id=id), lambda: set_state(_CLOSED, True))
    widgets.muted_text(translate("viewer.help"))


def _show_details(portrait: schemas.Portrait, style: str, names: Mapping[str, str]) -> None:
    """Show what is known of the portrait: how alike, in which style, how large, how and when it was made, how long kept."""
    lines = [*_likeness_lines(portrait, names), translate("about.style", style=style, version=portrait.style_version)]
    lines.append(translate("about.size", width=portrait.width, height=portrait.height, format=portrait.format.upper()))
    lines += _drawing_lines(portrait.recipe)
    lines.append(translate("about.made", day=widgets.format_date(portrait.created), number=portrait.number))
    if portrait.erased_on is not None:
        key = "about.kept_favourite" if portrait.favourite else "about.kept"
        lines.append(translate(key, day=widgets.format_date(portrait.erased_on)))
    lines.append(translate("about.marked"))
    with st.expander(translate("portrait.about")):
        st.html(widgets.bullet_list(lines))
        if portrait.likeness:
            widgets.muted_text(translate("results.explained"))


def _likeness_lines(portrait: schemas.Portrait, names: Mapping[str, str]) -> list[str]:
    """The likeness of each face in words and as the distance that was measured."""
    texts = likeness.texts(portrait, names)
    measured = sorted(portrait.likeness.items(), key=lambda item: int(item[0]))
    return [
        translate("about.likeness", likeness=text, distance=f"{each.distance:.2f}", space=each.space)
        for (text, _), (_, each) in zip(texts, measured, strict=False)
    ]


def _drawing_lines(recipe: Mapping[str, Any]) -> list[str]:
    """Seed and engine of a portrait, and how much of its prompt was not read, where its recipe says them."""
    drawn = dict(recipe.get("drawn", {}))
    engine = str(drawn.get("base") or drawn.get("matte") or "")
    lines = [translate("about.seed", seed=recipe["seed"])] if "seed" in recipe else []
    if engine:
        lines.append(translate("about.engine", engine=engine))
    if unread := int(drawn.get("unread_tokens", 0)):
        lines.append(translate("about.unread", count=unread))
    return lines
