"""The page of privacy: what is stored and until when, export, consent, and erasure."""

from collections.abc import Callable

import streamlit as st

from app.components import errors, widgets
from app.people.welcome import TEXT_VERSION, consent_text
from app.session import client, current_user, get_state, set_state, translate
from tasks import schemas

KINDS = ("people", "selfies", "portraits", "templates", "jobs", "files")


def page() -> None:
    """Show what is stored of each person, with export and erasure of everything."""
    widgets.page_heading(translate("privacy.title"), translate("privacy.lead"))
    _show_erased()
    people = client().people()
    visitor = current_user()
    if people:
        widgets.cards(people, _person, lambda person: f"kept-{person.id}")
    pictures = client().templates()
    if pictures:
        st.info(translate("privacy.pictures", count=len(pictures)), icon=":material/image:")
    elif not people:
        st.info(translate("privacy.nothing"), icon=":material/check:")
    st.subheader(translate("privacy.what"), anchor=False)
    st.html(widgets.bullet_list(consent_text(visitor.retention_days)))
    left, right = st.columns(2)
    with left:
        widgets.download_link("/take/export.zip", translate("privacy.export"))
        widgets.muted_text(translate("privacy.export_help"))
    if right.button(translate("privacy.erase_all"), icon=":material/delete_forever:", width="stretch"):
        title, question = translate("privacy.erase_all"), translate("privacy.erase_all_sure")
        _confirm_erasure(title, question, "erase-all-now", client().erase_me)


def _person(person: schemas.Person) -> None:
    """Show what is stored of one person, with buttons for consent and erasure."""
    st.subheader(person.name, anchor=False)
    portraits = len(client().portraits(person=person.id))
    lines = [
        translate("privacy.photos", count=person.photos),
        translate("privacy.portraits", count=portraits),
        translate("privacy.until", day=widgets.format_date(person.erased_after)),
    ]
    for consent in client().consents(person.id)[-1:]:
        given = {"name": consent.given_by, "day": widgets.format_date(consent.given), "version": consent.text_version}
        lines.append(translate("privacy.consent", **given))
        if consent.withdrawn:
            lines.append(translate("privacy.withdrawn", day=widgets.format_date(consent.withdrawn)))
    st.html(widgets.bullet_list(lines))
    if person.consent:
        if st.button(translate("privacy.withdraw"), key=f"withdraw-{person.id}", width="stretch"):
            errors.attempt(lambda: client().withdraw_consent(person.id))
    elif st.button(translate("privacy.agree_again"), key=f"again-{person.id}", width="stretch", type="primary"):
        errors.attempt(lambda: client().consent_again(person.id, TEXT_VERSION, person.name))
    title, question = translate("privacy.erase", name=person.name), translate("privacy.erase_sure", name=person.name)
    if st.button(title, key=f"erase-{person.id}", width="stretch", icon=":material/delete:"):
        _confirm_erasure(title, question, "erase-now", lambda: client().erase_person(person.id))


def _confirm_erasure(title: str, question: str, key: str, erase: Callable[[], schemas.Erased]) -> None:
    @st.dialog(title)
    def confirm() -> None:
        st.write(question)
        if st.button(translate("privacy.erase_now"), type="primary", key=key):
            errors.attempt(lambda: set_state("erased", erase()))

    confirm()


def _show_erased() -> None:
    """List what was erased in this session."""
    erased: schemas.Erased | None = get_state("erased")
    if erased is None:
        return
    ids_by_kind = {kind: ids for kind in KINDS if (ids := getattr(erased, kind))}
    st.success(translate("privacy.went"), icon=":material/check_circle:")
    st.html(widgets.bullet_list([translate(f"went.{kind}", count=len(ids)) for kind, ids in ids_by_kind.items()]))
    with st.expander(translate("privacy.went_list")):
        for ids in ids_by_kind.values():
            st.code("\n".join(ids), language=None)
