"""The operators' page of models: which are here, their licences, and how others come; models of one's own come and go here."""

from collections.abc import Sequence

import streamlit as st
from pydantic import ValidationError

from app.components import errors, markdown, widgets
from app.session import client, query, set_query, translate, translate_or
from tasks import schemas

STATES = ("all", "here", "missing")
KINDS: tuple[schemas.ModelKind, ...] = (
    "lora",
    "base",
    "vae",
    "controlnet",
    "ip-adapter",
    "embedding",
    "upscaler",
)
COMMERCIAL = ("yes", "no", "ask")
GROUPS = ("own", "embedded", "others")
_TERMS_VARIANTS = {"yes": "good", "no": "poor", "ask": "fair"}
_MEGA = 1_000_000
_REFRESH_SECONDS = 2


def page() -> None:
    """Show the models, own ones first, as the filters of the address leave them; and the form that adds one."""
    widgets.operator_heading("models")
    models = client().models()
    here = [each for each in models if each.ready]
    size = sum(each.bytes for each in here)
    widgets.muted_text(translate("models.total", count=len(here), total=len(models), size=_size(size)))
    widgets.muted_text(translate(f"models.profile_{client().profile()}"))
    _show_form(sorted({"", *(each.family for each in models)}))  # empty: not known
    if any(each.addition for each in models):
        _show_additions()
    state, words = _filters()
    known = [each for each in models if each.state != "missing" or not (each.own and each.addition)]
    visible = [each for each in known if (state == "all" or each.ready == (state == "here")) and _matches(each, words)]
    for name in GROUPS:
        group = [each for each in visible if _group(each) == name]
        if group:
            st.subheader(translate(f"models.{name}"), anchor=False)
            widgets.cards(group, _show_model, lambda model: f"model-{model.name}")
    if not visible:
        st.info(translate("models.nothing"), icon=":material/deployed_code:")


def _group(model: schemas.ModelStatus) -> str:
    return "own" if model.own else "embedded" if model.embedded else "others"


def _show_form(families: Sequence[str]) -> None:
    """The form that adds a model of one's own, for one of these families, or puts another in its place."""
    with st.expander(translate("models.add"), icon=":material/add:"), st.form("model-add", border=False):
        widgets.muted_text(translate("models.add_help"))
        left, right = st.columns(2)
        name = left.text_input(translate("models.name"), max_chars=60, help=translate("models.name_help"))
        kind = right.selectbox(translate("models.kind"), KINDS, format_func=_kind)
        source = st.text_input(translate("models.source"), max_chars=2000, help=translate("models.source_help"))
        left, right = st.columns(2)
        licence = left.text_input(translate("models.terms"), max_chars=200, help=translate("models.terms_help"))
        use = right.segmented_control(
            translate("models.commercial"),
            COMMERCIAL,
            default="ask",
            required=True,
            format_func=lambda each: translate(f"terms.{each}"),
        )
        family = left.selectbox(
            translate("models.family"), families, format_func=_family, help=translate("models.family_help")
        )
        note = right.text_input(translate("models.note"), max_chars=500)
        replacing = st.checkbox(translate("models.replace"), help=translate("models.replace_help"))
        sent = st.form_submit_button(translate("models.send"), type="primary", icon=":material/download:")
    if sent:
        _send({"name": name, "kind": kind, "source": source.strip(), "licence": licence, "commercial": use or "ask",
               "family": family, "note": note, "replace": replacing})  # fmt: skip


def _send(fields: dict[str, object]) -> None:
    try:
        order = schemas.ModelRequest.model_validate(fields)
    except ValidationError as error:
        wrong = {str(each["loc"][0]) for each in error.errors()}
        for name in ("name", "source", "licence"):
            if name in wrong:
                st.warning(translate(f"models.need_{name}"))
        return
    errors.attempt(lambda: client().add_model(order))


