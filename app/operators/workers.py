"""The operators' page of workers: live workers, what they can do and what they lack, and the lengths of the queues."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

import streamlit as st

from app.components import errors, widgets
from app.session import client, translate, translate_or
from tasks import schemas

_REFRESH_SECONDS = 5


def page() -> None:
    """Show workers and queues, kept up to date."""
    widgets.operator_heading("machinery")
    _show_all()


@st.fragment(run_every=_REFRESH_SECONDS)
def _show_all() -> None:
    with errors.show_errors_in_fragment():
        workers = client().workers()
        if not workers:
            st.warning(translate("machinery.nobody"), icon=":material/engineering:")
        for worker in workers:
            with st.container(border=True, key=f"worker-{worker.id}"):
                _show_worker(worker)
        st.subheader(translate("machinery.queues"), anchor=False)
        queues = client().queues()
        if not queues:
            st.info(translate("machinery.no_jobs"))
        widgets.cards(queues, _show_queue, lambda queue: f"queue-{queue.queue}", width=220)


def _show_worker(worker: schemas.Worker) -> None:
    started, beat = widgets.time_ago(worker.started), widgets.time_ago(worker.beat)
    name = translate("machinery.name", device=worker.device, queues=widgets.format_list(worker.queues))
    known = [translate("machinery.version", version=worker.version)] if worker.version else []
    st.html(
        widgets.card_title(name)
        + widgets.muted(" · ".join([translate("machinery.since", started=started, beat=beat), *known]))
        + widgets.row(widgets.single_line(worker.id))
        + (widgets.row(widgets.chip(translate("machinery.stopping"), "fair")) if worker.stopping else "")
        + widgets.row(*(widgets.chip(label, "good") for label in _labels(worker.abilities)))
    )
    missing = _by_lines(worker.missing)
    if missing:
        with st.expander(translate("machinery.missing", count=len(worker.missing))):
            for lines, abilities in missing.items():
                chips = widgets.row(*(widgets.chip(label, "fair") for label in _labels(abilities)))
                st.html(chips + widgets.bullet_list([errors.sentence(line) for line in lines]))


def _by_lines(missing: Mapping[str, list[str]]) -> Mapping[tuple[str, ...], list[str]]:
    """Abilities that lack the same, together: what is missing and the abilities, those that lack least first."""
    found: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    for ability, lines in missing.items():
        found[tuple(lines)].append(ability)
    return dict(sorted(found.items(), key=lambda each: len(each[0])))


def _labels(abilities: Iterable[str]) -> list[str]:
    """Abilities in words, sorted; those of bases by the name of the base."""
    return sorted(dict.fromkeys(_label(each) for each in abilities))


def _label(ability: str) -> str:
    kind, *rest = ability.split(":")
    words = translate_or(f"ability.{'_'.join([kind, *rest[:1]])}", "") if kind == "draw" else ""
    label = words or translate_or(f"ability.{kind}", kind)
    names = rest[1:] if words else rest
    return f"{label} · {' · '.join(names)}" if names else label


def _show_queue(queue: schemas.QueueCounts) -> None:
    chips = []
    for state, count in queue.states.items():
        variant = "poor" if state in {"failed", "expired"} and count else "plain"
        chips.append(widgets.chip(f"{translate(f'state.{state}')} {count}", variant))
    title = queue.queue
    st.html(widgets.card_title(title) + widgets.row(*chips))
