"""The page of ID photos: a document and a photo on one side, the finished ID photo with its rules on the other."""

import secrets
from collections.abc import Sequence
from html import escape
from urllib.parse import urlencode

import streamlit as st

from app.components import current_person, errors, idphoto_rules, jobs, markdown, photo_picker, widgets
from app.people import consent
from app.people.gallery.actions import idphoto_options
from app.people.selfies import checks
from app.session import client, get_state, page_address, query, set_query, set_state, translate, translate_or
from portrait.errors import UserError
from tasks import schemas

OWN = "own"
"""Stands among the documents for a size of one's own, framed by `OWN_RULE`."""
STYLE, OWN_RULE, USUAL = "idphoto-passport", "icao", "one-inch"
COLORS = ("white", "light-blue", "blue", "red", "grey", "light-grey", "off-white", "cream")
"""Backgrounds by name, those that are asked for most first."""
PHOTOS = 12
"""Photos of the person that are offered, the newest ones."""


def page() -> None:
    """Choose or add a person, give a photo, choose the document, and see the ID photo."""
    widgets.page_heading(translate("idphotos.title"), translate("idphotos.lead"))
    if not current_person.list_people():
        consent.new_person_form("consent-idphoto", True, _go_on_with)
        return
    person = current_person.select_person()
    if person is None or not current_person.check_consent(person):
        return
    left, right = st.columns([1, 1], gap="large")
    with left:
        latest, photo = _photos(person)
        options = _form(photo)
        if person.identity is not None and not consent.ask_guardian(person):
            _order_button(person, options)
    with right:
        _show_work(person, options, latest)
    with st.expander(translate("welcome.another"), icon=":material/person_add:"):
        consent.new_person_form(f"consent-idphoto-{len(current_person.list_people())}", False, _go_on_with)


def _go_on_with(person: schemas.Person) -> None:
    set_query(person=person.id, job="")
    st.rerun()


def _photos(person: schemas.Person) -> tuple[schemas.Job | None, str]:
    """Take another photo of the person, and ask which one the ID photo is made of.

    Returns the newest check, which begins by itself, and the id of the chosen photo, empty for the one that suits best.
    """
    photos = client().selfies(person.id)
    photo_picker.pick("selfies", person.id, key="idphoto", known=[each.id for each in photos])
    chosen = _choose_photo([each for each in photos if each.verdict in ("", "use")][-PHOTOS:])
    if person.serves is not None and not person.serves.idphoto:
        tip = next((each.tip for each in person.opens if each.code == "idphoto"), "")
        st.warning(markdown.plain(translate_or("opens.idphoto", tip)), icon=":material/info:")
    return checks.follow_changes(person, photos, checks.latest_check(person.id)), chosen


def _choose_photo(photos: Sequence[schemas.Selfie]) -> str:
    """Show the photos as links, of which one is chosen by the address; its id, or empty for the one that suits best."""
    if not photos:
        return ""
    chosen = query("photo") if query("photo") in {each.id for each in photos} else ""
    if len(photos) > 1:
        links = [_photo_link("", chosen, f"<span>{escape(translate('idphotos.best'))}</span>")]
        links += [_photo_link(each.id, chosen, _thumbnail(each.id, each.name)) for each in reversed(photos)]
        label = translate("idphotos.made_of_which")
        st.html(
            f'<p class="p-label">{escape(label)}</p><nav class="p-strip" aria-label="{escape(label)}">{"".join(links)}</nav>'
        )
        widgets.muted_text(translate("idphotos.which"))
    else:
        st.html(f'<div class="p-strip">{_thumbnail(photos[0].id, photos[0].name)}</div>')
    return chosen


def _photo_link(id: str, chosen: str, content: str) -> str:
    """A link that chooses a photo, and keeps everything else that the address says."""
    address = page_address("idphoto", **{**st.query_params.to_dict(), "photo": id})
    current = ' aria-current="true"' if id == chosen else ""
    return f'<a href="{escape(address)}" target="_self"{current}>{content}</a>'


def _thumbnail(id: str, name: str) -> str:
    return widgets.picture(widgets.picture_url("selfie", id, widgets.THUMB), translate("photos.alt_selfie", name=name))


def _form(photo: str) -> schemas.IdPhotoOptions:
    """The document, the background and the file of an ID photo of `photo`; what is chosen stands in the address."""
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
        photo=photo or None,
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
    idphoto_rules.show_source(preset.source)


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
    _show_source(portrait.id)
    widgets.download_link(f"/take/portrait/{portrait.id}", translate("idphotos.download"))
    _other_backgrounds(person, job, options)
    _sheet(portrait.id)
    idphoto_rules.show_rules(portrait)


def _show_source(portrait: str) -> None:
    """Show which photo the ID photo was made of, while that is there."""
    try:
        source = client().before(portrait).id
    except UserError as error:
        if error.code not in {"not_found", "erased"}:
            raise
        return
    text = translate("idphotos.made_of")
    picture = f'<img src="{escape(widgets.picture_url("selfie", source, widgets.THUMB))}" alt="">'
    st.html(f'<p class="p-chosen">{picture}<span>{escape(text)}</span></p>')


def _other_backgrounds(person: schemas.Person, job: schemas.Job, options: schemas.IdPhotoOptions) -> None:
    """A button for each other background, which makes the same ID photo before it."""
    wanted = idphoto_options(job.wants)
    now = wanted.get("background", options.background)
    st.caption(translate("idphotos.change"))
    with st.container(horizontal=True, gap="xsmall"):
        for name in COLORS[:5]:
            if name != now and st.button(translate(f"idphoto_background.{name}"), key=f"before-{name}"):
                again = schemas.IdPhotoOptions.model_validate({**wanted, "background": name})
                errors.attempt(lambda again=again: _order(person, again))


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
