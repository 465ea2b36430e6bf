"""Checks and tests of a draft: their progress, and the test's samples beside the published picture."""

from collections.abc import Sequence
from functools import partial

import streamlit as st

from app.components import errors, jobs, markdown, widgets
from app.operators.styles import labels
from app.session import client, translate, translate_or
from tasks import schemas

KINDS = ("test", "check")


def jobs_of_style(id: str) -> list[schemas.Job]:
    """All operators' checks and tests of a style, the newest first."""
    every = [job for kind in KINDS for job in client().jobs(kind=kind, all_owners=True)]
    mine = [job for job in every if job.wants.get("style") == id]
    return sorted(mine, key=lambda each: each.created, reverse=True)


def show_test(style: schemas.OperatorStyle, draft: schemas.StyleDraft, style_jobs: Sequence[schemas.Job]) -> None:
    """Show the progress of checks and tests, or their failure, and the samples of the last test."""
    if any(not each.done for each in style_jobs):
        _show_running(style.id)
    else:
        _show_failure(draft, style_jobs)
    if draft.test is not None:
        _show_samples(style, draft.test)


@st.fragment(run_every=2)
def _show_running(id: str) -> None:
    """Show the progress of running jobs, and the page again when they have ended."""
    with errors.show_errors_in_fragment():
        running = [each for each in jobs_of_style(id) if not each.done]
        if not running:
            st.rerun()
        for job in running:
            st.progress(job.progress, text=f"{translate(f'jobs.{job.kind}')} · {jobs.status_line(job)}")
            jobs.show_missing(job)
            if st.button(translate("progress.cancel"), key=f"stop-{job.id}", disabled=job.state == "cancelling"):
                errors.attempt(partial(client().cancel, job.id, any_owner=True), scope="fragment")


def _show_failure(draft: schemas.StyleDraft, style_jobs: Sequence[schemas.Job]) -> None:
    """Show why the last check or test of this edition failed."""
    last = next((each for each in style_jobs if each.wants.get("edition") == draft.edition), None)
    if last is not None and last.state in {"failed", "expired"}:
        text = translate(f"jobs.{last.state}")
        if last.fault:
            text = markdown.plain(errors.error_message(last.fault.code, last.fault.message))
        st.warning(f"{translate(f'jobs.{last.kind}')} · {text}", icon=":material/info:")


def _show_samples(style: schemas.OperatorStyle, test: schemas.StyleTest) -> None:
    """Show the samples side by side, with the picture that people see now."""
    when = translate("style_trial.made", when=widgets.time_ago(test.made))
    chips = [] if test.current else [widgets.chip(translate("style_trial.old"), "fair")]
    st.html(widgets.row(*chips, widgets.single_line(when)))
    columns = len(test.samples) + (style.offered is not None)
    grid = st.grid(min(4, columns), min_column_width=150)
    for each in test.samples:
        with grid.cell():
            _show_sample(style, test, each)
    if style.offered is not None:
        with grid.cell():
            alt = translate("style_trial.before_alt", version=style.offered)
            image = widgets.picture(f"{widgets.picture_url('style', style.id)}&version={style.offered}", alt, "fit")
            version = widgets.muted(translate("styles.version", version=style.offered))
            st.html(image + widgets.card_title(translate("style_trial.before")) + version)


def _show_sample(style: schemas.OperatorStyle, test: schemas.StyleTest, sample: schemas.StyleSample) -> None:
    who = translate_or(f"sitter.{sample.sitter.replace(' ', '_')}", sample.sitter)
    title = widgets.card_title(who)
    if sample.fault:
        st.html(title + widgets.row(widgets.chip(translate("style_trial.none"), "poor")) + widgets.muted(sample.fault))
        return
    image = widgets.picture(
        labels.sample_url(style.id, sample.number, test), translate("style_trial.alt", who=who), "fit"
    )
    st.html(image + title + widgets.row(labels.distance_chip(sample.distance)))


def start_job(id: str, kind: str) -> None:
    """Request a check or a test of a draft; `kind` is `check` or `test`."""
    start = client().test_style if kind == "test" else client().check_style
    errors.attempt(lambda: start(id))
