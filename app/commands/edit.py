"""`portrait edit`: goes on from a portrait: variations, the same but other, a part of it anew, another shape."""

import glob
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.commands.make import check_format
from app.terminal.errors import Json, answering
from portrait.errors import UserError

if TYPE_CHECKING:
    from app.terminal.portraits import Delivered
    from portrait.generation.edits import Edit

File = Annotated[Path, typer.Argument(metavar="FILE", help="A portrait drawn of words, made here.", show_default=False)]
Words = Annotated[str, typer.Option("--words", metavar="TEXT", help="What shall be other: `with a red scarf`.")]
MaskFile = Annotated[
    Path | None, typer.Option("--mask", metavar="FILE", help="White where it is drawn anew; the rest stays.")
]
Shape = Annotated[str, typer.Option("--shape", metavar="W:H", help="Another shape, 1:2 to 2:1; the picture stays.")]
Strength = Annotated[float | None, typer.Option("--strength", metavar="0.5", help="How far from the portrait, to 1.")]
Count = Annotated[int, typer.Option("--count", metavar="N", help="How many.")]
Seed = Annotated[int | None, typer.Option("--seed", metavar="S", help="The seeds after the portrait's if not told.")]
Set = Annotated[list[Path] | None, typer.Option("--set", metavar="SET", help="The person's training set, if it moved.")]
Format = Annotated[str, typer.Option("--format", metavar="jpg|png|webp", help="As the portrait's if not told.")]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Folder; beside the portrait if not told.")]


def edit(
    file: File,
    words: Words = "",
    mask: MaskFile = None,
    shape: Shape = "",
    strength: Strength = None,
    count: Count = 1,
    seed: Seed = None,
    set: Set = None,
    format: Format = "",
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Go on from a portrait. With nothing else: variations of it."""
    with answering(as_json) as say:
        format = format or file.suffix.lstrip(".").lower().replace("jpeg", "jpg")
        check_format(format)
        from dataclasses import replace

        from app.terminal import recipes
        from app.terminal.portraits import Delivered, Making, document
        from app.terminal.progress_bar import Bar
        from pipelines import build, render
        from pipelines.deliver import Deliver, recipe_of
        from tasks.settings import load

        recipe = {**recipe_of(file), "size": None, "refiners": (), "edit": None}
        if recipe["style"]["kind"] != "text":
            raise UserError("bad_edit", "Only portraits that were drawn of words can be edited.")
        given = _edit(file, words, mask, shape, strength)
        folder, settings = out or file.parent, load()
        with Bar() as bar, build.open_engines(settings) as engines:
            making = Making(settings, engines, folder, bar)
            request = recipes.request(making, recipe, file.parent, set or [])
            if seed is None:
                seed = recipe["seed"] + recipe["count"]
            request = replace(request, seed=seed, count=count, edit=given)
            render.check(request)
            making.remember({recipes.note_of(given.hash): file})
            if mask is not None:
                making.remember({recipes.note_of(str(given.area)): mask})
            drawn = build.render(engines, [request.style.kind], (), settings.draw)(request, bar)
            name, deliver = f"{file.stem}-{given.kind}", Deliver(format)
            first = _free(folder, name)
            delivered = [
                Delivered(deliver(each, folder / f"{name}-{number}"), request.style, each)
                for number, each in enumerate(drawn, first)
            ]
        say({"portraits": document(delivered)}, lambda: _tell(delivered))


def _edit(file: Path, words: str, mask: Path | None, shape: str, strength: float | None) -> "Edit":
    """What was asked for; raises `UserError` (`bad_edit`, `bad_mask`) for what does not go together."""
    from app.terminal import recipes
    from pipelines import image_io
    from portrait.generation import edits

    if mask is not None and shape:
        raise UserError("bad_edit", "Give a mask or another shape, not both: one edit after the other.")
    kind = "extend" if shape else "repaint" if mask is not None else "change" if words else "variations"
    said: dict[str, Any] = {"kind": kind, "picture": recipes.hash_of(file), "words": words, "strength": strength}
    picture = image_io.read(file).image
    painted = None
    if mask is not None:
        found, said["area"] = image_io.mask(mask)
        painted = edits.fitted(found, picture.shape[1], picture.shape[0])
    if shape:
        said["shape"] = edits.shape_of(shape)
    given = edits.read(said, picture, painted)
    edits.check(given)
    return given


def _free(folder: Path, name: str) -> int:
    """The number after the last of that name: what was made before stays."""
    numbers = [each.stem.removeprefix(f"{name}-") for each in folder.glob(f"{glob.escape(name)}-*")]
    return max((int(each) for each in numbers if each.isdecimal()), default=0) + 1


def _tell(delivered: "Sequence[Delivered]") -> None:
    """The files; the page of the folder is that of what was made there, and stays."""
    from rich.console import Console
    from rich.text import Text

    from pipelines.pages.gallery import in_words

    console = Console(highlight=False)
    for each in delivered:
        console.print(Text(f"Portrait  {each.file}  "), in_words(each.portrait), sep="")
