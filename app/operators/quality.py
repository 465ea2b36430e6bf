"""The operators' page of quality: likeness and favourites by style, waiting and running times by kind of job."""

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from app.components import style_titles, widgets
from app.session import client, translate
from tasks import schemas


def page() -> None:
    """Show four charts, each with its numbers as a list."""
    widgets.operator_heading("quality")
    statistics = client().statistics()
    if not statistics.styles and not statistics.times:
        st.info(translate("quality.nothing"), icon=":material/insights:")
        return
    grid = st.grid("auto", min_column_width=320)
    titles = style_titles.localized_titles()
    with grid.cell(), st.container(border=True, height="stretch", key="chart-likeness"):
        _likeness_chart(statistics.styles, titles)
    with grid.cell(), st.container(border=True, height="stretch", key="chart-favourites"):
        _favourites_chart(statistics.styles, titles)
    with grid.cell(), st.container(border=True, height="stretch", key="chart-waits"):
        _times_chart(statistics.times, "waits")
    with grid.cell(), st.container(border=True, height="stretch", key="chart-runs"):
        _times_chart(statistics.times, "runs")


def _likeness_chart(styles: Sequence[schemas.StyleStatistics], titles: dict[str, str]) -> None:
    named = [
        (style_titles.display_name(each.style, titles), each) for each in styles if each.likeness_median is not None
    ]
    rows = {name: (each.likeness_median or 0.0, each.likeness_worst_tenth or 0.0) for name, each in named}
    _show_chart(translate("quality.likeness"), rows, (translate("quality.median"), translate("quality.worst")))


def _favourites_chart(styles: Sequence[schemas.StyleStatistics], titles: dict[str, str]) -> None:
    rows = {
        style_titles.display_name(each.style, titles): (float(each.portraits), float(each.favourites))
        for each in styles
    }
    _show_chart(translate("quality.favourites"), rows, (translate("quality.drawn"), translate("quality.hearts")))


def _times_chart(times: Sequence[schemas.JobTimes], measure: str) -> None:
    if measure == "waits":
        rows = {translate(f"kind.{each.kind}"): (each.wait_median, each.wait_p90) for each in times}
    else:
        rows = {translate(f"kind.{each.kind}"): (each.run_median, each.run_p90) for each in times}
    _show_chart(translate(f"quality.{measure}"), rows, (translate("quality.median"), translate("quality.ninetieth")))


def _show_chart(name: str, rows: Mapping[str, tuple[float, float]], series: tuple[str, str]) -> None:
    """Show a bar chart of two series by name, and its numbers as a list for those who cannot see it."""
    st.html(widgets.card_title(name))
    if not rows:
        widgets.muted_text(translate("quality.none"))
        return
    data: dict[str, Any] = {
        translate("quality.what"): [label for label in rows for _ in series],
        translate("quality.which"): [each for _ in rows for each in series],
        translate("quality.value"): [round(value, 3) for values in rows.values() for value in values],
    }
    x, colour, y = data
    st.bar_chart(
        data, x=x, y=y, color=colour, horizontal=True, stack=False, x_label="", y_label="", height=90 + 44 * len(rows)
    )
    with st.expander(translate("quality.figures")):
        st.html(
            widgets.bullet_list(
                [
                    f"{label}: {series[0]} {first:.2f}, {series[1]} {second:.2f}"
                    for label, (first, second) in rows.items()
                ]
            )
        )
