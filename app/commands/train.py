"""`portrait train`: a training set becomes an identity that a diffusion base can draw."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.terminal.errors import Json, answering

if TYPE_CHECKING:
    from pipelines.folders.identities import Kept
    from portrait.training import TrainingPlan

Set = Annotated[
    Path, typer.Argument(metavar="SET", help="A training set, written by `portrait prepare`.", show_default=False)
]
Base = Annotated[
    str, typer.Option("--base", metavar="NAME", help="sd15, sdxl, a name of the settings, a folder or a file.")
]
Out = Annotated[
    Path | None, typer.Option("--out", "-o", metavar="IDENTITY", help="Folder for the identity.", show_default=False)
]
From = Annotated[
    Path | None, typer.Option("--from", metavar="IDENTITY", help="Go on from an identity, with photos added later.")
]
Steps = Annotated[int | None, typer.Option("--steps", min=1, help="Default: 200 a photo, 800 at most.")]
Rank = Annotated[int | None, typer.Option("--rank", min=1, help="Rank of the LoRA; default: the base's family's.")]
Rate = Annotated[float | None, typer.Option("--rate", help="Learning rate.")]
Batch = Annotated[int | None, typer.Option("--batch", min=1, help="Photos a step; default: what fits the memory.")]
Encoders = Annotated[bool, typer.Option("--text", help="Teach the text encoders too.")]
Token = Annotated[bool, typer.Option("--token", help="Learn the trigger as a new token (textual inversion).")]
Prior = Annotated[
    float | None, typer.Option("--prior", min=0, help="Weight of prior preservation: others stay others.")
]
Seed = Annotated[int | None, typer.Option("--seed", help="The same seed learns the same.")]
Plan = Annotated[bool, typer.Option("--plan", help="Only say what it would take.")]


def train(
    training_set: Set,
    base: Base = "sdxl",
    out: Out = None,
    start: From = None,
    steps: Steps = None,
    rank: Rank = None,
    rate: Rate = None,
    batch: Batch = None,
    text: Encoders = False,
    token: Token = False,
    prior: Prior = None,
    seed: Seed = None,
    plan: Plan = False,
    as_json: Json = False,
) -> None:
    """Learn a person. Stopped or killed, the same command goes on where it was."""
    with answering(as_json) as say:
        from dataclasses import asdict

        from app.terminal.progress_bar import Bar
        from pipelines import build
        from pipelines.folders import identities, training_sets
        from portrait.errors import UserError
        from portrait.training import Lesson
        from tasks.settings import load

        given = {"steps": steps, "rank": rank, "rate": rate, "batch": batch, "seed": seed, "prior": prior}
        wishes = {name: value for name, value in given.items() if value is not None}
        wishes |= {name: True for name, value in (("text", text), ("token", token)) if value}
        training = training_sets.read(training_set)
        before = identities.read(start).identity if start else None
        if out is None and not plan:
            raise UserError("no_place", "Say where the identity shall lie: -o IDENTITY.")
        place = (out or Path("identity")).absolute()
        # Beside the identity, so that the same command finds a run that was broken off.
        lesson = Lesson(training, base, place.with_name(f".{place.name}.lesson"), before, wishes)
        with Bar() as bar, build.open_engines(load()) as engines:
            flow = build.train(engines)
            if plan:
                what = flow.plan(lesson)
                say(asdict(what), lambda: tell_plan(what))
                return
            with desk(lesson.desk):
                made = flow(lesson, place, bar)
        say({"identity": str(out), **summary(made)}, lambda: tell(made))


@contextmanager
def desk(folder: Path) -> Iterator[None]:
    """The folder of a lesson; it stays when the lesson was broken off."""
    from portrait.errors import Cancelled, OperatorError

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OperatorError("cannot_write", f"{folder.parent} cannot be written: {error.strerror}.") from error
    try:
        yield
    except KeyboardInterrupt as stopped:
        raise Cancelled(
            message="Stopped, as you asked. The same command goes on from the last checkpoint."
        ) from stopped
    shutil.rmtree(folder, ignore_errors=True)


def summary(made: "Kept") -> dict[str, Any]:
    """What an identity is, as JSON, without its vectors and losses."""
    return {name: value for name, value in made.description.items() if name not in {"likeness", "losses"}}


def tell(made: "Kept") -> None:
    """What came of it, for a person."""
    told = made.description
    lines = [
        f"{told['trigger']} {told['class_word']} on {told['base']['name']}: {told['steps']} steps, {told['chosen']}.",
        *told["notes"],
    ]
    for name, look in told["scores"]["held_out"].items():
        taken = ", taken" if name == told["chosen"] else ""
        lines.append(f"{name}: distance to the person {look['distance']:.3f} on new seeds{taken}")
    Console(highlight=False).print(Text("\n".join([*lines, f"Identity      {made.folder}"])))


def tell_plan(what: "TrainingPlan") -> None:
    """What it would take, for a person."""
    table = Table(box=None, pad_edge=False, show_header=False)
    rows = {
        "steps": str(what.steps),
        "batch": str(what.batch)
        + ("" if what.checkpointing == "off" else f", {what.checkpointing} gradient checkpointing"),
        "size": ", ".join(f"{count} at {size}" for size, count in what.buckets.items()),
        "device": f"{what.device}, {what.precision}",
        "memory": f"about {what.memory / 1e9:.1f} GB; {what.free / 1e9:.1f} GB are free",
        "time": f"about {lasting(what.seconds)}, without looks and class pictures",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    Console(highlight=False).print(table)


def lasting(seconds: float) -> str:
    """A time as people say it."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
