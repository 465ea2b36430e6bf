"""Statistics of styles and queues over the newest portraits and jobs, for operators."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import sqlalchemy as sa

from tasks.jobs import KINDS
from tasks.ledger.rows import Repository, there
from tasks.ledger.tables import jobs, portraits

NEWEST = 5000
"""Number of portraits, and of failed jobs, that statistics are made of."""
NEWEST_RUNS = 100
"""Number of jobs of a kind that its times are made of."""


@dataclass(frozen=True, slots=True)
class StyleStatistics:
    """Counts and distances of one style."""

    style: str
    portraits: int
    favourites: int
    failures: int
    distances: Sequence[float]
    """Distances of the drawn faces to their people, sorted."""
    version: int | None = None
    """None for all versions together."""
    uses: int = 0
    """Jobs that drew it or failed to."""

    @property
    def median(self) -> float | None:
        """The median distance."""
        return median(self.distances) if self.distances else None

    @property
    def worst_tenth(self) -> float | None:
        """The distance that nine of ten stay below."""
        return percentile(self.distances, 0.9) if self.distances else None


@dataclass(frozen=True, slots=True)
class QueueStatistics:
    """Waiting and running times of the last jobs of a kind, seconds, sorted."""

    kind: str
    waits: Sequence[float]
    runs: Sequence[float]


class StatisticsRepository(Repository):
    """Statistics over the work of all owners; no owner or person is named."""

    def styles(self, since: float = 0.0) -> Sequence[StyleStatistics]:
        """Statistics of every style, by id, over the newest portraits and failures of all owners that are not older."""
        found: defaultdict[str, _Tally] = defaultdict(_Tally)
        with self.database.read() as connection:
            for row in connection.execute(_portraits().where(portraits.c.created >= since).limit(NEWEST)):
                found[row.style].count_portrait(row)
            for row in connection.execute(_failures().where(jobs.c.created >= since)):
                found[str(row.style or row.template)].count_failure(row.id)
        return [found[style].statistics(style) for style in sorted(found)]

    def versions(self, style: str) -> tuple[StyleStatistics, Sequence[StyleStatistics]]:
        """Statistics of one style: of all versions together, and of each, the newest first."""
        total, found = _Tally(), defaultdict[int, _Tally](_Tally)
        with self.database.read() as connection:
            for row in connection.execute(_portraits().where(portraits.c.style == style).limit(NEWEST)):
                for tally in (total, found[row.style_version]):
                    tally.count_portrait(row)
            for row in connection.execute(_failures()):
                if row.style == style:
                    for tally in (total, found[row.version or 1]):
                        tally.count_failure(row.id)
        return total.statistics(style), [found[at].statistics(style, at) for at in sorted(found, reverse=True)]

    def queues(self, since: float = 0.0) -> Sequence[QueueStatistics]:
        """Times of every kind of job, over the last jobs that succeeded and are not older."""
        with self.database.read() as connection:
            found = [self._queue(connection, kind, since) for kind in sorted(KINDS)]
        return [each for each in found if each.runs]

    def _queue(self, connection: sa.Connection, kind: str, since: float) -> QueueStatistics:
        done = (jobs.c.kind == kind) & (jobs.c.state == "succeeded") & (jobs.c.created >= since)
        chosen = sa.select(jobs.c.created, jobs.c.started, jobs.c.finished).where(done)
        rows = connection.execute(chosen.order_by(jobs.c.finished.desc()).limit(NEWEST_RUNS)).all()
        waits = sorted(max(0.0, row.started - row.created) for row in rows)
        return QueueStatistics(kind, waits, sorted(row.finished - row.started for row in rows))


@dataclass(slots=True)
class _Tally:
    """Running counts of a style or of a version of it."""

    jobs: set[str] = field(default_factory=set)
    portraits: int = 0
    favourites: int = 0
    failures: int = 0
    distances: list[float] = field(default_factory=list)

    def count_portrait(self, row: sa.Row[Any]) -> None:
        self.jobs.add(row.job)
        self.portraits += 1
        self.favourites += row.favourite
        self.distances += [float(each["distance"]) for each in row.likeness.values()]

    def count_failure(self, job: str) -> None:
        self.jobs.add(job)
        self.failures += 1

    def statistics(self, style: str, version: int | None = None) -> StyleStatistics:
        counted = (self.portraits, self.favourites, self.failures)
        return StyleStatistics(style, *counted, sorted(self.distances), version, len(self.jobs))


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the value of a sorted, non-empty list that `share` (0..1) of its values stay below."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _portraits() -> "sa.Select[*tuple[Any, ...]]":
    table = portraits.c
    chosen = sa.select(table.style, table.style_version, table.job, table.favourite, table.likeness)
    return chosen.where(there(portraits)).order_by(table.id.desc())


def _failures() -> "sa.Select[*tuple[Any, ...]]":
    wants = jobs.c.wants
    of_style = (wants["style"].as_string().label("style"), wants["template"].as_string().label("template"))
    failed = sa.select(jobs.c.id, *of_style, wants["version"].as_integer().label("version"))
    failed = failed.where(jobs.c.kind == "generate", jobs.c.state == "failed")
    # By the index that ends with `finished`: few among millions are not looked for from the newest on.
    return failed.order_by(jobs.c.finished.desc(), jobs.c.id.desc()).limit(NEWEST)
