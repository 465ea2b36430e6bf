"""Consent: the text that the task API gives, and the form in which somebody agrees for themselves or for somebody else."""

from collections.abc import Callable

import streamlit as st

from app.components import errors, markdown, widgets
from app.session import client, current_user, get_state, language, set_state, translate
from tasks import schemas


def text_of_consent() -> schemas.ConsentText:
    """The present text in the visitor's language; a visit asks once for each version."""
    user = current_user()
    present = (user.consent_version, user.retention_days, language())
    told: tuple[object, schemas.ConsentText] | None = get_state("consent_text")
    if told is None or told[0] != present:
        told = present, client().consent_text(language())
        set_state("consent_text", told)
    return told[1]


def show_text(text: schemas.ConsentText) -> None:
    """Show the paragraphs of a text."""
    st.html(widgets.card_title(translate("consent.title")) + widgets.bullet_list(text.paragraphs))


def new_person_form(key: str, border: bool, done: Callable[[schemas.Person], None]) -> None:
    """The form that adds a person with their consent, before any photo; `done` is called with the person."""
    text = text_of_consent()
    with st.form(key, border=border):
        show_text(text)
        name = st.text_input(translate("consent.name"), max_chars=80, placeholder=translate("consent.name_example"))
        consent = _statements(text, key, name)
        submitted = st.form_submit_button(translate("consent.start"), type="primary")
    if submitted and isinstance(consent, str):
        st.warning(consent)
    elif submitted and not isinstance(consent, str):
        with errors.show_errors():
            stated = consent.model_dump(exclude={"agreed", "text_version", "given_by"})
            done(client().add_person(name.strip(), consent.text_version, consent.given_by, **stated))


def agree_again_form(person: schemas.Person) -> None:
    """The form in which consent is given again, to the present text."""
    text = text_of_consent()
    with st.form(f"again-{person.id}", border=False):
        st.html(widgets.bullet_list(text.paragraphs))
        consent = _statements(text, f"again-{person.id}", person.name)
        submitted = st.form_submit_button(translate("consent.agree_again"), type="primary")
    if submitted and isinstance(consent, str):
        st.warning(consent)
    elif submitted and not isinstance(consent, str):
        stated = consent.model_dump(exclude={"agreed", "text_version", "given_by"})
        errors.attempt(lambda: client().consent_again(person.id, consent.text_version, consent.given_by, **stated))


def ask_guardian(person: schemas.Person) -> bool:
    """Ask whether a parent or guardian agrees, with the form, where that is needed; whether it still is."""
    if not person.guardian_needed:
        return False
    text, key = text_of_consent(), f"guardian-{person.id}"
    with st.container(border=True, key=key):
        question, why = translate("guardian.title"), translate("guardian.why", name=person.name)
        st.html(
            widgets.card_title(question)
            + widgets.bullet_list([why, translate("guardian.adult", name=person.name, id=person.id)])
        )
        with st.form(f"{key}-form", border=False):
            st.html(widgets.bullet_list(text.paragraphs))
            giver = st.text_input(translate("guardian.name"), max_chars=80, key=f"{key}-by")
            stated = markdown.plain(text.given_for.get("guardian") or translate("guardian.stated"))
            boxes = [st.checkbox(each, key=f"{key}-{at}") for at, each in enumerate(_guardian_statements(text, stated))]
            submitted = st.form_submit_button(translate("guardian.agree"), type="primary")
        if submitted and not giver.strip():
            st.warning(translate("guardian.need_name"))
        elif submitted and not all(boxes):
            st.warning(translate("guardian.need_all"))
        elif submitted:
            language, given = text.language, {"given_for": "guardian", "adult": True}
            agree = client().consent_again
            errors.attempt(lambda: agree(person.id, text.version, giver.strip(), language=language, **given))
    return True


def _guardian_statements(text: schemas.ConsentText, stated: str) -> list[str]:
    """What a parent or guardian states: who they are, that they are of age, and that they agree."""
    return [stated, markdown.plain(text.adult), markdown.plain(text.agree)]


def _statements(text: schemas.ConsentText, key: str, name: str) -> schemas.ConsentRequest | str:
    """Ask for the statements of a text; the consent, or what is still to be said."""
    given_for, giver = _ask_for_whom(text, key)
    adult = st.checkbox(markdown.plain(text.adult), key=f"{key}-adult")
    agreed = st.checkbox(markdown.plain(text.agree), key=f"{key}-agree")
    for_others = given_for in ("proxy", "guardian")
    missing = {
        "consent.need_name": not name.strip(),
        "consent.need_both": not (adult and agreed),
        "consent.need_who": bool(text.given_for) and given_for is None,
        "consent.need_giver": for_others and not giver,
    }
    for sentence, is_missing in missing.items():
        if is_missing:
            return translate(sentence)
    return schemas.ConsentRequest(
        agreed=True,
        text_version=text.version,
        given_by=giver if for_others else name.strip(),
        language=text.language,
        given_for=given_for,
        adult=True,
    )


def _ask_for_whom(text: schemas.ConsentText, key: str) -> tuple[schemas.GivenFor | None, str]:
    """Ask whom the photos show, and for the name of who agrees for somebody else."""
    if not text.given_for:
        return None, ""
    sentences = {kind: markdown.plain(sentence) for kind, sentence in text.given_for.items()}
    kinds: list[schemas.GivenFor] = list(text.given_for)
    given_for: schemas.GivenFor | None = st.radio(
        translate("consent.who"),
        kinds,
        index=None,
        format_func=lambda kind: sentences[kind],
        key=f"{key}-for",
    )
    giver = st.text_input(
        translate("consent.giver"), max_chars=80, help=translate("consent.giver_help"), key=f"{key}-by"
    )
    return given_for, giver.strip()
