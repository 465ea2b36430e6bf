"""`portrait prepare`: makes a training set of a folder of selfies, with a report."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from app.terminal.errors import Json, cli_output
from app.terminal.tables import print_line, print_table

if TYPE_CHECKING:
    from portrait.types import TrainingSet

Photos = Annotated[list[Path], typer.Argument(metavar="PHOTOS", help="Photos, or a folder of them.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for the training set.")]
Include = Annotated[
    list[str] | None, typer.Option("--include", metavar="FILE", help="Use this photo whatever the verdict.")
]
Exclude = Annotated[list[str] | None, typer.Option("--exclude", metavar="FILE", help="Leave this photo out.")]
White = Annotated[bool, typer.Option("--white", help="Put the person on white.")]


def prepare(
    photos: Photos,
    out: Out,
    include: Include = None,
    exclude: Exclude = None,
    white: White = False,
    as_json: Json = False,
) -> None:
    """Judge selfies, choose the best of one person, enhance and crop them."""
    with cli_output(as_json) as output:
        from dataclasses import replace

        from app.terminal.photos import collect_photos, find_photos
        from app.terminal.progress_bar import ProgressBar
        from pipelines import build
        from pipelines.folders import training_sets
        from pipelines.pages import report
        from pipelines.prepare import Overrides
        from tasks.settings import load

        settings = load()
        if white:
            settings = replace(settings, prepare=replace(settings.prepare, white=True))
        files = collect_photos(photos)
        overrides = Overrides(find_photos(include or (), files), find_photos(exclude or (), files))
        with ProgressBar() as bar, build.open_engines(settings) as engines:
            training = build.prepare(settings, engines)(files, overrides, bar)
        training_sets.write(training, out)
        page = report.write(training, out)
        output(
            {"photos": training_sets.photos_to_dicts(training.photos), "set": str(out)},
            lambda: print_verdicts(training, out, page),
        )


def print_verdicts(training: "TrainingSet", out: Path, page: Path) -> None:
    """Print each photo with its verdict."""
    colours = {"use": "green", "spare": "yellow", "refuse": "red"}
    rows = [
        (
            Text(photo.name.replace("\n", "⏎")),
            Text(photo.verdict, style=colours[photo.verdict]),
            "" if photo.likeness is None else f"{photo.likeness.distance:.2f}",
            "" if photo.quality is None else f"{photo.quality.total:.2f}",
            Text(" ".join(reason.tip for reason in photo.reasons), style="dim"),
        )
        for photo in training.photos
    ]
    print_table(("photo", "verdict", "likeness", "quality", "what to do"), rows, overflow="fold")
    counts = Counter(photo.verdict for photo in training.photos)
    print_line(f"\n{counts['use']} used, {counts['spare']} in reserve, {counts['refuse']} not used.")
    print_line(f"Training set  {out}")
    print_line(f"Report        {page}")
