"""Selects the person whose photos and portraits the pages show, and checks that consent holds."""

import streamlit as st

from app.components import markdown
from app.session import client, get_state, set_state, switch_page, translate
from tasks import schemas


def select_person() -> schemas.Person | None:
    """The selected person, from a list where there are several; None, with a button to start, when there is nobody."""
    people = client().people()
    if not people:
        st.info(translate("people.nobody"), icon=":material/person_add:")
        if st.button(translate("people.start"), type="primary"):
            switch_page("welcome")
        return None
    ids = [each.id for each in people]
    index = ids.index(get_state("person")) if get_state("person") in ids else 0
    if len(people) > 1:
        index = st.selectbox(
            translate("people.who"),
            range(len(people)),
            index=index,
            format_func=lambda place: people[place].name,
            width=320,
        )
    set_state("person", people[index].id)
    return people[index]


def check_consent(person: schemas.Person) -> bool:
    """Whether the person's consent holds; where it does not, the page says how to give it again."""
    if person.consent:
        return True
    why = "people.outdated" if person.consent_state == "outdated" else "people.withdrawn"
    st.info(markdown.sentence(why, name=person.name), icon=":material/lock:")
    if st.button(translate("people.to_privacy"), type="primary"):
        switch_page("privacy")
    return False
