"""`portrait make`: draws portraits of photos or a training set in one or several styles."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from app.terminal import controls
from app.terminal.errors import Json, cli_output
from app.terminal.tables import print_line, print_table
from portrait.errors import UserError

if TYPE_CHECKING:
    from app.terminal.portraits import DeliveredPortrait, PreparedPerson
    from portrait.arrays import Size

Photos = Annotated[
    list[Path],
    typer.Argument(metavar="PHOTOS|SET", help="Photos, a folder of them, or a training set."),
]
Styles = Annotated[
    list[str], typer.Option("--style", metavar="NAME|FILE", help="A style, or any picture with a face; repeatable.")
]
Faces = Annotated[
    list[str] | None,
    typer.Option("--face", metavar="N=PHOTOS", help="Who is face N of the picture, from the left; repeatable."),
]
Count = Annotated[int, typer.Option("--count", metavar="N", help="Portraits per style.")]
Seed = Annotated[int, typer.Option("--seed", metavar="S", help="Another number gives other variations.")]
Dimensions = Annotated[str | None, typer.Option("--size", metavar="WxH", help="Size in pixels.")]
Refine = Annotated[
    list[str] | None,
    typer.Option("--refine", metavar="NAME=0.5", help="A step after drawing, and how much of it; repeatable."),
]
Upscale = Annotated[int, typer.Option("--upscale", metavar="1|2|4", help="Enlarge the portraits.")]
Engine = Annotated[
    str, typer.Option("--engine", metavar="NAME", help="`diffusion` draws into templates too, after fusion.")
]
Base = Annotated[str, typer.Option("--base", metavar="NAME", help="Base model that a diffusion engine draws on.")]
IdentityFolder = Annotated[
    Path | None, typer.Option("--identity", metavar="FOLDER", help="What `portrait train` learned.")
]
Adapters = Annotated[
    list[str] | None,
    typer.Option(
        "--adapter", metavar="NAME", help="instantid, photomaker, faceid …: who, without training; repeatable."
    ),
]
Preset = Annotated[str, typer.Option("--preset", metavar="fast|balanced|best", help="How much is spent on a drawing.")]
Strengths = Annotated[
    list[str] | None,
    typer.Option("--strength", metavar="NAME=0.8", help="Of a LoRA, an adapter, a control or a pass; repeatable."),
]
Refiner = Annotated[float, typer.Option("--refiner", metavar="0.2", help="Share that SDXL's refiner draws at the end.")]
Hints = Annotated[
    list[str] | None,
    typer.Option(
        "--hint", metavar="KIND=FILE", help="A picture to follow: pose, depth, canny …, `pose:0.8=FILE`; repeatable."
    ),
]
Format = Annotated[str, typer.Option("--format", metavar="jpg|png|webp", help="File format.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for the portraits.")]


def make(
    photos: Photos,
    out: Out,
    style: Styles = ["studio-grey"],  # noqa: B006 -- Typer copies it
    face: Faces = None,
    count: Count = 1,
    seed: Seed = 0,
    size: Dimensions = None,
    refine: Refine = None,
    upscale: Upscale = 1,
    engine: Engine = "",
    base: Base = "",
    identity: IdentityFolder = None,
    adapter: Adapters = None,
    preset: Preset = "",
    strength: Strengths = None,
    refiner: Refiner = 0.0,
    hint: Hints = None,
    format: Format = "jpg",
    as_json: Json = False,
) -> None:
    """Draw portraits of a person in one or several styles."""
    with cli_output(as_json) as output:
        others = parse_faces(face or ())
        check_format(format)
        dimensions, refining = parse_size(size), parse_refiners(refine or (), upscale)
        wanted = parse_options(engine, base, identity, adapter or (), (preset, strength or ())) or {}
        inputs = controls.parse_controls(hint or ())
        from app.terminal.portraits import PortraitMaker, PortraitOptions, draw_each_style, portraits_to_dict
        from app.terminal.progress_bar import ProgressBar
        from pipelines import build
        from pipelines.pages import gallery
        from portrait.types import Refinement
        from tasks.settings import load

        settings = load()
        generation = controls.generation_options({**wanted, **({"refiner": refiner} if refiner else {})}, inputs)
        steps = tuple(Refinement(*step) for step in refining)
        order = PortraitOptions(count, seed, dimensions, format, steps, technique=generation)
        with ProgressBar() as bar, build.open_engines(settings) as engines:
            build.refiners(engines, steps)  # what is missing is reported before photos are judged
            maker = PortraitMaker(settings, engines, out, bar)
            maker.note_paths({**controls.control_notes(inputs, generation), **base_note(base)})
            prepared = {1: maker.prepare_person(photos, identity=identity)}
            prepared |= {number: maker.prepare_person([given], f"set-{number}") for number, given in others.items()}
            people = {number: each.person for number, each in prepared.items()}
            delivered, refused = draw_each_style(style, lambda name: maker.draw(people, maker.load_style(name), order))
            page = gallery.write([(each.file, each.style, each.portrait) for each in delivered], out)
        answer = {**_people_to_dict(prepared), "portraits": portraits_to_dict(delivered), "refused": refused}
        output({**answer, "page": str(page)}, lambda: print_portraits(delivered, refused, page))


def base_note(base: str) -> dict[str, Path]:
    """Where a base lies that was named by its place, as the notes of a folder have it."""
    return {f"base-{Path(base).name}": Path(base)} if base and Path(base).exists() else {}


def _people_to_dict(people: "Mapping[int, PreparedPerson]") -> dict[str, Any]:
    """The verdicts of everybody's photos, and where the first training set lies, as JSON."""
    verdicts = [verdict for each in people.values() for verdict in each.verdicts]
    return {"photos": verdicts, "set": str(people[1].folder)}


