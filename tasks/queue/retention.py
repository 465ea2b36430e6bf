"""Erases what was not used for as long as the settings keep its kind: people, portraits, uploaded pictures, jobs, proofs."""

from collections.abc import Iterator
from dataclasses import dataclass

from portrait.errors import UserError
from tasks.erasing import finish_erasure
from tasks.files import Files
from tasks.jobs import DAY
from tasks.ledger.ledger import Ledger
from tasks.ledger.privacy.erasures import ErasureRow, Request
from tasks.settings import RetentionSettings


@dataclass(frozen=True, slots=True)
class Expired:
    """The counts of what was erased because nobody used it."""

    people: int
    portraits: int
    templates: int
    jobs: int


def erase_expired(ledger: Ledger, files: Files, kept: RetentionSettings, now: float) -> Expired:
    """Erase what is due, in transactions that look once more whether it is: what was used meanwhile stays.

    Where somebody else erases the same thing first, it goes on with the next.
    """
    erased = {"person": 0, "portrait": 0, "template": 0}
    for erasure in _erasures(ledger, kept, now):
        erased[erasure.kind] += 1
        finish_erasure(ledger, files, erasure, now)
    jobs = ledger.queue.prune(now - (kept.jobs_days or 0.0) * DAY)
    for job in jobs:
        files.erase_job(job.owner, job.id)
    ledger.consents.prune(now - kept.proofs_days * DAY)
    return Expired(erased["person"], erased["portrait"], erased["template"], len(jobs))


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
