"""What a style says, as fields by kind; what has no field stays as it is."""

from collections.abc import Mapping, Sequence
from typing import Any, get_args

import streamlit as st

from app.components import errors, widgets
from app.operators.styles import draft_edits as desks
from app.operators.styles import labels
from app.operators.styles.draft_edits import Desk
from app.operators.styles.fields import Fields, Row
from app.session import client, let_go, recall, remember, say, say_or
from app.words import translation
from tasks import schemas
from tasks.schemas.jobs import Way

TAGS = ("business", "creative", "document", "dramatic", "friendly", "fun", "outdoors")
ASPECTS = ("4:5", "3:4", "2:3", "1:1", "3:2", "4:3", "16:9", "9:16")
REFINERS = ("skin", "tone", "classic", "restoreformer", "upscale2", "upscale4")
STRENGTHS = (*get_args(Way), "identitynet")
FAMILIES = ("sd15", "sdxl")
ENGINES = ("studio", "fusion", "diffusion")
PASSES = ("face", "tone", "fusion", "ring", "seam")
PICTURES = ["jpg", "jpeg", "png", "webp"]
_PROMPT = 4000
"""Characters of a prompt at most, as the schema has it."""


def show(fields: Fields, style: schemas.OwnStyle) -> dict[str, Any]:
    """All fields of a draft; what they say."""
    kind = str(fields.desk.begun["kind"])
    said: dict[str, Any] = {}
    with st.container(border=True, key="style-names"):
        said |= _names(fields)
    with st.container(border=True, key="style-look"):
        st.html(widgets.title(say("style_form.look")))
        if kind == "studio":
            said |= _studio(fields)
        elif kind == "idphoto":
            said |= _id_photo(fields)
        elif kind == "template":
            said |= _template(fields, style)
        else:
            said |= _text(fields)
        if kind != "idphoto":
            said |= _after(fields)
    with st.container(border=True, key="style-order"):
        said |= _terms(fields)
    return said


def _names(fields: Fields) -> dict[str, Any]:
    """What it is called, in each language."""
    st.html(widgets.title(say("style_form.names")))
    left, right = st.columns(2)
    with left:
        title = fields.line("title", 80)
    titles: Mapping[str, str] = fields.now("titles") or {}
    ours = [code for code in translation.LANGUAGES if code != "en"]
    said: dict[str, str] = {}
    with right:
        for code in ours:
            label = say(f"style_form.title_{code}")
            said[code] = (
                st.text_input(label, max_chars=80, key=fields.held(f"title-{code}", titles.get(code, ""))) or ""
            )

    def draw(key: str, row: Row) -> Row | None:
        one, two = st.columns([1, 3])
        code = one.text_input(say("style_form.language"), key=fields.held(f"{key}-code", row.get("code", "")))
        name = two.text_input(say("style_form.title_there"), key=fields.held(f"{key}-name", row.get("name", "")))
        return {"code": code, "name": name} if code and name else None

    others = [{"code": code, "name": name} for code, name in titles.items() if code not in ours]
    with st.expander(say("style_form.other_languages"), expanded=bool(others)):
        rows = fields.rows("titles", others, draw, 20)
    named = {code: name for code, name in said.items() if name}
    return {"title": title, "titles": named | {row["code"]: row["name"] for row in rows}}


def _studio(fields: Fields) -> dict[str, Any]:
    return {"backdrop": fields.choice("backdrop", used("backdrop"))}


def _id_photo(fields: Fields) -> dict[str, Any]:
    """A rule and a background; nothing is done to the face."""
    left, right = st.columns(2)
    with left:
        preset = fields.choice("preset", used("preset"))
    with right:
        background = fields.line("background", 40)
    return {"preset": preset, "background": background}


def used(field: str) -> list[str]:
    """What the styles here say in a field that names one of several things."""
    known = recall(f"used-{field}")
    if known is None:
        said = {str(each.content.get(field) or "") for each in client().own_styles()}
        known = sorted(said - {""})
        remember(f"used-{field}", known)
    return known


def _template(fields: Fields, style: schemas.OwnStyle) -> dict[str, Any]:
    """The picture, and how a model draws into it where it is asked to."""
    left, right = st.columns([1, 1])
    with left:
        if style.draft is not None and style.draft.picture:
            alt = say("style_form.picture_alt", style=labels.title(style))
            st.html(widgets.picture(labels.hung(style.id, style.draft, widgets.LARGE), alt, "whole"))
    with right:
        _hang(fields.desk)
        fields.beside("picture")
        faces = fields.number("faces", 1, 16)
    with st.expander(say("style_form.by_model")):
        widgets.soft(say("style_form.by_model_help"))
        said = _text(fields) | {"passes": _passes(fields), "engines": fields.words("engines", ENGINES)}
    return {"faces": faces, **said}


def _hang(desk: Desk) -> None:
    """Another picture, sent on at once; what was typed stays."""
    batch = recall("hung", 0)
    file = st.file_uploader(
        say("style_field.picture"), PICTURES, key=f"picture-{desk.style}-{batch}", help=say("style_help.picture")
    )
    if file is None:
        return
    try:
        with errors.told():
            style = client().hang_picture(desk.style, file.name, file, desk.edition)
            if style.draft is not None:
                desks.carry(desk, style.draft)
            remember("hung", batch + 1)
            st.rerun()
    finally:
        let_go(file)


