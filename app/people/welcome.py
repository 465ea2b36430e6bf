"""The first page: explains the app, asks for consent before any photo, and lists the people."""

from html import escape

import streamlit as st

from app.components import markdown, widgets
from app.people import consent
from app.session import client, get_state, set_state, switch_page, translate
from tasks import schemas


def page() -> None:
    """Show the people; or explain the app and ask for consent while there are none."""
    people = client().people()
    widgets.page_heading(translate("welcome.title"), translate("welcome.lead"))
    if people:
        widgets.cards(people, _show_person, lambda person: f"person-{person.id}", width=260)
        with st.expander(translate("welcome.another"), icon=":material/person_add:"):
            _consent_form(border=False)
    else:
        _show_steps()
        _consent_form()


def _show_steps() -> None:
    steps = "".join(
        f"<li><b>{escape(translate(f'welcome.step{number}'))}</b>{escape(translate(f'welcome.step{number}_text'))}</li>"
        for number in (1, 2, 3)
    )
    st.html(f'<ol class="p-steps">{steps}</ol>')


def _show_person(person: schemas.Person) -> None:
    """Show a person with the button for their next step."""
    st.subheader(markdown.plain(person.name), anchor=False)
    widgets.muted_text(translate("welcome.photos", count=person.photos))
    if not person.consent:
        outdated = person.consent_state == "outdated"
        widgets.muted_text(translate("welcome.outdated") if outdated else translate("welcome.withdrawn"))
        next_page, label = "privacy", translate("welcome.to_privacy")
    elif person.photos == 0:
        next_page, label = "photos", translate("welcome.to_photos")
    elif person.identity is None:
        next_page, label = "photos", translate("welcome.to_verdicts")
    else:
        next_page, label = "create", translate("welcome.to_create")
    if st.button(label, key=f"go-{person.id}", type="primary", width="stretch"):
        set_state("person", person.id)
        switch_page(next_page)


def _consent_form(border: bool = True) -> None:
    """Show the form of consent, which adds a person."""
    forms = get_state("consent_forms", 0)

    def go_on(person: schemas.Person) -> None:
        set_state("person", person.id)
        set_state("consent_forms", forms + 1)
        switch_page("photos")

    consent.new_person_form(f"consent-{forms}", border, go_on)
