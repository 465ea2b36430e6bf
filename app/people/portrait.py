"""The page of one portrait: large, compared with a selfie, with buttons to make more like it, edit or delete it."""

import secrets
from collections.abc import Mapping
from typing import Any

import streamlit as st

from app.components import compare, errors, idphoto_rules, likeness, markdown, style_titles, widgets
from app.people import portraits, styles
from app.session import client, get_state, set_state, switch_page, translate
from portrait.errors import UserError
from tasks import schemas

VARIATIONS = 4
"""Number of variations that one click requests."""
SHAPES = {"square": (1, 1), "landscape": (3, 2), "wide": (16, 9), "upright": (2, 3), "tall": (9, 16)}
"""Aspect ratios as width and height."""
SHAPE_TOLERANCE = 0.02
"""A portrait has a shape already when its aspect ratio differs by less than this share."""


def page() -> None:
    """Show the portrait of `?id=`."""
    id = st.query_params.get("id", "")
    if not id:
        switch_page("results")
        return
    if st.button(translate("portrait.back"), type="tertiary", icon=":material/arrow_back:"):
        switch_page("results")
    portrait = client().portrait(id)
    titles = style_titles.localized_titles()
    name = style_titles.display_name(portrait.style, titles)
    job = _job(portrait)
    left, right = st.columns([3, 2], gap="medium")
    text, variant = likeness.label(portrait)
    with left:
        _show_picture(portrait, job, translate("results.alt", style=name, likeness=text))
    with right:
        st.header(markdown.plain(name), anchor=False)
        st.html(widgets.chip(text, variant))
        idphoto_rules.show_rules(portrait)
        _actions(portrait, job)
        _show_details(portrait)


def _show_picture(portrait: schemas.Portrait, job: schemas.Job | None, alt: str) -> None:
    """Show the portrait, or compare it with the best selfie under a slider."""
    selfie = _best_selfie(job)
    url = widgets.picture_url("portrait", portrait.id, widgets.LARGE)
    if selfie is not None and st.toggle(translate("portrait.compare"), key="compare"):
        before = widgets.picture_url("selfie", selfie.id, widgets.LARGE)
        shape = (portrait.width, portrait.height)
        compare.comparison_slider(
            (before, translate("portrait.selfie_alt")), (url, alt), translate("portrait.compare_label"), shape
        )
        widgets.muted_text(translate("portrait.compare_help"))
    else:
        st.html(widgets.picture(url, alt, "whole"))


def _actions(portrait: schemas.Portrait, job: schemas.Job | None) -> None:
    portraits.favourite_button(portrait, "stretch")
    widgets.download_link(f"/take/portrait/{portrait.id}", translate("portrait.take"))
    if job is not None:
        if st.button(translate("portrait.more"), icon=":material/auto_awesome_motion:", width="stretch"):
            errors.attempt(lambda: client().generate(_with_new_seed(job)), "progress")
        if dict(portrait.recipe.get("style", {})).get("kind") == "text":
            _edit_buttons(portrait)
        if st.button(translate("portrait.settings"), icon=":material/tune:", width="stretch"):
            _reuse_settings(job)
            switch_page("create")
    with st.popover(translate("portrait.delete"), icon=":material/delete:", width="stretch"):
        st.write(translate("portrait.delete_sure"))
        if st.button(translate("portrait.delete_now"), type="primary"):
            errors.attempt(lambda: client().delete_portrait(portrait.id), "results")


def _edit_buttons(portrait: schemas.Portrait) -> None:
    """Buttons for variations and other shapes, which portraits drawn from a prompt can have."""
    if st.button(
        translate("portrait.variations"),
        icon=":material/filter_none:",
        width="stretch",
        help=translate("portrait.variations_help", count=VARIATIONS),
    ):
        _request_edit(portrait, kind="variations", count=VARIATIONS)
    with st.popover(translate("portrait.shape"), icon=":material/aspect_ratio:", width="stretch"):
        st.write(translate("portrait.shape_help"))
        for name, (width, height) in SHAPES.items():
            same_shape = (
                abs(portrait.width * height - portrait.height * width) < portrait.height * width * SHAPE_TOLERANCE
            )
            if not same_shape and st.button(
                translate(f"portrait.shape_{name}", shape=f"{width}:{height}"), width="stretch"
            ):
                _request_edit(portrait, kind="extend", shape=[width, height])


def _request_edit(portrait: schemas.Portrait, **order: object) -> None:
    errors.attempt(lambda: client().edit(portrait.id, schemas.EditRequest.model_validate(order)), "progress")


def _show_details(portrait: schemas.Portrait) -> None:
    """Show the portrait's size, age and number."""
    lines = [
        translate("portrait.size", width=portrait.width, height=portrait.height),
        translate("portrait.made", when=widgets.time_ago(portrait.created)),
        translate("portrait.number", number=portrait.number),
        translate("portrait.marked"),
    ]
    with st.expander(translate("portrait.about")):
        st.html(widgets.bullet_list(lines))
        widgets.muted_text(translate("results.explained"))


def _job(portrait: schemas.Portrait) -> schemas.Job | None:
    """The job that made the portrait; None when it was pruned or erased."""
    try:
        return client().job(portrait.job)
    except UserError as error:
        if error.code in {"not_found", "erased"}:
            return None
        raise


def _best_selfie(job: schemas.Job | None) -> schemas.Selfie | None:
    """The person's best photo; None when there is none left."""
    people = dict(job.wants.get("people") or {}) if job is not None else {}
    if not people:
        return None
    try:
        photos = client().selfies(str(people[min(people)]))
    except UserError:
        return None
    return max(photos, key=lambda each: (each.verdict == "use", each.quality.get("total") or 0.0), default=None)


def _with_new_seed(job: schemas.Job) -> schemas.GenerationRequest:
    """The request of a job again, with another seed."""
    params, size = job.wants, job.wants.get("size")
    names = ("people", "style", "template", "count", "format", "technique", "traits")
    order = {name: params[name] for name in names if params.get(name)}
    if params.get("idphoto"):
        order["idphoto"] = _idphoto_options(params["idphoto"])
    order["seed"] = secrets.randbelow(styles.SEED_LIMIT)
    order["size"] = {"width": size[0], "height": size[1]} if size else None
    return schemas.GenerationRequest.model_validate(order)


def _idphoto_options(params: Mapping[str, Any]) -> dict[str, Any]:
    """What a job asks of an ID photo, as a request has it."""
    options = {name: value for name, value in params.items() if name != "unit"}
    if "size" in options:
        width, height = options["size"]
        options["size"] = {"width": width, "height": height, "unit": params.get("unit", "mm")}
    return options


def _reuse_settings(job: schemas.Job) -> None:
    """Fill the form of the page of styles with the settings of the job."""
    params = job.wants
    style = str(params.get("style") or params.get("template"))
    size = tuple(params.get("size") or ()) or None
    size_name = next((name for name, sides in styles.SIZES.items() if sides == size), "usual")
    count = int(params.get("count", 1))
    set_state("chosen", [style])
    set_state("person", str(next(iter(dict(params["people"]).values()))))
    set_state(
        "settings",
        {
            "style": style,
            "seed": int(params.get("seed", 0)),
            "count": max(each for each in styles.COUNTS if each <= count),
            "size": size_name,
            "preset": dict(params.get("technique") or {}).get("preset", "balanced"),
            "traits": dict(params.get("traits") or {}),
            "version": get_state("settings", {}).get("version", 0) + 1,
        },
    )
