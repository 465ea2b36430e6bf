"""One portrait, large: beside a selfie, with all that can be done with it."""

import secrets

import streamlit as st

from app.components import compare, errors, likeness, style_titles, widgets
from app.people import portraits, styles
from app.session import client, go, recall, remember, say
from portrait.errors import UserError
from tasks import schemas

VARIATIONS = 4
"""How many at once."""
SHAPES = {"square": (1, 1), "landscape": (3, 2), "wide": (16, 9), "upright": (2, 3), "tall": (9, 16)}
"""Width to height."""
SAME_SHAPE = 0.02
"""A portrait is in a shape already when it is this near to it."""


def page() -> None:
    """The portrait that the address names."""
    id = st.query_params.get("id", "")
    if not id:
        go("results")
        return
    if st.button(say("portrait.back"), type="tertiary", icon=":material/arrow_back:"):
        go("results")
    portrait = client().portrait(id)
    titles = style_titles.titles()
    name = style_titles.name_of(portrait.style, titles)
    job = _job(portrait)
    left, right = st.columns([3, 2], gap="medium")
    words, mood = likeness.told(portrait)
    with left:
        _shown(portrait, job, say("results.alt", style=name, likeness=words))
    with right:
        st.header(name, anchor=False)
        st.html(widgets.chip(words, mood))
        _actions(portrait, job)
        _about(portrait)


def _shown(portrait: schemas.Portrait, job: schemas.Job | None, alt: str) -> None:
    """The portrait, or the portrait and the best selfie under a slider."""
    selfie = _selfie(job)
    address = widgets.source("portrait", portrait.id, widgets.LARGE)
    if selfie is not None and st.toggle(say("portrait.compare"), key="compare"):
        before = widgets.source("selfie", selfie.id, widgets.LARGE)
        shape = (portrait.width, portrait.height)
        compare.slider((before, say("portrait.selfie_alt")), (address, alt), say("portrait.compare_label"), shape)
        widgets.soft(say("portrait.compare_help"))
    else:
        st.html(widgets.picture(address, alt, "whole"))


def _actions(portrait: schemas.Portrait, job: schemas.Job | None) -> None:
    portraits.mark(portrait, "stretch")
    widgets.take_link(f"/take/portrait/{portrait.id}", say("portrait.take"))
    if job is not None:
        if st.button(say("portrait.more"), icon=":material/auto_awesome_motion:", width="stretch"):
            with errors.told():
                client().generate(_alike(job))
                go("progress")
        if dict(portrait.recipe.get("style", {})).get("kind") == "text":
            _further(portrait)
        if st.button(say("portrait.settings"), icon=":material/tune:", width="stretch"):
            _recall(job)
            go("create")
    with st.popover(say("portrait.delete"), icon=":material/delete:", width="stretch"):
        st.write(say("portrait.delete_sure"))
        if st.button(say("portrait.delete_now"), type="primary"):
            with errors.told():
                client().delete_portrait(portrait.id)
                go("results")


def _further(portrait: schemas.Portrait) -> None:
    """What a portrait that was drawn of words can become."""
    if st.button(
        say("portrait.variations"),
        icon=":material/filter_none:",
        width="stretch",
        help=say("portrait.variations_help", count=VARIATIONS),
    ):
        _edited(portrait, kind="variations", count=VARIATIONS)
    with st.popover(say("portrait.shape"), icon=":material/aspect_ratio:", width="stretch"):
        st.write(say("portrait.shape_help"))
        for name, (width, height) in SHAPES.items():
            alike = abs(portrait.width * height - portrait.height * width) < portrait.height * width * SAME_SHAPE
            if not alike and st.button(say(f"portrait.shape_{name}", shape=f"{width}:{height}"), width="stretch"):
                _edited(portrait, kind="extend", shape=[width, height])


def _edited(portrait: schemas.Portrait, **order: object) -> None:
    with errors.told():
        client().edit(portrait.id, schemas.EditOrder.model_validate(order))
        go("progress")


def _about(portrait: schemas.Portrait) -> None:
    """What is known of it."""
    lines = [
        say("portrait.size", width=portrait.width, height=portrait.height),
        say("portrait.made", when=widgets.ago(portrait.created)),
        say("portrait.number", number=portrait.number),
        say("portrait.marked"),
    ]
    with st.expander(say("portrait.about")):
        st.html(widgets.points(lines))
        widgets.soft(say("results.explained"))


def _job(portrait: schemas.Portrait) -> schemas.Job | None:
    """What asked for the portrait; None when that was forgotten."""
    try:
        return client().job(portrait.job)
    except UserError as error:
        if error.code in {"not_found", "erased"}:
            return None
        raise


def _selfie(job: schemas.Job | None) -> schemas.Selfie | None:
    """The person's best photo; None when there is none left."""
    people = dict(job.wants.get("people") or {}) if job is not None else {}
    if not people:
        return None
    try:
        photos = client().selfies(str(people[min(people)]))
    except UserError:
        return None
    return max(photos, key=lambda each: (each.verdict == "use", each.quality.get("total") or 0.0), default=None)


def _alike(job: schemas.Job) -> schemas.GenerationOrder:
    """The same again with another seed."""
    wants, size = job.wants, job.wants.get("size")
    kept = ("people", "style", "template", "count", "format", "technique", "traits")
    order = {name: wants[name] for name in kept if wants.get(name)}
    order["seed"] = secrets.randbelow(styles.MOST_SEEDS)
    order["size"] = {"width": size[0], "height": size[1]} if size else None
    return schemas.GenerationOrder.model_validate(order)


def _recall(job: schemas.Job) -> None:
    """Bring the settings of the portrait to the page of styles."""
    wants = job.wants
    look = str(wants.get("style") or wants.get("template"))
    size = tuple(wants.get("size") or ()) or None
    known = next((name for name, sides in styles.SIZES.items() if sides == size), "usual")
    count = int(wants.get("count", 1))
    remember("chosen", [look])
    remember("person", str(next(iter(dict(wants["people"]).values()))))
    remember(
        "wish",
        {
            "look": look,
            "seed": int(wants.get("seed", 0)),
            "count": max(each for each in styles.COUNTS if each <= count),
            "size": known,
            "preset": dict(wants.get("technique") or {}).get("preset", "balanced"),
            "traits": dict(wants.get("traits") or {}),
            "at": recall("wish", {}).get("at", 0) + 1,
        },
    )
