"""The gallery: every portrait, those most like the person first, ID photos that break a rule last."""

from collections.abc import Sequence
from typing import Literal

import streamlit as st

from app.components import errors, idphoto_rules, likeness, markdown, style_titles, widgets
from app.session import client, get_state, set_state, switch_page, translate
from tasks import schemas

PAGE = 24
"""Portraits shown at once."""
MAX_IN_ZIP = 200


def page() -> None:
    """Show portraits as cards, with filters and a link that downloads them."""
    widgets.page_heading(translate("results.title"), translate("results.lead"))
    people = {each.id: each.name for each in client().people()}
    only_job = get_state("only_job")
    who, favourites = _filters(people)
    portraits = client().portraits(person=who or "", favourite=favourites, job=only_job or "")
    if only_job:
        st.info(translate("results.one_job"), icon=":material/filter_alt:")
        if st.button(translate("results.all")):
            set_state("only_job", None)
            st.rerun()
    if not portraits:
        _show_empty(favourites)
        return
    _show_what_ends(portraits)
    portraits = sorted(portraits, key=lambda each: (bool(idphoto_rules.broken_rules(each)), *likeness.sort_key(each)))
    left, right = st.columns([2, 1], vertical_alignment="center")
    left.html(widgets.muted(translate("results.explained")))
    with right:
        query = "&".join(f"id={each.id}" for each in portraits[:MAX_IN_ZIP])
        widgets.download_link(
            f"/take/portraits.zip?{query}", translate("results.zip", count=min(len(portraits), MAX_IN_ZIP))
        )
    titles = style_titles.localized_titles()
    limit = get_state("gallery_limit", PAGE)
    show_cards(portraits[:limit], titles)
    if len(portraits) > limit and st.button(translate("results.more"), width="stretch"):
        set_state("gallery_limit", limit + PAGE)
        st.rerun()


def _show_what_ends(portraits: Sequence[schemas.Portrait]) -> None:
    """Say which of the portraits are erased soon, and how they are kept."""
    days = [each.erased_on for each in portraits if each.erased_soon and each.erased_on is not None]
    if days:
        text = translate("results.erased_soon", count=len(days), day=widgets.format_date(min(days)))
        st.warning(text, icon=":material/auto_delete:")


def favourite_button(portrait: schemas.Portrait, width: Literal["content", "stretch"] = "content") -> None:
    """The button that makes a portrait a favourite, or no longer."""
    icon = ":material/favorite:" if portrait.favourite else ":material/favorite_border:"
    label = translate("results.unfavour") if portrait.favourite else translate("results.favour")
    kind = "primary" if portrait.favourite else "secondary"
    action = errors.as_callback(lambda: client().set_favourite(portrait.id, not portrait.favourite))
    st.button(label, key=f"heart-{portrait.id}", icon=icon, type=kind, width=width, on_click=action)


def show_cards(portraits: Sequence[schemas.Portrait], titles: dict[str, str]) -> None:
    """Show portraits as cards beside each other; `titles` are those of styles by id."""
    grid = st.grid(4, min_column_width=160)
    for portrait in portraits:
        with grid.cell(), st.container(border=True, height="stretch", key=f"portrait-{portrait.id}"):
            name = style_titles.display_name(portrait.style, titles)
            text, variant = likeness.label(portrait)
            alt = translate("results.alt", style=name, likeness=text)
            st.html(
                widgets.picture(widgets.picture_url("portrait", portrait.id), alt, "entire")
                + widgets.card_title(name)
                + widgets.chip(text, variant)
                + idphoto_rules.chip(portrait)
            )
            with st.container(horizontal=True, gap="xsmall"):
                if st.button(translate("results.open"), key=f"open-{portrait.id}"):
                    switch_page("portrait", id=portrait.id)
                favourite_button(portrait)


def _filters(people: dict[str, str]) -> tuple[str | None, bool]:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        who = None
        if len(people) > 1:
            names = {id: markdown.plain(name) for id, name in people.items()}
            who = st.pills(translate("results.who"), list(names), format_func=lambda id: names[id], key="only_person")
        favourites = st.toggle(translate("results.favourites"), key="favourites")
    return who, favourites


def _show_empty(favourites: bool) -> None:
    st.info(
        translate("results.no_favourites") if favourites else translate("results.nothing"), icon=":material/portrait:"
    )
    if not favourites and st.button(translate("results.to_create"), type="primary"):
        switch_page("create")
