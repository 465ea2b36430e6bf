"""Flows without engines: the params of a job set its duration and its error."""

import os
import signal
import time
from collections.abc import Collection
from pathlib import Path

from pipelines.settings import Settings
from portrait.arrays import Image
from portrait.errors import EngineError, OperatorError, UserError
from portrait.ports import Progress
from tasks.files import Files
from tasks.ledger.database import new_id
from tasks.ledger.queue import Outcome
from tasks.ledger.rows import PortraitRow
from tasks.queue.flows import Abilities, FlowResult, JobContext
from tasks.styles.available import AvailableStyles

ERRORS = {"user": UserError, "operator": OperatorError, "engine": EngineError}


class FakeFlows:
    """Params: steps, seconds (of one step), count (of portraits), bytes (of each), fails (user, operator, engine, unknown,
    killed); a training goes on after the steps that earlier runs have noted in its folder."""

    def abilities(self) -> Abilities:
        words = frozenset({"prepare", "train:made", "draw:studio", "draw:text"})
        return Abilities(words, {"draw:template": ["No model for it."]})

    def __call__(self, context: JobContext) -> FlowResult:
        params = context.job.params
        record_run(context.job.id)
        steps = int(params.get("steps", 1))
        if context.job.kind == "train":
            return self._train(context, steps)
        for step in range(steps):
            context.progress(step, steps, "Drawing")
            time.sleep(float(params.get("seconds", 0)))
        fails = params.get("fails")
        if fails == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if fails == "unknown":
            raise ValueError("Ann's photo lies in /home/ann")
        if fails:
            raise ERRORS[str(fails)](f"made_{fails}", f"The job was made to fail in {context.staging}.")
        now = context.now()
        rows = [portrait_row(context, number, now) for number in range(1, int(params.get("count", 1)) + 1)]
        place = context.files.portraits(context.job.owner, context.job.id)
        outcome = Outcome({"portraits": [row.id for row in rows]}, portraits=rows)
        return FlowResult(outcome, lambda: context.files.publish(context.staging / "portraits", place))

    def _train(self, context: JobContext, steps: int) -> FlowResult:
        noted = context.files.work_dir(context.job.owner, "person", context.job.id) / "steps"
        noted.parent.mkdir(parents=True, exist_ok=True)
        while (done := noted.stat().st_size if noted.exists() else 0) < steps:
            time.sleep(float(context.job.params.get("seconds", 0)))
            with noted.open("a") as file:
                file.write(".")
            context.progress(done + 1, steps, "Learning")
        return FlowResult(Outcome({"steps": steps}), lambda: None)

    def release_idle(self) -> None:
        record_run("release_idle")

    def forget(self) -> None:
        record_run("forget")

    def draw_sample(self, styles: AvailableStyles, files: Files, able: Collection[str], progress: Progress) -> bool:
        return False

    def shows(self, image: Image) -> bool:
        return True

    def close(self) -> None:
        pass


def open_flows(_: Settings) -> FakeFlows:
    return FakeFlows()


class NewerFlows(FakeFlows):
    """Those of a later version, which knows one more kind of job."""

    def abilities(self) -> Abilities:
        known = super().abilities()
        return Abilities(known.words | {"film"}, known.missing)


def open_newer_flows(_: Settings) -> FakeFlows:
    return NewerFlows()


def record_run(job: str) -> None:
    """Append a job's id to the file `runs`."""
    with (Path(os.environ["PORTRAIT_HOME"]) / "runs").open("a") as file:
        file.write(f"{job}\n")


def portrait_row(context: JobContext, number: int, now: float) -> PortraitRow:
    """Write a file of zeros and return its row."""
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
