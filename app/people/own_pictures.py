"""Own pictures as templates: uploads them, shows their faces, and assigns people to the faces of a picture or style."""

from collections.abc import Mapping

import streamlit as st

from app.components import errors, markdown, widgets
from app.people import consent
from app.people.choices import StyleChoice, choice_button
from app.people.photos import PHOTO_TYPES
from app.session import client, get_state, release_upload, set_state, translate
from portrait.errors import PortraitError
from tasks import schemas


def show_own_pictures(chosen: list[str]) -> list[schemas.Template]:
    """Show the upload field and the visitor's pictures; returns them."""
    templates = client().templates()
    with st.expander(translate("own.title"), expanded=bool(templates), icon=":material/add_photo_alternate:"):
        widgets.muted_text(translate("own.lead"))
        _upload(chosen)
        days = [each.erased_on for each in templates if each.erased_soon and each.erased_on is not None]
        if days:
            text = translate("own.erased_soon", count=len(days), day=widgets.format_date(min(days)))
            st.warning(text, icon=":material/auto_delete:")
        if templates:
            widgets.cards(
                templates, lambda each: _show_picture(each, chosen), lambda each: f"template-{each.id}", width=200
            )
    return templates


def assign_faces(style: StyleChoice, person: schemas.Person) -> dict[str, str]:
    """The ids of people by number of the face they replace; the one face of a style goes to `person` without asking.

    Numbers above those of the faces stand for places where somebody may have been missed; see `missed_places`.
    """
    if style.faces <= 1 and not (style.template and style.template.missed):
        return {"1": person.id} if style.faces else {}
    st.html(widgets.card_title(translate("cast.title", look=style.name)))
    ready = [each for each in client().people() if each.consent and each.identity]
    names = {each.id: each.name for each in ready} | {"": translate("cast.nobody")}
    left, right = st.columns([1, 1])
    if style.template is not None and style.template.faces:
        url = widgets.picture_url("template", style.id, 800)
        alt = translate("own.alt", name=style.name)
        left.html(widgets.picture_with_boxes(url, alt, style.template.faces, style.template.missed))
    assigned: dict[str, str] = {}
    missed = style.template.missed if style.template is not None else []
    for number in range(1, style.faces + len(missed) + 1):
        ids = ["", *(each.id for each in ready)]
        index = ids.index(person.id) if number == 1 and person.id in ids else 0
        label = translate("cast.face", number=number) if number <= style.faces else translate("cast.missed")
        key = f"cast-{style.id}-{number}"
        id = right.selectbox(label, ids, index=index, format_func=lambda id: names[id], key=key)
        if id:
            assigned[str(number)] = id
    if not assigned:
        right.warning(translate("cast.choose_one"))
    return assigned


def missed_places(style: StyleChoice, assigned: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """The middles, as shares of the picture, of the places with a question mark that were given a person."""
    missed = style.template.missed if style.template is not None else []
    middles = {
        str(style.faces + at): {"x": (box.left + box.right) / 2, "y": (box.top + box.bottom) / 2}
        for at, box in enumerate(missed, 1)
    }
    return {number: point for number, point in middles.items() if number in assigned}


def _upload(chosen: list[str]) -> None:
    batch = get_state("picture_batch", 0)
    text = consent.text_of_consent()
    stated = not text.pictures or st.checkbox(markdown.plain(text.pictures), key=f"picture-stated-{batch}")
    if not stated:
        widgets.muted_text(translate("own.state_first"))
    picture = st.file_uploader(translate("own.choose"), PHOTO_TYPES, key=f"picture-{batch}") if stated else None
    if picture is not None:
        set_state("picture_batch", batch + 1)
        set_state("picture_error", None)
        try:
            with st.spinner(translate("own.sending")):
                added = client().add_template(picture.name, picture, text.version if text.pictures else "")
        except PortraitError as error:
            if error.code in errors.UNREACHABLE:
                raise
            set_state("picture_error", error)
        else:
            set_state("chosen", [*chosen, added.id])
        release_upload(picture)
        st.rerun()
    error = get_state("picture_error")
    if error is not None:
        errors.show_error(error)


def _show_picture(template: schemas.Template, chosen: list[str]) -> None:
    """Show a picture with its faces, or the state of the job that looks for them."""
    alt = translate("own.alt", name=template.name)
    if template.faces is None:
        st.html(widgets.picture(widgets.picture_url("template", template.id), alt) + widgets.card_title(template.name))
        _wait_for_faces(template)
    else:
        faces = translate("own.faces", count=len(template.faces))
        st.html(
            widgets.picture_with_boxes(
                widgets.picture_url("template", template.id, 640), alt, template.faces, template.missed
            )
            + widgets.card_title(template.name)
            + widgets.muted(f"{faces} {translate('own.missed')}" if template.missed else faces)
        )
        choice_button(template.id, template.name, chosen)
    if st.button(
        translate("own.delete"), key=f"drop-{template.id}", type="tertiary", help=markdown.plain(template.name)
    ):
        with errors.show_errors():
            client().delete_template(template.id)
            set_state("chosen", [each for each in chosen if each != template.id])
            st.rerun()


@st.fragment(run_every=2)
def _wait_for_faces(template: schemas.Template) -> None:
    """Wait for the job that looks for faces, and show why it failed."""
    with errors.show_errors_in_fragment():
        job = client().job(template.job)
        if job.state == "succeeded":
            st.rerun()
        elif job.fault is not None:
            st.warning(markdown.plain(errors.error_message(job.fault.code, job.fault.message)))
        else:
            widgets.muted_text(translate("own.looking"))
