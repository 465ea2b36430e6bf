"""For operators: the models there are, on what terms, and the command that brings the missing ones."""

import streamlit as st

from app.components import widgets
from app.session import client, say, say_or
from tasks import schemas

_TERMS = {"yes": "good", "no": "poor", "ask": "fair"}


def page() -> None:
    """Models: here or missing."""
    widgets.office_heading("models")
    models = client().models()
    shown = st.segmented_control(
        say("models.filter"),
        ("all", "here", "missing"),
        format_func=lambda each: say(f"models.{each}"),
        default="all",
        required=True,
        key="models-shown",
    )
    wanted = [each for each in models if shown == "all" or each.ready == (shown == "here")]
    grid = st.grid("auto", min_column_width=300)
    for model in wanted:
        with grid.cell(), st.container(border=True, height="stretch", key=f"model-{model.name}"):
            _model(model)


def _model(model: schemas.ModelStatus) -> None:
    state = widgets.chip(
        say("models.here") if model.ready else say("models.missing"), "good" if model.ready else "fair"
    )
    terms = widgets.chip(say_or(f"terms.{model.commercial}", model.commercial), _TERMS.get(model.commercial, "plain"))
    st.html(
        widgets.title(model.name)
        + widgets.small(model.purpose)
        + widgets.row(state, terms)
        + widgets.small(say("models.licence", licence=model.licence))
    )
    if not model.ready:
        st.code(say("models.pull", name=model.name), language=None, wrap_lines=True)