def parse_faces(given: Sequence[str]) -> dict[int, Path]:
    """`2=anna/` as {2: anna}; raises `UserError` (`bad_face`)."""
    faces: dict[int, Path] = {}
    for each in given:
        number, sign, path = each.partition("=")
        if not sign or not path or not number.isdecimal() or int(number) < 1 or int(number) in faces:
            raise UserError("bad_face", f"{each!r} is not N=PHOTOS, such as 2=anna/; each number once, counted from 1.")
        faces[int(number)] = Path(path)
    return faces


def parse_size(given: str | None) -> "Size | None":
    """A size from `1024x1280`; raises `UserError` (`bad_size`)."""
    if given is None:
        return None
    found = re.fullmatch(r"(\d{1,6})[xX×](\d{1,6})", given.strip())
    if not found:
        raise UserError("bad_size", f"{given!r} is not a size. Give width and height, such as 1024x1280.")
    from portrait.arrays import Size

    return Size(int(found[1]), int(found[2]))


def parse_options(
    engine: str, base: str, identity: Path | None, adapters: Sequence[str], more: tuple[str, Sequence[str]]
) -> dict[str, Any] | None:
    """The fields of `GenerationOptions` that were given; None when nothing asks for a diffusion model.

    Raises `UserError` (`bad_technique`).
    """
    preset, given = more
    if engine not in ("", "diffusion"):
        raise UserError(
            "bad_technique", f"{engine!r} is no engine to draw with here. Leave --engine out, or say diffusion."
        )
    if preset not in ("", "fast", "balanced", "best"):
        raise UserError("bad_technique", f"{preset!r} is no preset. Choose fast, balanced or best.")
    strengths: dict[str, float] = {}
    for each in given:
        name, sign, number = each.partition("=")
        strength = _parse_share(number) if sign else None
        if strength is None:
            raise UserError("bad_technique", f"{each!r} is not NAME=STRENGTH, such as lora=0.8; strengths are 0 to 1.")
        strengths[name] = strength
    lora = ("lora",) if identity is not None else ()
    given_options = {"base": base, "identities": (*lora, *adapters), "preset": preset, "strengths": strengths}
    options: dict[str, Any] = {name: value for name, value in given_options.items() if value}
    # Naming the engine alone is a choice too: a template is then drawn into.
    return options or ({"preset": "balanced"} if engine else None)


def parse_refiners(given: Sequence[str], upscale: int) -> list[tuple[str, float]]:
    """`skin=0.5` as ("skin", 0.5), a name alone as 1; enlarging last. Raises `UserError` (`bad_refiner`)."""
    steps: dict[str, float] = {}
    for each in given:
        name, sign, strength = each.partition("=")
        number = _parse_share(strength) if sign else 1.0
        if number is None or not re.fullmatch(r"[a-z0-9_]+", name) or name in steps:
            sentence = f"{each!r} is not NAME=STRENGTH, such as skin=0.5; strengths are 0 to 1, each name once."
            raise UserError("bad_refiner", sentence)
        steps[name] = number
    if upscale not in (1, 2, 4):
        raise UserError("bad_refiner", f"Portraits are enlarged 2 or 4 times, not {upscale}.")
    return [*steps.items(), *([(f"upscale{upscale}", 1.0)] if upscale > 1 else [])]


def _parse_share(given: str) -> float | None:
    try:
        number = float(given)
    except ValueError:
        return None
    return number if 0 <= number <= 1 else None


def check_format(given: str) -> None:
    """Raise `UserError` (`bad_format`) before anything is drawn."""
    if given not in ("jpg", "png", "webp"):
        raise UserError("bad_format", f"{given!r} is not a format. Portraits are written as jpg, png or webp.")


def print_portraits(delivered: "Sequence[DeliveredPortrait]", refused: Sequence[dict[str, str]], page: Path) -> None:
    """Print the portraits, what was refused, and where the page is."""
    from pipelines.pages.gallery import likeness_in_words

    rows = [(Text(each.file.name), Text(each.style.title), likeness_in_words(each.portrait)) for each in delivered]
    print_table(("portrait", "style", "likeness"), rows, overflow="fold")
    for each in refused:
        print_line(f"{each['style']}: {each['message']}", "yellow")
    print_line(f"\nAll on one page  {page}")
