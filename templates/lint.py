"""What is wrong with a style, in words an operator can act on.

Words are linted at once; pictures by a caller who has found the faces. Nothing is loaded here and nothing is looked up: what
is installed and what was seen are arguments.
"""

import hashlib
import re
import tomllib
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, TypeAlias

from portrait.arrays import Size
from portrait.types import Face
from templates.schema import StyleFile
from templates.traits import PAINTERS, placeholders, traits_of

Level: TypeAlias = Literal["error", "warning"]

WORDS = Path(__file__).with_name("words.toml")
PICTURE_SIDE = 512
"""Least shorter side of a template's picture: a portrait is delivered at its size."""
FACE_WIDTH, FINE_FACE = 48.0, 96.0
"""Least width of a template's face in pixels, as the fusion painter has it; below the second it is told that it is small."""
PROFILE = 35.0
"""Largest yaw in degrees, as for photos (`portrait.photos.reasons`)."""
LORA = 1.2
"""Largest strength of one LoRA, and of all together, before pictures break up."""
STRENGTH = 1.5
"""Largest of any other strength."""
NO_LICENCE = {"", "unknown", "none", "todo", "licenseref-unknown", "n/a", "?"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: `error` keeps a style from being published, `warning` does not."""

    code: str
    level: Level
    where: str
    """Name of the field."""
    tip: str


@dataclass(frozen=True, slots=True)
class Installed:
    """What there is here; None where the caller does not know, so that nothing is said about it."""

    backdrops: frozenset[str] | None = None
    presets: frozenset[str] | None = None
    """Of ID photos."""
    colours: frozenset[str] | None = None
    """Names of backgrounds of ID photos."""
    loras: Mapping[str, str] | None = None
    """Base or family by the name of the LoRA; an empty word where it is not known."""
    bases: Mapping[str, str] | None = None
    """Family by the name of the base."""
    engines: frozenset[str] | None = None
    """Names of painters."""


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What a finder saw in the style's picture."""

    size: Size
    faces: tuple[Face, ...]


def words(style: StyleFile, installed: Installed | None = None) -> list[Finding]:
    """What can be said without looking at pictures."""
    here = installed or Installed()
    return [
        *_licence(style),
        *_placeholders(style),
        *_unwanted(style),
        *_strengths(style),
        *_loras(style, here),
        *_missing(style, here),
    ]


def picture(style: StyleFile, seen: Seen) -> list[Finding]:
    """What is wrong with the picture of a template."""
    short = min(seen.size.width, seen.size.height)
    found = []
    if short < PICTURE_SIDE:
        found.append(
            _error("picture_small", "picture", f"Its shorter side has {short} pixels; take one with {PICTURE_SIDE}.")
        )
    if not seen.faces:
        return [
            *found,
            _error("no_face", "picture", "No face was found. Choose a picture in which one is clearly seen."),
        ]
    if len(seen.faces) < style.faces:
        tip = f"The style speaks of {style.faces} faces and {len(seen.faces)} were found. Correct one or the other."
        found.append(_error("faces_missing", "faces", tip))
    # Passers-by in the background need not be fit for anything.
    meant = sorted(seen.faces, key=lambda one: one.box.area)[-style.faces :]
    for number, face in enumerate(sorted(seen.faces, key=lambda one: one.box.left), start=1):
        if any(face is one for one in meant):
            found += _face(number, face, seen.size)
    return found


def file(place: Path | None, style: StyleFile) -> list[Finding]:
    """Whether the picture's file is the one that the style names by its hash."""
    if place is None or style.picture is None or not style.picture.sha256:
        return []
    with place.open("rb") as content:
        same = hashlib.file_digest(content, "sha256").hexdigest() == style.picture.sha256
    tip = f"{place.name} is another file than the style was made with. Put the old one back, or raise the version."
    return [] if same else [_error("picture_changed", "picture", tip)]


def _face(number: int, face: Face, size: Size) -> Iterator[Finding]:
    box = face.box
    if box.width < FINE_FACE:
        tip = (
            f"Face {number} is {box.width:.0f} pixels wide, and {FINE_FACE:.0f} make a good one. Take a larger picture."
        )
        yield Finding("face_small", "error" if box.width < FACE_WIDTH else "warning", "picture", tip)
    if abs(face.pose.yaw) > PROFILE:
        tip = (
            f"Face {number} is turned by {abs(face.pose.yaw):.0f}°. People can be put into faces that face the camera."
        )
        yield _error("face_profile", "picture", tip)
    if min(box.left, box.top) < 0 or box.right > size.width or box.bottom > size.height:
        yield _error(
            "face_cut", "picture", f"Face {number} is cut by the border. Choose a picture that shows it whole."
        )


def _licence(style: StyleFile) -> Iterator[Finding]:
    if style.licence.strip().casefold() in NO_LICENCE:
        yield _error("licence_missing", "licence", "Say under which licence the picture or style may be used.")
    if style.picture and not style.credit:
        yield _warning("credit_missing", "credit", "Say whom the picture is owed to.")


def _placeholders(style: StyleFile) -> Iterator[Finding]:
    known = {*PAINTERS, *traits_of(style)}
    for where, text in (("prompt", style.prompt), ("negative", style.negative)):
        for name in placeholders(text):
            if name not in known:
                tip = (
                    f"{{{name}}} is no placeholder. There are {', '.join(sorted(known))}; add a table [traits.{name}]."
                )
                yield _error("unknown_placeholder", where, tip)
        rest = re.sub(r"\{[^{}]*\}", "", text)
        if "{" in rest or "}" in rest:
            yield _error("broken_placeholder", where, "A brace is not closed. Placeholders are written {name}.")
    if style.kind == "text" and "who" not in placeholders(style.prompt):
        yield _warning("no_person", "prompt", "The prompt has no {who}: say where in it the person stands.")
    for name, trait in style.traits.items():
        if trait.default and trait.choices and trait.default not in trait.choices:
            yield _error("bad_default", f"traits.{name}", "The default is not one of the choices.")


def _unwanted(style: StyleFile) -> Iterator[Finding]:
    """Names and words of the lists in what is drawn; a negative prompt may name what is to be left out."""
    lists = _lists()
    fields = [("title", style.title), ("prompt", style.prompt)]
    fields += [(f"titles.{language}", title) for language, title in style.titles.items()]
    fields += [
        (f"traits.{name}", text) for name, trait in style.traits.items() for text in (trait.default, *trait.choices)
    ]
    for where, text in fields:
        plain = _plain(text)
        for name in lists["people"]:
            if _says(plain, name):
                tip = f"The words name a real person ({name}). Describe the look instead."
                yield _error("real_person", where, tip)
        for word in lists["unsafe"]:
            if _says(plain, word):
                yield _error("unsafe_word", where, f"Leave out {word!r}.")


def _says(plain: str, wanted: str) -> bool:
    """Whether whole words of a text are these; languages without blanks have no whole words."""
    if not wanted.isascii():
        return wanted in plain
    return re.search(rf"(?<![a-z0-9]){re.escape(wanted)}(?![a-z0-9])", plain) is not None


def _plain(text: str) -> str:
    """Lower case without accents, and blanks for what joins words, so that `Beyoncé_Knowles` is found."""
    parted = unicodedata.normalize("NFKD", text.casefold())
    bare = "".join(each for each in parted if not unicodedata.combining(each))
    return re.sub(r"[\s_]+", " ", bare)


def _strengths(style: StyleFile) -> Iterator[Finding]:
    for name, value in style.strengths.items():
        most = LORA if name == "lora" else STRENGTH
        if value > most:
            yield _error("strength_range", f"strengths.{name}", f"{value:g} is too strong; {most:g} is the most.")
    total = sum(lora.strength for lora in style.loras) + style.strengths.get("lora", 0.0)
    for number, lora in enumerate(style.loras):
        if lora.strength > LORA:
            tip = f"{lora.strength:g} is too strong; {LORA:g} is the most."
            yield _error("strength_range", f"loras.{number}.strength", tip)
    if style.loras and total > 2 * LORA:
        yield _warning(
            "strength_range", "loras", f"Together they come to {total:g}; above {2 * LORA:g} pictures break up."
        )


def _loras(style: StyleFile, here: Installed) -> Iterator[Finding]:
    suited = {*style.families, *style.bases}
    if here.bases is not None:
        suited |= {here.bases[base] for base in style.bases if base in here.bases}
    for number, lora in enumerate(style.loras):
        where = f"loras.{number}"
        if here.loras is not None and lora.model not in here.loras:
            yield _error("lora_missing", where, f"The LoRA {lora.model} is not here. Import it into the model store.")
            continue
        base = lora.base or (here.loras or {}).get(lora.model, "")
        if base and suited and base not in suited:
            tip = f"The LoRA {lora.model} was made for {base}, the style for {', '.join(sorted(suited))}."
            yield _error("lora_other_base", where, tip)
        elif not base:
            yield _warning("lora_base_unknown", where, f"Say for which base {lora.model} was made.")


def _missing(style: StyleFile, here: Installed) -> Iterator[Finding]:
    if here.backdrops is not None and style.backdrop and style.backdrop not in here.backdrops:
        tip = f"There is no backdrop {style.backdrop}. There are {', '.join(sorted(here.backdrops))}."
        yield _error("backdrop_unknown", "backdrop", tip)
    if here.presets is not None and style.preset and style.preset not in here.presets:
        tip = f"There is no preset {style.preset}. There are {', '.join(sorted(here.presets))}."
        yield _error("preset_unknown", "preset", tip)
    named = style.background not in ("", "kept") and not style.background.startswith("#")
    if here.colours is not None and named and style.background not in here.colours:
        tip = (
            f"There is no background {style.background}. There are {', '.join(sorted(here.colours))}, #rrggbb and kept."
        )
        yield _error("background_unknown", "background", tip)
    if here.engines is not None and style.engines and not here.engines & set(style.engines):
        yield _error("engine_missing", "engines", f"None of {', '.join(style.engines)} is here.")
    if here.bases is not None and style.bases and not set(here.bases) & set(style.bases):
        yield _warning("base_missing", "bases", f"None of {', '.join(style.bases)} is here.")


@lru_cache(maxsize=1)
def _lists() -> Mapping[str, Sequence[str]]:
    return tomllib.loads(WORDS.read_text("utf-8"))


def _error(code: str, where: str, tip: str) -> Finding:
    return Finding(code, "error", where, tip)


def _warning(code: str, where: str, tip: str) -> Finding:
    return Finding(code, "warning", where, tip)
