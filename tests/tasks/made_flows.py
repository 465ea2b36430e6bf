"""Flows without engines: a job says itself how long it takes and what goes wrong."""

import os
import time
from pathlib import Path

from pipelines.settings import Settings
from portrait.errors import EngineError, OperatorError, UserError
from tasks.files import publish
from tasks.ledger.database import new_id
from tasks.ledger.queue import Outcome
from tasks.ledger.rows import PortraitRow
from tasks.queue.flows import Abilities, Done, Work

ERRORS = {"user": UserError, "operator": OperatorError, "engine": EngineError}


class MadeFlows:
    """Wants: steps, seconds (of one step), count (of portraits), bytes (of each), fails (user, operator, engine, unknown)."""

    def abilities(self) -> Abilities:
        return Abilities(frozenset({"prepare", "draw:studio", "draw:text"}), {"draw:template": ["No model for it."]})

    def __call__(self, work: Work) -> Done:
        wants = work.job.wants
        noted(work.job.id)
        steps = int(wants.get("steps", 1))
        for step in range(steps):
            work.progress(step, steps, "Drawing")
            time.sleep(float(wants.get("seconds", 0)))
        fails = wants.get("fails")
        if fails == "unknown":
            raise ValueError("Ann's photo lies in /home/ann")
        if fails:
            raise ERRORS[str(fails)](f"made_{fails}", f"The job was made to fail in {work.staging}.")
        now = work.now()
        rows = [drawn(work, number, now) for number in range(1, int(wants.get("count", 1)) + 1)]
        place = work.files.portraits(work.job.owner, work.job.id)
        outcome = Outcome({"portraits": [row.id for row in rows]}, portraits=rows)
        return Done(outcome, lambda: publish(work.staging / "portraits", place))

    def rest(self) -> None:
        noted("rest")

    def close(self) -> None:
        pass


def open_flows(_: Settings) -> MadeFlows:
    return MadeFlows()


def noted(job: str) -> None:
    """Note that a run of a job began."""
    with (Path(os.environ["PORTRAIT_HOME"]) / "runs").open("a") as file:
        file.write(f"{job}\n")


def drawn(work: Work, number: int, now: float) -> PortraitRow:
    """A file with nothing in it, and its row."""
    file = work.staging / "portraits" / f"{number:02}.jpg"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(bytes(int(work.job.wants.get("bytes", 1000))))
    return PortraitRow(
        id=new_id("portrait", now, number),
        owner=work.job.owner,
        job=work.job.id,
        number=number,
        file=file.name,
        format="jpg",
        bytes=file.stat().st_size,
        width=1,
        height=1,
        style="made",
        style_version=1,
        likeness={},
        scores={},
        recipe={},
        created=now,
    )
