"""The page of photos: several files or the camera; each is sent on at once, judged, and shown with what was found."""

from collections.abc import Sequence

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from app.components import current_person, errors, jobs, photo_cards, widgets
from app.session import client, go, let_go, recall, remember, say
from portrait.errors import PortraitError
from tasks import schemas

KINDS = ["jpg", "jpeg", "png", "webp", "heic", "heif", "avif"]


def page() -> None:
    """Take photos; show what was judged."""
    widgets.heading(say("photos.title"), say("photos.lead"))
    person = current_person.chosen()
    if person is None or not current_person.allowed(person):
        return
    _take(person)
    _last_words(person)
    latest = jobs.latest(client().jobs(kind="prepare"), person.id)
    photos = client().selfies(person.id)
    if latest is not None and not latest.done:
        _judging(latest.id)
    elif photos:
        _judged(person, photos, latest)
    if photos:
        photo_cards.cards(photos, latest)


def _take(person: schemas.Person) -> None:
    """The two ways in. Each batch gets a new widget, so that the bytes of the last one leave this process."""
    batch = recall("batch", 0)
    files = st.file_uploader(
        say("photos.choose"), KINDS, accept_multiple_files=True, key=f"files-{batch}", help=say("photos.choose_help")
    )
    shot = None
    if st.toggle(say("photos.camera"), key="camera"):
        shot = st.camera_input(say("photos.shoot"), key=f"shot-{batch}")
    taken = [(each.name, each) for each in files]
    if shot is not None:
        taken.append((say("photos.shot_name", number=batch + 1), shot))
    if taken:
        _send(person, taken)
        remember("batch", batch + 1)
        st.rerun()


def _send(person: schemas.Person, taken: Sequence[tuple[str, UploadedFile]]) -> None:
    """Send photos on one by one, and have them judged."""
    bar = st.progress(0.0, text=say("photos.sending", done=0, total=len(taken)))
    lost: list[tuple[str, str, str]] = []
    for done, (name, content) in enumerate(taken):
        bar.progress(done / len(taken), text=say("photos.sending", done=done + 1, total=len(taken)))
        try:
            client().add_selfies(person.id, [(name, content)])
        except PortraitError as error:
            if error.code in errors.AWAY:
                raise
            lost.append((name, error.code, error.message))
        finally:
            let_go(content)
    bar.empty()
    remember("lost", {person.id: lost})
    if len(lost) < len(taken):
        judge(person.id)


def judge(person: str) -> None:
    """Ask for the photos to be judged; an earlier wish that has not begun gives way to this one."""
    for job in client().jobs(states=["queued"], kind="prepare"):
        if job.wants.get("person") == person:
            with errors.told():
                client().cancel(job.id)
    with errors.told():
        client().train(schemas.TrainingOrder.model_validate({"person": person}))


def _last_words(person: schemas.Person) -> None:
    """What became of photos that were not taken."""
    for name, code, message in recall("lost", {}).get(person.id, []):
        st.warning(f"**{name}** · {errors.tip(code, errors.words(code, message))}", icon=":material/broken_image:")


@st.fragment(run_every=2)
def _judging(id: str) -> None:
    """How the judging goes; the page is shown anew when it is over."""
    with errors.living():
        job = client().job(id)
        if job.done:
            st.rerun()
        st.progress(job.progress, text=f"{say('photos.judging')} {jobs.standing(job)}")
        jobs.missing(job)


def _judged(person: schemas.Person, photos: Sequence[schemas.Selfie], latest: schemas.Job | None) -> None:
    """What the photos are good for together, and the next step."""
    if latest is not None and latest.state != "succeeded":
        jobs.trouble(latest)
    used = sum(each.verdict == "use" for each in photos)
    if used:
        icon = ":material/check_circle:"
        st.success(f"{say('photos.used', count=used, total=len(photos))} {photo_cards.advice(photos)}", icon=icon)
    with st.container(horizontal=True):
        again = photo_cards.changed(photos) or latest is None
        if again and st.button(say("photos.judge"), type="primary", icon=":material/refresh:"):
            judge(person.id)
            st.rerun()
        kind = "secondary" if again else "primary"
        if used and person.identity and st.button(say("photos.go_on"), type=kind, icon=":material/palette:"):
            go("create")
