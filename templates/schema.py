"""Schema of style.toml, which describes one style: its fields with their bounds; reading, writing, JSON Schema.

schema = 1
id = "studio-grey"
version = 1
kind = "studio"              # or "template", "text", "idphoto"
title = "Grey paper"
backdrop = "studio-grey"     # studio: which backdrop is painted; or a colour of paper, as "#dfe4ea"
picture = { file = "a.jpg" } # studio: or a picture beside style.toml as the backdrop, and
blur = 0.5                   # how far out of focus it is, 0..1
compositions = ["half_figure", "close"]   # studio: which it suits, the preferred one first; the usual ones when empty
picture = { file = "a.jpg" } # template: a file beside style.toml, or { package = "skimage", path = "data/astronaut.png" }
skin = "person"              # template: whose skin tone a face has, the person's or the "template"'s
faces = 1                    # how many people it shows
retouch = 0.4                # 0..1
refiners = [{ name = "skin", strength = 0.5 }]   # after drawing, in this order; see docs/refining.md
licence = "CC0-1.0"          # of the picture, or of the style where it has none
credit = "NASA"
tags = ["business"]

titles = { zh = "灰色背景", de = "Graues Papier" }  # in other languages; title is the English one
group = "place"              # in the gallery: or "backdrop", "picture", "idphoto", "words"; by its kind when empty
mood = "calm"
author = "Anna"
status = "published"         # or "draft", "retired"
aspects = ["4:5", "1:1"]     # shapes it was made for, the first by preference
engines = ["studio"]         # painters it suits; any that draws its kind when empty
bases = ["sdxl-base"]        # base models it suits; any of its families when empty

A text style says what a diffusion model draws:

kind = "text"
prompt = "portrait of {who}, {age} {gender}, in a garden"   # {who} and {traits} are the painter's, the rest are traits
sentence = "A portrait of {who}, {traits}, in a garden."    # the same for bases that read sentences; prompt when empty
negative = "blurred"
families = ["sdxl"]          # families of bases it may be drawn on; any when empty
strengths = { lora = 0.8 }
start_merge_step = 0.2       # share of the steps before PhotoMaker merges the photos
loras = [{ model = "film-look", strength = 0.6, base = "sdxl" }]   # `blocks = [1, …]` weighs the blocks of the U-Net
picture = { file = "a.jpg" } # a picture beside style.toml whose look portraits have, by an IP-Adapter, and
look = { adapter = "ip_adapter_plus", scale = 0.6 } # which one, and how much of it, 0..1
[traits.hat]                 # besides gender, age and glasses, which every style may use
default = ""
choices = ["with a straw hat"]

A template may say so too, for when a diffusion model draws into it, and how strongly (docs/templates.md):

engines = ["diffusion"]      # used even where nobody asks for it
[passes]
face = 0.45                  # the whole face; 0 leaves a pass out
ring = 0.35                  # its border, eyes and mouth
controls = { tile = 0.5 }    # how much of its scale a control keeps
needs = ["canny", "tile"]    # controls without which it is not drawn

An ID photo is framed by a rule, and nothing is done to the face:

kind = "idphoto"
preset = "us-passport"       # see `portrait idphoto --list`
background = "white"         # a colour's name, #rrggbb, or "kept"; the rule's own when empty

[carried] keeps the fields of another tool's style that have no counterpart here.
"""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from portrait.errors import OperatorError, UserError, reading_fault
from portrait.generation.passes import Passes
from portrait.studio.backdrops import PLACES
from portrait.types import Composition
from templates.package_pictures import SHA256

SCHEMA = 1
Name = Annotated[str, Field(pattern=r"^[a-z0-9_]+$", max_length=60)]
Language = Annotated[str, Field(pattern=r"^[a-z]{2,3}(-[A-Za-z]{2,4})?$")]
Group = Literal["backdrop", "place", "picture", "idphoto", "words"]
"""Where a gallery shows a style."""
_GROUPS: Mapping[str, Group] = {"studio": "backdrop", "template": "picture", "text": "words", "idphoto": "idphoto"}
MAX_BYTES = 100_000
"""Bytes of a style.toml at most; they are a few hundred."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PictureFile(_Strict):
    """Location of a style's picture: a file beside the style.toml, or one of those that built-in styles have in packages."""

    file: str = ""
    package: str = ""
    path: str = ""
    sha256: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = ""
    """SHA-256 of the file; not checked when empty."""

    @model_validator(mode="after")
    def _check_location(self) -> "PictureFile":
        if bool(self.file) == bool(self.package) or bool(self.package) != bool(self.path):
            raise ValueError("give either file, or package and path")
        inside = PurePosixPath(self.file or self.path)
        if inside.is_absolute() or ".." in inside.parts:
            raise ValueError("the path must stay inside its folder")
        if self.package and (self.package, self.path) not in SHA256:
            raise ValueError("only built-in styles name pictures of installed packages: give a file")
        return self


