"""`portrait prepare`: a folder of selfies becomes a training set with a report."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.terminal.errors import Json, answering

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
    with answering(as_json) as say:
        from dataclasses import replace

        from app.terminal.photos import collect, places
        from app.terminal.progress_bar import Bar
        from pipelines import build
        from pipelines.folders import training_sets
        from pipelines.pages import report
        from pipelines.prepare import Wishes
        from tasks.settings import load

        settings = load()
        if white:
            settings = replace(settings, prepare=replace(settings.prepare, white=True))
        files = collect(photos)
        wishes = Wishes(places(include or (), files), places(exclude or (), files))
        with Bar() as bar, build.open_engines(settings) as engines:
            training = build.prepare(settings, engines)(files, wishes, bar)
        training_sets.write(training, out)
        page = report.write(training, out)
        say({"photos": training_sets.verdicts(training.photos), "set": str(out)}, lambda: tell(training, out, page))


def tell(training: "TrainingSet", out: Path, page: Path) -> None:
    """What came of it, for a person."""
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
