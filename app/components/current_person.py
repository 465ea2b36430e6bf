"""Who the visitor is working on at the moment."""

import streamlit as st

from app.session import client, go, recall, remember, say
from tasks import schemas


def chosen() -> schemas.Person | None:
    """The person in hand: one of several by choice; None, with a way to start, when there is nobody."""
    people = client().people()
    if not people:
        st.info(say("people.nobody"), icon=":material/person_add:")
        if st.button(say("people.start"), type="primary"):
            go("welcome")
        return None
    ids = [each.id for each in people]
    at = ids.index(recall("person")) if recall("person") in ids else 0
    if len(people) > 1:
        at = st.selectbox(
            say("people.who"), range(len(people)), index=at, format_func=lambda place: people[place].name, width=320
        )
    remember("person", people[at].id)
    return people[at]


def allowed(person: schemas.Person) -> bool:
    """Whether consent holds; says how to give it again."""
    if person.consent:
        return True
    st.info(say("people.withdrawn", name=person.name), icon=":material/lock:")
    if st.button(say("people.to_privacy"), type="primary"):
        go("privacy")
    return False
