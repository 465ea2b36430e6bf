"""`portrait prepare`: makes a training set of a folder of selfies, with a report."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from app.terminal.errors import Json, cli_output
from app.terminal.tables import print_line, print_table

if TYPE_CHECKING:
    from app.terminal.photos import CollectedPhotos
    from portrait.types import PersonQuestion, TrainingSet

Photos = Annotated[list[Path], typer.Argument(metavar="PHOTOS", help="Photos, or a folder of them.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for the training set.")]
Include = Annotated[
    list[str] | None, typer.Option("--include", metavar="FILE", help="Use this photo whatever the verdict.")
]
Exclude = Annotated[list[str] | None, typer.Option("--exclude", metavar="FILE", help="Leave this photo out.")]
TraitWords = Annotated[
    str | None,
    typer.Option(
        "--traits",
        metavar="WORDS",
        help='What captions and prompts say of the person, such as "with glasses, smiling"; kept for the folder until it is '
        "given again, empty for nothing.",
    ),
]
Guardian = Annotated[
    str, typer.Option("--guardian", metavar="NAME", help="Of a child's photos: the parent or guardian who agrees.")
]
Adult = Annotated[bool, typer.Option("--adult", help="The person is an adult, where a guardian was asked for.")]
White = Annotated[bool, typer.Option("--white", help="Put the person on white.")]


def prepare(
    photos: Photos,
    out: Out,
    include: Include = None,
    exclude: Exclude = None,
    white: White = False,
    traits: TraitWords = None,
    guardian: Guardian = "",
    adult: Adult = False,
    as_json: Json = False,
) -> None:
    """Judge selfies, choose the best of one person, enhance and crop them."""
    with cli_output(as_json) as output:
        from dataclasses import replace

        from app.terminal.photos import collect_photos, find_photos
        from app.terminal.progress_bar import ProgressBar
        from pipelines import build
        from pipelines.folders import training_sets
        from pipelines.guards import ages
        from pipelines.pages import report
        from pipelines.prepare import Overrides
        from portrait.traits import parse_traits
        from tasks.settings import load

        settings = load()
        said = training_sets.read_traits(out) if traits is None else parse_traits(traits.split(","))
        if white:
            settings = replace(settings, prepare=replace(settings.prepare, white=True))
        with collect_photos(photos) as collected:
            files = collected.files
            included, excluded = find_photos(include or (), files), find_photos(exclude or (), files)
            overrides = Overrides(included, excluded, traits=said)
            with ProgressBar() as bar, build.open_engines(settings) as engines:
                known = training_sets.read_enlarged(out)
                training = build.prepare(settings, engines)(files, overrides, bar, known)
        answer = ages.parse_answer(guardian, adult) or ages.read(out)
        training_sets.write(training, out)
        ages.note(out, answer)
        page = report.write(training, out)
        output(
            {
                "photos": training_sets.photos_to_dicts(training.photos),
                **training_sets.summary_to_dict(training),
                "offered_traits": _proposed_traits(training),
                "passed_over": collected.passed_over,
                "set": str(out),
            },
            lambda: print_prepared(training, out, page, collected),
        )


def print_prepared(training: "TrainingSet", out: Path, page: Path, collected: "CollectedPhotos") -> None:
    """Print each photo with its verdict, and what was passed over."""
    from app.terminal.photos import print_passed_over

    print_verdicts(training, out, page)
    print_passed_over(collected.passed_over)


def print_verdicts(training: "TrainingSet", out: Path, page: Path) -> None:
    """Print each photo with its verdict."""
    from portrait.uses import served_in_words

    colours = {"use": "green", "spare": "yellow", "refuse": "red"}
    rows = [
        (
            Text(photo.name.replace("\n", "⏎")),
            Text(photo.verdict, style=colours[photo.verdict]),
            "" if photo.likeness is None else f"{photo.likeness.distance:.2f}",
            "" if photo.quality is None else f"{photo.quality.total:.2f}",
            "" if photo.uses is None else ", ".join(served_in_words(photo.uses)) or "training alone",
            Text(" ".join(reason.tip for reason in photo.reasons), style="dim"),
        )
        for photo in training.photos
    ]
    print_table(("photo", "verdict", "likeness", "quality", "serves", "what to do"), rows, overflow="fold")
    counts = Counter(photo.verdict for photo in training.photos)
    print_line(f"\n{counts['use']} used, {counts['spare']} in reserve, {counts['refuse']} not used.")
    for question in training.questions:
        print_line(f"\nAre these one person? {describe_question(question)}", "bold")
        print_line("If so, add --include for each; if not, --exclude.")
    if training.uses is not None:
        print_line(f"\nThis set serves {', '.join(served_in_words(training.uses)) or 'training alone'}.")
        for opening in training.uses.openings:
            print_line(opening.tip)
    if offered := {name: words for name, words in _proposed_traits(training).items() if name not in training.traits}:
        print_line(f"\nThe photos seem to show: {', '.join(offered.values())}.")
        print_line(
            f'To have captions and prompts say so, add --traits "{", ".join({**offered, **training.traits}.values())}".'
        )
    print_line(f"Training set  {out}")
    print_line(f"Report        {page}")


def _proposed_traits(training: "TrainingSet") -> dict[str, str]:
    """What the used photos seem to show of the person, by trait."""
    from portrait.traits import offer_traits

    return offer_traits([photo.traits for photo in training.photos if photo.verdict == "use"])


def describe_question(question: "PersonQuestion") -> str:
    """The photos of both groups, and why they are asked about."""
    why = {"face": "faces", "sex": "sex", "age": "age"}
    differ = " and ".join(why[sign] for sign in question.signs)
    return f"{_names(question.person)} / {_names(question.unsure)} ({differ} differ)"


def _names(photos: Sequence[str]) -> str:
    shown = ", ".join(photos[:4])
    return f"{shown} and {len(photos) - 4} more" if len(photos) > 4 else shown
