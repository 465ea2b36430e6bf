"""The page of privacy: what is stored and until when, export, consent, erasure, and where somebody is signed in."""

from collections.abc import Callable
from html import escape

import streamlit as st

from app.components import errors, markdown, widgets
from app.people import consent
from app.people.erased import remember, show_erased, show_stale
from app.people.signed_in import show_sessions
from app.session import client, set_query, set_state, translate
from tasks import schemas


def page() -> None:
    """Show what is stored of each person, with export and erasure of everything."""
    widgets.page_heading(translate("privacy.title"), translate("privacy.lead"))
    show_erased()
    people = client().people()
    if people:
        widgets.cards(people, _person, lambda person: f"kept-{person.id}")
    pictures = client().templates()
    if pictures:
        st.info(translate("privacy.pictures", count=len(pictures)), icon=":material/image:")
    elif not people:
        st.info(translate("privacy.nothing"), icon=":material/check:")
    agreed = any(each.consent for each in people)
    st.subheader(translate("privacy.what" if agreed else "privacy.what_now"), anchor=False)
    st.html(widgets.bullet_list(consent.text_of_consent().paragraphs))
    left, right = st.columns(2)
    with left:
        widgets.download_link("/take/export.zip", translate("privacy.export"))
        widgets.muted_text(translate("privacy.export_help"))
    if right.button(translate("privacy.erase_all"), icon=":material/delete_forever:", width="stretch"):
        title, question = translate("privacy.erase_all"), translate("privacy.erase_all_sure")
        _confirm_erasure(title, question, "erase-all-now", _erase_all)
    show_sessions()


def _person(person: schemas.Person) -> None:
    """Show what is stored of one person, with buttons for consent and erasure."""
    lines = [
        translate("privacy.photos", count=person.photos),
        translate("privacy.portraits", count=person.portraits),
        translate("privacy.until", day=widgets.format_date(person.erased_on or person.erased_after)),
    ]
    if (record := person.latest_consent) is not None:
        given = {"day": widgets.format_date(record.given), "version": record.text_version}
        if record.given_by == person.name:
            lines.append(translate("privacy.consent", name=record.given_by, **given))
        else:
            lines.append(translate("privacy.consent_by", giver=record.given_by, name=person.name, **given))
        if record.given_for in ("proxy", "guardian"):
            lines.append(translate(f"privacy.for_{record.given_for}"))
        if record.withdrawn:
            lines.append(translate("privacy.withdrawn", day=widgets.format_date(record.withdrawn)))
        elif person.consent_state == "outdated":
            lines.append(translate("privacy.outdated"))
    name, help = f'<h3 class="p-name-of">{escape(person.name)}</h3>', widgets.muted(translate("privacy.until_help"))
    st.html(name + widgets.bullet_list(lines) + help)
    if person.consent:
        if st.button(translate("privacy.withdraw"), key=f"withdraw-{person.id}", width="stretch"):
            errors.attempt(lambda: client().withdraw_consent(person.id))
    else:
        with st.expander(translate("privacy.agree_again"), expanded=True):
            consent.agree_again_form(person)
    show_stale(person)
    title = markdown.sentence("privacy.erase", name=person.name)
    question = markdown.sentence("privacy.erase_sure", name=person.name)
    if st.button(title, key=f"erase-{person.id}", width="stretch", icon=":material/delete:"):
        _confirm_erasure(title, question, f"erase-now-{person.id}", lambda: _erase(person))


def _erase(person: schemas.Person) -> None:
    remember(client().erase_person(person.id), person.name)
    set_query(person="")
    set_state("person", "")


def _erase_all() -> None:
    remember(client().erase_me())
    set_query(person="")
    set_state("person", "")


def _confirm_erasure(title: str, question: str, key: str, erase: Callable[[], None]) -> None:
    @st.dialog(title)
    def confirm() -> None:
        st.write(question)
        with st.container(horizontal=True):
            if st.button(translate("privacy.erase_now"), type="primary", key=key):
                errors.attempt(erase)
            if st.button(translate("app.cancel"), key=f"{key}-cancel"):
                st.rerun()

    confirm()
