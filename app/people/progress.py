"""The page of progress: failures until somebody noted them, portraits as they come, and what has ended."""

from collections.abc import Sequence
from html import escape

import streamlit as st

from app.components import errors, jobs, markdown, orders, widgets
from app.components.orders import Known, Order
from app.session import client, get_state, page_address, query, set_query, set_state, switch_page, translate
from portrait.numbers import read_integer
from tasks import schemas

_LISTED = {"generate", "train"}
"""Kinds of jobs that are listed here; results of checks are shown on the pages of photos and pictures."""
_ACTIVE = ("queued", "running", "cancelling")
_JUST_READ = "active_just_read"
"""Jobs that the page has read for its first drawing of those that are active."""
_PAGE, _MOST = 10, 200
"""Orders that are listed at first, and by each "more"; jobs that are asked for at most."""
_SECONDS = 2.0
"""Seconds between two looks at what is being made."""


def page() -> None:
    """Show failures that nobody has seen, active jobs, which refresh themselves, and the orders that ended of late."""
    widgets.page_heading(translate("progress.title"), translate("progress.lead"))
    wanted, shown = query("order"), _count_listed()
    listed, unsettled = _read_jobs(min(_MOST, 6 * shown))
    active, failures = ([job for job in unsettled if job.done == done] for done in (False, True))
    told = {job.id for job in unsettled}
    ended = orders.grouped(job for job in listed if job.done and job.id not in told and _is_in(job, wanted))
    page_of = orders.known([*listed, *unsettled]) if listed or unsettled else None
    places = [st.container() for _ in range(3)]  # the line that is read aloud stays at its place
    if page_of is None or not (active or failures or ended):
        _show_nothing(wanted)
        return
    with places[0]:
        _show_failures(failures, page_of)
    with places[1]:
        set_state(_JUST_READ, active)
        st.fragment(_show_active, run_every=_SECONDS if active else None)(page_of, wanted)
    with places[2]:
        _show_ended(ended, shown, page_of)
        if wanted:
            st.html(_link("progress", "progress.everything", order=""))


def _read_jobs(most: int) -> tuple[list[schemas.Job], list[schemas.Job]]:
    """The newest jobs that are listed here; and of all of them those that have not ended, or failed and nobody saw it."""
    newest = client().jobs(limit=most)
    unsettled = newest if len(newest) < most else client().unsettled_jobs()
    listed = [job for job in newest if job.kind in _LISTED]
    return listed, [job for job in unsettled if job.kind in _LISTED and (not job.done or _is_unseen_failure(job))]


def _is_unseen_failure(job: schemas.Job) -> bool:
    return job.state in {"failed", "expired"} and not job.seen


def _count_listed() -> int:
    return min(_MOST, max(_PAGE, read_integer(query("shown")) or 0))


def _is_in(job: schemas.Job, order: str) -> bool:
    """Whether a job belongs to the order of the address, where it names one."""
    return order in ("", job.order, job.id)


def _show_nothing(order: str) -> None:
    st.info(translate("progress.nothing"), icon=":material/hourglass_empty:")
    if order:
        st.html(_link("progress", "progress.everything", order=""))
    if st.button(translate("progress.to_create"), type="primary"):
        switch_page("create")


def _show_failures(failed: Sequence[schemas.Job], known: Known) -> None:
    """Show every failure that nobody has seen, with the way to say that it was."""
    if not failed:
        return
    st.subheader(translate("progress.failed", count=len(failed)), anchor=False)
    if len(failed) > 1 and st.button(translate("progress.all_seen"), key="all-seen", icon=":material/done_all:"):
        errors.attempt(lambda: client().mark_seen(*(job.id for job in failed)))
    for job in failed:
        with st.container(border=True, key=f"failed-{job.id}"):
            _show_failure(job, known)


def _show_failure(job: schemas.Job, known: Known) -> None:
    """Show a job that failed, what of it was finished, and the button that takes it off the list."""
    name = jobs.job_title(job, known.titles, known.pictures)
    head = orders.for_whom(orders.people_of(job), known) + _title(job, known)
    st.html(head + _when(job) + orders.thumbnails(job, name))

    def take_off() -> None:
        label, help = translate("progress.seen"), translate("progress.seen_help", name=markdown.plain(name))
        if st.button(label, key=f"seen-{job.id}", icon=":material/done:", help=help):
            errors.attempt(lambda: client().mark_seen(job.id))

    jobs.show_failure(job, take_off)


def _show_active(known: Known, wanted: str) -> None:
    """Show the orders of which something waits or runs, and the page again when one of their jobs has ended."""
    with errors.show_errors_in_fragment():
        errors.show_callback_error()
        active: list[schemas.Job] | None = get_state(_JUST_READ)
        set_state(_JUST_READ, None)
        if active is None:
            active = [job for job in client().jobs(states=_ACTIVE) if job.kind in _LISTED]
        ids = {job.id for job in active}
        before = get_state("active", ids)
        set_state("active", ids)
        if before - ids:
            st.rerun()
        found = [_complete(order) for order in orders.grouped(job for job in active if _is_in(job, wanted))]
        st.html(f'<p class="p-live" role="status">{escape(_summary(found))}</p>')
        for order in sorted(found, key=_place):
            with st.container(border=True, key=f"order-{order.id}"):
                _show_order(order, known)


