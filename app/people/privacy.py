"""The page of privacy: what is stored and until when, export, consent, and erasure."""

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
        grid = st.grid("auto", min_column_width=300)
        for person in people:
            with grid.cell(), st.container(border=True, height="stretch", key=f"kept-{person.id}"):
                _person(person)
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
        _erase_all()


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
        lines.append(
            translate(
                "privacy.consent",
                name=consent.given_by,
                day=widgets.format_date(consent.given),
                version=consent.text_version,
            )
        )
        if consent.withdrawn:
            lines.append(translate("privacy.withdrawn", day=widgets.format_date(consent.withdrawn)))
    st.html(widgets.bullet_list(lines))
    if person.consent:
        if st.button(translate("privacy.withdraw"), key=f"withdraw-{person.id}", width="stretch"):
            with errors.show_errors():
                client().withdraw_consent(person.id)
                st.rerun()
    elif st.button(translate("privacy.agree_again"), key=f"again-{person.id}", width="stretch", type="primary"):
        with errors.show_errors():
            client().consent_again(person.id, TEXT_VERSION, person.name)
            st.rerun()
    if st.button(
        translate("privacy.erase", name=person.name),
        key=f"erase-{person.id}",
        width="stretch",
        icon=":material/delete:",
    ):
        _erase(person)


def _erase(person: schemas.Person) -> None:
    @st.dialog(translate("privacy.erase", name=person.name))
    def confirm() -> None:
        st.write(translate("privacy.erase_sure", name=person.name))
        if st.button(translate("privacy.erase_now"), type="primary", key="erase-now"):
            with errors.show_errors():
                set_state("erased", client().erase_person(person.id))
                st.rerun()

    confirm()


def _erase_all() -> None:
    @st.dialog(translate("privacy.erase_all"))
    def confirm() -> None:
        st.write(translate("privacy.erase_all_sure"))
        if st.button(translate("privacy.erase_now"), type="primary", key="erase-all-now"):
            with errors.show_errors():
                set_state("erased", client().erase_me())
                st.rerun()

    confirm()


def _show_erased() -> None:
    """List what was erased in this session."""
    erased: schemas.Erased | None = get_state("erased")
    if erased is None:
        return
    counts = {kind: len(getattr(erased, kind)) for kind in KINDS}
    st.success(translate("privacy.went"), icon=":material/check_circle:")
    st.html(widgets.bullet_list([translate(f"went.{kind}", count=count) for kind, count in counts.items() if count]))
    with st.expander(translate("privacy.went_list")):
        for kind in KINDS:
            ids = getattr(erased, kind)
            if ids:
                st.code("\n".join(ids), language=None)
