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
    widgets.cards(workers, _show_worker, lambda worker: f"worker-{worker.id}")
    st.subheader(translate("machinery.queues"), anchor=False)
    queues = client().queues()
    if not queues:
        st.info(translate("machinery.no_jobs"))
    widgets.cards(queues, _show_queue, lambda queue: f"queue-{queue.queue}", width=220)


def _show_worker(worker: schemas.Worker) -> None:
    chips = widgets.row(*(widgets.chip(each, "good") for each in worker.abilities if not _is_base_ability(each)))
    started, beat = widgets.time_ago(worker.started), widgets.time_ago(worker.beat)
    st.html(
        widgets.card_title(worker.device)
        + widgets.muted(translate("machinery.serves", queues=", ".join(worker.queues)))
        + widgets.muted(translate("machinery.since", started=started, beat=beat))
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
                chip = widgets.chip(each, "fair" if each in worker.missing else "good")
                st.html(widgets.row(chip) + widgets.bullet_list(worker.missing.get(each, [])))


def _is_base_ability(ability: str) -> bool:
    """Whether an ability is about drawing with a base model; there are many of those."""
    return ability.startswith("base:")


def _show_queue(queue: schemas.QueueCounts) -> None:
    chips = []
    for state, count in queue.states.items():
        variant = "poor" if state in {"failed", "expired"} and count else "plain"
        chips.append(widgets.chip(f"{translate(f'state.{state}')} {count}", variant))
    st.html(widgets.card_title(queue.queue) + widgets.row(*chips))
