"""`portrait edit`: variations of a portrait, an instruction or a change in words, a part repainted, another shape."""

import glob
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count as count_from
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.commands.make import check_format
from app.terminal.errors import Json, cli_output
from app.terminal.tables import print_line
from portrait.errors import UserError
from portrait.numbers import read_integer

if TYPE_CHECKING:
    from app.terminal.portraits import DeliveredPortrait
    from portrait.generation.edits import Edit, EditKind

File = Annotated[Path, typer.Argument(metavar="FILE", help="A portrait drawn of words, made here.")]
Words = Annotated[
    str, typer.Option("--words", metavar="TEXT", help="What to change: `with a red scarf`, or a sentence.")
]
MaskFile = Annotated[
    Path | None, typer.Option("--mask", metavar="FILE", help="White where it is repainted; the rest stays.")
]
Pictures = Annotated[
    list[Path] | None,
    typer.Option(
        "--with", metavar="FILE", help="A picture of a garment or an object that the words speak of; repeatable."
    ),
]
Shape = Annotated[str, typer.Option("--shape", metavar="W:H", help="Another shape, 1:2 to 2:1; the picture stays.")]
Strength = Annotated[
    float | None,
    typer.Option("--strength", metavar="0.5", help="How far from the portrait, to 1; with words, no instruction."),
]
Count = Annotated[int, typer.Option("--count", metavar="N", help="How many.")]
Seed = Annotated[int | None, typer.Option("--seed", metavar="S", help="Default: the seeds after the portrait's.")]
Set = Annotated[list[Path] | None, typer.Option("--set", metavar="SET", help="The person's training set, if it moved.")]
Format = Annotated[str, typer.Option("--format", metavar="jpg|png|webp", help="Default: the portrait's.")]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Default: the portrait's folder.")]


def edit(
    file: File,
    words: Words = "",
    mask: MaskFile = None,
    shape: Shape = "",
    strength: Strength = None,
    with_: Pictures = None,
    count: Count = 1,
    seed: Seed = None,
    set: Set = None,
    format: Format = "",
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Edit a portrait; without other options, draw variations of it."""
    with cli_output(as_json) as output:
        format = format or file.suffix.lstrip(".").lower().replace("jpeg", "jpg")
        check_format(format)
        from dataclasses import replace

        from app.terminal import recipes
        from app.terminal.portraits import DeliveredPortrait, PortraitMaker, check_words, portraits_to_dict
        from app.terminal.progress_bar import ProgressBar
        from pipelines import build, render
        from pipelines.deliver import Deliver, read_recipe
        from pipelines.marks.marks import open_marks
        from tasks.settings import load

        folder, settings = out or file.parent, load()
        marks = open_marks(settings.marks)
        recipe: dict[str, Any] = {**read_recipe(file, marks), "size": None, "refiners": (), "edit": None}
        if recipe["style"]["kind"] != "text":
            raise UserError("bad_edit", "Only portraits that were drawn of words can be edited.")
        options = _EditOptions(words, mask, shape, strength, tuple(with_ or ()))
        with ProgressBar() as bar, build.open_engines(settings) as engines:
            maker = PortraitMaker(settings, engines, folder, bar)
            request = recipes.request_from_recipe(maker, recipe, file.parent, set or [])
            seed = recipe["seed"] + recipe["count"] if seed is None else seed
            base = request.options.base if request.options is not None else settings.draw.base
            kind = options.kind(lambda: build.base_abilities(settings, base).instructions)
            given = _build_edit(file, kind, options)
            request = replace(request, seed=seed, count=count, edit=given)
            render.check_request(request)
            check_words(settings, request, maker.children)
            maker.note_paths(recipes.edit_notes(given, file, mask, options.pictures))
            drawn = build.render(engines, [request.style.kind], (), settings.draw)(request, bar)
            name, deliver = f"{file.stem}-{given.kind}", Deliver(format, marks, file)
            places = (folder / f"{name}-{number}" for number in count_from(_next_number(folder, name)))
            delivered = [DeliveredPortrait(deliver(each, next(places)), request.style, each) for each in drawn]
        output({"portraits": portraits_to_dict(delivered)}, lambda: _print_portraits(delivered))


@dataclass(frozen=True, slots=True)
class _EditOptions:
    """What the options ask for."""

    words: str
    mask: Path | None
    shape: str
    strength: float | None
    pictures: tuple[Path, ...]

    def kind(self, instructs: Callable[[], bool]) -> "EditKind":
        """The kind of edit; words are an instruction where the base `instructs`, or pictures go with them.

        Raises `UserError` (`bad_edit`) for what does not go together.
        """
        if self.mask is not None and self.shape:
            raise UserError("bad_edit", "Give a mask or another shape, not both: one edit after the other.")
        if self.shape or self.mask is not None:
            return "extend" if self.shape else "repaint"
        if self.pictures:
            return "instruct"
        if not self.words:
            return "variations"
        return "instruct" if self.strength is None and instructs() else "change"


def _build_edit(file: Path, kind: "EditKind", options: _EditOptions) -> "Edit":
    """The edit of that kind; raises `UserError` (`bad_edit`, `bad_mask`), and what reading a picture raises."""
    from app.terminal import controls, recipes
    from pipelines import image_io
    from portrait.generation import edit_masks, edits
    from portrait.generation.options import picture_hash

    pictures = {picture_hash(each): each for each in map(controls.read_picture, options.pictures)}
    said: dict[str, Any] = {"kind": kind, "picture": recipes.file_hash(file), "with": list(pictures)}
    said |= {"words": options.words, "strength": options.strength}
    picture = image_io.read(file).image
    painted = None
    if options.mask is not None:
        found, said["area"] = image_io.read_mask(options.mask)
        painted = edit_masks.fit_mask(found, picture.shape[1], picture.shape[0])
    if options.shape:
        said["shape"] = edits.parse_shape(options.shape)
    given = edits.from_dict(said, picture, painted, pictures)
    edits.check(given)
    return given


def _next_number(folder: Path, name: str) -> int:
    """The number after the last of that name: what was made before stays."""
    numbers = [each.stem.removeprefix(f"{name}-") for each in folder.glob(f"{glob.escape(name)}-*")]
    return max((read_integer(each) or 0 for each in numbers), default=0) + 1


def _print_portraits(delivered: "Sequence[DeliveredPortrait]") -> None:
    """The files; the page of the folder is that of what was made there, and stays."""
    from pipelines.pages.gallery import likeness_in_words

    for each in delivered:
        print_line(f"Portrait  {each.file}  {likeness_in_words(each.portrait)}")
