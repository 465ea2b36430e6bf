"""`portrait remake`: draws a portrait again from the recipe it carries."""

from pathlib import Path
from typing import Annotated, Any

import typer

from app.terminal.errors import Json, cli_output
from app.terminal.tables import print_line

File = Annotated[Path, typer.Argument(metavar="FILE", help="A portrait that was made here.")]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Where to write it; default: beside the original.")]
Set = Annotated[list[Path] | None, typer.Option("--set", metavar="SET", help="The person's training set, if it moved.")]
Source = Annotated[
    list[Path] | None,
    typer.Option("--from", metavar="FILE", help="A picture or mask of an edit, if it moved; repeatable."),
]
Hints = Annotated[
    list[Path] | None,
    typer.Option("--hint", metavar="FILE", help="A ControlNet picture of the portrait, if it moved; repeatable."),
]
Look = Annotated[
    Path | None, typer.Option("--look", metavar="FILE", help="The picture whose look the portrait has, if it moved.")
]
Base = Annotated[str, typer.Option("--base", metavar="NAME|PATH", help="The base model, if it moved.")]


def remake(
    file: File,
    out: Out = None,
    set: Set = None,
    source: Source = None,
    hint: Hints = None,
    look: Look = None,
    base: Base = "",
    as_json: Json = False,
) -> None:
    """Draw a portrait again: the same photos, style and seed give the same pixels."""
    with cli_output(as_json) as output:
        from app.terminal import recipes
        from app.terminal.portraits import DeliveredPortrait, PortraitMaker, check_words, portraits_to_dict
        from app.terminal.progress_bar import ProgressBar
        from pipelines import build
        from pipelines.deliver import FORMATS, Deliver, read_recipe
        from pipelines.marks.marks import open_marks
        from tasks.settings import load

        settings = load()
        marks = open_marks(settings.marks)
        recipe = read_recipe(file, marks)
        with ProgressBar() as bar, build.open_engines(settings) as engines:
            maker = PortraitMaker(settings, engines, file.parent, bar)
            moved = [*(source or ()), *(hint or ()), *([] if look is None else [look])]
            request = recipes.request_from_recipe(maker, recipe, file.parent, set or [], moved, base)
            check_words(settings, request, maker.children)
            flow = build.render(engines, [request.mode], request.refiners, settings.draw)
            portrait = flow.reproduce(request, recipe["candidate"], bar, recipe.get("drawn", {}))
        suffix = file.suffix.lstrip(".").lower()
        target = out.with_suffix("") if out else file.with_name(f"{file.stem}-again")
        written = Deliver(suffix if suffix in FORMATS else "jpg", marks)(portrait, target)
        answer: dict[str, Any] = {"portraits": portraits_to_dict([DeliveredPortrait(written, request.style, portrait)])}
        output(answer, lambda: print_line(f"Portrait  {written}"))
