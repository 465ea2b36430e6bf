"""What can be done with one portrait: name it, mark it, download or print it, have more like it, delete it."""

import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import streamlit as st

from app.components import errors, undo, widgets
from app.components.canvas import place
from app.people.gallery import selection
from app.people.gallery.lists import PortraitList
from app.people.ordering import order_form
from app.session import client, get_state, set_state, switch_page, translate
from tasks import schemas

SEED_LIMIT = 2**31
MAX_NAME = 80
PRINT_WIDTHS = (20, 100)
"""Millimetres of one print that are offered for portraits that are no ID photos."""
USUAL_WIDTH = 50
ORDER_FIELDS = ("people", "style", "template", "count", "format", "technique", "traits", "skin")
"""What an order like an earlier one takes over, beside size and ID photo; the seed is another."""


def show(portrait: schemas.Portrait, name: str, wanted: PortraitList, next_id: str) -> None:
    """Show the buttons; `wanted` is the list that the portrait is of, `next_id` what is shown once it is deleted."""
    grid = st.grid(2, min_column_width=140)
    with grid.cell():
        _download(portrait)
    with grid.cell():
        _favourite(portrait)
    with grid.cell():
        _print(portrait)
    with grid.cell():
        _rename(portrait)
    if grid.button(translate("portrait.more"), icon=":material/auto_awesome_motion:", width="stretch"):
        errors.attempt(lambda: client().generate(order_like(client().job(portrait.job))), "progress")
    if grid.button(translate("portrait.settings"), icon=":material/tune:", width="stretch"):
        with errors.show_errors():
            _reuse_settings(client().job(portrait.job))
    if grid.button(translate("portrait.delete"), icon=":material/delete:", width="stretch"):
        with errors.show_errors():
            _remove(portrait, name, wanted, next_id)


def _favourite(portrait: schemas.Portrait) -> None:
    st.button(
        translate("results.unfavour" if portrait.favourite else "results.favour"),
        icon=":material/favorite:" if portrait.favourite else ":material/favorite_border:",
        type="primary" if portrait.favourite else "secondary",
        width="stretch",
        on_click=errors.as_callback(lambda: client().set_favourite(portrait.id, not portrait.favourite)),
    )


def _download(portrait: schemas.Portrait) -> None:
    popover = st.popover(
        translate("portrait.take"), icon=":material/download:", width="stretch", key="download", on_change="rerun"
    )
    if popover.open:
        with popover:
            rendering = selection.rendering_form("one", max(portrait.width, portrait.height))
            query = f"?{urlencode(rendering)}" if rendering else ""
            widgets.download_link(f"/take/portrait/{portrait.id}{query}", translate("portrait.take_now"))
            widgets.muted_text(translate("portrait.marked"))
            selection.show_terms([portrait])


def _print(portrait: schemas.Portrait) -> None:
    """The sheet with as many prints as fit on a paper; an ID photo has the width of its rule."""
    popover = st.popover(
        translate("portrait.print"), icon=":material/print:", width="stretch", key="print", on_change="rerun"
    )
    if not popover.open:
        return
    with popover, errors.show_errors():
        papers = client().idphoto_presets().papers
        paper = st.selectbox(
            translate("portrait.paper"),
            list(papers),
            format_func=lambda each: translate("portrait.paper_size", name=each, sides=_sides(papers[each])),
        )
        query = {"paper": paper, "format": "pdf"}
        if not portrait.rules:
            low, high = PRINT_WIDTHS
            width = st.number_input(translate("portrait.print_width"), low, high, USUAL_WIDTH)
            query |= {"width": str(width)}
        widgets.download_link(f"/take/sheet/{portrait.id}?{urlencode(query)}", translate("portrait.print_now"))
        widgets.muted_text(translate("portrait.print_help"))


def _sides(size: list[float]) -> str:
    return f"{size[0]:g} × {size[1]:g} mm"


def _rename(portrait: schemas.Portrait) -> None:
    popover = st.popover(
        translate("portrait.name"), icon=":material/edit:", width="stretch", key="name", on_change="rerun"
    )
    if popover.open:
        with popover, st.form("name-form", border=False):
            name = st.text_input(translate("portrait.name_label"), portrait.name, max_chars=MAX_NAME)
            if st.form_submit_button(translate("portrait.name_now"), type="primary"):
                errors.attempt(lambda: client().name_portrait(portrait.id, name.strip()))


def _remove(portrait: schemas.Portrait, name: str, wanted: PortraitList, next_id: str) -> None:
    """Delete a portrait, offer to bring it back, and show the next one of the list, or the list."""
    client().remove_portrait(portrait.id)
    undo.offer("portrait", [portrait.id], translate("portrait.deleted", name=name))
    if next_id:
        switch_page("portrait", id=next_id, **wanted.query)
    else:
        back_to_list(wanted)


def back_to_list(wanted: PortraitList) -> None:
    """Go back to the list, to where it was scrolled."""
    place.mark_return()
    switch_page("results", **wanted.query)


def order_like(job: schemas.Job) -> schemas.GenerationRequest:
    """The order of a job again, with another seed."""
    params, size = job.wants, job.wants.get("size")
    order = {name: params[name] for name in ORDER_FIELDS if params.get(name)}
    if params.get("idphoto") or params.get("photo"):
        order["idphoto"] = idphoto_options(params)
    order["seed"] = secrets.randbelow(SEED_LIMIT)
    order["size"] = {"width": size[0], "height": size[1]} if size else None
    return schemas.GenerationRequest.model_validate(order)


def idphoto_options(params: Mapping[str, Any]) -> dict[str, Any]:
    """What a job with these parameters asks of an ID photo, as a request has it."""
    asked = dict(params.get("idphoto") or {})
    options = {name: value for name, value in asked.items() if name != "unit"}
    if "size" in options:
        width, height = options["size"]
        options["size"] = {"width": width, "height": height, "unit": asked.get("unit", "mm")}
    return {**options, **({"photo": params["photo"]} if params.get("photo") else {})}


def _reuse_settings(job: schemas.Job) -> None:
    """Go to the page of styles with the settings of a job filled in."""
    params = job.wants
    style = str(params.get("style") or params.get("template"))
    sides, count = tuple(params.get("size") or ()) or None, int(params.get("count", 1))
    set_state(
        "settings",
        {
            "style": style,
            "seed": int(params.get("seed", 0)),
            "count": max(each for each in order_form.COUNTS if each <= count),
            "size": next((name for name, each in order_form.SIZES.items() if each == sides), "usual"),
            "preset": dict(params.get("technique") or {}).get("preset", "balanced"),
            "traits": dict(params.get("traits") or {}),
            "version": get_state("settings", {}).get("version", 0) + 1,
        },
    )
    switch_page("create", person=str(next(iter(dict(params["people"]).values()))), styles=style)
