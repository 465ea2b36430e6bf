"""For operators: the workers that live, what they can do and lack, and how long the queues are."""

import streamlit as st

from app.components import widgets
from app.session import client, say
from tasks import schemas


def page() -> None:
    """Workers and queues, refreshed."""
    widgets.office_heading("machinery")
    workers = client().workers()
    if not workers:
        st.warning(say("machinery.nobody"), icon=":material/engineering:")
    grid = st.grid("auto", min_column_width=300)
    for worker in workers:
        with grid.cell(), st.container(border=True, height="stretch", key=f"worker-{worker.id}"):
            _worker(worker)
    st.subheader(say("machinery.queues"), anchor=False)
    queues = client().queues()
    if not queues:
        st.info(say("machinery.no_jobs"))
    grid = st.grid("auto", min_column_width=220)
    for queue in queues:
        with grid.cell(), st.container(border=True, height="stretch", key=f"queue-{queue.queue}"):
            _queue(queue)


def _worker(worker: schemas.Worker) -> None:
    chips = widgets.row(*(widgets.chip(each, "good") for each in worker.abilities if not _of_drawing(each)))
    st.html(
        widgets.title(worker.device)
        + widgets.small(say("machinery.serves", queues=", ".join(worker.queues)))
        + widgets.small(say("machinery.since", started=widgets.ago(worker.started), beat=widgets.ago(worker.beat)))
        + widgets.row(widgets.name(worker.id))
        + chips
    )
    for ability, lines in worker.missing.items():
        if not _of_drawing(ability):
            st.html(widgets.row(widgets.chip(ability, "fair")) + widgets.points(list(lines)))
    ways = sorted(each for each in {*worker.abilities, *worker.missing} if _of_drawing(each))
    if ways:
        with st.expander(say("machinery.drawing")):
            for each in ways:
                ready = each not in worker.missing
                lines = [] if ready else list(worker.missing[each])
                st.html(widgets.row(widgets.chip(each, "good" if ready else "fair")) + widgets.points(lines))


def _of_drawing(ability: str) -> bool:
    """Whether it says how a base can draw people, of which there are many."""
    return ability.startswith("base:")


def _queue(queue: schemas.Waiting) -> None:
    chips = [
        widgets.chip(
            f"{say(f'state.{state}')} {count}", "poor" if state in {"failed", "expired"} and count else "plain"
        )
        for state, count in queue.states.items()
    ]
    st.html(widgets.title(queue.queue) + widgets.row(*chips))
