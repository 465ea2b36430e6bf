"""The page of privacy: what is stored, until when, taking it home, taking consent back, erasing."""

import streamlit as st

from app.components import errors, widgets
from app.people.welcome import TEXT_VERSION, consent_text
from app.session import client, me, recall, remember, say
from tasks import schemas

KINDS = ("people", "selfies", "portraits", "templates", "jobs", "files")


def page() -> None:
    """Everything about what is kept."""
    widgets.heading(say("privacy.title"), say("privacy.lead"))
    _went()
    people = client().people()
    visitor = me()
    if people:
        grid = st.grid("auto", min_column_width=300)
        for person in people:
            with grid.cell(), st.container(border=True, height="stretch", key=f"kept-{person.id}"):
                _person(person)
    pictures = client().templates()
    if pictures:
        st.info(say("privacy.pictures", count=len(pictures)), icon=":material/image:")
    elif not people:
        st.info(say("privacy.nothing"), icon=":material/check:")
    st.subheader(say("privacy.what"), anchor=False)
    st.html(widgets.points(consent_text(visitor.retention_days)))
    left, right = st.columns(2)
    with left:
        widgets.take_link("/take/export.zip", say("privacy.export"))
        widgets.soft(say("privacy.export_help"))
    if right.button(say("privacy.erase_all"), icon=":material/delete_forever:", width="stretch"):
        _erase_all()


def _person(person: schemas.Person) -> None:
    """What is kept of one person, and what they can do."""
    st.subheader(person.name, anchor=False)
    portraits = len(client().portraits(person=person.id))
    lines = [
        say("privacy.photos", count=person.photos),
        say("privacy.portraits", count=portraits),
        say("privacy.until", day=widgets.day(person.erased_after)),
    ]
    for consent in client().consents(person.id)[-1:]:
        lines.append(
            say("privacy.consent", name=consent.given_by, day=widgets.day(consent.given), version=consent.text_version)
        )
        if consent.withdrawn:
            lines.append(say("privacy.withdrawn", day=widgets.day(consent.withdrawn)))
    st.html(widgets.points(lines))
    if person.consent:
        if st.button(say("privacy.withdraw"), key=f"withdraw-{person.id}", width="stretch"):
            with errors.told():
                client().withdraw_consent(person.id)
                st.rerun()
    elif st.button(say("privacy.agree_again"), key=f"again-{person.id}", width="stretch", type="primary"):
        with errors.told():
            client().consent_again(person.id, TEXT_VERSION, person.name)
            st.rerun()
    if st.button(
        say("privacy.erase", name=person.name), key=f"erase-{person.id}", width="stretch", icon=":material/delete:"
    ):
        _erase(person)


def _erase(person: schemas.Person) -> None:
    @st.dialog(say("privacy.erase", name=person.name))
    def sure() -> None:
        st.write(say("privacy.erase_sure", name=person.name))
        if st.button(say("privacy.erase_now"), type="primary", key="erase-now"):
            with errors.told():
                remember("went", client().erase_person(person.id))
                st.rerun()

    sure()


def _erase_all() -> None:
    @st.dialog(say("privacy.erase_all"))
    def sure() -> None:
        st.write(say("privacy.erase_all_sure"))
        if st.button(say("privacy.erase_now"), type="primary", key="erase-all-now"):
            with errors.told():
                remember("went", client().erase_me())
                st.rerun()

    sure()


def _went() -> None:
    """The list of what was erased."""
    went: schemas.Erased | None = recall("went")
    if went is None:
        return
    counts = {kind: len(getattr(went, kind)) for kind in KINDS}
    st.success(say("privacy.went"), icon=":material/check_circle:")
    st.html(widgets.points([say(f"went.{kind}", count=count) for kind, count in counts.items() if count]))
    with st.expander(say("privacy.went_list")):
        for kind in KINDS:
            ids = getattr(went, kind)
            if ids:
                st.code("\n".join(ids), language=None)
