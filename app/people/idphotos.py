"""The page of ID photos: a document and a photo on one side, the finished ID photo with its rules on the other."""

import secrets
from collections.abc import Mapping
from html import escape
from typing import Any
from urllib.parse import urlencode

import streamlit as st

from app.components import current_person, errors, idphoto_rules, jobs, markdown, photo_picker, widgets
from app.people import consent
from app.people.selfies import checks
from app.session import client, get_state, query, set_query, set_state, translate, translate_or
from tasks import schemas

OWN = "own"
"""Stands among the documents for a size of one's own, framed by `OWN_RULE`."""
STYLE, OWN_RULE, USUAL = "idphoto-passport", "icao", "one-inch"
COLORS = ("white", "light-blue", "blue", "red", "grey", "light-grey", "off-white", "cream")
"""Backgrounds by name, those that are asked for most first."""
PHOTOS = 4
"""Photos of the person that are shown."""


def page() -> None:
    """Choose or add a person, give a photo, choose the document, and see the ID photo."""
    widgets.page_heading(translate("idphotos.title"), translate("idphotos.lead"))
    if not client().people():
        consent.new_person_form("consent-idphoto", True, _go_on_with)
        return
    person = current_person.select_person()
    if person is None or not current_person.check_consent(person):
        return
    left, right = st.columns([1, 1], gap="large")
    with left:
        latest = _photos(person)
        options = _form()
        if person.identity is not None:
            _order_button(person, options)
    with right:
        _show_work(person, options, latest)
    with st.expander(translate("welcome.another"), icon=":material/person_add:"):
        consent.new_person_form(f"consent-idphoto-{len(client().people())}", False, _go_on_with)


def _go_on_with(person: schemas.Person) -> None:
    set_query(person=person.id, job="")
    st.rerun()


def _photos(person: schemas.Person) -> schemas.Job | None:
    """Show some photos of the person, and take another; returns the newest check, which begins by itself."""
    photos = client().selfies(person.id)
    photo_picker.pick("selfies", person.id, key="idphoto", known=[each.id for each in photos])
    good = [each for each in photos if each.verdict in ("", "use")]
    pictures = "".join(
        widgets.picture(
            widgets.picture_url("selfie", each.id, widgets.THUMB), translate("photos.alt_selfie", name=each.name)
        )
        for each in good[-PHOTOS:]
    )
    if pictures:
        st.html(f'<div class="p-strip">{pictures}</div>')
        widgets.muted_text(translate("idphotos.which"))
    if person.serves is not None and not person.serves.idphoto:
        tip = next((each.tip for each in person.opens if each.code == "idphoto"), "")
        st.warning(markdown.plain(translate_or("opens.idphoto", tip)), icon=":material/info:")
    return checks.follow_changes(person, photos, checks.latest_check(person.id))


def _form() -> schemas.IdPhotoOptions:
    """The document, the background and the file; what is chosen stands in the address."""
    presets = {each.id: each for each in client().idphoto_presets().presets}
    labels = {id: _document(each) for id, each in presets.items()} | {OWN: translate("idphotos.own")}
    ids = [*sorted(presets, key=lambda id: (not id.endswith("-inch"), labels[id])), OWN]
    named = query("preset", USUAL)
    preset = st.selectbox(
        translate("idphotos.document"),
        ids,
        index=ids.index(named) if named in ids else 0,
        format_func=lambda id: labels[id],
        key="idphoto-preset",
        help=translate("idphotos.document_help"),
    )
    size = _own_size() if preset == OWN else None
    usual = presets[OWN_RULE if preset == OWN else preset].backgrounds
    background = _background(query("background") or usual[0], f"background-{preset}")
    with st.expander(translate("idphotos.file")):
        dpi = st.number_input(translate("idphotos.dpi"), 72, 1200, value=None, placeholder="300", key="idphoto-dpi")
        most = st.number_input(translate("idphotos.kilobytes"), 10, 10_000, value=None, key="idphoto-kb")
    if preset != OWN:
        _show_notes(presets[preset])
    set_query(preset="" if preset == USUAL else preset, background="" if background == usual[0] else background)
    return schemas.IdPhotoOptions(
        preset=OWN_RULE if preset == OWN else preset,
        size=size,
        dpi=dpi,
        kilobytes=None if most is None else [0, most],
        background=background,
    )


def _document(preset: schemas.IdPhotoPreset) -> str:
    width, height = preset.millimetres
    title = translate_or(f"idphoto_preset.{preset.id}", preset.title)
    size = "" if "×" in title else f" · {width:g} × {height:g} mm"
    return title + size


def _own_size() -> schemas.IdPhotoSize:
    """Width and height in millimetres or pixels."""
    unit = st.segmented_control(
        translate("idphotos.unit"), ["mm", "px"], default="mm", required=True, key="idphoto-unit"
    )
    least, most, wide, tall = (64, 4000, 413, 531) if unit == "px" else (10, 200, 35, 45)
    left, right = st.columns(2)
    width = left.number_input(translate("idphotos.width"), least, most, wide, key=f"idphoto-width-{unit}")
    height = right.number_input(translate("idphotos.height"), least, most, tall, key=f"idphoto-height-{unit}")
    return schemas.IdPhotoSize(width=width, height=height, unit="px" if unit == "px" else "mm")


