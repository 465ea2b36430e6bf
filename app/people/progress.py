"""The page of work: everything that was asked for, where it stands, and what can be done about it."""

from datetime import UTC, datetime, timedelta

import streamlit as st

from app.components import errors, jobs, style_titles, widgets
from app.session import client, go, remember, say
from tasks import schemas

RECENT = timedelta(hours=24)
MOST = 12
"""Ended jobs that are shown."""
THUMBNAILS = 4


def page() -> None:
    """What is being done, refreshed while anything is; what has ended stands still."""
    widgets.heading(say("progress.title"), say("progress.lead"))
    everything = client().jobs()
    active = [each for each in everything if not each.done]
    since = datetime.now(UTC) - RECENT
    ended = [each for each in everything if _tells(each) and (each.finished or each.created) > since][:MOST]
    if not active and not ended:
        st.info(say("progress.nothing"), icon=":material/hourglass_empty:")
        if st.button(say("progress.to_create"), type="primary"):
            go("create")
        return
    titles = style_titles.titles()
    if active:
        _active(titles)
    if ended:
        st.subheader(say("progress.ended"), anchor=False)
        for job in ended:
            with st.container(border=True, key=f"ended-{job.id}"):
                _ended(job, titles)


def _tells(job: schemas.Job) -> bool:
    """Whether a job that ended says something here: what became of photos and pictures is told where they are."""
    return job.done and job.kind in {"generate", "train"}


@st.fragment(run_every=2)
def _active(titles: dict[str, str]) -> None:
    """Jobs that wait or run; the page is shown anew when one of them ends."""
    with errors.living():
        active = client().jobs(states=["queued", "running", "cancelling"])
        ids = [each.id for each in active]
        before = st.session_state.get("active", ids)
        st.session_state["active"] = ids
        if not active or set(before) - set(ids):
            st.rerun()
        for job in sorted(active, key=lambda each: (each.state == "queued", each.place or 0)):
            with st.container(border=True, key=f"job-{job.id}"):
                _running(job, titles)


def _running(job: schemas.Job, titles: dict[str, str]) -> None:
    text, side = st.columns([3, 1], vertical_alignment="center") if job.preview else (st.container(), st.container())
    with text:
        st.html(widgets.title(jobs.name(job, titles)))
        st.progress(job.progress, text=jobs.standing(job))
        jobs.missing(job)
        if st.button(
            say("progress.cancel"), key=f"cancel-{job.id}", disabled=job.state == "cancelling", icon=":material/close:"
        ):
            with errors.told():
                client().cancel(job.id)
                st.rerun(scope="fragment")
    if job.preview:
        address = f"/picture/preview/{job.id}?number={job.preview}"
        side.html(widgets.picture(address, say("progress.preview_alt")))


def _ended(job: schemas.Job, titles: dict[str, str]) -> None:
    done = job.state == "succeeded"
    mood = {"succeeded": "good", "failed": "poor"}.get(job.state, "plain")
    when = widgets.ago(job.finished or job.created)
    st.html(
        widgets.title(jobs.name(job, titles))
        + widgets.row(widgets.chip(say(f"state.{job.state}"), mood), widgets.name(when))
    )
    if not done:
        jobs.trouble(job)
    elif job.kind == "generate":
        _drawn(job, titles)


def _drawn(job: schemas.Job, titles: dict[str, str]) -> None:
    """The first of the portraits, and the way to all."""
    ids = [str(each) for each in job.result.get("portraits", [])][:THUMBNAILS]
    grid = st.grid(THUMBNAILS, min_column_width=60)
    for number, id in enumerate(ids, 1):
        alt = say("progress.thumb_alt", number=number, name=jobs.name(job, titles))
        grid.html(widgets.picture(widgets.source("portrait", id, widgets.THUMB), alt, "entire"))
    if st.button(say("progress.to_results"), key=f"see-{job.id}", type="primary"):
        remember("only_job", job.id)
        go("results")
