"""The gallery: every portrait, the most alike first."""

from collections.abc import Sequence
from typing import Literal

import streamlit as st

from app.components import errors, likeness, style_titles, widgets
from app.session import client, go, recall, remember, say
from tasks import schemas

PAGE = 24
"""Portraits shown at once."""
MOST_IN_A_ZIP = 200


def page() -> None:
    """Portraits as cards, with what can be done to all of them."""
    widgets.heading(say("results.title"), say("results.lead"))
    people = {each.id: each.name for each in client().people()}
    only_job = recall("only_job")
    who, favourites = _filters(people)
    portraits = client().portraits(person=who or "", favourite=favourites, job=only_job or "")
    if only_job:
        st.info(say("results.one_job"), icon=":material/filter_alt:")
        if st.button(say("results.all")):
            remember("only_job", None)
            st.rerun()
    if not portraits:
        _nothing(favourites)
        return
    portraits = sorted(portraits, key=likeness.order)
    left, right = st.columns([2, 1], vertical_alignment="center")
    left.html(widgets.small(say("results.explained")))
    with right:
        query = "&".join(f"id={each.id}" for each in portraits[:MOST_IN_A_ZIP])
        widgets.take_link(f"/take/portraits.zip?{query}", say("results.zip", count=min(len(portraits), MOST_IN_A_ZIP)))
    titles = style_titles.titles()
    shown = recall("shown", PAGE)
    cards(portraits[:shown], titles)
    if len(portraits) > shown and st.button(say("results.more"), width="stretch"):
        remember("shown", shown + PAGE)
        st.rerun()


def mark(portrait: schemas.Portrait, width: Literal["content", "stretch"] = "content") -> None:
    """The heart."""
    icon = ":material/favorite:" if portrait.favourite else ":material/favorite_border:"
    label = say("results.unfavour") if portrait.favourite else say("results.favour")
    kind = "primary" if portrait.favourite else "secondary"
    act = errors.click(lambda: client().favour(portrait.id, not portrait.favourite))
    st.button(label, key=f"heart-{portrait.id}", icon=icon, type=kind, width=width, on_click=act)


def cards(portraits: Sequence[schemas.Portrait], titles: dict[str, str]) -> None:
    """Portraits beside each other."""
    grid = st.grid(4, min_column_width=160)
    for portrait in portraits:
        with grid.cell(), st.container(border=True, height="stretch", key=f"portrait-{portrait.id}"):
            name = style_titles.name_of(portrait.style, titles)
            words, mood = likeness.told(portrait)
            alt = say("results.alt", style=name, likeness=words)
            st.html(
                widgets.picture(widgets.source("portrait", portrait.id), alt, "entire")
                + widgets.title(name)
                + widgets.chip(words, mood)
            )
            with st.container(horizontal=True, gap="xsmall"):
                if st.button(say("results.open"), key=f"open-{portrait.id}"):
                    go("portrait", id=portrait.id)
                mark(portrait)


def _filters(people: dict[str, str]) -> tuple[str | None, bool]:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        who = None
        if len(people) > 1:
            who = st.pills(say("results.who"), list(people), format_func=lambda id: people[id], key="only_person")
        favourites = st.toggle(say("results.favourites"), key="favourites")
    return who, favourites


def _nothing(favourites: bool) -> None:
    st.info(say("results.no_favourites") if favourites else say("results.nothing"), icon=":material/portrait:")
    if not favourites and st.button(say("results.to_create"), type="primary"):
        go("create")
