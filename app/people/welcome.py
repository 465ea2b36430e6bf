"""The first page: explains the app, asks for consent before any photo, and lists the people."""

from html import escape

import streamlit as st

from app.components import errors, widgets
from app.session import client, current_user, get_state, set_state, switch_page, translate
from tasks import schemas

TEXT_VERSION = "2026-11"
"""Version of the text of consent: a new one when its meaning changes."""


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
    st.subheader(person.name, anchor=False)
    widgets.muted_text(translate("welcome.photos", count=person.photos))
    if not person.consent:
        widgets.muted_text(translate("welcome.withdrawn"))
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


def consent_text(days: float) -> list[str]:
    """The paragraphs of consent: what is stored, for what, and for how many days."""
    return [
        translate("consent.stored"),
        translate("consent.purpose"),
        translate("consent.kept", days=f"{days:g}"),
        translate("consent.yours"),
    ]


def _consent_form(border: bool = True) -> None:
    """Show the form of consent, which adds a person; name, version and time are recorded before any photo."""
    with st.form(f"consent-{get_state('consent_forms', 0)}", border=border):
        text = widgets.bullet_list(consent_text(current_user().retention_days))
        st.html(widgets.card_title(translate("consent.title")) + text)
        name = st.text_input(translate("consent.name"), max_chars=80, placeholder=translate("consent.name_example"))
        adult = st.checkbox(translate("consent.adult"))
        consented = st.checkbox(translate("consent.agree"))
        submitted = st.form_submit_button(translate("consent.start"), type="primary")
    if not submitted:
        return
    if not name.strip():
        st.warning(translate("consent.need_name"))
    elif not (adult and consented):
        st.warning(translate("consent.need_both"))
    else:
        with errors.show_errors():
            person = client().add_person(name.strip(), TEXT_VERSION, name.strip())
            set_state("person", person.id)
            set_state("consent_forms", get_state("consent_forms", 0) + 1)
            switch_page("photos")
