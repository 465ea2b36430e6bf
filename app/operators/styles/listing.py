"""Every style of the installation: drafts, published, retired and built in, and how each does."""

from collections.abc import Mapping, Sequence

import streamlit as st

from app.components import widgets
from app.operators.styles import add, labels
from app.session import client, go, say, say_or
from tasks import schemas

STATES = ("draft", "published", "retired", "built-in")
KINDS = ("studio", "template", "text", "idphoto")
PAGE = 24
"""Styles shown at once."""


def page() -> None:
    """Styles as cards, those of the house first; what comes in stands above."""
    widgets.office_heading("styles")
    add.show()
    states, kind, words = _filters()
    found = [each for each in client().own_styles(status=states, kind=kind) if _told(each, words)]
    if not found:
        st.info(say("styles.nothing"), icon=":material/style:")
        return
    ready = {each.id: each.ready for each in client().styles()}
    figures = {each.style: each for each in client().figures().styles}
    found.sort(key=lambda each: (min(STATES.index(state) for state in each.status), each.id))
    st.html(widgets.small(say("styles.count", count=len(found))))
    pages = -(-len(found) // PAGE)
    at = st.pagination(pages, key="styles-page") if pages > 1 else 1
    _cards(found[(at - 1) * PAGE : at * PAGE], ready, figures)


def _filters() -> tuple[Sequence[schemas.StyleStatus], str, str]:
    """States, kind, and words of the title."""
    left, middle, right = st.columns([4, 5, 3])
    states = left.pills(
        say("styles.states"),
        STATES,
        selection_mode="multi",
        format_func=lambda each: say(f"style_state.{each}"),
        key="style-states",
    )
    kind = middle.pills(
        say("styles.kinds"), KINDS, format_func=lambda each: say(f"style_kind.{each}"), key="style-kind"
    )
    words = right.text_input(say("styles.search"), key="style-search")
    return states, kind or "", words.strip().casefold()


def _told(style: schemas.OwnStyle, words: str) -> bool:
    """Whether words stand in a style's names or tags."""
    return not words or any(
        words in each.casefold() for each in (style.id, style.title, *style.titles.values(), *style.tags)
    )


def _cards(
    found: Sequence[schemas.OwnStyle], ready: Mapping[str, bool], figures: Mapping[str, schemas.StyleFigures]
) -> None:
    grid = st.grid(4, min_column_width=160)
    for style in found:
        with grid.cell(), st.container(border=True, height="stretch", key=f"listed-{style.id}"):
            _card(style, ready.get(style.id, True), figures.get(style.id))


def _card(style: schemas.OwnStyle, ready: bool, figures: schemas.StyleFigures | None) -> None:
    name = labels.title(style)
    chips = labels.states(style)
    if style.draft is not None:
        chips.append(labels.faults(style.draft.findings))
    if not ready:
        chips.append(widgets.chip(say("styles.not_ready"), "fair"))
    facts = [say_or(f"style_kind.{style.kind}", style.kind)]
    if style.offered is not None:
        facts.append(say("styles.version", version=style.offered))
    if figures is not None:
        facts.append(say("style_board.portraits", count=figures.portraits))
        if figures.likeness_median is not None:
            facts.append(say("style_board.distance", distance=f"{figures.likeness_median:.2f}"))
    st.html(
        widgets.picture(labels.picture(style), say("create.style_alt", style=name), "tall", grey=not ready)
        + widgets.title(name)
        + widgets.row(*chips)
        + widgets.small("\u00a0· ".join(facts))
    )
    if st.button(say("styles.open"), key=f"open-{style.id}", help=name, width="stretch"):
        go("style", id=style.id)
