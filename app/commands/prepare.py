"""`portrait prepare`: makes a training set of a folder of selfies, with a report."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.terminal.errors import Json, cli_output

if TYPE_CHECKING:
    from portrait.types import TrainingSet

Photos = Annotated[
    list[Path], typer.Argument(metavar="PHOTOS", help="Photos, or a folder of them.", show_default=False)
]
Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for the training set.", show_default=False)]
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
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("photo", "verdict", "likeness", "quality", "what to do"):
        table.add_column(column, overflow="fold")
    colours = {"use": "green", "spare": "yellow", "refuse": "red"}
    for photo in training.photos:
        table.add_row(
            Text(photo.name.replace("\n", "⏎")),
            Text(photo.verdict, style=colours[photo.verdict]),
            "" if photo.likeness is None else f"{photo.likeness.distance:.2f}",
            "" if photo.quality is None else f"{photo.quality.total:.2f}",
            Text(" ".join(reason.tip for reason in photo.reasons), style="dim"),
        )
    console.print(table)
    counts = Counter(photo.verdict for photo in training.photos)
    console.print(f"\n{counts['use']} used, {counts['spare']} in reserve, {counts['refuse']} not used.")
    console.print(Text(f"Training set  {out}"))
    console.print(Text(f"Report        {page}"))
