"""The operators' page of quality: likeness, favourites and failures by style, waiting and running times by kind of job."""

import gc
from collections.abc import Mapping
from functools import cache
from typing import Any

import streamlit as st

from app.components import style_titles, widgets
from app.session import client, query, set_query, translate
from portrait.numbers import read_integer

Rows = Mapping[str, tuple[float, float]]
DAYS = (1, 7, 30, 0)
"""Days of which the statistics may be; 0 is all that is kept."""
COLORS = ("#3f8f7d", "#c9a45c")
"""Of the first and second series of every chart; both can be seen in the light and in the dark theme."""


def page() -> None:
    """Show the charts of the chosen days, each with its numbers as a list."""
    widgets.operator_heading("quality")
    statistics = client().statistics(_days())
    if not statistics.styles and not statistics.times:
        st.info(translate("quality.nothing"), icon=":material/insights:")
        return
    titles = style_titles.titles_of_styles()
    styles = [(style_titles.display_name(each.style, titles), each) for each in statistics.styles]
    kinds = [(translate(f"kind.{each.kind}"), each) for each in statistics.times]
    measured = [(name, each) for name, each in styles if each.likeness_median is not None]
    charts: dict[str, tuple[Rows, str, str]] = {
        "likeness": (
            {name: (each.likeness_median or 0.0, each.likeness_worst_tenth or 0.0) for name, each in measured},
            "median",
            "worst",
        ),
        "favourites": (
            {name: (float(each.portraits), float(each.favourites)) for name, each in styles},
            "drawn",
            "hearts",
        ),
        "failures": (
            {name: (float(each.portraits), float(each.failures)) for name, each in styles if each.failures},
            "drawn",
            "failed",
        ),
        "waits": ({name: (each.wait_median, each.wait_p90) for name, each in kinds}, "median", "ninetieth"),
        "runs": ({name: (each.run_median, each.run_p90) for name, each in kinds}, "median", "ninetieth"),
    }
    widgets.cards(charts, lambda name: _show_chart(name, *charts[name]), lambda name: f"chart-{name}", width=320)
    _keep_imports()


@cache
def _keep_imports() -> None:
    """Leave pandas and Altair, which came with a chart, out of the collection of garbage after each run: 35 ms of it."""
    gc.collect()
    gc.freeze()


def _days() -> int:
    """The days that are chosen, which the address keeps."""
    given = read_integer(query("days"))
    days = st.segmented_control(
        translate("quality.days"),
        DAYS,
        default=given if given in DAYS else 0,
        required=True,
        format_func=lambda each: translate("quality.last", count=each) if each else translate("quality.all_days"),
        key="quality-days",
    )
    set_query(days=str(days) if days else "")
    return days or 0


def _show_chart(key: str, rows: Rows, first: str, second: str) -> None:
    """Show a bar chart of two series by name, and its numbers as a list for those who cannot see it."""
    series = (translate(f"quality.{first}"), translate(f"quality.{second}"))
    st.html(widgets.card_title(translate(f"quality.{key}")))
    if not rows:
        widgets.muted_text(translate("quality.none"))
        return
    what = translate("quality.what")
    data: dict[str, Any] = {what: list(rows)}
    data |= {name: [round(values[at], 3) for values in rows.values()] for at, name in enumerate(series)}
    st.bar_chart(
        data,
        x=what,
        y=list(series),
        color=list(COLORS),
        horizontal=True,
        stack=False,
        x_label="",
        y_label="",
        height=90 + 44 * len(rows),
    )
    lines = [f"{label}: {series[0]} {one:.2f}, {series[1]} {two:.2f}" for label, (one, two) in rows.items()]
    with st.expander(translate("quality.figures")):
        st.html(widgets.bullet_list(lines))
