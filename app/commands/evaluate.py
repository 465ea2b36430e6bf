"""`portrait evaluate`: measures a folder of pictures and writes a page."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from app.terminal.errors import Json, cli_output
from app.terminal.tables import print_line, print_table
from portrait.errors import UserError
from portrait.photos.names import distinct_names

if TYPE_CHECKING:
    from portrait.evaluation import Evaluation

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="The pictures.")]
Against = Annotated[Path | None, typer.Option("--against", metavar="FOLDER", help="Real pictures, for FID and KID.")]
Prompts = Annotated[
    Path | None,
    typer.Option(
        "--prompts",
        metavar="FILE",
        help="What the pictures should show: JSON by file name, or one line for all or for each.",
    ),
]
Person = Annotated[Path | None, typer.Option("--person", metavar="SET", help="Whom they should show.")]
Page = Annotated[
    Path | None, typer.Option("--out", "-o", metavar="FILE", help="The page; default: FOLDER/evaluation.html.")
]


def evaluate(
    folder: Folder,
    against: Against = None,
    prompts: Prompts = None,
    person: Person = None,
    out: Page = None,
    as_json: Json = False,
) -> None:
    """Measure pictures: likeness, variety, sharpness, FID, KID, inception score, CLIP score."""
    with cli_output(as_json) as output:
        files = list_pictures(folder)
        others = list_pictures(against) if against is not None else []
        words = read_prompts(prompts, distinct_names(files)) if prompts is not None else {}
        from app.terminal.progress_bar import ProgressBar
        from pipelines import build
        from pipelines.evaluate import EvaluationRequest
        from pipelines.folders import training_sets
        from pipelines.pages import evaluation
        from tasks.settings import load

        who = training_sets.read(person).mean_embeddings if person is not None else None
        settings = load()
        with ProgressBar() as bar, build.open_engines(settings) as engines:
            found = build.evaluate(settings, engines)(EvaluationRequest(files, others, words, who), bar)
        page = evaluation.write(found, out if out is not None else folder / evaluation.PAGE_FILE)
        output(evaluation_to_dict(found, page), lambda: print_evaluation(found, page))


def list_pictures(folder: Path) -> list[Path]:
    """The pictures of a folder by name, hidden files apart; raises `UserError` (`not_found`, `no_photos`)."""
    from pipelines.image_io import PICTURE_SUFFIXES

    if not folder.is_dir():
        raise UserError("not_found", f"There is no folder {folder}.")
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES and path.name[0] != ".")
    if not found:
        raise UserError("no_photos", f"There are no pictures in {folder}.")
    return found


def read_prompts(file: Path, names: Sequence[str]) -> dict[str, str]:
    """What each picture should show, by file name; raises `UserError` (`not_found`, `bad_prompts`).

    A JSON object by file name; or lines of text: one for all pictures, or one for each in the order of their names.
    """
    try:
        text = file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError("not_found", f"The prompts cannot be read from {file}.") from error
    if text.startswith("{"):
        try:
            texts = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UserError("bad_prompts", f"{file} is not JSON: {error}.") from error
        if not all(isinstance(words, str) for words in texts.values()):
            raise UserError("bad_prompts", f"{file} must give one text for each file name.")
        return texts
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) not in (1, len(names)):
        raise UserError(
            "bad_prompts",
            f"{file} has {len(lines)} lines; give one for all pictures, or one for each of the {len(names)}.",
        )
    return dict(zip(names, lines if len(lines) > 1 else lines * len(names), strict=True))


def evaluation_to_dict(found: "Evaluation", page: Path) -> dict[str, Any]:
    """The evaluation as JSON."""
    return {
        "measures": {
            each.name: {"value": each.value, "better": each.better, **dict(each.more)} for each in found.measures
        },
        "missing": {each.name: each.why for each in found.missing},
        "notes": list(found.notes),
        "space": found.space,
        "same_person": found.limit,
        "pictures": [
            {name: value for name, value in asdict(each).items() if name != "thumb"} for each in found.pictures
        ],
        "page": str(page),
    }


def print_evaluation(found: "Evaluation", page: Path) -> None:
    """Print the measures as a table."""
    from pipelines.pages.evaluation import make_rows

    rows = [(each["title"], each["value"], Text(each["more"] or each["why"], style="dim")) for each in make_rows(found)]
    print_table(("measure", "value", ""), rows, overflow="fold")
    for note in found.notes:
        print_line(note, "yellow")
    print_line(f"\nAs a page  {page}")
