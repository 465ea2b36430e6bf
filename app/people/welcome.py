"""The first page: explains the app and asks for consent before any photo; later the people, with what is next for each."""

from html import escape

import streamlit as st

from app.components import errors, examples, widgets
from app.people import consent
from app.session import client, get_state, page_address, query, set_query, set_state, switch_page, translate
from tasks import schemas

NEWEST = 6
"""Portraits that are shown, the newest ones."""


def page() -> None:
    """Show the people and the newest portraits; or explain the app and ask for consent while there is nobody."""
    people = client().people()
    if not people:
        widgets.page_heading(translate("welcome.title"), translate("welcome.lead"))
        _show_steps()
        with st.expander(translate("examples.title"), icon=":material/lightbulb:"):
            examples.show_examples()
        _consent_form()
        return
    widgets.page_heading(translate("welcome.people"), translate("welcome.people_lead"))
    newest = client().portrait_page(sort="newest", limit=NEWEST)
    widgets.cards(people, _show_person, lambda person: f"person-{person.id}", width=260)
    with st.expander(translate("welcome.another"), icon=":material/person_add:"):
        _consent_form(border=False)
    _show_newest(newest.items)


def _show_steps() -> None:
    steps = "".join(
        f"<li><b>{escape(translate(f'welcome.step{number}'))}</b>{escape(translate(f'welcome.step{number}_text'))}</li>"
        for number in (1, 2, 3)
    )
    st.html(f'<ol class="p-steps">{steps}</ol>')


def _show_person(person: schemas.Person) -> None:
    """Show a person with face and counts, and the way to their next step; in place of the name the form that changes it."""
    if query("rename") == person.id:
        st.html(_face(person))
        _rename_form(person)
        st.html(_counts(person) + _next_link(person))
        return
    label, address = translate("welcome.rename", name=person.name), page_address("welcome", person="", rename=person.id)
    pencil = '<span class="p-icon p-icon-rename"></span>'
    rename = (
        f'<a href="{escape(address)}" aria-label="{escape(label)}" title="{escape(label)}" target="_self">{pencil}</a>'
    )
    name = f'<div class="p-named"><h3>{escape(person.name)}</h3>{rename}</div>'
    st.html(_face(person) + name + _counts(person) + _next_link(person))


def _face(person: schemas.Person) -> str:
    """The person's face as a link to their photos; a place for it while there is none."""
    photos, name = page_address("photos", person=person.id), translate("welcome.photos_of", name=person.name)
    url = widgets.picture_url("crop", person.face, widgets.THUMB)
    face = f'<img src="{escape(url)}" alt="">' if person.face else '<span class="p-icon p-icon-photos"></span>'
    return f'<a class="p-face" href="{escape(photos)}" aria-label="{escape(name)}" target="_self">{face}</a>'


def _counts(person: schemas.Person) -> str:
    """How many photos and portraits there are, and the styles, as links; below it why nothing new is made, where it is so."""
    links = {
        "photos": translate("welcome.photos", count=person.photos),
        "results": translate("welcome.portraits", count=person.portraits),
        "create": translate("nav.create"),
        "idphoto": translate("nav.idphoto"),
    }
    shown = "".join(
        f'<a href="{escape(page_address(page, person=person.id))}" target="_self">{escape(text)}</a>'
        for page, text in links.items()
    )
    outdated = person.consent_state == "outdated"
    why = "" if person.consent else translate("welcome.outdated" if outdated else "welcome.withdrawn")
    return f'<div class="p-links">{shown}</div>' + (widgets.muted(why) if why else "")


def _next_link(person: schemas.Person) -> str:
    """The link to what is next for a person; screen readers are told for whom."""
    page, label = _next_step(person)
    address, whom = page_address(page, person=person.id), translate("welcome.next_of", step=label, name=person.name)
    return (
        f'<a class="p-button p-primary" href="{escape(address)}" aria-label="{escape(whom)}" target="_self">'
        f"{escape(label)}</a>"
    )


def _next_step(person: schemas.Person) -> tuple[str, str]:
    """The page of what is next for a person, and the label of the way to it."""
    if not person.consent:
        return "privacy", translate("welcome.to_privacy")
    if person.photos == 0:
        return "photos", translate("welcome.to_photos")
    if person.identity is None:
        return "photos", translate("welcome.to_verdicts")
    return "create", translate("welcome.to_create")


def _rename_form(person: schemas.Person) -> None:
    with st.form(f"rename-form-{person.id}", border=False):
        name = st.text_input(translate("welcome.name"), person.name, max_chars=80, key=f"name-{person.id}").strip()
        with st.container(horizontal=True):
            save = st.form_submit_button(translate("welcome.save_name"), type="primary")
            cancel = st.form_submit_button(translate("app.cancel"))
    if cancel or (save and name == person.name):
        set_query(rename="")
        st.rerun()
    elif save and not name:
        st.warning(translate("consent.need_name"))
    elif save:
        errors.attempt(lambda: (client().rename_person(person.id, name), set_query(rename="")))


def _show_newest(portraits: list[schemas.Portrait]) -> None:
    """The newest portraits as links to their pages."""
    if not portraits:
        return
    st.subheader(translate("welcome.newest"), anchor=False)
    pictures = "".join(
        f'<a href="{escape(page_address("portrait", id=each.id, **_person_of(each)))}" target="_self">'
        f'<img src="{escape(widgets.picture_url("portrait", each.id, widgets.THUMB))}" '
        f'alt="{escape(translate("welcome.newest_alt", number=number))}" loading="lazy"></a>'
        for number, each in enumerate(portraits, 1)
    )
    st.html(f'<div class="p-newest">{pictures}</div>')


def _person_of(portrait: schemas.Portrait) -> dict[str, str]:
    """The person of a portrait for an address; of several the first."""
    return {"person": portrait.people[min(portrait.people)]} if portrait.people else {}


def _consent_form(border: bool = True) -> None:
    """Show the form of consent, which adds a person."""
    forms = get_state("consent_forms", 0)

    def go_on(person: schemas.Person) -> None:
        set_state("consent_forms", forms + 1)
        switch_page("photos", person=person.id)

    consent.new_person_form(f"consent-{forms}", border, go_on)
