"""The gallery: every portrait, the newest first, by order or by likeness, of one person or all; several can be selected."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape
from itertools import groupby

import streamlit as st

from app.components import markdown, style_titles, undo, widgets
from app.components.canvas import place
from app.people.gallery import cards, selection
from app.people.gallery.lists import ARRANGEMENTS, MAX_SHOWN, PAGE, PortraitList, list_of_address
from app.session import client, page_address, set_query, switch_page, translate
from tasks import schemas


def page() -> None:
    """Show portraits as cards, with the filters and the order that stand in the address."""
    wanted = list_of_address()
    names = {each.id: each.name for each in client().people()}
    widgets.page_heading(translate("results.title"), translate("results.lead"))
    undo.show()
    if wanted.person and wanted.person not in names:
        st.warning(translate("people.gone"), icon=":material/person_off:")
        _everybody_button()
        return
    _filters(wanted, names)
    found = client().portrait_page(wanted.sort, limit=wanted.shown, **wanted.filters)
    if wanted.order:
        _show_one_order(wanted)
    if not found.items:
        _show_empty(wanted, names)
        return
    _show_what_ends(found.items)
    titles = style_titles.localized_titles(each.style for each in found.items)
    selection.show_total(found.items, found.total)
    if wanted.arrangement == "order" and not wanted.order:
        _show_by_order(found.items, titles, names, wanted)
    else:
        cards.show_cards(found.items, titles, names, wanted)
    _more_button(found, wanted)
    selection.show_bar(found.items)
    place.keep(page_address("results", **wanted.query))


def _filters(wanted: PortraitList, names: Mapping[str, str]) -> None:
    """Whose portraits, in which order, and whether favourites alone; each choice goes into the address."""
    with st.container(horizontal=True, vertical_alignment="bottom", key="filters"):
        if len(names) > 1:
            people = ["", *names]
            shown = {"": translate("results.everybody")} | {id: markdown.plain(name) for id, name in names.items()}
            chosen = wanted.person if wanted.person in names else ""
            st.selectbox(
                translate("results.who"),
                people,
                index=people.index(chosen),
                format_func=lambda id: shown[id],
                key=f"of-{chosen}",
                on_change=lambda: set_query(person=st.session_state[f"of-{chosen}"], order="", shown=""),
                width=200,
            )
        key = f"sort-{wanted.arrangement}"
        st.selectbox(
            translate("results.sort"),
            ARRANGEMENTS,
            index=ARRANGEMENTS.index(wanted.arrangement),
            format_func=lambda each: translate(f"results.sort_{each}"),
            key=key,
            on_change=lambda: set_query(**replace(wanted, arrangement=st.session_state[key], shown=PAGE).query),
            width=200,
        )
        toggle = f"favourites-{wanted.favourites}"
        st.toggle(
            translate("results.favourites"),
            value=wanted.favourites,
            key=toggle,
            on_change=lambda: set_query(favourites="1" if st.session_state[toggle] else "", shown=""),
        )


def _show_one_order(wanted: PortraitList) -> None:
    """Say that the portraits of one order are shown, with the way out."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.info(translate("results.one_job"), icon=":material/filter_alt:")
        if st.button(translate("results.all")):
            set_query(order="", shown="")
            st.rerun()


def _show_what_ends(portraits: Sequence[schemas.Portrait]) -> None:
    """Say which of the portraits are erased soon, and how they are kept; else until when the first of them is kept."""
    soon = [each.erased_on for each in portraits if each.erased_soon and each.erased_on is not None]
    if soon:
        text = translate("results.erased_soon", count=len(soon), day=widgets.format_date(min(soon)))
        st.warning(text, icon=":material/auto_delete:")
        return
    days = [each.erased_on for each in portraits if each.erased_on is not None]
    if days:
        widgets.muted_text(translate("results.kept", day=widgets.format_date(min(days))))


def _show_by_order(
    portraits: Sequence[schemas.Portrait], titles: Mapping[str, str], names: Mapping[str, str], wanted: PortraitList
) -> None:
    """Show portraits under a heading for each order, which says when it was made, what of and of whom."""
    for order, group in groupby(portraits, lambda each: each.order or each.job):
        of_order = list(group)
        styles = dict.fromkeys(style_titles.display_name(each.style, dict(titles)) for each in of_order)
        people = dict.fromkeys(name for each in of_order for name in cards.people_of(each, names))
        st.subheader(markdown.plain(widgets.time_ago(of_order[0].created)), anchor=False)
        told = [widgets.format_list(list(styles)), *([widgets.format_list(list(people))] if len(names) > 1 else [])]
        with st.container(horizontal=True, vertical_alignment="center"):
            st.html(widgets.muted(" · ".join([*told, translate("results.count", count=len(of_order))])))
            address = page_address("results", **replace(wanted, order=order, shown=PAGE).query)
            st.html(
                f'<a class="p-only" href="{escape(address)}" target="_self">{escape(translate("results.only_order"))}</a>'
            )
        cards.show_cards(of_order, titles, names, wanted)


def _more_button(found: schemas.PortraitPage, wanted: PortraitList) -> None:
    shown = len(found.items)
    if found.total <= shown:
        return
    if shown >= MAX_SHOWN:
        widgets.muted_text(translate("results.too_many", count=shown))
    elif st.button(translate("results.more", count=min(PAGE, found.total - shown)), width="stretch"):
        set_query(shown=str(shown + PAGE))
        st.rerun()


def _show_empty(wanted: PortraitList, names: Mapping[str, str]) -> None:
    """Say why nothing is shown, with the way to where there is something."""
    name = names.get(wanted.person, "")
    if wanted.favourites:
        st.info(translate("results.no_favourites"), icon=":material/portrait:")
    elif name and len(names) > 1:
        st.info(markdown.sentence("results.nothing_of", name=name), icon=":material/portrait:")
        _everybody_button()
    else:
        st.info(translate("results.nothing"), icon=":material/portrait:")
    if not wanted.favourites and st.button(translate("results.to_create"), type="primary"):
        switch_page("create")


def _everybody_button() -> None:
    if st.button(translate("results.show_everybody")):
        set_query(person="", order="", shown="")
        st.rerun()
