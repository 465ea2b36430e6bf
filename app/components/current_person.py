"""Selects the person whose photos and portraits the pages show, and checks that consent holds."""

from collections.abc import Sequence

import streamlit as st

from app.components import markdown
from app.session import client, get_state, query, set_query, set_state, switch_page, translate
from tasks import schemas

_PEOPLE = "people_of_run"
_OF_SOMEBODY = {"order": "", "id": "", "shown": ""}
"""What an address says of one person's portraits, and no longer when it names another one."""


def name_in_address() -> None:
    """Give an address that names nobody the person who was chosen last, or else the newest; to be called before a page."""
    set_state(_PEOPLE, None)
    if query("person"):
        return
    last, ids = get_state("person"), [each.id for each in list_people()]
    if ids:
        set_query(person=last if last in ids else ids[0], **_OF_SOMEBODY)


def list_people() -> list[schemas.Person]:
    """The visitor's people, asked once in each run of a page that is about one of them."""
    people: list[schemas.Person] | None = get_state(_PEOPLE)
    if people is None:
        people = client().people()
        set_state(_PEOPLE, people)
    return people


def select_person() -> schemas.Person | None:
    """The person of the page's address, with a list to choose another where there are several.

    None, with a button, where there is nobody, and None where the address names somebody who is not there: nobody is put in
    their place.
    """
    people = list_people()
    if not people:
        _show_nobody()
        return None
    by_id = {each.id: each for each in people}
    named = query("person")
    if named not in by_id:
        _show_unknown(people)
        return None
    set_state("person", named)
    if len(people) > 1:
        _choose_another(people, named)
    return by_id[named]


def check_consent(person: schemas.Person) -> bool:
    """Whether the person's consent holds; where it does not, the page says how to give it again."""
    if person.consent:
        return True
    why = "people.outdated" if person.consent_state == "outdated" else "people.withdrawn"
    st.info(markdown.sentence(why, name=person.name), icon=":material/lock:")
    if st.button(translate("people.to_privacy"), type="primary"):
        switch_page("privacy")
    return False


def distinct_names(people: Sequence[schemas.Person]) -> dict[str, str]:
    """The names of people by id, numbered where several have one name: lists tell their entries apart by what they show."""
    names: dict[str, str] = {}
    for person in sorted(people, key=lambda each: each.created):
        name, number = person.name, 2
        while name in names.values():
            name, number = f"{person.name} ({number})", number + 1
        names[person.id] = name
    return {each.id: names[each.id] for each in people}


def _show_nobody() -> None:
    st.info(translate("people.nobody"), icon=":material/person_add:")
    if st.button(translate("people.start"), type="primary"):
        switch_page("welcome", person="")


def _show_unknown(people: Sequence[schemas.Person]) -> None:
    """Say that the person of the address is not there any more, and offer the others."""
    st.warning(translate("people.gone"), icon=":material/person_off:")
    with st.container(horizontal=True):
        for each in people:
            if st.button(markdown.plain(each.name), key=f"instead-{each.id}", icon=":material/person:"):
                _draw_for(each.id)


def _choose_another(people: Sequence[schemas.Person], current: str) -> None:
    names = distinct_names(people)
    ids = list(names)
    chosen = st.selectbox(
        translate("people.who"),
        ids,
        index=ids.index(current),
        format_func=lambda id: names[id],
        key="who",
        width=320,
    )
    if chosen != current:
        _draw_for(chosen)


def _draw_for(person: str) -> None:
    """Draw the page again for a person, without what the address says of somebody else's portraits."""
    set_query(person=person, **_OF_SOMEBODY)
    st.rerun()
