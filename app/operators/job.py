"""One job as operators see it: whose, what of, its times and steps, why it failed; no pictures and words of people."""

from collections.abc import Sequence
from datetime import datetime
from html import escape

import streamlit as st

from app.components import errors, jobs, style_titles, widgets
from app.session import client, page_address, translate, translate_or
from tasks import schemas

VARIANTS = {"succeeded": "good", "failed": "poor", "running": "fair", "cancelling": "fair", "expired": "poor"}
"""Variant of the chip of a state; plain for others."""
_REFRESH_SECONDS = 3


def show_job(id: str) -> None:
    """Show a job, kept up to date until it has ended."""
    st.html(f'<p class="p-back"><a href="{page_address("board")}" target="_self">← {translate("job.back")}</a></p>')
    titles = style_titles.titles_of_styles()
    if client().any_job(id).done:
        _show(id, titles)
    else:
        _follow(id, titles)


@st.fragment(run_every=_REFRESH_SECONDS)
def _follow(id: str, titles: dict[str, str]) -> None:
    with errors.show_errors_in_fragment():
        _show(id, titles)


def _show(id: str, titles: dict[str, str]) -> None:
    job = client().any_job(id)
    st.header(jobs.job_title(job, titles), anchor=False)
    state = widgets.chip(translate(f"state.{job.state}"), VARIANTS.get(job.state, "plain"))
    st.html(widgets.row(state, widgets.single_line(job.id)))
    if job.state == "running":
        st.progress(job.progress, text=jobs.status_line(job))
    jobs.show_missing(job)
    if job.fault is not None:
        st.warning(
            f"`{job.fault.code}` {errors.error_message(job.fault.code, job.fault.message)}", icon=":material/info:"
        )
    left, right = st.columns(2, gap="large")
    with left:
        st.html(_table("job.about", _about(job)))
        widgets.muted_text(translate("job.no_pictures"))
        _show_button(job)
    with right:
        st.html(_table("job.times", _times(job, client().job_log(id))))


def _about(job: schemas.Job) -> list[tuple[str, str]]:
    """What is known of a job, by its name in the page."""
    people = dict(job.wants.get("people") or {}) or ({"1": job.wants["person"]} if job.wants.get("person") else {})
    rows = [("owner", job.owner), ("kind", translate(f"kind.{job.kind}")), ("queue", job.queue)]
    rows += [("people", widgets.format_list([str(each) for each in people.values()]))] if people else []
    rows += [("style", str(job.wants["style"]))] if job.wants.get("style") else []
    rows += [("base", str(job.wants["base"]))] if job.wants.get("base") else []
    rows += [("losses", str(job.losses)), ("failures", str(job.failures))] if job.losses or job.failures else []
    return [(translate(f"job.{name}"), value) for name, value in rows]


def _times(job: schemas.Job, log: Sequence[schemas.JobLogEntry]) -> list[tuple[str, str]]:
    """How long a job waited, and each of its steps took."""
    begun = job.started or job.finished
    rows = [(translate("job.waited"), _between(job.created, begun))] if begun else []
    end = job.finished or (log[-1].at if log else job.created)
    steps = [
        each
        for each in log
        if each.state == "running" and each.phase and (job.started is None or each.at >= job.started)
    ]
    firsts = [
        each
        for before, each in zip([None, *steps], steps, strict=False)
        if before is None or before.phase != each.phase
    ]
    for at, each in enumerate(firsts):
        until = firsts[at + 1].at if at + 1 < len(firsts) else end
        rows.append((translate_or(f"phase.{each.phase}", each.phase), _between(each.at, until)))
    if job.started and job.finished:
        rows.append((translate("job.in_all"), _between(job.started, job.finished)))
    return rows


def _between(begin: datetime, end: datetime) -> str:
    return f"{max(0.0, (end - begin).total_seconds()):.1f} s"


def _table(title: str, rows: Sequence[tuple[str, str]]) -> str:
    body = "".join(f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>' for name, value in rows)
    return widgets.card_title(translate(title)) + f'<table class="p-rules"><tbody>{body}</tbody></table>'


def _show_button(job: schemas.Job) -> None:
    """The button that stops a job, or tries one again that can come to another end."""
    action, label = ("retry", "jobs.retry") if job.done else ("cancel", "progress.cancel")
    if job.state != "succeeded" and st.button(translate(label), key=f"job-{action}"):
        errors.attempt(lambda: getattr(client(), action)(job.id, any_owner=True))
