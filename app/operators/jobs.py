"""The operators' page of jobs: totals, and everybody's jobs by state, kind and account, read again every few seconds."""

from collections import Counter
from html import escape

import streamlit as st

from app.components import errors, jobs, style_titles, widgets
from app.operators import job
from app.session import client, page_address, query, set_query, translate
from tasks import schemas

STATES = ("queued", "running", "cancelling", "succeeded", "failed", "cancelled", "expired")
KINDS = ("look", "prepare", "train", "generate", "check", "test")
PAGE = 20
DAYS = 7.0
_REFRESH_SECONDS = 5


def page() -> None:
    """Show the job of `?id=`, or totals and the jobs that the filters of the address leave."""
    widgets.operator_heading("board")
    if query("id"):
        job.show_job(query("id"))
        return
    _show_filters()
    left, right = st.columns([3, 1], vertical_alignment="center")
    with right:
        _prune_form()
    with left:
        _show_totals()
    _show_jobs(style_titles.titles_of_styles())


def _show_filters() -> None:
    """Fields for states, kind and account; their values go into the address."""
    given = [each for each in query("state").split(",") if each in STATES]
    states = st.pills(
        translate("board.states"),
        STATES,
        selection_mode="multi",
        default=given,
        format_func=lambda each: translate(f"state.{each}"),
        key="states",
    )
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    kind = left.pills(
        translate("board.kinds"),
        KINDS,
        default=query("kind") if query("kind") in KINDS else None,
        format_func=lambda each: translate(f"kind.{each}"),
        key="kind",
    )
    owner = right.text_input(translate("board.owner"), query("owner"), key="board-owner").strip()
    set_query(state=",".join(states), kind=kind or "", owner=owner)


def _show_totals() -> None:
    """The number of jobs in each state, in all queues together."""
    totals: Counter[str] = Counter()
    for queue in client().queues():
        totals.update(queue.states)
    chips = [
        widgets.chip(f"{translate(f'state.{each}')} {totals[each]}", _variant(each)) for each in STATES if totals[each]
    ]
    st.html(widgets.row(*chips))


def _variant(state: str) -> str:
    return "poor" if state in {"failed", "expired"} else "plain"


@st.fragment(run_every=_REFRESH_SECONDS)
def _show_jobs(titles: dict[str, str]) -> None:
    """Show the jobs, again every few seconds; `titles` are those of styles by id."""
    with errors.show_errors_in_fragment():
        states = [each for each in query("state").split(",") if each]
        found = client().all_jobs(states, query("kind"), query("owner"))
        if not found:
            st.info(translate("board.nothing"))
            return
        widgets.muted_text(translate("board.count", count=len(found)))
        pages = -(-len(found) // PAGE)
        number = st.pagination(pages, key="board-page") if pages > 1 else 1
        for each in found[(number - 1) * PAGE : number * PAGE]:
            with st.container(border=True, key=f"board-{each.id}"):
                _show_card(each, titles)


def _show_card(each: schemas.Job, titles: dict[str, str]) -> None:
    state = widgets.chip(translate(f"state.{each.state}"), job.VARIANTS.get(each.state, "plain"))
    when = translate("board.when", owner=each.owner, queue=each.queue, when=widgets.time_ago(each.created))
    title = jobs.job_title(each, titles)
    text = widgets.row(state, f"<b>{escape(title)}</b>") + widgets.muted(when)
    if each.state == "running":
        text += widgets.muted(jobs.status_line(each))
    if each.fault is not None:
        text += widgets.muted(f"{each.fault.code}: {errors.error_message(each.fault.code, each.fault.message)}")
    help = translate("board.open_help", title=title, owner=each.owner)
    address = page_address("board", person="", id=each.id)
    st.html(
        f'<div class="p-beside"><div>{text}</div><a class="p-button" href="{escape(address)}" target="_self" '
        f'aria-label="{escape(help)}">{escape(translate("board.open"))}</a></div>'
    )
    jobs.show_missing(each)


def _prune_form() -> None:
    with st.popover(translate("board.prune"), width="stretch"):
        days = st.number_input(translate("board.prune_days"), min_value=0.0, max_value=3650.0, value=DAYS, step=1.0)
        widgets.muted_text(translate("board.prune_help"))
        if st.button(translate("board.prune_now"), type="primary"):
            with errors.show_errors():
                count = client().prune(days)
                st.toast(translate("board.pruned", count=count))