class RefinerStep(_Strict):
    """One refiner that every portrait of a style passes through."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9_]+$", max_length=60)]
    strength: Annotated[float, Field(ge=0, le=1)] = 1.0


class Trait(_Strict):
    """A placeholder of the prompt: its default, and what it may be."""

    default: Annotated[str, Field(max_length=100)] = ""
    choices: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=100)], ...], Field(max_length=50)] = ()
    """Anything is allowed when empty."""


class StyleLora(_Strict):
    """A LoRA that is part of a style."""

    model: Annotated[str, Field(min_length=1, max_length=200)]
    """Its name in the model store."""
    strength: Annotated[float, Field(ge=0, le=2)] = 0.6
    base: str = ""
    """Base model or family that it was trained on; unknown when empty."""
    source: Annotated[str, Field(max_length=500, pattern=r"^((hub:|https?://)[^\s\x00-\x1f]+)?$")] = ""
    """Where it can be fetched from, as `portrait models add` takes it; unknown when empty. Never a file of this machine."""
    blocks: Annotated[tuple[Annotated[float, Field(ge=-2, le=2)], ...], Field(max_length=26)] = ()
    """Weights by block of the U-Net: 17 or 26 for SD 1.5, 12 or 20 for SDXL; 1 for all when empty."""


Share = Annotated[float, Field(ge=0, le=1)]


class StyleImagePrompt(_Strict):
    """The IP-Adapter by which portraits have the look of a style's picture."""

    adapter: Annotated[str, Field(pattern=r"^[a-z0-9._-]+$", max_length=60)] = "ip_adapter"
    """Its name in the model store, without the family for those that ship."""
    scale: Share = 0.5


ControlName = Literal["canny", "pose", "color", "tile"]


_PASSES = Passes()


class PassStrengths(_Strict):
    """Strengths of the passes that draw people into a template: see `portrait.generation.passes.Passes`."""

    face: Share = _PASSES.face
    tone: Share = _PASSES.tone
    fusion: Share = _PASSES.fusion
    ring: Share = _PASSES.ring
    seam: Share = _PASSES.seam
    controls: dict[ControlName, Share] = {}
    needs: tuple[ControlName, ...] = ("canny",)


class StyleFile(_Strict):
    """One style.toml."""

    schema_: Annotated[Literal[1], Field(alias="schema")]
    id: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=60)]
    version: Annotated[int, Field(ge=1)] = 1
    kind: Literal["studio", "template", "text", "idphoto"]
    title: Annotated[str, Field(min_length=1, max_length=80)]
    backdrop: str = ""
    blur: Annotated[float, Field(ge=0, le=1)] = 0.0
    compositions: tuple[Composition, ...] = ()
    preset: Annotated[str, Field(pattern=r"^([a-z0-9]+(-[a-z0-9]+)*)?$", max_length=60)] = ""
    background: Annotated[str, Field(pattern=r"^([a-z]+(-[a-z]+)*|#[0-9a-f]{6})?$", max_length=40)] = ""
    picture: PictureFile | None = None
    faces: Annotated[int, Field(ge=1, le=16)] = 1
    skin: Literal["person", "template"] = "person"
    retouch: Annotated[float, Field(ge=0, le=1)] = 0.4
    refiners: Annotated[tuple[RefinerStep, ...], Field(max_length=8)] = ()
    licence: Annotated[str, Field(min_length=1)]
    credit: str = ""
    tags: tuple[str, ...] = ()
    titles: dict[Language, Annotated[str, Field(min_length=1, max_length=80)]] = {}
    group: Literal["", Group] = ""
    mood: Annotated[str, Field(max_length=60)] = ""
    author: Annotated[str, Field(max_length=120)] = ""
    status: Literal["draft", "published", "retired"] = "published"
    aspects: tuple[Annotated[str, Field(pattern=r"^[1-9]\d?:[1-9]\d?$")], ...] = ()
    engines: tuple[Name, ...] = ()
    bases: tuple[str, ...] = ()
    prompt: Annotated[str, Field(max_length=4000)] = ""
    sentence: Annotated[str, Field(max_length=4000)] = ""
    negative: Annotated[str, Field(max_length=4000)] = ""
    families: tuple[Name, ...] = ()
    strengths: dict[Name, Annotated[float, Field(ge=0, le=2)]] = {}
    start_merge_step: Annotated[float | None, Field(ge=0, le=1)] = None
    loras: Annotated[tuple[StyleLora, ...], Field(max_length=4)] = ()
    look: StyleImagePrompt | None = None
    passes: PassStrengths | None = None
    traits: dict[Name, Trait] = {}
    carried: dict[str, Any] = {}

    @model_validator(mode="after")
    def _check_kind(self) -> "StyleFile":
        if self.kind == "studio" and bool(self.backdrop) == bool(self.picture):
            raise ValueError("a studio style needs either a backdrop or a picture that is its backdrop")
        if self.kind == "template" and (not self.picture or self.backdrop):
            raise ValueError("a template style needs a picture and no backdrop")
        if self.passes is not None and self.kind != "template":
            raise ValueError("only a template style has passes")
        if self.kind == "text" and (not self.prompt or self.backdrop or (self.picture and not self.look)):
            raise ValueError("a text style needs a prompt and no backdrop, and a picture for its look alone")
        return self

    @model_validator(mode="after")
    def _check_image_prompt(self) -> "StyleFile":
        if self.look is not None and (self.kind != "text" or self.picture is None):
            raise ValueError("only a text style has a look, and a picture for it")
        return self

    @model_validator(mode="after")
    def _check_blur(self) -> "StyleFile":
        if self.blur and not (self.kind == "studio" and self.picture):
            raise ValueError("only a picture that is a studio's backdrop is blurred")
        return self

    @model_validator(mode="after")
    def _check_compositions(self) -> "StyleFile":
        if self.compositions and self.kind != "studio":
            raise ValueError("only a studio style has compositions")
        if len(set(self.compositions)) < len(self.compositions):
            raise ValueError("name each composition once")
        return self

    @model_validator(mode="after")
    def _check_id_photo(self) -> "StyleFile":
        others = self.picture or self.backdrop or self.prompt or self.sentence or self.refiners
        if self.kind == "idphoto" and (not self.preset or others):
            raise ValueError("an ID photo needs a preset, and neither picture, backdrop, prompt nor refiners")
        if self.kind != "idphoto" and (self.preset or self.background):
            raise ValueError("only an ID photo has a preset and a background")
        return self


