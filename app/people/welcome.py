"""The first page: what this does, consent before any photo, and the people there are."""

from html import escape

import streamlit as st

from app.components import errors, widgets
from app.session import client, go, me, recall, remember, say
from tasks import schemas

TEXT_VERSION = "2026-11"
"""Of the consent in the words of the app: a new one when their meaning changes."""


def page() -> None:
    """Say what this is; ask for consent; or show who there is."""
    people = client().people()
    widgets.heading(say("welcome.title"), say("welcome.lead"))
    if people:
        _people(people)
        with st.expander(say("welcome.another"), icon=":material/person_add:"):
            _consent(border=False)
    else:
        _steps()
        _consent()


def _steps() -> None:
    steps = "".join(
        f"<li><b>{escape(say(f'welcome.step{number}'))}</b>{escape(say(f'welcome.step{number}_text'))}</li>"
        for number in (1, 2, 3)
    )
    st.html(f'<ol class="p-steps">{steps}</ol>')


def _people(people: list[schemas.Person]) -> None:
    grid = st.grid("auto", min_column_width=260)
    for person in people:
        with grid.cell(), st.container(border=True, height="stretch", key=f"person-{person.id}"):
            _person(person)


def _person(person: schemas.Person) -> None:
    """What there is of a person, and the next step."""
    st.subheader(person.name, anchor=False)
    widgets.soft(say("welcome.photos", count=person.photos))
    if not person.consent:
        widgets.soft(say("welcome.withdrawn"))
        step, label = "privacy", say("welcome.to_privacy")
    elif person.photos == 0:
        step, label = "photos", say("welcome.to_photos")
    elif person.identity is None:
        step, label = "photos", say("welcome.to_verdicts")
    else:
        step, label = "create", say("welcome.to_create")
    if st.button(label, key=f"go-{person.id}", type="primary", width="stretch"):
        remember("person", person.id)
        go(step)


def consent_text(days: float) -> list[str]:
    """What is stored, for what, and for how long."""
    return [
        say("consent.stored"),
        say("consent.purpose"),
        say("consent.kept", days=f"{days:g}"),
        say("consent.yours"),
    ]


def _consent(border: bool = True) -> None:
    """Who it is, and that they agree: recorded with version and time before any photo."""
    with st.form(f"consent-{recall('consents', 0)}", border=border):
        st.html(
            f'<p class="p-title">{escape(say("consent.title"))}</p>' + widgets.points(consent_text(me().retention_days))
        )
        name = st.text_input(say("consent.name"), max_chars=80, placeholder=say("consent.name_example"))
        adult = st.checkbox(say("consent.adult"))
        agreed = st.checkbox(say("consent.agree"))
        sent = st.form_submit_button(say("consent.start"), type="primary")
    if not sent:
        return
    if not name.strip():
        st.warning(say("consent.need_name"))
    elif not (adult and agreed):
        st.warning(say("consent.need_both"))
    else:
        with errors.told():
            person = client().add_person(name.strip(), TEXT_VERSION, name.strip())
            remember("person", person.id)
            remember("consents", recall("consents", 0) + 1)
            go("photos")