def _complete(order: Order) -> Order:
    """An order with those of its jobs that have ended already."""
    return Order(order.id, order.jobs) if not order.jobs[0].order else orders.grouped(client().jobs(order=order.id))[0]


def _place(order: Order) -> tuple[bool, int]:
    """What runs comes first, then what is next."""
    places = [job.place or 0 for job in order.jobs if not job.done]
    return all(places), min(places, default=0)


def _summary(active: Sequence[Order]) -> str:
    """What a screen reader says when it changes: how many portraits are finished, and not every step."""
    total = sum(order.ordered for order in active)
    if not total:
        return ""
    return translate("progress.finished", count=sum(order.finished for order in active), total=total)


def _show_order(order: Order, known: Known) -> None:
    """Show for whom an order is, how much of it is finished, and each of its jobs."""
    parts = [orders.for_whom(order.people, known)]
    if order.ordered:
        parts.append(widgets.muted(translate("progress.finished", count=order.finished, total=order.ordered)))
    _write("".join(parts))
    for job in order.jobs:
        with st.container(key=f"job-{job.id}"):
            several = len(order.people) > 1
            _show_running(job, known, several) if not job.done else _show_done(job, known, several)
    waiting = [job for job in order.jobs if not job.done and job.state != "cancelling"]
    with st.container(horizontal=True, vertical_alignment="center"):
        if order.finished:
            st.html(_link("results", "progress.to_results", order=order.id), width="content")
        if len(waiting) > 1:
            st.button(
                translate("progress.cancel_all"),
                key=f"cancel-all-{order.id}",
                icon=":material/close:",
                on_click=errors.as_callback(lambda: [client().cancel(job.id) for job in waiting]),
            )


def _show_running(job: schemas.Job, known: Known, several: bool) -> None:
    """Show how far a job is, its portraits as they come with what is being drawn, and the button that stops it.

    `several`: the order is for several people, so that each job says for whom it is.
    """
    name = jobs.job_title(job, known.titles, known.pictures)
    waits = job.state == "queued" and not job.portraits
    with st.container(horizontal=True, vertical_alignment="center"):
        status = widgets.muted(jobs.status_line(job)) if waits else ""
        st.html(f'<div class="p-step">{_title(job, known, several)}{status}</div>', width="stretch")
        label = (
            translate("progress.cancel_keep", count=job.portraits) if job.portraits else translate("progress.cancel")
        )
        st.button(
            label,
            key=f"cancel-{job.id}",
            disabled=job.state == "cancelling",
            icon=":material/close:",
            help=translate("progress.cancel_help", name=markdown.plain(name)),
            on_click=errors.as_callback(lambda: client().cancel(job.id)),
        )
    if not waits:
        st.progress(job.progress, text=jobs.status_line(job))
    jobs.show_missing(job)
    _write(orders.thumbnails(job, name))


def _show_done(job: schemas.Job, known: Known, several: bool) -> None:
    """Show a job that has ended: its portraits, or why there are none."""
    st.html(_ended_job(job, known, several))
    if job.state != "succeeded":
        jobs.show_failure(job)


def _ended_job(job: schemas.Job, known: Known, several: bool) -> str:
    """What a job that has ended drew, how it ended, and its portraits."""
    title = jobs.job_title(job, known.titles, known.pictures)
    return _title(job, known, several) + _when(job) + orders.thumbnails(job, title)


def _show_ended(ended: Sequence[Order], shown: int, known: Known) -> None:
    """Show the newest orders that have ended, and a button for more."""
    if not ended:
        return
    st.subheader(translate("progress.ended"), anchor=False)
    for order in ended[:shown]:
        with st.container(border=True, key=f"ended-{order.id}"):
            _show_ended_order(order, known)
    if len(ended) > shown and st.button(translate("progress.more"), icon=":material/expand_more:"):
        set_query(shown=str(shown + _PAGE))
        st.rerun()


def _show_ended_order(order: Order, known: Known) -> None:
    """Show an order that has ended: as few elements as there can be, because each takes the browser some milliseconds."""
    html = orders.for_whom(order.people, known)
    for job in order.jobs:
        html += _ended_job(job, known, len(order.people) > 1)
        if job.state != "succeeded":
            st.html(html)
            jobs.show_failure(job)
            html = ""
    if order.finished:
        html += f'<p class="p-end">{_link("results", "progress.to_results", order=order.id)}</p>'
    _write(html)


def _write(html: str) -> None:
    """Write HTML, which may be empty."""
    if html:
        st.html(html)


def _title(job: schemas.Job, known: Known, several: bool = False) -> str:
    """What a job draws, beside the own picture that it draws in; of an order for several people also for whom."""
    name = jobs.job_title(job, known.titles, known.pictures)
    whom = orders.names_of(orders.people_of(job), known) if several else ""
    title = widgets.card_title(f"{name} · {whom}" if whom else name)
    return f'<div class="p-what">{orders.own_picture(job)}{title}</div>'


def _when(job: schemas.Job) -> str:
    """How a job ended, and when."""
    variant = {"succeeded": "good", "failed": "poor", "expired": "poor"}.get(job.state, "plain")
    when = widgets.single_line(widgets.time_ago(job.finished or job.created))
    return widgets.row(widgets.chip(translate(f"state.{job.state}"), variant), when)


def _link(page: str, text: str, **address: str) -> str:
    """A link to a page that looks like a button."""
    return f'<a class="p-button" target="_self" href="{escape(page_address(page, **address))}">{escape(translate(text))}</a>'
