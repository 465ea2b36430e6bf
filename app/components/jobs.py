"""Shows jobs: their titles, progress, what they wait for, and why they failed."""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

import streamlit as st

from app.components import errors, markdown, style_titles, widgets
from app.session import client, switch_page, translate, translate_or
from tasks import schemas

_FIXED_BY_PHOTOS = {
    *("no_usable_photos", "no_photos", "cannot_include", "no_shoulders", "composition_missing", "no_reference"),
    *("head_cut", "head_lost", "frame_outside", "no_face", "other_face_engine"),
}
"""Error codes that other photos of the person can avoid."""
_STEP = re.compile(r"\bstep (\d+) of (\d+)")
"""The steps in a trainer's progress message."""


def job_title(job: schemas.Job, titles: dict[str, str], pictures: Mapping[str, str] = MappingProxyType({})) -> str:
    """What a job does, in the visitor's language; `titles` are those of styles by id, `pictures` names of own pictures."""
    if job.kind == "generate":
        style, picture = str(job.wants.get("style") or ""), str(job.wants.get("template") or "")
        own = pictures.get(picture) or translate("jobs.own_picture")
        title = style_titles.display_name(style, titles) if style else own
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
        lines = "\n".join(f"- {markdown.plain(errors.sentence(each))}" for each in dict.fromkeys(job.missing))
        st.warning(f"{translate('jobs.missing')}\n{lines}", icon=":material/engineering:")


def show_failure(job: schemas.Job, last_button: Callable[[], None] = lambda: None) -> None:
    """Show why a job did not succeed, with buttons for the next step; `last_button` writes one more beside them."""
    refused = job.fault is not None and job.fault.code.startswith("consent_")
    if job.fault is not None and (job.state == "failed" or refused):
        st.warning(markdown.plain(errors.error_message(job.fault.code, job.fault.message)), icon=":material/info:")
        for each in job.fault.errors[:8]:
            st.caption(markdown.plain(f"{each.where}: {errors.tip(each.code, each.message)}"))
    else:
        st.info(_ended_text(job), icon=":material/info:")
    if job.state in ("failed", "expired") and job.portraits:
        st.caption(translate("jobs.kept", count=job.portraits, total=_ordered(job)))
    fixed_by_photos = job.fault is not None and job.fault.code in _FIXED_BY_PHOTOS and job.kind == "generate"
    with st.container(horizontal=True):
        again = job.fault is None or job.fault.again
        label = translate("jobs.go_on" if job.portraits else "jobs.retry")
        if again and st.button(label, key=f"retry-{job.id}", icon=":material/refresh:"):
            errors.attempt(lambda: client().retry(job.id))
        if fixed_by_photos and st.button(translate("jobs.to_photos"), key=f"photos-{job.id}", type="primary"):
            switch_page("photos", **_person_of(job))
        last_button()


def _ended_text(job: schemas.Job) -> str:
    """How a job ended that was stopped or given up, and what of it is kept."""
    if job.state != "cancelled" or job.kind != "generate":
        return translate(f"jobs.{job.state}")
    if not job.portraits:
        return translate("jobs.stopped_without")
    return translate("jobs.stopped", count=job.portraits, total=_ordered(job))


def _ordered(job: schemas.Job) -> int:
    return int(job.wants.get("count") or 1)


def _person_of(job: schemas.Job) -> dict[str, str]:
    """The person whose photos a job is drawn from, for an address; of several the first."""
    people = job.wants.get("people")
    named = next(iter(people.values()), "") if isinstance(people, Mapping) else job.wants.get("person")
    return {"person": str(named)} if named else {}
