"""The page of photos: takes photos from files or the camera, has them checked by itself, and shows the verdict on each."""

from collections.abc import Sequence

import streamlit as st

from app.components import current_person, errors, examples, jobs, photo_picker, undo, widgets
from app.people import consent
from app.people.erased import show_stale
from app.people.selfies import cards, checks, groups, summary, traits
from app.session import client, translate
from tasks import schemas


def page() -> None:
    """Take photos, and show the verdicts on them."""
    lead = translate("photos.lead", count=summary.ENOUGH_GOOD_PHOTOS)
    widgets.page_heading(translate("photos.title"), lead)
    person = current_person.select_person()
    if person is None or not current_person.check_consent(person):
        return
    undo.show()
    photos = client().selfies(person.id)
    photo_picker.pick("selfies", person.id, known=[each.id for each in photos])
    latest = checks.follow_changes(person, photos, checks.latest_check(person.id))
    if not photos:
        with st.expander(translate("examples.title"), icon=":material/lightbulb:"):
            examples.show_examples()
    elif latest is not None and not latest.done:
        _show_progress(latest.id)
    else:
        _show_result(person, photos, latest)
    show_stale(person)
    if photos:
        cards.show_cards(person, photos, latest)


@st.fragment(run_every=1)
def _show_progress(id: str) -> None:
    """Show the progress of a check, and the page again when it has ended."""
    with errors.show_errors_in_fragment():
        job = client().job(id)
        if job.done:
            st.rerun()
        st.progress(job.progress, text=widgets.join_sentences(translate("photos.judging"), jobs.status_line(job)))
        jobs.show_missing(job)


def _show_result(person: schemas.Person, photos: Sequence[schemas.Selfie], latest: schemas.Job | None) -> None:
    """Show what the photos are good for, what is not sure, and a check that failed."""
    if latest is not None and latest.state != "succeeded":
        jobs.show_failure(latest)
    elif any(checks.differs(each) for each in photos):
        _offer_check(person)
    consent.ask_guardian(person)
    if any(each.verdict for each in photos):
        summary.show_summary(person, photos)
        traits.show_traits(person)
    groups.show_groups(person, photos)
    groups.show_questions(person, photos)


def _offer_check(person: schemas.Person) -> None:
    """The button for photos that nobody checks: the check was stopped, or refused."""
    if st.button(translate("photos.judge"), type="primary", icon=":material/refresh:"):
        errors.attempt(lambda: checks.request_check(person.id))
