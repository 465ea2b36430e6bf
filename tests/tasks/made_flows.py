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
from tasks.queue.flows import Abilities, FlowResult, JobContext

ERRORS = {"user": UserError, "operator": OperatorError, "engine": EngineError}


class MadeFlows:
    """Wants: steps, seconds (of one step), count (of portraits), bytes (of each), fails (user, operator, engine, unknown)."""

    def abilities(self) -> Abilities:
        return Abilities(frozenset({"prepare", "draw:studio", "draw:text"}), {"draw:template": ["No model for it."]})

    def __call__(self, context: JobContext) -> FlowResult:
        params = context.job.params
        noted(context.job.id)
        steps = int(params.get("steps", 1))
        for step in range(steps):
            context.progress(step, steps, "Drawing")
            time.sleep(float(params.get("seconds", 0)))
        fails = params.get("fails")
        if fails == "unknown":
            raise ValueError("Ann's photo lies in /home/ann")
        if fails:
            raise ERRORS[str(fails)](f"made_{fails}", f"The job was made to fail in {context.staging}.")
        now = context.now()
        rows = [drawn(context, number, now) for number in range(1, int(params.get("count", 1)) + 1)]
        place = context.files.portraits(context.job.owner, context.job.id)
        outcome = Outcome({"portraits": [row.id for row in rows]}, portraits=rows)
        return FlowResult(outcome, lambda: publish(context.staging / "portraits", place))

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


def drawn(context: JobContext, number: int, now: float) -> PortraitRow:
    """A file with nothing in it, and its row."""
    file = context.staging / "portraits" / f"{number:02}.jpg"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(bytes(int(context.job.params.get("bytes", 1000))))
    return PortraitRow(
        id=new_id("portrait", now, number),
        owner=context.job.owner,
        job=context.job.id,
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
