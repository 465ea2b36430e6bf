"""The page of progress: the visitor's jobs that wait, run or have ended, with buttons to cancel or retry them."""

from datetime import UTC, datetime, timedelta

import streamlit as st

from app.components import errors, jobs, style_titles, widgets
from app.session import client, set_state, switch_page, translate
from tasks import schemas

RECENT = timedelta(hours=24)
MAX_ENDED = 12
"""Number of ended jobs that are listed."""
THUMBNAILS = 4


def page() -> None:
    """Show active jobs, which refresh themselves, and the jobs that ended of late."""
    widgets.page_heading(translate("progress.title"), translate("progress.lead"))
    all_jobs = client().jobs()
    active = [each for each in all_jobs if not each.done]
    since = datetime.now(UTC) - RECENT
    ended = [each for each in all_jobs if _is_listed(each) and (each.finished or each.created) > since][:MAX_ENDED]
    if not active and not ended:
        st.info(translate("progress.nothing"), icon=":material/hourglass_empty:")
        if st.button(translate("progress.to_create"), type="primary"):
            switch_page("create")
        return
    titles = style_titles.localized_titles()
    if active:
        _show_active(titles)
    if ended:
        st.subheader(translate("progress.ended"), anchor=False)
        for job in ended:
            with st.container(border=True, key=f"ended-{job.id}"):
                _show_ended(job, titles)


def _is_listed(job: schemas.Job) -> bool:
    """Whether a job is listed here once it ended; results of checks are shown on the pages of photos and pictures."""
    return job.done and job.kind in {"generate", "train"}


@st.fragment(run_every=2)
def _show_active(titles: dict[str, str]) -> None:
    """Show jobs that wait or run, and the page again when one of them has ended."""
    with errors.show_errors_in_fragment():
        active = client().jobs(states=["queued", "running", "cancelling"])
        ids = [each.id for each in active]
        before = st.session_state.get("active", ids)
        st.session_state["active"] = ids
        if not active or set(before) - set(ids):
            st.rerun()
        for job in sorted(active, key=lambda each: (each.state == "queued", each.place or 0)):
            with st.container(border=True, key=f"job-{job.id}"):
                _show_running(job, titles)


def _show_running(job: schemas.Job, titles: dict[str, str]) -> None:
    text, side = st.columns([3, 1], vertical_alignment="center") if job.preview else (st.container(), st.container())
    with text:
        st.html(widgets.card_title(jobs.job_title(job, titles)))
        st.progress(job.progress, text=jobs.status_line(job))
        jobs.show_missing(job)
        label, cancelling = translate("progress.cancel"), job.state == "cancelling"
        if st.button(label, key=f"cancel-{job.id}", disabled=cancelling, icon=":material/close:"):
            errors.attempt(lambda: client().cancel(job.id), scope="fragment")
    if job.preview:
        url = f"/picture/preview/{job.id}?number={job.preview}"
        side.html(widgets.picture(url, translate("progress.preview_alt")))


def _show_ended(job: schemas.Job, titles: dict[str, str]) -> None:
    done = job.state == "succeeded"
    variant = {"succeeded": "good", "failed": "poor"}.get(job.state, "plain")
    when = widgets.time_ago(job.finished or job.created)
    st.html(
        widgets.card_title(jobs.job_title(job, titles))
        + widgets.row(widgets.chip(translate(f"state.{job.state}"), variant), widgets.single_line(when))
    )
    if not done:
        jobs.show_failure(job)
    elif job.kind == "generate":
        _show_thumbnails(job, titles)


def _show_thumbnails(job: schemas.Job, titles: dict[str, str]) -> None:
    """Show the first portraits of a job, and a button to all of them."""
    ids = [str(each) for each in job.result.get("portraits", [])][:THUMBNAILS]
    grid = st.grid(THUMBNAILS, min_column_width=60)
    for number, id in enumerate(ids, 1):
        alt = translate("progress.thumb_alt", number=number, name=jobs.job_title(job, titles))
        grid.html(widgets.picture(widgets.picture_url("portrait", id, widgets.THUMB), alt, "entire"))
    if st.button(translate("progress.to_results"), key=f"see-{job.id}", type="primary"):
        set_state("only_job", job.id)
        switch_page("results")
