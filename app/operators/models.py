"""The operators' page of models: which are here and how large, their licences, and the commands that download others."""

import streamlit as st

from app.components import errors, widgets
from app.session import client, query, set_query, translate, translate_or
from tasks import schemas

STATES = ("all", "here", "missing")
_TERMS_VARIANTS = {"yes": "good", "no": "poor", "ask": "fair"}
_MEGA = 1_000_000


def page() -> None:
    """Show the models, those of every installation first, as the filters of the address leave them."""
    widgets.operator_heading("models")
    models = client().models()
    here = [each for each in models if each.ready]
    size = sum(each.bytes for each in here)
    widgets.muted_text(translate("models.total", count=len(here), total=len(models), size=_size(size)))
    state, words = _filters()
    visible = [each for each in models if (state == "all" or each.ready == (state == "here")) and _matches(each, words)]
    for name in ("embedded", "others"):
        group = [each for each in visible if each.embedded == (name == "embedded")]
        if group:
            st.subheader(translate(f"models.{name}"), anchor=False)
            widgets.cards(group, _show_model, lambda model: f"model-{model.name}")
    if not visible:
        st.info(translate("models.nothing"), icon=":material/deployed_code:")


def _filters() -> tuple[str, str]:
    """Fields for state and text; their values go into the address."""
    left, right = st.columns([2, 1], vertical_alignment="bottom")
    state = left.segmented_control(
        translate("models.filter"),
        STATES,
        format_func=lambda each: translate(f"models.{each}"),
        default=query("state") if query("state") in STATES else "all",
        required=True,
        key="models-shown",
    )
    words = right.text_input(translate("models.search"), query("search"), key="models-search").strip()
    set_query(state="" if state == "all" else state or "", search=words)
    return state or "all", words.casefold()


def _matches(model: schemas.ModelStatus, words: str) -> bool:
    texts = (model.name, model.purpose, _purpose(model), model.licence)
    return not words or any(words in each.casefold() for each in texts)


def _purpose(model: schemas.ModelStatus) -> str:
    return errors.sentence(model.purpose)


def _show_model(model: schemas.ModelStatus) -> None:
    key, variant = ("here", "good") if model.ready else ("missing", "fair")
    state = widgets.chip(translate(f"models.{key}"), variant)
    use = model.commercial
    terms = widgets.chip(translate_or(f"terms.{use}", use), _TERMS_VARIANTS.get(use, "plain"))
    size = _size(model.bytes) if model.bytes else translate("models.size_unknown")
    st.html(
        widgets.card_title(model.name)
        + widgets.muted(_purpose(model))
        + widgets.row(state, terms, widgets.chip(size))
        + widgets.muted(translate("models.licence", licence=model.licence))
    )
    if model.page.startswith("https://"):
        st.link_button(translate("models.page"), model.page, width="stretch")
    if not model.ready:
        st.code(translate("models.pull", name=model.name), language=None, wrap_lines=True)


def _size(bytes: int) -> str:
    return f"{bytes / _MEGA / 1000:.1f} GB" if bytes >= 1000 * _MEGA else f"{max(1, round(bytes / _MEGA))} MB"
