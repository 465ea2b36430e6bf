"""The form of a style's draft: fields by kind of style; content without a field stays as it is."""

from collections.abc import Mapping, Sequence
from typing import Any, get_args

import streamlit as st

from app.components import errors, style_titles, widgets
from app.operators.styles import draft_edits, labels
from app.operators.styles.draft_edits import DraftEdits
from app.operators.styles.fields import Fields, Row
from app.session import client, get_state, release_upload, set_state, translate, translate_or
from app.words import translation
from tasks import schemas
from tasks.schemas.jobs import StrongAdapter

TAGS = ("business", "creative", "document", "dramatic", "friendly", "fun", "outdoors")
ASPECTS = ("4:5", "3:4", "2:3", "1:1", "3:2", "4:3", "16:9", "9:16")
REFINERS = ("fuse", "swap", "skin", "tone", "classic", "restoreformer", "upscale2", "upscale4")
STRENGTHS = (*(name for name in get_args(StrongAdapter) if not name.startswith("photomaker")), "identitynet")
"""Strengths that a style is given; PhotoMaker's in a style is its merge step, which has a field of its own."""
COMPOSITIONS = ("half_figure", "head_and_shoulders", "close", "very_close")
SKINS = ("person", "template")
GROUPS = ("backdrop", "place", "picture", "idphoto", "words")
ENGINES = ("studio", "fusion", "diffusion")
PASSES = ("face", "tone", "fusion", "ring", "seam")
PICTURES = ["jpg", "jpeg", "png", "webp"]
_MAX_PROMPT = 4000
"""Characters, as in the style's schema."""


def show_fields(fields: Fields, style: schemas.OperatorStyle) -> dict[str, Any]:
    """Show all fields of a draft; returns their values by name."""
    kind = str(fields.edits.original["kind"])
    values: dict[str, Any] = {}
    with st.container(border=True, key="style-names"):
        values |= _name_fields(fields)
    with st.container(border=True, key="style-look"):
        st.html(widgets.card_title(translate("style_form.look")))
        if kind == "studio":
            values |= _studio_fields(fields, style)
        elif kind == "idphoto":
            values |= _id_photo_fields(fields)
        elif kind == "template":
            values |= _template_fields(fields, style)
        else:
            values |= _text_fields(fields)
        if kind != "idphoto":
            values |= _finish_fields(fields)
    with st.container(border=True, key="style-order"):
        values |= _terms_fields(fields)
    return values


def _name_fields(fields: Fields) -> dict[str, Any]:
    """The title in each language."""
    st.html(widgets.card_title(translate("style_form.names")))
    left, right = st.columns(2)
    with left:
        title = fields.text("title", 80)
    titles: Mapping[str, str] = fields.value("titles") or {}
    ours = [code for code in translation.LANGUAGES if code != "en"]
    values: dict[str, str] = {}
    with right:
        for code in ours:
            label, key = translate(f"style_form.title_{code}"), fields.state_key(f"title-{code}", titles.get(code, ""))
            values[code] = st.text_input(label, max_chars=80, key=key) or ""

    def draw(key: str, row: Row) -> Row | None:
        one, two = st.columns([1, 3])
        code = fields.cell(one, translate("style_form.language"), f"{key}-code", row.get("code", ""))
        name = fields.cell(two, translate("style_form.title_there"), f"{key}-name", row.get("name", ""))
        return {"code": code, "name": name} if code and name else None

    others = [{"code": code, "name": name} for code, name in titles.items() if code not in ours]
    with st.expander(translate("style_form.other_languages"), expanded=bool(others)):
        rows = fields.rows("titles", others, draw, 20)
    named = {code: name for code, name in values.items() if name}
    return {"title": title, "titles": named | {row["code"]: row["name"] for row in rows}}


def _studio_fields(fields: Fields, style: schemas.OperatorStyle) -> dict[str, Any]:
    """The backdrop, and how much of a person is shown before it."""
    backdrop = fields.backdrop(values_in_use("backdrop"))
    painted = {"backdrop": backdrop, "picture": None, "blur": 0.0}
    values = _backdrop_picture(fields, style) if backdrop is None else painted
    compositions = fields.multiselect(
        "compositions", COMPOSITIONS, lambda each: translate_or(f"composition.{each}", each)
    )
    return {**values, "compositions": compositions}


def _backdrop_picture(fields: Fields, style: schemas.OperatorStyle) -> dict[str, Any]:
    """The picture that is the backdrop and its blur; the backdrop of before stays until there is a picture."""
    there = fields.edits.original.get("picture")
    left, right = st.columns([1, 1])
    with left:
        _show_picture(style)
    with right:
        _upload_picture(fields.edits, "style_help.backdrop_picture")
        fields.show_messages("picture")
        blur = fields.slider("blur") if there else 0.0
    return {"backdrop": "" if there else fields.edits.original["backdrop"], "picture": there, "blur": blur}


