"""Shows jobs: their titles, progress, what they wait for, and why they failed."""

import re
from collections.abc import Sequence

import streamlit as st

from app.components import errors, markdown, style_titles, widgets
from app.session import client, switch_page, translate, translate_or
from tasks import schemas

_FIXED_BY_PHOTOS = {
    *("no_usable_photos", "no_photos", "cannot_include", "no_shoulders", "composition_missing", "no_reference"),
    *("head_cut", "head_lost", "frame_outside", "no_face", "other_face_engine"),
}
"""Error codes that other photos of the person can avoid."""
_FAILS_AGAIN = {
    *_FIXED_BY_PHOTOS,
    *("template_face_cut", "template_face_small", "template_face_missing", "template_profile", "template_no_face"),
    *(
        "template_unreadable",
        "template_beard",
        "no_face_there",
        "not_learned",
        "wrong_base",
        "wrong_family",
        "recipe_differs",
        "source_missing",
        "bad_size",
    ),
}
"""Error codes of jobs that fail the same way however often they are tried."""
_STEP = re.compile(r"\bstep (\d+) of (\d+)")
"""The steps in a trainer's progress message."""


def latest_of_person(jobs: Sequence[schemas.Job], person: str) -> schemas.Job | None:
    """The newest job about a person, unless it was cancelled."""
    jobs_of_person = (each for each in jobs if each.wants.get("person") == person and each.state != "cancelled")
    return next(jobs_of_person, None)


def job_title(job: schemas.Job, titles: dict[str, str]) -> str:
    """What a job does, in the visitor's language; `titles` are those of styles by id."""
    if job.kind == "generate":
        style = str(job.wants.get("style") or "")
        title = style_titles.display_name(style, titles) if style else translate("jobs.own_picture")
        return translate("jobs.generate", count=int(job.wants.get("count", 1)), style=title)
    return translate(f"jobs.{job.kind}")


def status_line(job: schemas.Job) -> str:
    """A job's place in the queue, or its phase and progress, in one line."""
    if job.state == "cancelling":
        return translate("jobs.cancelling")
    if job.state == "queued":
        parts = [translate("jobs.next") if job.place == 1 else translate("jobs.place", place=job.place or 1)]
    else:
        phase = translate_or(f"phase.{job.phase}", translate("phase.working"))
        parts = [f"{phase} · {job.progress:.0%}"]
        if found := _STEP.search(job.message):
            parts.append(translate("jobs.step", step=found[1], steps=found[2]))
    if job.seconds_left is not None:
        parts.append(translate("jobs.left", time=widgets.duration(job.seconds_left)))
    return " · ".join(parts)


def show_missing(job: schemas.Job) -> None:
    """Warn of what is missing when no worker can run the job at present."""
    if job.missing:
        lines = "\n".join(f"- {markdown.plain(each)}" for each in dict.fromkeys(job.missing))
        st.warning(f"{translate('jobs.missing')}\n{lines}", icon=":material/engineering:")


def show_failure(job: schemas.Job) -> None:
    """Show why a job did not succeed, with buttons for the next step."""
    if job.state == "failed" and job.fault is not None:
        st.warning(markdown.plain(errors.error_message(job.fault.code, job.fault.message)), icon=":material/info:")
        for each in job.fault.errors[:8]:
            st.caption(markdown.plain(f"{each.where}: {errors.tip(each.code, each.message)}"))
    else:
        st.info(translate(f"jobs.{job.state}"), icon=":material/info:")
    fixed_by_photos = job.fault is not None and job.fault.code in _FIXED_BY_PHOTOS and job.kind == "generate"
    with st.container(horizontal=True):
        again = job.fault is None or job.fault.code not in _FAILS_AGAIN
        if again and st.button(translate("jobs.retry"), key=f"retry-{job.id}", icon=":material/refresh:"):
            errors.attempt(lambda: client().retry(job.id))
        if fixed_by_photos and st.button(translate("jobs.to_photos"), key=f"photos-{job.id}", type="primary"):
            switch_page("photos")
