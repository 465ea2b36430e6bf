"""The page of photos: uploads them from files or the camera, has them checked, and shows the verdict on each."""

from collections.abc import Sequence

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from app.components import current_person, errors, jobs, markdown, photo_cards, widgets
from app.people.erased import show_stale
from app.session import client, get_state, release_upload, set_state, switch_page, translate
from portrait.errors import PortraitError
from tasks import schemas

PHOTO_TYPES = ["jpg", "jpeg", "png", "webp", "heic", "heif", "avif"]


def page() -> None:
    """Upload photos, and show the verdicts on them."""
    widgets.page_heading(translate("photos.title"), translate("photos.lead"))
    person = current_person.select_person()
    if person is None or not current_person.check_consent(person):
        return
    _upload_form(person)
    _show_rejected(person)
    latest = jobs.latest_of_person(client().jobs(kind="prepare"), person.id)
    photos = client().selfies(person.id)
    if latest is not None and not latest.done:
        _show_check_progress(latest.id)
    elif photos:
        _show_check_result(person, photos, latest)
    show_stale(person)
    if photos:
        photo_cards.show_cards(photos, latest)


def _upload_form(person: schemas.Person) -> None:
    """Upload files and shots of the camera. Each batch gets new widgets, so that this process frees the last one."""
    batch = get_state("batch", 0)
    files = st.file_uploader(
        translate("photos.choose"),
        PHOTO_TYPES,
        accept_multiple_files=True,
        key=f"files-{batch}",
        help=translate("photos.choose_help"),
    )
    photo = None
    if st.toggle(translate("photos.camera"), key="camera"):
        photo = st.camera_input(translate("photos.shoot"), key=f"shot-{batch}")
    uploads = [(each.name, each) for each in files]
    if photo is not None:
        uploads.append((translate("photos.shot_name", number=batch + 1), photo))
    if uploads:
        _send(person, uploads)
        set_state("batch", batch + 1)
        st.rerun()


def _send(person: schemas.Person, uploads: Sequence[tuple[str, UploadedFile]]) -> None:
    """Send photos to the API one by one, and request their check."""
    bar = st.progress(0.0, text=translate("photos.sending", done=0, total=len(uploads)))
    rejected: list[tuple[str, str, str]] = []
    for done, (name, content) in enumerate(uploads):
        bar.progress(done / len(uploads), text=translate("photos.sending", done=done + 1, total=len(uploads)))
        try:
            client().add_selfies(person.id, [(name, content)])
        except PortraitError as error:
            if error.code in errors.UNREACHABLE:
                raise
            rejected.append((name, error.code, error.message))
        finally:
            release_upload(content)
    bar.empty()
    set_state("rejected", {person.id: rejected})
    if len(rejected) < len(uploads):
        request_check(person.id)


def request_check(person: str) -> None:
    """Request a check of the person's photos; earlier requests that are still queued are cancelled."""
    for job in client().jobs(states=["queued"], kind="prepare"):
        if job.wants.get("person") == person:
            with errors.show_errors():
                client().cancel(job.id)
    with errors.show_errors():
        client().train(schemas.TrainingRequest.model_validate({"person": person}))


def _show_rejected(person: schemas.Person) -> None:
    """Warn of photos of the last upload that the API rejected."""
    for name, code, message in get_state("rejected", {}).get(person.id, []):
        st.warning(
            f"**{markdown.plain(name)}** · {markdown.plain(errors.tip(code, errors.error_message(code, message)))}",
            icon=":material/broken_image:",
        )


@st.fragment(run_every=2)
def _show_check_progress(id: str) -> None:
    """Show the progress of a check, and the page again when it has ended."""
    with errors.show_errors_in_fragment():
        job = client().job(id)
        if job.done:
            st.rerun()
        st.progress(job.progress, text=f"{translate('photos.judging')} {jobs.status_line(job)}")
        jobs.show_missing(job)


def _show_check_result(person: schemas.Person, photos: Sequence[schemas.Selfie], latest: schemas.Job | None) -> None:
    """Show how many photos are good and what would help, with buttons for the next step."""
    if latest is not None and latest.state != "succeeded":
        jobs.show_failure(latest)
    used = sum(each.verdict == "use" for each in photos)
    if used:
        icon = ":material/check_circle:"
        st.success(f"{translate('photos.used', count=used, total=len(photos))} {photo_cards.advice(photos)}", icon=icon)
    for line in photo_cards.openings(person):
        widgets.muted_text(line)
    photo_cards.show_questions(person, lambda: request_check(person.id))
    with st.container(horizontal=True):
        again = photo_cards.needs_check(photos) or latest is None
        if again and st.button(translate("photos.judge"), type="primary", icon=":material/refresh:"):
            request_check(person.id)
            st.rerun()
        kind = "secondary" if again else "primary"
        if used and person.identity and st.button(translate("photos.go_on"), type=kind, icon=":material/palette:"):
            switch_page("create")
