"""Own pictures as templates: takes them, shows them with their faces, removes them."""

from collections.abc import Mapping, Sequence

import streamlit as st

from app.components import errors, markdown, photo_picker, undo, widgets
from app.people import consent
from app.people.ordering import choices, gallery
from app.session import client, translate
from tasks import schemas

NOT_FOUND = "template_no_face"
"""The fault of a job that found no face: there, a place can be marked by hand."""


def usable_pictures(templates: Sequence[schemas.Template]) -> list[schemas.Template]:
    """Pictures that somebody can be put into: their faces are known, or none was found and a place can be marked."""
    return [each for each in templates if each.faces is not None or _found_none(client().job(each.job))]


def show_own_pictures(
    templates: Sequence[schemas.Template], usable: Sequence[schemas.Template], person: schemas.Person, alone: bool
) -> None:
    """Show where pictures are added, and the visitor's own, of which some are usable; `alone`: the page shows nothing else."""
    with st.expander(translate("own.title"), expanded=alone or bool(templates), icon=":material/add_photo_alternate:"):
        widgets.muted_text(translate("own.lead"))
        _take_pictures()
        _warn_of_erasure(templates)
        opening = gallery.what_opens_pictures(person)
        if opening and usable:
            st.write(markdown.plain(opening))
            _show_still(usable, {})
        elif usable:
            _show_cards(usable)
        others = [each for each in templates if each not in usable]
        if others:
            _wait_for_faces(others)


def _found_none(job: schemas.Job) -> bool:
    return job.fault is not None and job.fault.code == NOT_FOUND


def _take_pictures() -> None:
    text = consent.text_of_consent()
    stated = not text.pictures or st.checkbox(markdown.plain(text.pictures), key="picture-stated")
    if not stated:
        widgets.muted_text(translate("own.state_first"))
        return
    sent = photo_picker.pick("template", key="own", statement=text.version if text.pictures else "")
    added = [each.id for each in sent if each.id]
    if added:
        choices.choose([*choices.chosen(), *added])
        st.rerun()


def _warn_of_erasure(templates: Sequence[schemas.Template]) -> None:
    days = [each.erased_on for each in templates if each.erased_soon and each.erased_on is not None]
    if days:
        text = translate("own.erased_soon", count=len(days), day=widgets.format_date(min(days)))
        st.warning(text, icon=":material/auto_delete:")


def _show_cards(templates: Sequence[schemas.Template]) -> None:
    cards = [_card(each) for each in templates]
    removed = gallery.show_cards("own", [{"title": "", "note": "", "cards": cards}])
    by_id = {each.id: each for each in templates}
    if removed in by_id:
        with errors.show_errors():
            _remove(by_id[removed])


def _card(template: schemas.Template) -> gallery.Card:
    alt = translate("own.alt", name=template.name)
    note = translate("own.faces", count=len(template.faces)) if template.faces else translate("own.no_faces")
    if template.missed:
        note = f"{note} · {translate('own.missed')}"
    boxes = [each.model_dump() for each in (*(template.faces or ()), *template.missed)]
    made = gallery.card(template.id, template.name, widgets.picture_url("template", template.id), alt, note)
    remove = {"remove": translate("own.delete"), "removeLabel": translate("own.delete_one", name=template.name)}
    return {**made, **remove, "boxes": boxes}


def _remove(template: schemas.Template) -> None:
    client().remove_template(template.id)
    undo.offer("template", [template.id], translate("own.deleted", name=template.name))
    choices.choose([each for each in choices.chosen() if each != template.id])
    st.rerun()


def _show_still(templates: Sequence[schemas.Template], notes: Mapping[str, str]) -> None:
    """Show pictures that cannot be chosen, each with its note."""
    st.html('<ul class="p-cards">' + "".join(_still(each, notes.get(each.id, "")) for each in templates) + "</ul>")


def _still(template: schemas.Template, note: str) -> str:
    alt = translate("own.alt", name=template.name)
    picture = widgets.picture(widgets.picture_url("template", template.id, widgets.THUMB), alt, "tall", grey=not note)
    return f"<li>{picture}{widgets.card_title(template.name)}{widgets.muted(note) if note else ''}</li>"


@st.fragment(run_every=2)
def _wait_for_faces(templates: Sequence[schemas.Template]) -> None:
    """Wait for the jobs that look for faces, and show why one failed."""
    with errors.show_errors_in_fragment():
        notes: dict[str, str] = {}
        for template in templates:
            job = client().job(template.job)
            if job.state == "succeeded" or _found_none(job):
                st.rerun()
            fault = job.fault
            notes[template.id] = (
                translate("own.looking") if fault is None else errors.error_message(fault.code, fault.message)
            )
        _show_still(templates, notes)
        for template in templates:
            label = translate("own.delete_one", name=template.name)
            if st.button(markdown.plain(label), key=f"drop-{template.id}", type="tertiary"):
                _remove(template)
