"""`portrait make`: draws portraits of photos or a training set in one or several styles."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from app.commands.prepare import Adult, Guardian
from app.terminal import controls
from app.terminal.errors import Json, cli_output
from app.terminal.tables import print_line, print_table
from portrait.errors import UserError
from portrait.generation.options import check_seed
from portrait.generation.passes import check_strengths
from portrait.numbers import read_integer

if TYPE_CHECKING:
    from app.terminal.portraits import DeliveredPortrait, PortraitMaker, PortraitOptions, PreparedPerson
    from pipelines.settings import Settings
    from portrait.arrays import Size
    from portrait.types import Portrait, Refinement, Skin

POINTED = 1001
"""First of the numbers that stand for faces which are pointed at; no picture has as many faces."""
Photos = Annotated[
    list[Path],
    typer.Argument(metavar="PHOTOS|SET", help="Photos, a folder of them, or a training set."),
]
Styles = Annotated[
    list[str], typer.Option("--style", metavar="NAME|FILE", help="A style, or any picture with a face; repeatable.")
]
Faces = Annotated[
    list[str] | None,
    typer.Option(
        "--face",
        metavar="N|X,Y[=PHOTOS]",
        help="Who is face N of the picture, from the left, or the one at X,Y; without photos, the person. Repeatable.",
    ),
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
        "--adapter",
        metavar="NAME",
        help="reference, instantid, photomaker, faceid …: who, without training; repeatable.",
    ),
]
Preset = Annotated[str, typer.Option("--preset", metavar="fast|balanced|best", help="How much is spent on a drawing.")]
Strengths = Annotated[
    list[str] | None,
    typer.Option("--strength", metavar="NAME=0.8", help="Of a LoRA, an adapter, a control or a pass; repeatable."),
]
StartMergeStep = Annotated[
    float | None,
    typer.Option("--start-merge-step", metavar="0.2", help="Share of the steps before PhotoMaker merges the photos."),
]
Refiner = Annotated[float, typer.Option("--refiner", metavar="0.2", help="Share that SDXL's refiner draws at the end.")]
LoraWeights = Annotated[
    list[str] | None,
    typer.Option(
        "--lora-weights",
        metavar="NAME=1,0,0.5,…",
        help="Block weights of a LoRA, BASE, IN…, M00, OUT…; `lora` is the person's own. Repeatable.",
    ),
]
DrawingOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        metavar="NAME=VALUE",
        help="Of the drawing: vae, few_steps, scheduler, steps, guidance, sdedit …, `steps=8`; repeatable.",
    ),
]
Hints = Annotated[
    list[str] | None,
    typer.Option(
        "--hint", metavar="KIND=FILE", help="A picture to follow: pose, depth, canny …, `pose:0.8=FILE`; repeatable."
    ),
]
Look = Annotated[
    Path | None,
    typer.Option("--look", metavar="FILE", help="A picture whose look the portraits have, by an IP-Adapter."),
]
LookScale = Annotated[float, typer.Option("--look-scale", metavar="0.5", help="How much of that look, 0 to 1.")]
LookAdapter = Annotated[
    str,
    typer.Option(
        "--look-adapter", metavar="NAME", help="ip_adapter, ip_adapter_plus, ip_adapter_plus_face, or one of your own."
    ),
]
SkinTone = Annotated[
    str, typer.Option("--skin", metavar="person|template", help="Whose skin tone a face in a picture has.")
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
    start_merge_step: StartMergeStep = None,
    refiner: Refiner = 0.0,
    lora_weights: LoraWeights = None,
    option: DrawingOptions = None,
    hint: Hints = None,
    look: Look = None,
    look_scale: LookScale = controls.LOOK_SCALE,
    look_adapter: LookAdapter = controls.LOOK_ADAPTER,
    skin: SkinTone = "",
    guardian: Guardian = "",
    adult: Adult = False,
    format: Format = "jpg",
    as_json: Json = False,
) -> None:
    """Draw portraits of a person in one or several styles."""
    with cli_output(as_json) as output:
        check_delivery(format, seed)
        (others, places), tone, dimensions = parse_faces(face or ()), parse_skin(skin), parse_size(size)
        wanted = parse_options(engine, base, identity, adapter or (), (preset, strength or ())) or {}
        wanted |= controls.parse_drawing_options(option or (), lora_weights or (), refiner, start_merge_step)
        followed = controls.parse_followed(hint or (), look, look_scale, look_adapter)
        from app.terminal.portraits import PortraitOptions
        from tasks.settings import load

        settings, steps = load(), _refinements(refine or (), upscale)
        generation = controls.generation_options(_with_lora(wanted, identity, settings.draw.identities), followed)
        order = PortraitOptions(count, seed, dimensions, format, steps, technique=generation, skin=tone)
        with _open_maker(settings, out, steps, (guardian, adult)) as maker:
            maker.note_paths({**controls.followed_notes(followed, generation), **base_note(base)})
            prepared = _prepare_people(maker, photos, identity, others)
            delivered, refused, page = _draw(maker, prepared, style, places, order)
        passed_over = sum((Counter(each.passed_over) for each in prepared.values()), Counter[str]())
        document = {**_to_dict(prepared, delivered, refused, page), "passed_over": passed_over}
        output(document, lambda: print_portraits(delivered, refused, page, passed_over))


@contextmanager
def _open_maker(
    settings: "Settings", out: Path, steps: Sequence["Refinement"], answer: tuple[str, bool]
) -> "Iterator[PortraitMaker]":
    """The engines, and what draws with them into a folder; `answer`: of --guardian and --adult."""
    from app.terminal.portraits import PortraitMaker
    from app.terminal.progress_bar import ProgressBar
    from pipelines import build
    from pipelines.guards import ages

    with ProgressBar() as bar, build.open_engines(settings) as engines:
        build.refiners(engines, steps)  # what is missing is reported before photos are judged
        yield PortraitMaker(settings, engines, out, bar, answer=ages.parse_answer(*answer))


def _draw(
    maker: "PortraitMaker",
    prepared: "Mapping[int, PreparedPerson]",
    styles: Sequence[str],
    places: Mapping[int, tuple[float, float]],
    order: "PortraitOptions",
) -> "tuple[list[DeliveredPortrait], list[dict[str, str]], Path]":
    """The portraits in each style, what was refused (see `draw_each_style`), and the page that shows them."""
    from app.terminal.portraits import draw_each_style
    from pipelines.pages import gallery

    people = {number: each.person for number, each in prepared.items()}
    delivered, refused = draw_each_style(styles, lambda name: maker.draw_at(people, name, places, order))
    page = gallery.write([(each.file, each.style, each.portrait) for each in delivered], maker.out)
    return delivered, refused, page


def _refinements(given: Sequence[str], upscale: int) -> tuple["Refinement", ...]:
    from portrait.types import Refinement

    return tuple(Refinement(*step) for step in parse_refiners(given, upscale))


def base_note(base: str) -> dict[str, Path]:
    """Where a base lies that was named by its place, as the notes of a folder have it."""
    return {f"base-{Path(base).name}": Path(base)} if base and Path(base).exists() else {}


def _prepare_people(
    maker: "PortraitMaker", photos: Sequence[Path], identity: Path | None, others: Mapping[int, Path | None]
) -> "dict[int, PreparedPerson]":
    """Everybody by number of the face, the person of `photos` first: on face 1, or on the one that names no photos."""
    first = next((number for number, given in others.items() if given is None), 1)
    people = {first: maker.prepare_person(photos, identity=identity)}
    return people | {
        number: maker.prepare_person([given], f"set-{number}") for number, given in others.items() if given
    }


def _to_dict(
    people: "Mapping[int, PreparedPerson]",
    delivered: "Sequence[DeliveredPortrait]",
    refused: Sequence[Mapping[str, str]],
    page: Path,
) -> dict[str, Any]:
    """The verdicts of everybody's photos, where the first training set lies, the portraits and their page, as JSON."""
    from app.terminal.portraits import portraits_to_dict

    verdicts = [verdict for each in people.values() for verdict in each.verdicts]
    of_people = {"photos": verdicts, "set": str(next(iter(people.values())).folder)}
    return {**of_people, "portraits": portraits_to_dict(delivered), "refused": list(refused), "page": str(page)}


