"""The published versions of a style: their dates and statistics, and buttons to retire them."""

import streamlit as st

from app.components import errors, widgets
from app.operators.styles import labels
from app.session import client, set_state, translate
from tasks import schemas


def show_versions(style: schemas.OperatorStyle) -> None:
    """Show the statistics of all versions together, then every version."""
    st.subheader(translate("style_versions.title"), anchor=False)
    report = client().style_report(style.id)
    statistics_by_version = {each.version: each for each in report.versions}
    if not style.versions:
        key = "style_versions.built_in" if style.built_in is not None else "style_versions.none"
        widgets.muted_text(translate(key))
    if report.total.uses or report.total.portraits:
        total = widgets.muted(" · ".join(labels.statistics_lines(report.total)))
        st.html(widgets.card_title(translate("style_versions.total")) + total)
    grid = st.grid("auto", min_column_width=300)
    for version in style.versions:
        with grid.cell(), st.container(border=True, height="stretch", key=f"version-{version.version}"):
            _show_version(style, version, statistics_by_version.pop(version.version, None))
    for statistics in statistics_by_version.values():
        with grid.cell(), st.container(border=True, height="stretch", key=f"version-{statistics.version}"):
            name = translate("styles.version", version=statistics.version)
            st.html(widgets.card_title(name) + widgets.bullet_list(labels.statistics_lines(statistics)))


def _show_version(
    style: schemas.OperatorStyle, version: schemas.StyleVersion, statistics: schemas.VersionStatistics | None
) -> None:
    name = translate("styles.version", version=version.version)
    if version.retired is not None:
        state = widgets.chip(translate("style_versions.retired", day=widgets.format_date(version.retired)))
    elif version.version == style.offered:
        state = widgets.chip(translate("style_versions.offered"), "good")
    else:
        state = widgets.chip(translate("style_versions.kept"))
    lines = labels.statistics_lines(statistics) if statistics is not None else [translate("style_board.unused")]
    picture = ""
    if version.picture:
        source = widgets.picture_url("version", f"{style.id}.{version.version}", widgets.THUMB)
        picture = widgets.picture(source, translate("style_versions.alt", version=version.version), "fit")
    st.html(
        picture
        + widgets.card_title(name)
        + widgets.row(state)
        + widgets.muted(translate("style_versions.published", day=widgets.format_date(version.published)))
        + widgets.bullet_list(lines)
    )
    if version.retired is None:
        with st.popover(translate("style_versions.retire", version=version.version), icon=":material/archive:"):
            st.write(translate("style_versions.retire_sure"))
            if st.button(translate("style_versions.retire_now"), key=f"retire-{version.version}", type="primary"):
                with errors.show_errors():
                    client().retire_style(style.id, version.version)
                    set_state("style-notice", translate("style_versions.was_retired", version=version.version))
                    st.rerun()