def _id_photo_fields(fields: Fields) -> dict[str, Any]:
    """The preset and the background."""
    left, right = st.columns(2)
    with left:
        titles = preset_titles()
        preset = fields.choice("preset", sorted(titles), lambda each: titles.get(each, each))
    with right:
        background = fields.text("background", 40)
    return {"preset": preset, "background": background}


def preset_titles() -> dict[str, str]:
    """The titles of all presets of ID photos by id, with the id of those that share one."""
    known: dict[str, str] | None = get_state("presets")
    if known is None:
        known = {each.id: f"{each.title} · {each.id}" for each in client().idphoto_presets().presets}
        set_state("presets", known)
    return known


def values_in_use(field: str) -> list[str]:
    """The values that styles of this installation have in a field, sorted."""
    known = get_state(f"used-{field}")
    if known is None:
        values = {str(each.content.get(field) or "") for each in client().operator_styles()}
        known = sorted(values - {""})
        set_state(f"used-{field}", known)
    return known


def _template_fields(fields: Fields, style: schemas.OperatorStyle) -> dict[str, Any]:
    """The picture and its faces, and how a diffusion model draws into it."""
    left, right = st.columns([1, 1])
    with left:
        _show_picture(style)
    with right:
        _upload_picture(fields.edits, "style_help.picture")
        fields.show_messages("picture")
        faces = {"faces": fields.number("faces", 1, 16), "skin": fields.select("skin", SKINS)}
    with st.expander(translate("style_form.by_model")):
        widgets.muted_text(translate("style_form.by_model_help"))
        values = {**faces, **_text_fields(fields), "passes": _pass_fields(fields)}
        return values | {"engines": fields.multiselect("engines", ENGINES)}


def _show_picture(style: schemas.OperatorStyle) -> None:
    """The draft's picture, where it has one."""
    if style.draft is not None and style.draft.picture:
        alt = translate("style_form.picture_alt", style=style_titles.localized_title(style))
        st.html(widgets.picture(labels.draft_picture_url(style.id, style.draft, widgets.LARGE), alt, "whole"))


def _upload_picture(edits: DraftEdits, help_key: str) -> None:
    """Upload another picture at once; the other fields keep their values."""
    batch = get_state("upload_form", 0)
    label, help = translate("style_field.picture"), translate(help_key)
    file = st.file_uploader(label, PICTURES, key=f"picture-{edits.style}-{batch}", help=help)
    if file is None:
        return
    try:
        with errors.show_errors():
            style = client().set_style_picture(edits.style, file.name, file, edits.edition)
            if style.draft is not None:
                draft_edits.rebase(edits, style.draft)
            set_state("upload_form", batch + 1)
            st.rerun()
    finally:
        release_upload(file)


def _pass_fields(fields: Fields) -> Mapping[str, Any] | None:
    """The strength of each pass; None for the default ones."""
    now: Mapping[str, Any] | None = fields.value("passes") or None
    enabled = st.toggle(translate("style_form.own_passes"), key=fields.state_key("passes", now is not None))
    fields.show_messages("passes")
    if not enabled:
        return None
    strengths = {"face": 0.45, "tone": 1.0, "fusion": 0.5, "ring": 0.35, "seam": 0.3}
    defaults: dict[str, Any] = {**strengths, "controls": {}, "needs": ["canny"]}
    values = dict(now or defaults)
    for name in PASSES:
        key = fields.state_key(f"passes-{name}", float(values.get(name, defaults[name])))
        values[name] = float(st.slider(translate(f"style_pass.{name}"), 0.0, 1.0, step=0.05, key=key))
    return values


def _text_fields(fields: Fields) -> dict[str, Any]:
    """The prompts, their traits, and the model's families, bases, strengths and LoRAs."""
    values: dict[str, Any] = {name: fields.text_area(name, _MAX_PROMPT) for name in ("prompt", "sentence", "negative")}
    st.html(widgets.card_title(translate("style_field.traits")) + widgets.muted(translate("style_help.traits")))
    traits = [{"name": name, **trait} for name, trait in (fields.value("traits") or {}).items()]
    rows = fields.rows("traits", traits, lambda key, row: _trait_row(fields, key, row), 16)
    values["traits"] = {row["name"]: {"default": row["default"], "choices": row["choices"]} for row in rows}
    left, right = st.columns(2)
    with left:
        values["families"] = fields.multiselect("families", _families(), _family_label)
    with right:
        values["bases"] = fields.multiselect("bases", ())
    st.html(widgets.card_title(translate("style_field.strengths")) + widgets.muted(translate("style_help.strengths")))
    strengths = [{"name": name, "strength": value} for name, value in (fields.value("strengths") or {}).items()]
    found = fields.rows("strengths", strengths, lambda key, row: _strength_row(fields, key, row, STRENGTHS, 2.0), 12)
    values["strengths"] = {row["name"]: row["strength"] for row in found}
    values["start_merge_step"] = fields.optional_share("start_merge_step")
    st.html(widgets.card_title(translate("style_field.loras")))
    values["loras"] = fields.rows("loras", fields.value("loras") or [], lambda key, row: _lora_row(fields, key, row), 4)
    return values


