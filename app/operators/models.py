"""The operators' page of models: which are here, their licences, and the commands that download the missing ones."""

import streamlit as st

from app.components import widgets
from app.session import client, translate, translate_or
from tasks import schemas

_TERMS_VARIANTS = {"yes": "good", "no": "poor", "ask": "fair"}


def page() -> None:
    """Show the models, filtered by whether their files are here."""
    widgets.operator_heading("models")
    models = client().models()
    state_filter = st.segmented_control(
        translate("models.filter"),
        ("all", "here", "missing"),
        format_func=lambda each: translate(f"models.{each}"),
        default="all",
        required=True,
        key="models-shown",
    )
    visible = [each for each in models if state_filter == "all" or each.ready == (state_filter == "here")]
    widgets.cards(visible, _show_model, lambda model: f"model-{model.name}")


def _show_model(model: schemas.ModelStatus) -> None:
    key, variant = ("here", "good") if model.ready else ("missing", "fair")
    state = widgets.chip(translate(f"models.{key}"), variant)
    use = model.commercial
    terms = widgets.chip(translate_or(f"terms.{use}", use), _TERMS_VARIANTS.get(use, "plain"))
    st.html(
        widgets.card_title(model.name)
        + widgets.muted(model.purpose)
        + widgets.row(state, terms)
        + widgets.muted(translate("models.licence", licence=model.licence))
    )
    if not model.ready:
        st.code(translate("models.pull", name=model.name), language=None, wrap_lines=True)