def parse_faces(given: Sequence[str]) -> tuple[dict[int, Path | None], dict[int, tuple[float, float]]]:
    """`2=anna/` as {2: anna}, `640,320=anna/` under a number of its own, with the point by that number; `3` alone as {3: None}.

    Raises `UserError` (`bad_face`).
    """
    faces: dict[int, Path | None] = {}
    points: dict[int, tuple[float, float]] = {}
    for each in given:
        place, sign, path = each.partition("=")
        point = re.fullmatch(r"(\d{1,5}(?:\.\d+)?),(\d{1,5}(?:\.\d+)?)", place.strip())
        number = POINTED + len(points) if point else read_integer(place, POINTED - 1)
        if not number or number in faces or bool(sign) != bool(path) or (not path and None in faces.values()):
            raise UserError(
                "bad_face",
                f"{each!r} is not N=PHOTOS or X,Y=PHOTOS, such as 2=anna/ or 640,320=anna/; each face once, counted from 1.",
            )
        faces[number] = Path(path) if path else None
        if point:
            points[number] = (float(point[1]), float(point[2]))
    return faces, points


def parse_skin(given: str) -> "Skin | None":
    """Whose skin tone is wished, None for the style's choice; raises `UserError` (`bad_skin`)."""
    if given not in ("", "person", "template"):
        raise UserError("bad_skin", f"{given!r} is nobody's skin. Say person or template, or leave --skin out.")
    return given or None


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
        strength = _parse_number(number) if sign else None
        if strength is None:
            raise UserError("bad_technique", f"{each!r} is not NAME=STRENGTH, such as lora=0.8.")
        strengths[name] = strength
    check_strengths(strengths)
    lora = ("lora",) if identity is not None and adapters else ()  # alone, the base decides what goes with it
    given_options = {"base": base, "identities": (*lora, *adapters), "preset": preset, "strengths": strengths}
    options: dict[str, Any] = {name: value for name, value in given_options.items() if value}
    # Naming the engine or an identity alone is a choice too: a template is then drawn into.
    return options or ({"preset": "balanced"} if engine or identity is not None else None)


