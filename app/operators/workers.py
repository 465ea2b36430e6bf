"""The operators' page of workers: live workers, their abilities and what they lack, and the lengths of the queues."""

import streamlit as st

from app.components import widgets
from app.session import client, translate
from tasks import schemas


def page() -> None:
    """Show workers and queues."""
    widgets.operator_heading("machinery")
    workers = client().workers()
    if not workers:
        st.warning(translate("machinery.nobody"), icon=":material/engineering:")
    grid = st.grid("auto", min_column_width=300)
    for worker in workers:
        with grid.cell(), st.container(border=True, height="stretch", key=f"worker-{worker.id}"):
            _show_worker(worker)
    st.subheader(translate("machinery.queues"), anchor=False)
    queues = client().queues()
    if not queues:
        st.info(translate("machinery.no_jobs"))
    grid = st.grid("auto", min_column_width=220)
    for queue in queues:
        with grid.cell(), st.container(border=True, height="stretch", key=f"queue-{queue.queue}"):
            _show_queue(queue)


def _show_worker(worker: schemas.Worker) -> None:
    chips = widgets.row(*(widgets.chip(each, "good") for each in worker.abilities if not _is_base_ability(each)))
    st.html(
        widgets.card_title(worker.device)
        + widgets.muted(translate("machinery.serves", queues=", ".join(worker.queues)))
        + widgets.muted(
            translate("machinery.since", started=widgets.time_ago(worker.started), beat=widgets.time_ago(worker.beat))
        )
        + widgets.row(widgets.single_line(worker.id))
        + chips
    )
    for ability, lines in worker.missing.items():
        if not _is_base_ability(ability):
            st.html(widgets.row(widgets.chip(ability, "fair")) + widgets.bullet_list(list(lines)))
    base_abilities = sorted(each for each in {*worker.abilities, *worker.missing} if _is_base_ability(each))
    if base_abilities:
        with st.expander(translate("machinery.drawing")):
            for each in base_abilities:
                ready = each not in worker.missing
                lines = [] if ready else list(worker.missing[each])
                st.html(widgets.row(widgets.chip(each, "good" if ready else "fair")) + widgets.bullet_list(lines))


def _is_base_ability(ability: str) -> bool:
    """Whether an ability is about drawing with a base model; there are many of those."""
    return ability.startswith("base:")


def _show_queue(queue: schemas.QueueCounts) -> None:
    chips = [
        widgets.chip(
            f"{translate(f'state.{state}')} {count}", "poor" if state in {"failed", "expired"} and count else "plain"
        )
        for state, count in queue.states.items()
    ]
    st.html(widgets.card_title(queue.queue) + widgets.row(*chips))
