"""Erases the files that the ledger says are to be erased, again and again until nothing of them is left.

Every step can be done twice: whoever dies in one is followed by the keeper, which begins anew.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from portrait.errors import OperatorError, UserError
from tasks.files import Files, Owned
from tasks.jobs import DAY
from tasks.ledger import tables
from tasks.ledger.ledger import Ledger
from tasks.ledger.privacy.erasures import ErasureRow, Request

GRACE = 600.0
"""Seconds for which a person's folder without a person may stand: a worker's last write before it heard of the erasure."""
_BATCH = 500
"""Ids that the ledger is asked for at once."""
_TABLES = {
    "people": tables.people,
    "selfies": tables.selfies,
    "sets": tables.training_sets,
    "identities": tables.identities,
    "jobs": tables.jobs,
    "templates": tables.templates,
}
"""The table of what lies in each folder of the data folder."""
_log = logging.getLogger("portrait.erasing")


def finish_erasures(ledger: Ledger, files: Files, now: float) -> int:
    """Erase what is left of every erasure that is not done; returns how many are done by this.

    One that fails is logged and tried again by the next call.
    """
    return sum(finish_erasure(ledger, files, each, now).done is not None for each in ledger.erasures.pending())


def finish_erasure(ledger: Ledger, files: Files, erasure: ErasureRow, now: float) -> ErasureRow:
    """Erase what is left of one erasure; returns it as it is then, not done where a file refused or somebody may yet write."""
    refused = 0
    for target in erasure.targets:
        try:
            _ERASERS[target[0]](_Erasing(ledger, files, erasure, now), *target[1:])
        except UserError:
            continue  # an owner whose name names no folder, from before such names were refused: nothing can lie there
        except (OSError, OperatorError) as error:
            refused += 1
            _log.error("%s of erasure %s: %s", target[0], erasure.id, getattr(error, "code", type(error).__name__))
    try:
        if ledger.journal is not None:
            ledger.journal.note(ledger.database, erasure)
    except OSError as error:
        refused += 1
        _log.error("erasure %s cannot be noted in the journal: %s", erasure.id, type(error).__name__)
    try:
        files.empty_trash(erasure.id)
    except OSError as error:
        refused += 1
        _log.error("the trash of erasure %s: %s", erasure.id, type(error).__name__)
    if refused or now < erasure.until or not ledger.database.scrub():
        return erasure
    return ledger.erasures.finish(erasure, now)


def erase_removed(ledger: Ledger, files: Files, now: float) -> int:
    """Erase what was deleted too long ago to be restored, each in a transaction of its own; returns how many."""
    count = 0
    for removed in ledger.undo.due(now):
        try:
            erasure = ledger.undo.erase(removed, now)
        except UserError:
            continue  # it was erased with its person meanwhile
        if erasure is not None:
            count += 1
            finish_erasure(ledger, files, erasure, now)
    return count


def erase_orphans(ledger: Ledger, files: Files, now: float) -> int:
    """Erase what belongs to nothing, and what was never completed; returns how many files and folders."""
    found = [*find_orphans(ledger, files.owned("orphans"), now), *find_unfinished(files, now)]
    for path in found:
        files.discard(path, "orphans")
    files.empty_trash("orphans")
    return len(found)


def find_orphans(ledger: Ledger, owned: Iterable[Owned], now: float) -> list[Path]:
    """Return what lies in the data folder without a row, a day after it was last written.

    A person's folder is told after `GRACE`, as the person's row is made before it.
    """
    found: dict[str, dict[str, Path]] = {}
    for each in owned:
        if now - each.changed > (GRACE if each.kind == "people" else DAY):
            found.setdefault(each.kind, {})[each.id] = each.path
    orphans = []
    for kind, places in found.items():
        ids = list(places)
        for start in range(0, len(ids), _BATCH):
            batch = ids[start : start + _BATCH]
            there = ledger.erasures.existing(_TABLES[kind], batch)
            orphans += [places[id] for id in batch if id not in there]
    return orphans


def find_unfinished(files: Files, now: float) -> list[Path]:
    """Return what was begun to be written and is not in place a day after it was last written."""
    return [path for path in files.unfinished() if now - _changed(path) > DAY]


@dataclass(slots=True)
class ErasureWatch:
    """Notices erasures that another process began, so that what is kept in memory of the erased can go."""

    ledger: Ledger
    _seen: tuple[int, str] = (0, "")

    def has_news(self) -> bool:
        """Whether something was erased since the last call, or ever before the first one.

        Raises `OperatorError` (`database_unreachable`).
        """
        seen, before = self.ledger.erasures.latest(), self._seen
        self._seen = seen
        return seen != before


@dataclass(frozen=True, slots=True)
class _Erasing:
    """One erasure at work."""

    ledger: Ledger
    files: Files
    erasure: ErasureRow
    now: float

    @property
    def owner(self) -> str:
        """Whose things are erased."""
        return self.erasure.owner

    def discard(self, path: Path) -> None:
        """Move a file or folder away, to be erased."""
        self.files.discard(path, self.erasure.id)

    def person(self, person: str) -> None:
        """Erase everything of a person, and what drafts of styles look like with them."""
        self.discard(self.files.person(self.owner, person))
        for draft in self.ledger.drafts.forget_tests_of(person):
            self.discard(self.files.style_tests(draft))

    def job(self, job: str) -> None:
        """Erase a job's portraits, its preview and what its worker had staged."""
        self.discard(self.files.portraits(self.owner, job))
        self.discard(self.files.preview(job))
        for staged, _, folder in self.files.staging_folders():
            if staged == job:
                self.discard(folder)

    def selfie(self, person: str, selfie: str) -> None:
        """Erase an uploaded photo."""
        self.discard(self.files.selfie(self.owner, person, selfie))

    def photo(self, person: str, training_set: str, selfie: str) -> None:
        """Take a photo out of a training set; a set from which nobody can be drawn any more is erased."""
        # Not above, like below: the keeper erases, and needs no libraries of pictures until then.
        from pipelines.folders import training_sets

        folder = self.files.fetch_folder(self.files.training_set(self.owner, person, training_set))
        if not training_sets.is_set(folder):
            return
        try:
            left = training_sets.remove_photo(folder, selfie)
        except UserError:  # it is broken
            left = False
        self.files.keep(folder)
        if not left:
            request = Request(self.owner, self.now, self.erasure.actor)
            try:
                more = self.ledger.erasures.erase_training_set(request, training_set)
            except UserError:
                return  # it is erased already
            finish_erasure(self.ledger, self.files, more, self.now)

    def page(self, person: str, identity: str, training_set: str, selfie: str) -> None:
        """Take a photo out of the page of an identity that was learned from it."""
        from pipelines.folders import identities, training_sets

        learned_from = self.files.training_set(self.owner, person, training_set)
        self.files.fetch(learned_from / training_sets.DESCRIPTION_FILE)
        folder = self.files.identity(self.owner, person, identity)
        told = [self.files.fetch(folder / name) for name in (identities.PAGE_FILE, identities.DESCRIPTION_FILE)]
        identities.remove_photo(folder, selfie, training_sets.read_mean(learned_from))
        for file in told:
            if file.is_file():
                self.files.keep(file)

    def work(self, person: str, job: str) -> None:
        """Erase the checkpoints of a training."""
        self.discard(self.files.work_dir(self.owner, person, job))

    def training_set(self, person: str, training_set: str) -> None:
        """Erase a training set."""
        self.discard(self.files.training_set(self.owner, person, training_set))

    def identity(self, person: str, identity: str) -> None:
        """Erase an identity."""
        self.discard(self.files.identity(self.owner, person, identity))

    def portrait(self, job: str, file: str) -> None:
        """Erase one portrait."""
        self.discard(self.files.portrait(self.owner, job, file))

    def template(self, template: str) -> None:
        """Erase an uploaded picture."""
        self.discard(self.files.template(self.owner, template))


_ERASERS: Mapping[str, Callable[..., None]] = {
    "person": _Erasing.person,
    "job": _Erasing.job,
    "selfie": _Erasing.selfie,
    "photo": _Erasing.photo,
    "page": _Erasing.page,
    "work": _Erasing.work,
    "set": _Erasing.training_set,
    "identity": _Erasing.identity,
    "portrait": _Erasing.portrait,
    "template": _Erasing.template,
}
"""By kind of target (see `tasks.ledger.privacy.removal`): what erases it, given the ids that follow."""


def _changed(path: Path) -> float:
    """When a file or folder was last written, seconds since 1970; infinite for one that is gone."""
    try:
        return path.stat().st_mtime
    except OSError:
        return float("inf")