def _with_lora(options: dict[str, Any], identity: Path | None, usual: Sequence[str]) -> dict[str, Any]:
    """The options with the LoRA of an identity, which counts more than the `usual` adapters of the settings."""
    if identity is None or not usual or "identities" in options:
        return options
    return {**options, "identities": ("lora",)}


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
    number = _parse_number(given)
    return number if number is not None and 0 <= number <= 1 else None


def _parse_number(given: str) -> float | None:
    try:
        return float(given)
    except ValueError:
        return None


def check_delivery(format: str, seed: int) -> None:
    """Raise `UserError` (`bad_format`, `bad_seed`) before anything is drawn."""
    check_format(format)
    check_seed(seed)


def check_format(given: str) -> None:
    """Raise `UserError` (`bad_format`) before anything is drawn."""
    if given not in ("jpg", "png", "webp"):
        raise UserError("bad_format", f"{given!r} is not a format. Portraits are written as jpg, png or webp.")


BODY_NOTE = (
    "The person's skin differs much from that of the picture: neck, ears and hands were led over to it as far as they could "
    "be told from other things. Look at them; --skin template keeps the picture's tone."
)


def skin_tones(portrait: "Portrait") -> list[Mapping[str, Any]]:
    """What was measured of the skin of each face of a template; empty for other portraits."""
    drawn: Any = portrait.recipe.get("drawn", {})
    return list(drawn.get("skin", {}).values())


def unread_tokens(portrait: "Portrait") -> int:
    """How many tokens at the end of its prompt the base did not read."""
    drawn: Any = portrait.recipe.get("drawn", {})
    return int(drawn.get("unread_tokens", 0))


def print_portraits(
    delivered: "Sequence[DeliveredPortrait]",
    refused: Sequence[dict[str, str]],
    page: Path,
    passed_over: Mapping[str, int] | None = None,
) -> None:
    """Print the portraits, what was refused, which files were passed over, and where the page is."""
    from app.terminal.photos import print_passed_over
    from pipelines.pages.gallery import likeness_in_words

    rows = [(Text(each.file.name), Text(each.style.title), likeness_in_words(each.portrait)) for each in delivered]
    print_table(("portrait", "style", "likeness"), rows, overflow="fold")
    if any("body" in tone for each in delivered for tone in skin_tones(each.portrait)):
        print_line(BODY_NOTE, "yellow")
    if unread := max((unread_tokens(each.portrait) for each in delivered), default=0):
        print_line(f"The base does not read prompts that long: the last {unread} tokens were left out.", "yellow")
    for each in refused:
        print_line(f"{each['style']}: {each['message']}", "yellow")
    print_passed_over(passed_over or {})
    print_line(f"\nAll on one page  {page}")
