"""Erases what was not used for as long as the settings keep its kind: people, portraits, uploaded pictures, jobs, proofs."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from portrait.errors import UserError
from tasks.erasing import finish_erasure
from tasks.files import Files
from tasks.jobs import DAY
from tasks.ledger.ledger import Ledger
from tasks.ledger.privacy.erasures import ErasureRow, Request
from tasks.ledger.upkeep import training_sets
from tasks.settings import RetentionSettings

MOST_SECONDS = 60.0
"""Seconds that one pass erases at most: meanwhile the keeper requeues no jobs of lost workers."""


@dataclass(frozen=True, slots=True)
class Expired:
    """The counts of what was erased because nobody used it."""

    people: int
    portraits: int
    templates: int
    jobs: int


def erase_expired(
    ledger: Ledger, files: Files, kept: RetentionSettings, now: float, steady: Callable[[], float] = time.monotonic
) -> Expired:
    """Erase what is due, batch by batch for `MOST_SECONDS`: what is left after that is due the next time.

    Each in a transaction that looks once more whether it is: what was used meanwhile stays. Where somebody else erases the
    same thing first, it goes on with the next.
    """
    until, counts = steady() + MOST_SECONDS, [0, 0, 0, 0]
    while any(batch := _erase_batch(ledger, files, kept, now)):
        counts = [one + more for one, more in zip(counts, batch, strict=True)]
        if steady() >= until:
            break
    ledger.consents.prune(now - kept.proofs_days * DAY)
    return Expired(*counts)


def _erase_batch(ledger: Ledger, files: Files, kept: RetentionSettings, now: float) -> tuple[int, int, int, int]:
    """Erase some of each kind that is due; returns how many people, portraits, templates and jobs."""
    erased = {"person": 0, "portrait": 0, "template": 0}
    for erasure in _erasures(ledger, kept, now):
        erased[erasure.kind] += 1
        finish_erasure(ledger, files, erasure, now)
    jobs = ledger.queue.prune(now - (kept.jobs_days or 0.0) * DAY)
    for job in jobs:
        files.erase_job(job.owner, job.id)
    return erased["person"], erased["portrait"], erased["template"], len(jobs)


def erase_replaced_sets(ledger: Ledger, files: Files, now: float, steady: Callable[[], float] = time.monotonic) -> int:
    """Erase for `MOST_SECONDS` training sets that later ones have replaced and nothing refers to; returns how many."""
    until, erased = steady() + MOST_SECONDS, 0
    for row in training_sets.find_replaced_sets(ledger.database, now):
        if steady() >= until:
            break
        try:
            erasure = training_sets.erase_replaced_set(ledger.database, row, now)
        except UserError:
            continue  # erased by somebody else
        if erasure is not None:
            erased += 1
            finish_erasure(ledger, files, erasure, now)
    return erased


def _erasures(ledger: Ledger, kept: RetentionSettings, now: float) -> Iterator[ErasureRow]:
    store, retention = ledger.erasures, ledger.retention
    kinds = (
        (retention.due_people, store.erase_person),
        (retention.due_portraits, store.erase_portrait),
        (retention.due_templates, store.erase_template),
    )
    for due, erase in kinds:
        for row in due(kept, now):
            request = Request(row.owner, now)
            try:
                erasure = retention.erase_due(
                    row,
                    kept,
                    now,
                    lambda connection: erase(request, row.id, connection=connection),  # noqa: B023 -- called at once
                )
            except UserError:
                continue  # erased by somebody else
            if erasure is not None:
                yield erasure
