"""How styles and queues do, for operators."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import sqlalchemy as sa

from tasks.ledger.database import Database
from tasks.ledger.tables import jobs, portraits

LATELY = 5000
"""Portraits and jobs that figures are made of: the newest."""
RUNS = 100


@dataclass(frozen=True, slots=True)
class StyleFigure:
    """How a style did."""

    style: str
    portraits: int
    favourites: int
    failures: int
    distances: Sequence[float]
    """Of the drawn faces to their people, sorted."""
    version: int | None = None
    """None for all versions together."""
    uses: int = 0
    """Jobs that drew it or failed to."""

    @property
    def median(self) -> float | None:
        """The middle distance."""
        return median(self.distances) if self.distances else None

    @property
    def worst_tenth(self) -> float | None:
        """The distance that nine of ten stay below."""
        return self.distances[min(len(self.distances) - 1, int(0.9 * len(self.distances)))] if self.distances else None


@dataclass(frozen=True, slots=True)
class TimeFigure:
    """How long the last jobs of a kind waited and ran, seconds, sorted."""

    kind: str
    waits: Sequence[float]
    runs: Sequence[float]


@dataclass(frozen=True, slots=True)
class Figures:
    """Numbers over everybody's work, without anybody's name."""

    database: Database

    def styles(self) -> Sequence[StyleFigure]:
        """By style, over the newest portraits and failures of everybody."""
        found: defaultdict[str, _Tally] = defaultdict(_Tally)
        with self.database.read() as connection:
            for row in connection.execute(_portraits().limit(LATELY)):
                found[row.style].drawn(row)
            for row in connection.execute(_failures()):
                found[str(row.wants.get("style") or row.wants.get("template"))].failed(row.id)
        return [found[style].figure(style) for style in sorted(found)]

    def versions(self, style: str) -> tuple[StyleFigure, Sequence[StyleFigure]]:
        """One style, all of it and by version, the newest first; over its newest portraits and failures."""
        total, found = _Tally(), defaultdict[int, _Tally](_Tally)
        with self.database.read() as connection:
            for row in connection.execute(_portraits().where(portraits.c.style == style).limit(LATELY)):
                for tally in (total, found[row.style_version]):
                    tally.drawn(row)
            for row in connection.execute(_failures()):
                if row.wants.get("style") == style:
                    for tally in (total, found[int(row.wants.get("version", 1))]):
                        tally.failed(row.id)
        return total.figure(style), [found[at].figure(style, at) for at in sorted(found, reverse=True)]

    def times(self) -> Sequence[TimeFigure]:
        """By kind of job, over the last that succeeded."""
        with self.database.read() as connection:
            kinds = connection.scalars(sa.select(jobs.c.kind).distinct().order_by(jobs.c.kind)).all()
            return [self._time(connection, kind) for kind in kinds]

    def _time(self, connection: sa.Connection, kind: str) -> TimeFigure:
        done = (jobs.c.kind == kind) & (jobs.c.state == "succeeded")
        chosen = sa.select(jobs.c.created, jobs.c.started, jobs.c.finished).where(done)
        rows = connection.execute(chosen.order_by(jobs.c.finished.desc()).limit(RUNS)).all()
        waits = sorted(max(0.0, row.started - row.created) for row in rows)
        return TimeFigure(kind, waits, sorted(row.finished - row.started for row in rows))


@dataclass(slots=True)
class _Tally:
    """What is counted of a style or a version of it."""

    jobs: set[str] = field(default_factory=set)
    portraits: int = 0
    favourites: int = 0
    failures: int = 0
    distances: list[float] = field(default_factory=list)

    def drawn(self, row: sa.Row[Any]) -> None:
        self.jobs.add(row.job)
        self.portraits += 1
        self.favourites += row.favourite
        self.distances += [float(each["distance"]) for each in row.likeness.values()]

    def failed(self, job: str) -> None:
        self.jobs.add(job)
        self.failures += 1

    def figure(self, style: str, version: int | None = None) -> StyleFigure:
        counted = (self.portraits, self.favourites, self.failures)
        return StyleFigure(style, *counted, sorted(self.distances), version, len(self.jobs))


def _portraits() -> "sa.Select[*tuple[Any, ...]]":
    table = portraits.c
    chosen = sa.select(table.style, table.style_version, table.job, table.favourite, table.likeness)
    return chosen.order_by(table.id.desc())


def _failures() -> "sa.Select[*tuple[Any, ...]]":
    lost = sa.select(jobs.c.id, jobs.c.wants).where(jobs.c.kind == "generate", jobs.c.state == "failed")
    return lost.order_by(jobs.c.id.desc()).limit(LATELY)
