"""For operators: the styles there are, whether they can be drawn here, and on what terms."""

import streamlit as st

from app import looks, widgets
from app.session import client, say, say_or
from tasks import schemas


def page() -> None:
    """Every style."""
    widgets.office_heading("styles")
    grid = st.grid(4, min_column_width=160)
    for style in client().styles():
        with grid.cell(), st.container(border=True, height="stretch", key=f"listed-{style.id}"):
            _style(style)


def _style(style: schemas.Style) -> None:
    name = looks.title_of(style)
    state = widgets.chip(
        say("styles.ready") if style.ready else say("styles.not_ready"), "good" if style.ready else "fair"
    )
    st.html(
        widgets.picture(
            widgets.source("style", style.id), say("create.style_alt", style=name), "tall", grey=not style.ready
        )
        + widgets.title(name)
        + widgets.row(state, widgets.chip(say_or(f"style_kind.{style.kind}", style.kind)))
        + widgets.small(say("styles.about", id=style.id, version=style.version, licence=style.licence))
        + (widgets.small(style.credit) if style.credit else "")
        + widgets.points(style.missing)
    )
