"""Lint of styles: findings with a code and a tip that an operator can act on.

Fields are linted at once; pictures by a caller who has detected the faces. Nothing is loaded here and nothing is looked up:
what is installed and what was detected are arguments.
"""

import hashlib
import re
import shlex
import tomllib
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal, TypeAlias

from portrait.arrays import Size
from portrait.generation.options import PHOTOMAKERS
from portrait.generation.passes import STRENGTHS, max_strength
from portrait.generation.prompts import LORA, strip_weights
from portrait.generation.refused_words import is_refused
from portrait.licences import commercial_use
from portrait.types import Face
from templates.schema import StyleFile, StyleLora
from templates.traits import PAINTER_PLACEHOLDERS, known_traits, placeholders

Level: TypeAlias = Literal["error", "warning"]

BLOCKLISTS = Path(__file__).with_name("words.toml")
MIN_PICTURE_SIDE = 512
"""Least shorter side of a style's picture: a portrait in a template is delivered at its size."""
MIN_FACE_WIDTH, GOOD_FACE_WIDTH = 48.0, 96.0
"""Least width of a template's face in pixels, as the fusion painter has it; below the second there is a warning."""
MAX_YAW = 35.0
"""Largest yaw in degrees, as for photos (`portrait.photos.reasons`)."""
MAX_LORA_STRENGTH = 1.2
"""Largest strength of one LoRA, and of all together, before pictures break up."""
MAX_STRENGTH = 1.5
"""Largest of any other strength."""
_COLOUR = re.compile(r"#[0-9a-f]{6}")
"""A backdrop that is paper in a colour, as `portrait.studio.backdrops` paints it."""
_MODEL_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
"""What names of the model store look like."""
NO_LICENCE = {"", "unknown", "none", "todo", "licenseref-unknown", "n/a", "?"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding: an `error` keeps a style from being published, a `warning` does not."""

    code: str
    level: Level
    where: str
    """Name of the field."""
    tip: str


@dataclass(frozen=True, slots=True)
class Installed:
    """What is installed; None where the caller does not know, so that it is not linted."""

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
    sentences: frozenset[str] = frozenset()
    """Those of the bases that read sentences."""
    agreed_licences: frozenset[str] | None = None
    """Licences that may be used commercially beside the well-known ones; None where any licence is taken."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Models that the terms of the installation refuse, each with the sentence that says what takes its place."""


@dataclass(frozen=True, slots=True, eq=False)
class DetectedFaces:
    """The size of a style's picture and the faces detected in it."""

    size: Size
    faces: tuple[Face, ...]


def lint_fields(style: StyleFile, installed: Installed | None = None) -> list[Finding]:
    """Findings in the fields of a style, without its picture."""
    here = installed or Installed()
    return [
        *_licence(style),
        *_placeholders(style),
        *_sentence(style, here),
        *_blocked_words(style),
        *_strengths(style),
        *lint_terms(style, here),
        *_loras(style, here),
        *_compositions(style),
        *_unavailable(style, here),
    ]


def lint_picture(style: StyleFile, detected: DetectedFaces) -> list[Finding]:
    """Findings in the picture of a template, its size and faces, or in the one that is a studio's backdrop.

    None in the picture of a text style, which is there for its look.
    """
    if style.kind == "text":
        return []
    short = min(detected.size.width, detected.size.height)
    found = []
    if short < MIN_PICTURE_SIDE:
        tip = f"Its shorter side has {short} pixels; take one with {MIN_PICTURE_SIDE}."
        found.append(_error("picture_small", "picture", tip))
    if style.kind == "studio":
        return found + _people_behind(detected)
    if not detected.faces:
        tip = "No face was found. Choose a picture in which one is clearly seen."
        return [*found, _error("no_face", "picture", tip)]
    if len(detected.faces) < style.faces:
        tip = f"The style speaks of {style.faces} faces and {len(detected.faces)} were found. Correct one or the other."
        found.append(_error("faces_missing", "faces", tip))
    # Passers-by in the background need not be fit for anything.
    meant = sorted(detected.faces, key=lambda one: one.box.area)[-style.faces :]
    for number, face in enumerate(sorted(detected.faces, key=lambda one: one.box.left), start=1):
        if any(face is one for one in meant):
            found += _face_findings(number, face, detected.size)
    return found


def _people_behind(detected: DetectedFaces) -> list[Finding]:
    """A finding where somebody would stand behind every person."""
    count = len(detected.faces)
    tip = f"{count} face(s) were found in it: they will be behind everybody. Take a picture without people."
    return [_warning("picture_people", "picture", tip)] if count else []


def lint_picture_file(place: Path | None, style: StyleFile) -> list[Finding]:
    """A finding where the picture's file does not have the SHA-256 that the style names."""
    if place is None or style.picture is None or not style.picture.sha256:
        return []
    with place.open("rb") as content:
        same = hashlib.file_digest(content, "sha256").hexdigest() == style.picture.sha256
    tip = f"{place.name} is another file than the style was made with. Put the old one back, or raise the version."
    return [] if same else [_error("picture_changed", "picture", tip)]


def _face_findings(number: int, face: Face, size: Size) -> Iterator[Finding]:
    box = face.box
    if box.width < GOOD_FACE_WIDTH:
        tip = f"Face {number} is {box.width:.0f} pixels wide, and {GOOD_FACE_WIDTH:.0f} make a good one. Take a larger picture."
        yield Finding("face_small", "error" if box.width < MIN_FACE_WIDTH else "warning", "picture", tip)
    yaw = abs(face.pose.yaw)
    if yaw > MAX_YAW:
        tip = f"Face {number} is turned by {yaw:.0f}°. People can be put into faces that face the camera."
        yield _error("face_profile", "picture", tip)
    if min(box.left, box.top) < 0 or box.right > size.width or box.bottom > size.height:
        tip = f"Face {number} is cut by the border. Choose a picture that shows it whole."
        yield _error("face_cut", "picture", tip)


def _licence(style: StyleFile) -> Iterator[Finding]:
    if style.licence.strip().casefold() in NO_LICENCE:
        yield _error("licence_missing", "licence", "Say under which licence the picture or style may be used.")
    if style.picture and not style.credit:
        yield _warning("credit_missing", "credit", "Say whom the picture is owed to.")


def lint_terms(style: StyleFile, here: Installed) -> list[Finding]:
    """Findings in the licence of a style, and in those of the models that it names; none where any licence is taken."""
    found = []
    agreed = here.agreed_licences
    if agreed is not None and commercial_use(style.licence, agreed) != "yes":
        tip = (
            f"Its licence ({style.licence}) does not plainly allow commercial use: take a picture or style under CC0-1.0 or "
            "CC-BY-4.0, or name the licence in models.commercial_licences if you may use it so."
        )
        found.append(_error("style_not_commercial", "licence", tip))
    named = {f"loras.{number}": lora.model for number, lora in enumerate(style.loras)}
    named |= {where: tag[1] for where in ("prompt", "sentence") for tag in LORA.finditer(getattr(style, where))}
    named |= {"look": style.look.adapter} if style.look is not None else {}
    if style.bases and set(style.bases) <= set(here.refused):
        named["bases"] = style.bases[0]
    for where, model in named.items():
        if model in here.refused:
            found.append(_error("model_not_commercial", where, here.refused[model]))
    return found


def _placeholders(style: StyleFile) -> Iterator[Finding]:
    known = {*PAINTER_PLACEHOLDERS, *known_traits(style)}
    for where, text in (("prompt", style.prompt), ("sentence", style.sentence), ("negative", style.negative)):
        for name in placeholders(text):
            if name not in known:
                there = ", ".join(sorted(known))
                tip = f"{{{name}}} is no placeholder. There are {there}; add a table [traits.{name}]."
                yield _error("unknown_placeholder", where, tip)
        rest = re.sub(r"\{[^{}]*\}", "", text)
        if "{" in rest or "}" in rest:
            yield _error("broken_placeholder", where, "A brace is not closed. Placeholders are written {name}.")
    for where, text in (("prompt", style.prompt), ("sentence", style.sentence or "{who}")):
        if style.kind == "text" and "who" not in placeholders(text):
            yield _warning("no_person", where, "The prompt has no {who}: say where in it the person stands.")
    for name, trait in style.traits.items():
        if trait.default and trait.choices and trait.default not in trait.choices:
            yield _error("bad_default", f"traits.{name}", "The default is not one of the choices.")


def _sentence(style: StyleFile, here: Installed) -> Iterator[Finding]:
    """Findings in the prompt for bases that read sentences, or its absence where there is such a base."""
    if style.sentence:
        if LORA.search(style.sentence) or strip_weights(style.sentence) != style.sentence:
            tip = "It is read as plain sentences. Leave out parentheses and brackets, and name LoRAs under loras."
            yield _error("sentence_weights", "sentence", tip)
        return
    suited, families = {*style.families, *style.bases}, here.bases or {}
    readers = sorted(each for each in here.sentences if not suited or {each, families.get(each, each)} & suited)
    if style.prompt and readers:
        tip = f"{', '.join(readers)} would read the prompt, which is words for CLIP, and refuse weights. Say it in sentences."
        yield _warning("sentence_missing", "sentence", tip)


def _blocked_words(style: StyleFile) -> Iterator[Finding]:
    """Names and words of the blocklists in what is drawn; a negative prompt may name what is to be left out."""
    lists = _blocklists()
    fields = [("title", style.title), ("prompt", style.prompt), ("sentence", style.sentence)]
    fields += [(f"titles.{language}", title) for language, title in style.titles.items()]
    fields += [
        (f"traits.{name}", text) for name, trait in style.traits.items() for text in (trait.default, *trait.choices)
    ]
    for where, text in fields:
        plain = _normalize(text)
        for name in lists["people"]:
            if _contains(plain, name):
                tip = f"The words name a real person ({name}). Describe the look instead."
                yield _error("real_person", where, tip)
        unsafe = [word for word in lists["unsafe"] if _contains(plain, word)]
        for word in unsafe:
            yield _error("unsafe_word", where, f"Leave out {word!r}.")
        if not unsafe and is_refused([text]):
            yield _error("unsafe_word", where, "Leave out what is sexual: nobody could order it.")


def _contains(plain: str, wanted: str) -> bool:
    """Whether a text contains a word as a whole word; in scripts without blanks, anywhere."""
    if not wanted.isascii():
        return wanted in plain
    return re.search(rf"(?<![a-z0-9]){re.escape(wanted)}(?![a-z0-9])", plain) is not None


def _normalize(text: str) -> str:
    """Lower case without accents and with blanks for underscores, so that `Beyoncé_Knowles` is found."""
    parted = unicodedata.normalize("NFKD", text.casefold())
    bare = "".join(each for each in parted if not unicodedata.combining(each))
    return re.sub(r"[\s_]+", " ", bare)


def _strengths(style: StyleFile) -> Iterator[Finding]:
    for name, value in style.strengths.items():
        if name not in STRENGTHS:
            tip = f"There is no strength {name}. There are {', '.join(STRENGTHS)}."
            yield _error("strength_unknown", f"strengths.{name}", tip)
            continue
        if name in PHOTOMAKERS:
            tip = f"It is read as the share of the steps before photos are merged: write start_merge_step = {value:g}."
            yield _warning("strength_merge_step", f"strengths.{name}", tip)
        most = MAX_LORA_STRENGTH if name == "lora" else min(MAX_STRENGTH, max_strength(name))
        if value > most:
            yield _error("strength_range", f"strengths.{name}", f"{value:g} is too strong; {most:g} is the most.")
    total = sum(lora.strength for lora in style.loras) + style.strengths.get("lora", 0.0)
    for number, lora in enumerate(style.loras):
        if lora.strength > MAX_LORA_STRENGTH:
            tip = f"{lora.strength:g} is too strong; {MAX_LORA_STRENGTH:g} is the most."
            yield _error("strength_range", f"loras.{number}.strength", tip)
    if style.loras and total > 2 * MAX_LORA_STRENGTH:
        tip = f"Together they come to {total:g}; above {2 * MAX_LORA_STRENGTH:g} pictures break up."
        yield _warning("strength_range", "loras", tip)


def _loras(style: StyleFile, here: Installed) -> Iterator[Finding]:
    suited = {*style.families, *style.bases}
    if here.bases is not None:
        suited |= {here.bases[base] for base in style.bases if base in here.bases}
    for number, lora in enumerate(style.loras):
        where = f"loras.{number}"
        if lora.model in here.refused:
            continue
        if here.loras is not None and lora.model not in here.loras:
            yield _missing_lora(lora, where)
            continue
        base = (here.loras or {}).get(lora.model, "") or lora.base
        if base and suited and base not in suited:
            tip = f"The LoRA {lora.model} was made for {base}, the style for {', '.join(sorted(suited))}."
            yield _error("lora_other_base", where, tip)
        elif not base:
            yield _warning("lora_base_unknown", where, f"Say for which base {lora.model} was made.")


def _missing_lora(lora: StyleLora, where: str) -> Finding:
    if not _MODEL_NAME.fullmatch(lora.model):
        tip = f"{lora.model} is no name of a model. Import the style again, or name a LoRA in small letters."
        return _error("lora_missing", where, tip)
    tip = f"The LoRA {lora.model} is not here. It comes by `{add_lora_command(lora.model, lora.source)}`."
    return _error("lora_missing", where, tip)


def add_lora_command(name: str, source: str) -> str:
    """The command that brings a LoRA into the model store."""
    return f"portrait models add {name} {shlex.quote(source or 'FILE')} --kind lora --licence … --commercial …"


def _compositions(style: StyleFile) -> Iterator[Finding]:
    if style.compositions == ("half_figure",):
        tip = (
            "Few selfies show a person down to the waist. Name a closer composition after it, or few can use the style."
        )
        yield _warning("composition_rare", "compositions", tip)


def _unavailable(style: StyleFile, here: Installed) -> Iterator[Finding]:
    painted = style.backdrop and not _COLOUR.fullmatch(style.backdrop)
    if here.backdrops is not None and painted and style.backdrop not in here.backdrops:
        tip = f"There is no backdrop {style.backdrop}. There are {', '.join(sorted(here.backdrops))}, and colours as #dfe4ea."
        yield _error("backdrop_unknown", "backdrop", tip)
    if here.presets is not None and style.preset and style.preset not in here.presets:
        tip = f"There is no preset {style.preset}. There are {', '.join(sorted(here.presets))}."
        yield _error("preset_unknown", "preset", tip)
    named = style.background not in ("", "kept") and not style.background.startswith("#")
    if here.colours is not None and named and style.background not in here.colours:
        there = ", ".join(sorted(here.colours))
        tip = f"There is no background {style.background}. There are {there}, #rrggbb and kept."
        yield _error("background_unknown", "background", tip)
    if here.engines is not None and style.engines and not here.engines & set(style.engines):
        yield _error("engine_missing", "engines", f"None of {', '.join(style.engines)} is here.")
    if here.bases is not None and style.bases and not set(here.bases) & set(style.bases):
        yield _warning("base_missing", "bases", f"None of {', '.join(style.bases)} is here.")


@lru_cache(maxsize=1)
def _blocklists() -> Mapping[str, Sequence[str]]:
    return tomllib.loads(BLOCKLISTS.read_text("utf-8"))


def _error(code: str, where: str, tip: str) -> Finding:
    return Finding(code, "error", where, tip)


def _warning(code: str, where: str, tip: str) -> Finding:
    return Finding(code, "warning", where, tip)
