"""The list of all styles, drafts, published, retired and built in, with their statistics."""

from collections.abc import Sequence

import streamlit as st

from app.components import markdown, style_titles, widgets
from app.operators.styles import add, labels
from app.session import client, switch_page, translate, translate_or
from tasks import schemas

STATES: tuple[schemas.StyleStatus, ...] = ("draft", "published", "retired", "built-in")
KINDS = ("studio", "template", "text", "idphoto")
PAGE = 24
"""Styles shown at once."""


def page() -> None:
    """Show the forms that add styles, and styles as cards: drafts first, built-in ones last."""
    widgets.operator_heading("styles")
    add.show_import()
    states, kind, query = _filters()
    found = [each for each in client().operator_styles(status=states, kind=kind) if _matches(each, query)]
    if not found:
        st.info(translate("styles.nothing"), icon=":material/style:")
        return
    ready = {each.id: each.ready for each in client().styles()}
    statistics = {each.style: each for each in client().statistics().styles}
    found.sort(key=lambda each: (min(STATES.index(state) for state in each.status), each.id))
    st.html(widgets.muted(translate("styles.count", count=len(found))))
    pages = -(-len(found) // PAGE)
    number = st.pagination(pages, key="styles-page") if pages > 1 else 1

    def show(style: schemas.OperatorStyle) -> None:
        _show_card(style, ready.get(style.id, True), statistics.get(style.id))

    widgets.cards(found[(number - 1) * PAGE : number * PAGE], show, lambda style: f"listed-{style.id}", 4, 160)


def _filters() -> tuple[Sequence[schemas.StyleStatus], str, str]:
    """Fields for states, kind and text; returns their values."""
    left, middle, right = st.columns([4, 5, 3])
    states = left.pills(
        translate("styles.states"),
        STATES,
        selection_mode="multi",
        format_func=lambda each: translate(f"style_state.{each}"),
        key="style-states",
    )
    kind = middle.pills(
        translate("styles.kinds"), KINDS, format_func=lambda each: translate(f"style_kind.{each}"), key="style-kind"
    )
    query = right.text_input(translate("styles.search"), key="style-search")
    return states, kind or "", query.strip().casefold()


def _matches(style: schemas.OperatorStyle, query: str) -> bool:
    """Whether a style's id, titles or tags contain the text."""
    texts = (style.id, style.title, *style.titles.values(), *style.tags)
    return not query or any(query in each.casefold() for each in texts)


def _show_card(style: schemas.OperatorStyle, ready: bool, statistics: schemas.StyleStatistics | None) -> None:
    name = style_titles.localized_title(style)
    chips = labels.state_chips(style)
    if style.draft is not None:
        chips.append(labels.findings_chip(style.draft.findings))
    if not ready:
        chips.append(widgets.chip(translate("styles.not_ready"), "fair"))
    facts = [translate_or(f"style_kind.{style.kind}", style.kind)]
    if style.offered is not None:
        facts.append(translate("styles.version", version=style.offered))
    if statistics is not None:
        facts.append(translate("style_board.portraits", count=statistics.portraits))
        if statistics.likeness_median is not None:
            facts.append(translate("style_board.distance", distance=f"{statistics.likeness_median:.2f}"))
    st.html(
        widgets.picture(labels.picture_url(style), translate("create.style_alt", style=name), "tall", grey=not ready)
        + widgets.card_title(name)
        + widgets.row(*chips)
        + widgets.muted("\u00a0· ".join(facts))
    )
    if st.button(translate("styles.open"), key=f"open-{style.id}", help=markdown.plain(name), width="stretch"):
        switch_page("style", id=style.id)
