"""How styles and queues do, for operators."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import sqlalchemy as sa

from tasks.store.database import Database
from tasks.store.tables import jobs, portraits

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
    """Jobs that asked for it and ended, well or not; where they were counted."""

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
        """By style, over the newest portraits and failures."""
        drawn: defaultdict[str, list[tuple[bool, list[float]]]] = defaultdict(list)
        failed: defaultdict[str, int] = defaultdict(int)
        with self.database.read() as connection:
            chosen = sa.select(portraits.c.style, portraits.c.favourite, portraits.c.likeness)
            for row in connection.execute(chosen.order_by(portraits.c.id.desc()).limit(LATELY)):
                distances = [float(each["distance"]) for each in row.likeness.values()]
                drawn[row.style].append((row.favourite, distances))
            lost = sa.select(jobs.c.wants).where(jobs.c.kind == "generate", jobs.c.state == "failed")
            for wants in connection.scalars(lost.order_by(jobs.c.id.desc()).limit(LATELY)):
                failed[str(wants.get("style") or wants.get("template"))] += 1
        return [
            StyleFigure(
                style,
                len(drawn[style]),
                sum(favourite for favourite, _ in drawn[style]),
                failed[style],
                sorted(each for _, distances in drawn[style] for each in distances),
            )
            for style in sorted({*drawn, *failed})
        ]

    def versions(self, style: str) -> tuple[StyleFigure, Sequence[StyleFigure]]:
        """One style, all of it and by version, the newest first; over its newest portraits and jobs."""
        distances: defaultdict[int, list[float]] = defaultdict(list)
        drawn, liked, used, failed = Counter[int](), Counter[int](), Counter[int](), Counter[int]()
        with self.database.read() as connection:
            chosen = sa.select(portraits.c.style_version, portraits.c.favourite, portraits.c.likeness)
            mine = chosen.where(portraits.c.style == style).order_by(portraits.c.id.desc())
            for row in connection.execute(mine.limit(LATELY)):
                drawn[row.style_version] += 1
                liked[row.style_version] += row.favourite
                distances[row.style_version] += [float(each["distance"]) for each in row.likeness.values()]
            ended = sa.select(jobs.c.wants, jobs.c.state).where(
                jobs.c.kind == "generate",
                jobs.c.state.in_(("succeeded", "failed")),
                jobs.c.wants["style"].as_string() == style,
            )
            for row in connection.execute(ended.order_by(jobs.c.id.desc()).limit(LATELY)):
                used[int(row.wants.get("version", 1))] += 1
                failed[int(row.wants.get("version", 1))] += row.state == "failed"
        numbers = sorted({*drawn, *used}, reverse=True)
        each = [
            StyleFigure(style, drawn[at], liked[at], failed[at], sorted(distances[at]), at, used[at]) for at in numbers
        ]
        every = sorted(one for some in distances.values() for one in some)
        total = StyleFigure(style, drawn.total(), liked.total(), failed.total(), every, None, used.total())
        return total, each

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
