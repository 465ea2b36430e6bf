"""What was published of a style: versions with their days and figures, and taking them back."""

import streamlit as st

from app.components import errors, widgets
from app.operators.styles import labels
from app.session import client, remember, say
from tasks import schemas


def show(style: schemas.OwnStyle) -> None:
    """All of it together, then version by version."""
    st.subheader(say("style_versions.title"), anchor=False)
    report = client().style_report(style.id)
    known = {each.version: each for each in report.versions}
    if not style.versions:
        key = "style_versions.built_in" if style.built_in is not None else "style_versions.none"
        widgets.soft(say(key))
    if report.total.uses or report.total.portraits:
        st.html(widgets.title(say("style_versions.total")) + widgets.small(" · ".join(labels.figures(report.total))))
    grid = st.grid("auto", min_column_width=300)
    for version in style.versions:
        with grid.cell(), st.container(border=True, height="stretch", key=f"version-{version.version}"):
            _version(style, version, known.pop(version.version, None))
    for figures in known.values():
        with grid.cell(), st.container(border=True, height="stretch", key=f"version-{figures.version}"):
            name = say("styles.version", version=figures.version)
            st.html(widgets.title(name) + widgets.points(labels.figures(figures)))


def _version(style: schemas.OwnStyle, version: schemas.StyleVersion, figures: schemas.VersionFigures | None) -> None:
    name = say("styles.version", version=version.version)
    if version.retired is not None:
        state = widgets.chip(say("style_versions.retired", day=widgets.day(version.retired)))
    elif version.version == style.offered:
        state = widgets.chip(say("style_versions.offered"), "good")
    else:
        state = widgets.chip(say("style_versions.kept"))
    lines = labels.figures(figures) if figures is not None else [say("style_board.unused")]
    picture = ""
    if version.picture:
        source = widgets.source("version", f"{style.id}.{version.version}", widgets.THUMB)
        picture = widgets.picture(source, say("style_versions.alt", version=version.version), "fit")
    st.html(
        picture
        + widgets.title(name)
        + widgets.row(state)
        + widgets.small(say("style_versions.published", day=widgets.day(version.published)))
        + widgets.points(lines)
    )
    if version.retired is None:
        with st.popover(say("style_versions.retire", version=version.version), icon=":material/archive:"):
            st.write(say("style_versions.retire_sure"))
            if st.button(say("style_versions.retire_now"), key=f"retire-{version.version}", type="primary"):
                with errors.told():
                    client().retire_style(style.id, version.version)
                    remember("style-said", say("style_versions.was_retired", version=version.version))
                    st.rerun()