@st.fragment(run_every=_REFRESH_SECONDS)
def _show_additions() -> None:
    """How far each model is that is being added, and why others could not be."""
    with errors.show_errors_in_fragment():
        models = [each for each in client().models() if each.addition]
        if not models:
            st.rerun()
        for model in models:
            if model.addition:
                _show_addition(model.name, model.addition)


def _show_addition(name: str, addition: schemas.ModelAddition) -> None:
    with st.container(border=True, key=f"adding-{name}"):
        title = translate(f"models.{addition.state}", name=name)
        if addition.state == "running":
            of = {"done": _size(addition.done), "total": _size(addition.total)}
            text = translate("models.progress", **of) if addition.total else ""
            st.progress(min(1.0, addition.done / addition.total) if addition.total else 0.0, text=f"{title} {text}")
        else:
            st.html(widgets.card_title(title) + widgets.muted(_why(addition)))
        label = "stop" if addition.state == "running" else "dismiss"
        act = errors.as_callback(lambda: client().remove_model(name))
        st.button(translate(f"models.{label}"), key=f"model-{label}-{name}", on_click=act)


def _why(addition: schemas.ModelAddition) -> str:
    if not addition.message:
        return translate("models.source_of", source=addition.source)
    return f"{errors.error_message(addition.code, addition.message)} {addition.message}"


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
    texts: Sequence[str] = (model.name, model.purpose, _purpose(model), model.licence, _kind(model.kind))
    return not words or any(words in each.casefold() for each in texts)


def _purpose(model: schemas.ModelStatus) -> str:
    return errors.sentence(model.purpose)


def _kind(kind: str) -> str:
    return translate_or(f"model_kind.{kind.replace('-', '_')}", kind)


def _family(family: str) -> str:
    return translate_or(f"model_family.{family or 'any'}", family)


def _show_model(model: schemas.ModelStatus) -> None:
    key, variant = ("here", "good") if model.ready else ("missing", "fair")
    chips = [widgets.chip(translate(f"models.{key}"), variant)]
    use = model.commercial
    chips.append(widgets.chip(translate_or(f"terms.{use}", use), _TERMS_VARIANTS.get(use, "plain")))
    chips.append(widgets.chip(_size(model.bytes) if model.bytes else translate("models.size_unknown")))
    if model.kind != "network":
        chips.append(widgets.chip(" ".join(filter(None, (_kind(model.kind), model.family and _family(model.family))))))
    st.html(
        widgets.card_title(model.name)
        + widgets.muted(_purpose(model))
        + widgets.row(*chips)
        + widgets.muted(translate("models.licence", licence=model.licence))
        + (widgets.muted(model.note) if model.own and model.note else "")
        + ("" if model.allowed else widgets.muted(_instead(model)))
    )
    if model.page.startswith("https://"):
        st.link_button(translate("models.page"), model.page, width="stretch")
    if not model.ready and model.allowed:
        st.code(translate("models.pull", name=model.name), language=None, wrap_lines=True)
    if model.own and st.button(translate("models.remove"), key=f"model-remove-{model.name}", width="stretch"):
        _ask(model.name)


def _instead(model: schemas.ModelStatus) -> str:
    """That the profile refuses a model, and what takes its place."""
    if model.alternative in ("", "none"):
        return translate("models.refused")
    return translate("models.instead", names=model.alternative)


def _ask(name: str) -> None:
    title = translate("models.remove")

    @st.dialog(title)
    def confirm() -> None:
        st.write(markdown.plain(translate("models.remove_sure", name=name)))
        with st.container(horizontal=True):
            act = errors.as_callback(lambda: client().remove_model(name))
            sure = st.button(title, type="primary", key="model-sure", on_click=act)
            if sure or st.button(translate("models.cancel"), key="model-cancel"):
                st.rerun()

    confirm()


def _size(bytes: int) -> str:
    return f"{bytes / _MEGA / 1000:.1f} GB" if bytes >= 1000 * _MEGA else f"{max(1, round(bytes / _MEGA))} MB"
