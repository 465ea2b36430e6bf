"""For operators: everybody's jobs, why they did not succeed, and what can be done."""

from collections.abc import Sequence

import streamlit as st

from app.components import errors, jobs, style_titles, widgets
from app.session import client, say
from tasks import schemas

STATES = ("queued", "running", "cancelling", "succeeded", "failed", "cancelled", "expired")
KINDS = ("look", "prepare", "train", "generate", "check", "test")
PAGE = 20
_MOODS = {"succeeded": "good", "failed": "poor", "running": "fair", "cancelling": "fair", "expired": "poor"}
DAYS = 7.0


def page() -> None:
    """Jobs by state and kind."""
    widgets.office_heading("board")
    states = st.pills(
        say("board.states"), STATES, selection_mode="multi", format_func=lambda each: say(f"state.{each}"), key="states"
    )
    kind = st.pills(say("board.kinds"), KINDS, format_func=lambda each: say(f"kind.{each}"), key="kind")
    found = client().jobs(states=states, kind=kind or "", everybodys=True)
    left, right = st.columns([3, 1], vertical_alignment="center")
    left.html(widgets.small(say("board.count", count=len(found))))
    with right:
        _prune()
    titles = style_titles.titles()
    if not found:
        st.info(say("board.nothing"))
        return
    pages = -(-len(found) // PAGE)
    at = st.pagination(pages, key="board-page") if pages > 1 else 1
    _jobs(found[(at - 1) * PAGE : at * PAGE], titles)


def _jobs(found: Sequence[schemas.Job], titles: dict[str, str]) -> None:
    for job in found:
        with st.container(border=True, key=f"board-{job.id}"):
            _job(job, titles)


def _job(job: schemas.Job, titles: dict[str, str]) -> None:
    text, side = st.columns([4, 1], vertical_alignment="center")
    state = widgets.chip(say(f"state.{job.state}"), _MOODS.get(job.state, "plain"))
    when = say("board.when", owner=job.owner, queue=job.queue, when=widgets.ago(job.created))
    with text:
        st.html(widgets.row(state, f"<b>{widgets.safe(jobs.name(job, titles))}</b>") + widgets.small(when))
        if job.state == "running":
            st.html(widgets.small(jobs.standing(job)))
        if job.fault is not None:
            st.html(widgets.small(f"{job.fault.code}: {job.fault.message}"))
        if job.losses or job.failures:
            st.html(widgets.small(say("board.losses", losses=job.losses, failures=job.failures)))
        jobs.missing(job)
    with side:
        if job.done and job.state != "succeeded":
            if st.button(say("jobs.retry"), key=f"board-retry-{job.id}", help=job.id, width="stretch"):
                with errors.told():
                    client().retry(job.id, anybodys=True)
                    st.rerun()
        elif not job.done and st.button(
            say("progress.cancel"), key=f"board-cancel-{job.id}", help=job.id, width="stretch"
        ):
            with errors.told():
                client().cancel(job.id, anybodys=True)
                st.rerun()


def _prune() -> None:
    with st.popover(say("board.prune"), width="stretch"):
        days = st.number_input(say("board.prune_days"), min_value=0.0, max_value=3650.0, value=DAYS, step=1.0)
        widgets.soft(say("board.prune_help"))
        if st.button(say("board.prune_now"), type="primary"):
            with errors.told():
                gone = client().prune(days)
                st.toast(say("board.pruned", count=gone))