def _families() -> list[str]:
    """The families of the bases that are known here."""
    known: list[str] | None = get_state("families")
    if known is None:
        known = sorted({each.family for each in client().abilities()} - {""})
        set_state("families", known)
    return known


def _family_label(family: str) -> str:
    return translate_or(f"model_family.{family}", family)


def _trait_row(fields: Fields, key: str, row: Row) -> Row | None:
    """A placeholder of the prompt with its default and its choices."""
    one, two, three = st.columns([2, 2, 4])
    name = fields.cell(one, translate("style_form.trait_name"), f"{key}-name", row.get("name", ""))
    default = fields.cell(two, translate("style_form.trait_default"), f"{key}-default", row.get("default", ""))
    first = [str(each) for each in row.get("choices", [])]
    choices = three.multiselect(
        translate("style_form.trait_choices"),
        first,
        key=fields.state_key(f"{key}-choices", first),
        placeholder=translate("style_form.type"),
        accept_new_options=True,
    )
    return {"name": name, "default": default, "choices": list(choices)} if name else None


def _strength_row(fields: Fields, key: str, row: Row, names: Sequence[str], max_value: float) -> Row | None:
    """A name with its strength of 0..`max_value`."""
    one, two = st.columns([3, 2])
    now = row.get("name")
    name = one.selectbox(
        translate("style_form.step"),
        list(dict.fromkeys([*names, *([now] if now else [])])),
        key=fields.state_key(f"{key}-name", now),
        format_func=_step_label,
        index=None,
        placeholder=translate("style_form.choose"),
        accept_new_options=True,
    )
    strength = fields.strength(two, key, row.get("strength", 1.0), max_value)
    return {"name": name, "strength": strength} if name else None


def _step_label(name: str) -> str:
    """The label of a refiner or of an identity adapter."""
    return translate_or(f"style_step.{name}", translate_or(f"way.{name}", name))


def _lora_row(fields: Fields, key: str, row: Row) -> Row | None:
    """A LoRA of the model store, with its strength and its base; its source and block weights stay as they are."""
    one, two, three = st.columns([3, 1, 2])
    model = fields.cell(one, translate("style_form.lora"), f"{key}-model", row.get("model", ""))
    strength = fields.strength(two, key, row.get("strength", 0.6), 2.0)
    base = fields.cell(three, translate("style_form.lora_base"), f"{key}-base", row.get("base", ""))
    kept = {name: row[name] for name in ("source", "blocks") if row.get(name)}
    return {"model": model, "strength": strength, "base": base, **kept} if model else None


def _finish_fields(fields: Fields) -> dict[str, Any]:
    """Retouching, aspect ratios and refiners."""
    left, right = st.columns(2)
    with left:
        retouch = fields.slider("retouch")
    with right:
        aspects = fields.multiselect("aspects", ASPECTS)
    st.html(widgets.card_title(translate("style_field.refiners")))
    refiners = fields.value("refiners") or []
    steps = fields.rows("refiners", refiners, lambda key, row: _strength_row(fields, key, row, REFINERS, 1.0), 8)
    return {"retouch": retouch, "aspects": aspects, "refiners": steps}


def _group_name(group: str) -> str:
    return translate(f"group.{group}") if group else translate("style_form.by_kind")


def _terms_fields(fields: Fields) -> dict[str, Any]:
    """Licence, author and credit, and the mood and tags by which the style is found."""
    st.html(widgets.card_title(translate("style_form.terms")))
    values: dict[str, Any] = {}
    left, right = st.columns(2)
    with left:
        values["licence"] = fields.text("licence")
        values["author"] = fields.text("author", 120)
        values["mood"] = fields.text("mood", 60)
    with right:
        values["credit"] = fields.text("credit")
        values["group"] = fields.choice("group", ("", *GROUPS), _group_name)
        values["tags"] = fields.multiselect("tags", TAGS, lambda each: translate_or(f"tag.{each}", each))
    carried = fields.value("carried")
    if carried:
        with st.expander(translate("style_form.carried")):
            widgets.muted_text(translate("style_form.carried_help"))
            st.json(carried)
    return values
