"""The operators' page of jobs: everybody's jobs by state and kind, why they failed, and buttons to retry or cancel them."""

from html import escape

import streamlit as st

from app.components import errors, jobs, style_titles, widgets
from app.session import client, translate
from tasks import schemas

STATES = ("queued", "running", "cancelling", "succeeded", "failed", "cancelled", "expired")
KINDS = ("look", "prepare", "train", "generate", "check", "test")
PAGE = 20
_VARIANTS = {"succeeded": "good", "failed": "poor", "running": "fair", "cancelling": "fair", "expired": "poor"}
DAYS = 7.0


def page() -> None:
    """Show jobs with filters by state and kind."""
    widgets.operator_heading("board")
    states = st.pills(
        translate("board.states"),
        STATES,
        selection_mode="multi",
        format_func=lambda each: translate(f"state.{each}"),
        key="states",
    )
    kind = st.pills(translate("board.kinds"), KINDS, format_func=lambda each: translate(f"kind.{each}"), key="kind")
    found = client().jobs(states=states, kind=kind or "", all_owners=True)
    left, right = st.columns([3, 1], vertical_alignment="center")
    left.html(widgets.muted(translate("board.count", count=len(found))))
    with right:
        _prune_form()
    titles = style_titles.localized_titles()
    if not found:
        st.info(translate("board.nothing"))
        return
    pages = -(-len(found) // PAGE)
    number = st.pagination(pages, key="board-page") if pages > 1 else 1
    for job in found[(number - 1) * PAGE : number * PAGE]:
        with st.container(border=True, key=f"board-{job.id}"):
            _show_job(job, titles)


def _show_job(job: schemas.Job, titles: dict[str, str]) -> None:
    text, side = st.columns([4, 1], vertical_alignment="center")
    state = widgets.chip(translate(f"state.{job.state}"), _VARIANTS.get(job.state, "plain"))
    when = translate("board.when", owner=job.owner, queue=job.queue, when=widgets.time_ago(job.created))
    with text:
        st.html(widgets.row(state, f"<b>{escape(jobs.job_title(job, titles))}</b>") + widgets.muted(when))
        if job.state == "running":
            st.html(widgets.muted(jobs.status_line(job)))
        if job.fault is not None:
            st.html(widgets.muted(f"{job.fault.code}: {job.fault.message}"))
        if job.losses or job.failures:
            st.html(widgets.muted(translate("board.losses", losses=job.losses, failures=job.failures)))
        jobs.show_missing(job)
    with side:
        action, label = ("retry", "jobs.retry") if job.done else ("cancel", "progress.cancel")
        key = f"board-{action}-{job.id}"
        if job.state != "succeeded" and st.button(translate(label), key=key, help=job.id, width="stretch"):
            errors.attempt(lambda: getattr(client(), action)(job.id, any_owner=True))


def _prune_form() -> None:
    with st.popover(translate("board.prune"), width="stretch"):
        days = st.number_input(translate("board.prune_days"), min_value=0.0, max_value=3650.0, value=DAYS, step=1.0)
        widgets.muted_text(translate("board.prune_help"))
        if st.button(translate("board.prune_now"), type="primary"):
            with errors.show_errors():
                count = client().prune(days)
                st.toast(translate("board.pruned", count=count))
