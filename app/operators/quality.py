"""For operators: quality at a glance: likeness and favourites by style, waiting and running times by kind of job."""

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from app.components import style_titles, widgets
from app.session import client, say
from tasks import schemas


def page() -> None:
    """Four small charts, each with its figures in words below."""
    widgets.office_heading("quality")
    figures = client().figures()
    if not figures.styles and not figures.times:
        st.info(say("quality.nothing"), icon=":material/insights:")
        return
    grid = st.grid("auto", min_column_width=320)
    titles = style_titles.titles()
    with grid.cell(), st.container(border=True, height="stretch", key="chart-likeness"):
        _likeness(figures.styles, titles)
    with grid.cell(), st.container(border=True, height="stretch", key="chart-favourites"):
        _favourites(figures.styles, titles)
    with grid.cell(), st.container(border=True, height="stretch", key="chart-waits"):
        _times(figures.times, "waits")
    with grid.cell(), st.container(border=True, height="stretch", key="chart-runs"):
        _times(figures.times, "runs")


def _likeness(styles: Sequence[schemas.StyleFigures], titles: dict[str, str]) -> None:
    named = [(style_titles.name_of(each.style, titles), each) for each in styles if each.likeness_median is not None]
    rows = {name: (each.likeness_median or 0.0, each.likeness_worst_tenth or 0.0) for name, each in named}
    _chart(say("quality.likeness"), rows, (say("quality.median"), say("quality.worst")))


def _favourites(styles: Sequence[schemas.StyleFigures], titles: dict[str, str]) -> None:
    rows = {
        style_titles.name_of(each.style, titles): (float(each.portraits), float(each.favourites)) for each in styles
    }
    _chart(say("quality.favourites"), rows, (say("quality.drawn"), say("quality.hearts")))


def _times(times: Sequence[schemas.TimeFigures], what: str) -> None:
    if what == "waits":
        rows = {say(f"kind.{each.kind}"): (each.wait_median, each.wait_p90) for each in times}
    else:
        rows = {say(f"kind.{each.kind}"): (each.run_median, each.run_p90) for each in times}
    _chart(say(f"quality.{what}"), rows, (say("quality.median"), say("quality.ninetieth")))


def _chart(name: str, rows: Mapping[str, tuple[float, float]], series: tuple[str, str]) -> None:
    """Bars by name, and the same as words for whoever cannot see them."""
    st.html(widgets.title(name))
    if not rows:
        widgets.soft(say("quality.none"))
        return
    data: dict[str, Any] = {
        say("quality.what"): [label for label in rows for _ in series],
        say("quality.which"): [each for _ in rows for each in series],
        say("quality.value"): [round(value, 3) for values in rows.values() for value in values],
    }
    x, colour, y = data
    st.bar_chart(
        data, x=x, y=y, color=colour, horizontal=True, stack=False, x_label="", y_label="", height=90 + 44 * len(rows)
    )
    with st.expander(say("quality.figures")):
        st.html(
            widgets.points(
                [f"{label}: {series[0]} {one:.2f}, {series[1]} {two:.2f}" for label, (one, two) in rows.items()]
            )
        )