def _passes(fields: Fields) -> Mapping[str, Any] | None:
    """How strongly each pass draws; None leaves it to the usual."""
    now: Mapping[str, Any] | None = fields.now("passes") or None
    wished = st.toggle(say("style_form.own_passes"), key=fields.held("passes", now is not None))
    fields.beside("passes")
    if not wished:
        return None
    usual = {"face": 0.45, "tone": 1.0, "fusion": 0.5, "ring": 0.35, "seam": 0.3, "controls": {}, "needs": ["canny"]}
    said = dict(now or usual)
    for name in PASSES:
        key = fields.held(f"passes-{name}", float(said.get(name, usual[name])))
        said[name] = float(st.slider(say(f"style_pass.{name}"), 0.0, 1.0, step=0.05, key=key))
    return said


def _text(fields: Fields) -> dict[str, Any]:
    """Words for a model, what people may wish in them, and what else the model needs."""
    said: dict[str, Any] = {
        "prompt": fields.passage("prompt", _PROMPT),
        "negative": fields.passage("negative", _PROMPT),
    }
    st.html(widgets.title(say("style_field.traits")) + widgets.small(say("style_help.traits")))
    kept = [{"name": name, **trait} for name, trait in (fields.now("traits") or {}).items()]
    rows = fields.rows("traits", kept, lambda key, row: _trait(fields, key, row), 16)
    said["traits"] = {row["name"]: {"default": row["default"], "choices": row["choices"]} for row in rows}
    left, right = st.columns(2)
    with left:
        said["families"] = fields.words("families", FAMILIES)
    with right:
        said["bases"] = fields.words("bases", ())
    st.html(widgets.title(say("style_field.strengths")) + widgets.small(say("style_help.strengths")))
    strengths = [{"name": name, "strength": value} for name, value in (fields.now("strengths") or {}).items()]
    found = fields.rows("strengths", strengths, lambda key, row: _strength(fields, key, row, STRENGTHS, 2.0), 12)
    said["strengths"] = {row["name"]: row["strength"] for row in found}
    st.html(widgets.title(say("style_field.loras")))
    said["loras"] = fields.rows("loras", fields.now("loras") or [], lambda key, row: _lora(fields, key, row), 4)
    return said


def _trait(fields: Fields, key: str, row: Row) -> Row | None:
    """A placeholder of the prompt, what stands there, and what may."""
    one, two, three = st.columns([2, 2, 4])
    name = one.text_input(say("style_form.trait_name"), key=fields.held(f"{key}-name", row.get("name", "")))
    default = two.text_input(say("style_form.trait_default"), key=fields.held(f"{key}-default", row.get("default", "")))
    kept = [str(each) for each in row.get("choices", [])]
    choices = three.multiselect(
        say("style_form.trait_choices"),
        kept,
        key=fields.held(f"{key}-choices", kept),
        placeholder=say("style_form.type"),
        accept_new_options=True,
    )
    return {"name": name, "default": default, "choices": list(choices)} if name else None


def _strength(fields: Fields, key: str, row: Row, names: Sequence[str], most: float) -> Row | None:
    """How strongly something is done, by its name."""
    one, two = st.columns([3, 2])
    now = row.get("name")
    name = one.selectbox(
        say("style_form.step"),
        list(dict.fromkeys([*names, *([now] if now else [])])),
        key=fields.held(f"{key}-name", now),
        format_func=_step,
        index=None,
        placeholder=say("style_form.choose"),
        accept_new_options=True,
    )
    first = float(row.get("strength", 1.0))
    strength = two.number_input(
        say("style_form.strength"), 0.0, most, step=0.05, key=fields.held(f"{key}-strength", first)
    )
    return {"name": name, "strength": float(strength)} if name else None


def _step(name: str) -> str:
    """What a step of refining, or a way of telling a model who, is called."""
    return say_or(f"style_step.{name}", say_or(f"way.{name}", name))


def _lora(fields: Fields, key: str, row: Row) -> Row | None:
    """A LoRA of the model store that gives the style its look."""
    one, two, three = st.columns([3, 1, 2])
    model = one.text_input(say("style_form.lora"), key=fields.held(f"{key}-model", row.get("model", "")))
    first = float(row.get("strength", 0.6))
    strength = two.number_input(
        say("style_form.strength"), 0.0, 2.0, step=0.05, key=fields.held(f"{key}-strength", first)
    )
    base = three.text_input(say("style_form.lora_base"), key=fields.held(f"{key}-base", row.get("base", "")))
    return {"model": model, "strength": float(strength), "base": base} if model else None


def _after(fields: Fields) -> dict[str, Any]:
    """What is done to each portrait, and the shapes it comes in."""
    left, right = st.columns(2)
    with left:
        retouch = fields.share("retouch")
    with right:
        aspects = fields.words("aspects", ASPECTS)
    st.html(widgets.title(say("style_field.refiners")))
    kept = fields.now("refiners") or []
    steps = fields.rows("refiners", kept, lambda key, row: _strength(fields, key, row, REFINERS, 1.0), 8)
    return {"retouch": retouch, "aspects": aspects, "refiners": steps}


def _terms(fields: Fields) -> dict[str, Any]:
    """How it is found, and on what terms it may be used."""
    st.html(widgets.title(say("style_form.terms")))
    said: dict[str, Any] = {}
    left, right = st.columns(2)
    with left:
        said["licence"] = fields.line("licence")
        said["author"] = fields.line("author", 120)
        said["mood"] = fields.line("mood", 60)
    with right:
        said["credit"] = fields.line("credit")
        said["tags"] = fields.words("tags", TAGS, lambda each: say_or(f"tag.{each}", each))
    carried = fields.now("carried")
    if carried:
        with st.expander(say("style_form.carried")):
            widgets.soft(say("style_form.carried_help"))
            st.json(carried)
    return said