def _background(default: str, key: str) -> str:
    names = [*COLORS, "kept"]
    chosen = st.pills(
        translate("idphotos.background"),
        names,
        default=default if default in names else names[0],
        required=True,
        wrap=True,
        format_func=lambda name: translate(f"idphoto_background.{name}"),
        key=key,
    )
    return chosen or default


def _show_notes(preset: schemas.IdPhotoPreset) -> None:
    """Say what the authority asks beyond the picture."""
    if preset.unaltered:
        st.info(translate("idphotos.unaltered"), icon=":material/info:")
    widgets.muted_text(translate("idphoto.source", source=preset.source))


def _order_button(person: schemas.Person, options: schemas.IdPhotoOptions) -> None:
    label = translate("idphotos.make")
    blocked = person.serves is not None and not person.serves.idphoto
    if st.button(
        label, key="idphoto-make", type="primary", icon=":material/id_card:", width="stretch", disabled=blocked
    ):
        errors.attempt(lambda: _order(person, options))


def _order(person: schemas.Person, options: schemas.IdPhotoOptions, key: str = "") -> None:
    """Order one ID photo, and follow it on this page."""
    order = {
        "people": {"1": person.id},
        "style": STYLE,
        "count": 1,
        "idphoto": options,
        "seed": secrets.randbelow(2**31),
    }
    placed = client().place_order([schemas.GenerationRequest.model_validate(order)], key)
    set_query(job=placed.jobs[0].id)


def _show_work(person: schemas.Person, options: schemas.IdPhotoOptions, latest: schemas.Job | None) -> None:
    """Show the finished ID photo, or how far it or the check of its photo is."""
    if latest is not None and not latest.done:
        _follow(latest.id, translate("photos.judging"))
        return
    job = _current_job(person)
    if job is None:
        st.html(f'<div class="p-empty">{escape(translate("idphotos.here"))}</div>')
        if latest is not None and latest.state == "failed":
            jobs.show_failure(latest)
    elif not job.done:
        _follow(job.id, translate("idphotos.making"))
    elif job.state != "succeeded":
        jobs.show_failure(job)
    else:
        _show_result(person, job, options)


def _current_job(person: schemas.Person) -> schemas.Job | None:
    """The job of the address, where it is one of this person's."""
    id = query("job")
    if not id:
        return None
    job = client().job(id)
    return job if person.id in dict(job.wants.get("people") or {}).values() else None


@st.fragment(run_every=1)
def _follow(id: str, label: str) -> None:
    """Show the progress of a job, and the page again when it has ended."""
    with errors.show_errors_in_fragment():
        job = client().job(id)
        if job.done:
            st.rerun()
        st.progress(job.progress, text=f"{label} {jobs.status_line(job)}")
        jobs.show_missing(job)


def _show_result(person: schemas.Person, job: schemas.Job, options: schemas.IdPhotoOptions) -> None:
    """Show the ID photo with its rules, its downloads, and the other backgrounds."""
    made = client().portraits(job=job.id)
    if not made:
        st.info(translate("idphotos.deleted"))
        return
    portrait = client().portrait(made[0].id)
    url = widgets.picture_url("portrait", portrait.id, widgets.LARGE)
    st.html(widgets.picture(url, translate("idphotos.alt", name=person.name), "fit"))
    widgets.muted_text(translate("idphotos.size", width=portrait.width, height=portrait.height))
    widgets.download_link(f"/take/portrait/{portrait.id}", translate("idphotos.download"))
    _other_backgrounds(person, job, options)
    _sheet(portrait.id)
    idphoto_rules.show_rules(portrait)


def _other_backgrounds(person: schemas.Person, job: schemas.Job, options: schemas.IdPhotoOptions) -> None:
    """A button for each other background, which makes the same ID photo before it."""
    wanted: Mapping[str, Any] = job.wants.get("idphoto") or {}
    now = wanted.get("background", options.background)
    st.caption(translate("idphotos.change"))
    with st.container(horizontal=True, gap="xsmall"):
        for name in COLORS[:5]:
            if name != now and st.button(translate(f"idphoto_background.{name}"), key=f"before-{name}"):
                again = {key: value for key, value in wanted.items() if key not in ("unit", "size")}
                if size := wanted.get("size"):
                    again["size"] = {"width": size[0], "height": size[1], "unit": wanted.get("unit", "mm")}
                again |= {"background": name}
                errors.attempt(lambda again=again: _order(person, schemas.IdPhotoOptions.model_validate(again)))


def _sheet(portrait: str) -> None:
    """The choice of a paper, and the link to a sheet of prints with crop marks."""
    papers = client().idphoto_presets().papers
    with st.expander(translate("idphotos.sheet"), icon=":material/grid_view:"):
        left, right = st.columns([3, 2])
        paper = left.selectbox(
            translate("idphotos.paper"),
            list(papers),
            format_func=lambda name: _paper(name, papers[name]),
            key="sheet-paper",
        )
        gap = right.number_input(
            translate("idphotos.gap"), 0.0, 20.0, float(get_state("gap", 2.0)), 0.5, key="sheet-gap"
        )
        set_state("gap", gap)
        for format in ("pdf", "jpg"):
            address = f"/take/sheet/{portrait}?{urlencode({'paper': paper, 'gap': f'{gap:g}', 'format': format})}"
            widgets.download_link(address, translate(f"idphotos.sheet_{format}"))
        widgets.muted_text(translate("idphotos.sheet_help"))


def _paper(name: str, size: list[float]) -> str:
    return f"{translate_or(f'idphoto_paper.{name}', name)} · {size[0]:g} × {size[1]:g} mm"