def group_of(style: StyleFile) -> Group:
    """Where a gallery shows a style: as it says itself, else by its kind, for studios by whether the backdrop is a place."""
    if style.group:
        return style.group
    is_place = style.kind == "studio" and (style.picture is not None or style.backdrop in PLACES)
    return "place" if is_place else _GROUPS[style.kind]


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a style.toml, for editors that complete and check it."""
    schema = StyleFile.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "style.toml"}


def parse_style(content: Mapping[str, Any]) -> StyleFile:
    """Validate what an operator wrote as a style; raises `UserError` (`bad_style`) with the faults by field."""
    try:
        text = json.dumps(content, allow_nan=False, ensure_ascii=False)
        if "\\u0000" in text or len(text.encode()) > MAX_BYTES:
            raise UserError("bad_style", "The style is larger than a style can be, or holds what is no text.")
        return StyleFile.model_validate(content)
    except ValidationError as error:
        fields = [
            {"where": ".".join(str(part)[:60] for part in wrong["loc"]), "code": wrong["type"], "message": wrong["msg"]}
            for wrong in error.errors()[:20]
        ]
        lines = "; ".join(f"{each['where']}: {each['message']}" for each in fields)
        raise UserError("bad_style", f"The style does not hold: {lines}.", {"fields": fields}) from error
    except (ValueError, TypeError, RecursionError) as error:
        raise UserError("bad_style", "The style holds what cannot be written into a style.toml.") from error


def parse_stored(content: Mapping[str, Any], id: str) -> StyleFile:
    """Validate the content of a stored style; raises `OperatorError` (`bad_style`) where it does not hold any more.

    An earlier version may have taken what this one refuses: one such style must not keep the others from being listed.
    """
    try:
        return StyleFile.model_validate(content)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(str(part)[:60] for part in each['loc'])}: {each['msg'].removeprefix('Value error, ')}"
            for each in error.errors()[:5]
        )
        sentence = f"The style {id} does not hold any more: {faults}. Write its draft anew, or delete it."
        raise OperatorError("bad_style", sentence) from error


def write_style(style: StyleFile, path: Path) -> None:
    """Write a style.toml; fields at their defaults are left out."""
    content = style.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    path.write_text(tomli_w.dumps({"schema": SCHEMA, **content}), "utf-8")


def read_style(path: Path) -> StyleFile:
    """Read one style.toml; raises `OperatorError` (`bad_style`), whose message names each wrong field."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise OperatorError("bad_style", f"{path} is larger than a style can be.")
        return StyleFile.model_validate(tomllib.loads(path.read_text("utf-8")))
    except ValidationError as error:
        lines = "; ".join(f"{'.'.join(str(part) for part in wrong['loc'])}: {wrong['msg']}" for wrong in error.errors())
        raise OperatorError("bad_style", f"The style {path} does not hold: {lines}.") from error
    except (OSError, ValueError, RecursionError) as error:  # numbers too long, nested too deep
        raise OperatorError("bad_style", f"The style {path} cannot be read: {reading_fault(error)}.") from error


def write_checked(style: StyleFile, path: Path) -> None:
    """Write a style.toml and check that it reads back as the same style; raises `UserError` (`bad_style`)."""
    try:
        write_style(style, path)
        same = read_style(path) == style
    except (ValueError, TypeError, OperatorError) as error:
        raise UserError("bad_style", "The style holds what cannot be written into a style.toml.") from error
    if not same:
        sentence = "The style holds what a style.toml does not give back. Leave out null and the like."
        raise UserError("bad_style", sentence)
