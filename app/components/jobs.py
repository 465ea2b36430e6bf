"""Long work in words: what it is, how far it has come, and what can be done when it went wrong."""

import re
from collections.abc import Sequence

import streamlit as st

from app.components import errors, style_titles, widgets
from app.session import client, go, say, say_or
from tasks import schemas

_BY_PHOTOS = {"no_usable_photos", "no_photos", "cannot_include", "no_shoulders", "no_reference"}
"""Faults that other photos mend."""
_STEP = re.compile(r"\bstep (\d+) of (\d+)")
"""What a trainer says of its steps, among its words."""


def latest(jobs: Sequence[schemas.Job], person: str) -> schemas.Job | None:
    """The newest job about a person, unless it was cancelled."""
    mine = (each for each in jobs if each.wants.get("person") == person and each.state != "cancelled")
    return next(mine, None)


def name(job: schemas.Job, titles: dict[str, str]) -> str:
    """What a job is, in words; `titles` are those of styles by id."""
    if job.kind == "generate":
        style = str(job.wants.get("style") or "")
        look = style_titles.name_of(style, titles) if style else say("jobs.own_picture")
        return say("jobs.generate", count=int(job.wants.get("count", 1)), style=look)
    return say(f"jobs.{job.kind}")


def standing(job: schemas.Job) -> str:
    """Where a job stands, in one line."""
    if job.state == "cancelling":
        return say("jobs.cancelling")
    if job.state == "queued":
        parts = [say("jobs.next") if job.place == 1 else say("jobs.place", place=job.place or 1)]
    else:
        phase = say_or(f"phase.{job.phase}", say("phase.working"))
        parts = [f"{phase} · {job.progress:.0%}"]
        if found := _STEP.search(job.message):
            parts.append(say("jobs.step", step=found[1], steps=found[2]))
    if job.seconds_left is not None:
        parts.append(say("jobs.left", time=widgets.span(job.seconds_left)))
    return " · ".join(parts)


def missing(job: schemas.Job) -> None:
    """What it takes, when nobody can do the job at present."""
    if job.missing:
        lines = "\n".join(f"- {each}" for each in dict.fromkeys(job.missing))
        st.warning(f"{say('jobs.missing')}\n{lines}", icon=":material/engineering:")


def trouble(job: schemas.Job) -> None:
    """Why a job did not succeed, and the next step."""
    if job.state == "failed" and job.fault is not None:
        st.warning(errors.words(job.fault.code, job.fault.message), icon=":material/info:")
        for each in job.fault.errors[:8]:
            st.caption(f"{each.where}: {errors.tip(each.code, each.message)}")
    else:
        st.info(say(f"jobs.{job.state}"), icon=":material/info:")
    mended_by_photos = job.fault is not None and job.fault.code in _BY_PHOTOS and job.kind == "generate"
    with st.container(horizontal=True):
        if st.button(say("jobs.retry"), key=f"retry-{job.id}", icon=":material/refresh:"):
            with errors.told():
                client().retry(job.id)
                st.rerun()
        if mended_by_photos and st.button(say("jobs.to_photos"), key=f"photos-{job.id}", type="primary"):
            go("photos")
