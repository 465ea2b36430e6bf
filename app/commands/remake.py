"""`portrait remake`: draws a portrait again from the recipe it carries."""

from pathlib import Path
from typing import Annotated, Any

import typer

from app.door import answering

File = Annotated[Path, typer.Argument(metavar="FILE", help="A portrait that was made here.", show_default=False)]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Where to write it; beside the original if not told.")]
Set = Annotated[list[Path] | None, typer.Option("--set", metavar="SET", help="The person's training set, if it moved.")]
Json = Annotated[bool, typer.Option("--json", help="Answer with one JSON document.")]


def remake(file: File, out: Out = None, set: Set = None, as_json: Json = False) -> None:
    """Draw a portrait again: the same photos, style and seed give the same pixels."""
    with answering(as_json) as say:
        from dataclasses import replace

        from rich.console import Console
        from rich.text import Text

        from app.bar import Bar
        from app.making import Delivered, Making, document
        from pipelines import build
        from pipelines.deliver import FORMATS, Deliver, recipe_of
        from portrait import techniques
        from portrait.types import PortraitRequest, Refinement, Size
        from tasks.settings import load

        recipe = recipe_of(file)
        settings = load()
        with Bar() as bar, build.open_engines(settings) as engines:
            making = Making(settings, engines, file.parent, bar)
            places = _places(recipe, file.parent, set or [])
            people = {
                int(number): making.sitter([places[name]], learned=places.get(f"{name}.learned")).person
                for number, name in recipe["people"].items()
            }
            wished = recipe.get("technique")
            technique = techniques.read(wished) if wished else None
            style = making.style(str(places.get(recipe["style"]["id"], recipe["style"]["id"])))
            size = None if recipe["size"] is None else Size(*recipe["size"])
            # What was done to it then is done again, whatever the style says by now.
            steps = tuple(Refinement(**step) for step in recipe.get("refiners", ()))
            plain = replace(style, refiners=())
            request = PortraitRequest(people, plain, recipe["seed"], recipe["count"], size, steps, technique)
            portrait = build.render(engines, [style.kind], steps, settings.draw).again(
                request, recipe["candidate"], bar
            )
        suffix = file.suffix.lstrip(".").lower()
        target = out.with_suffix("") if out else file.with_name(f"{file.stem}-again")
        written = Deliver(suffix if suffix in FORMATS else "jpg")(portrait, target)
        answer: dict[str, Any] = {"portraits": document([Delivered(written, style, portrait)])}
        say(answer, lambda: Console(highlight=False).print(Text(f"Portrait  {written}")))


def _places(recipe: dict[str, Any], folder: Path, given: list[Path]) -> dict[str, Path]:
    """Where the sets and pictures that a recipe names lie now; raises `UserError` (`source_missing`)."""
    from app.making import notes_of, set_id
    from pipelines import sets
    from portrait.errors import UserError

    noted = {name: Path(path) for name, path in notes_of(folder).items()}
    noted |= {set_id(path): path for path in given if sets.is_set(path)}
    for name in recipe["people"].values():
        if name not in noted or not sets.is_set(noted[name]) or set_id(noted[name]) != name:
            sentence = "The training set this was drawn from is gone or has changed. Name it with --set."
            raise UserError("source_missing", sentence)
    style = recipe["style"]["id"]
    if style.startswith("picture-") and not (style in noted and noted[style].is_file()):
        raise UserError("source_missing", "The picture this person was put into is gone. Put it back where it was.")
    return noted
