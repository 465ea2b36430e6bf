"""`portrait train`: trains a LoRA of a person on a diffusion base."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.terminal.errors import Json, cli_output
from app.terminal.tables import print_line, print_table

if TYPE_CHECKING:
    from pipelines.folders.identities import StoredIdentity
    from portrait.training import TrainingPlan

Set = Annotated[Path, typer.Argument(metavar="SET", help="A training set, written by `portrait prepare`.")]
Base = Annotated[
    str,
    typer.Option(
        "--base", metavar="NAME", help="sd15, sdxl, flux2_klein …, a name of the settings, a folder or a file."
    ),
]
Out = Annotated[Path | None, typer.Option("--out", "-o", metavar="IDENTITY", help="Folder for the identity.")]
From = Annotated[
    Path | None, typer.Option("--from", metavar="IDENTITY", help="Continue an identity, with photos added later.")
]
Steps = Annotated[int | None, typer.Option("--steps", min=1, help="Default: 200 a photo, 800 at most.")]
Rank = Annotated[int | None, typer.Option("--rank", min=1, help="Rank of the LoRA; default: the base's family's.")]
Rate = Annotated[float | None, typer.Option("--rate", help="Learning rate.")]
Batch = Annotated[int | None, typer.Option("--batch", min=1, help="Photos a step; default: what fits the memory.")]
Encoders = Annotated[bool, typer.Option("--text", help="Train the text encoders too.")]
Token = Annotated[bool, typer.Option("--token", help="Train the trigger as a new token (textual inversion).")]
Prior = Annotated[
    float | None, typer.Option("--prior", min=0, help="Weight of prior preservation: others stay others.")
]
Seed = Annotated[int | None, typer.Option("--seed", help="The same seed trains the same weights.")]
Plan = Annotated[bool, typer.Option("--plan", help="Only print what it would take.")]


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
    """Train a LoRA of a person. Stopped or killed, the same command resumes from the last checkpoint."""
    with cli_output(as_json) as output:
        from dataclasses import asdict

        from app.terminal.portraits import check_set
        from app.terminal.progress_bar import ProgressBar
        from pipelines import build
        from pipelines.folders import identities, training_sets
        from portrait.errors import UserError
        from portrait.training import TrainingJob
        from tasks.settings import load

        given = {"steps": steps, "rank": rank, "rate": rate, "batch": batch, "seed": seed, "prior": prior}
        options = {name: value for name, value in given.items() if value is not None}
        options |= {name: True for name, value in (("text", text), ("token", token)) if value}
        training, settings = training_sets.read(training_set), load()
        check_set(settings, training, training_set)
        before = identities.read(start).identity if start else None
        if out is None and not plan:
            raise UserError("no_place", "Say where the identity shall lie: -o IDENTITY.")
        place = (out or Path("identity")).absolute()
        # Beside the identity, so that the same command finds a run that was broken off.
        job = TrainingJob(training, base, place.with_name(f".{place.name}.lesson"), before, options)
        with ProgressBar() as bar, build.open_engines(settings) as engines:
            flow = build.train(engines)
            if plan:
                what = flow.plan(job)
                output(asdict(what), lambda: print_plan(what))
                return
            with working_folder(job.work_dir):
                made = flow(job, place, bar)
        output({"identity": str(out), **summary(made)}, lambda: print_identity(made))


@contextmanager
def working_folder(folder: Path) -> Iterator[None]:
    """Create the work folder of a training job; delete it when the job ends, keep it when it was stopped."""
    from pipelines.folders import atomic
    from portrait.errors import Cancelled

    with atomic.reported(f"{folder.parent} cannot be written"):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except KeyboardInterrupt as error:
        raise Cancelled(message="Stopped, as you asked. The same command goes on from the last checkpoint.") from error
    shutil.rmtree(folder, ignore_errors=True)


def summary(made: "StoredIdentity") -> dict[str, Any]:
    """What an identity is, as JSON, without its vectors and losses."""
    return {name: value for name, value in made.description.items() if name not in {"likeness", "losses"}}


def print_identity(made: "StoredIdentity") -> None:
    """Print where the identity lies and how alike its checkpoints are."""
    description = made.description
    lines = [
        f"{description['trigger']} {description['class_word']} on {description['base']['name']}: "
        f"{description['steps']} steps, {description['chosen']}.",
        *description["notes"],
    ]
    for name, result in description["scores"]["held_out"].items():
        taken = ", taken" if name == description["chosen"] else ""
        lines.append(f"{name}: distance to the person {result['distance']:.3f} on new seeds{taken}")
    print_line("\n".join([*lines, f"Identity      {made.folder}"]))


def print_plan(what: "TrainingPlan") -> None:
    """Print steps, memory and time of a plan."""
    checkpointing = "" if what.checkpointing == "off" else f", {what.checkpointing} gradient checkpointing"
    rows = {
        **({"base": what.base} if what.base else {}),
        "steps": str(what.steps),
        "batch": f"{what.batch}{checkpointing}",
        "size": ", ".join(f"{count} at {size}" for size, count in what.buckets.items()),
        "device": f"{what.device}, {what.precision}",
        "memory": f"about {what.memory / 1e9:.1f} GB; {what.free / 1e9:.1f} GB are free",
        "time": f"about {format_duration(what.seconds)}, without validation and class pictures",
    }
    print_table((), rows.items())


def format_duration(seconds: float) -> str:
    """Seconds as `40 s`, `12 min` or `2.5 h`."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
