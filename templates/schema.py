"""What a style.toml may say.

schema = 1
id = "studio-grey"
version = 1
kind = "studio"              # or "template"
title = "Grey paper"
backdrop = "studio-grey"     # studio: which backdrop is painted
picture = { file = "a.jpg" } # template: a file beside style.toml, or { package = "skimage", path = "data/astronaut.png" }
faces = 1                    # how many people it shows
retouch = 0.4                # 0..1
refiners = [{ name = "skin", strength = 0.5 }]   # after drawing, in this order; see docs/refining.md
licence = "CC0-1.0"          # of the picture, or of the style where it has none
credit = "NASA"
tags = ["business"]
"""

import tomllib
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from portrait.errors import OperatorError

SCHEMA = 1
LARGEST = 100_000
"""Bytes of a style.toml at most; they are a few hundred."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PictureFile(_Strict):
    """Where a template's picture lies: beside the style, or in an installed package."""

    file: str = ""
    package: str = ""
    path: str = ""

    @model_validator(mode="after")
    def _one_place(self) -> "PictureFile":
        if bool(self.file) == bool(self.package) or bool(self.package) != bool(self.path):
            raise ValueError("give either file, or package and path")
        inside = PurePosixPath(self.file or self.path)
        if inside.is_absolute() or ".." in inside.parts:
            raise ValueError("the path must stay inside its folder")
        return self


class RefinerStep(_Strict):
    """One step that is done to every portrait of a style."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9_]+$", max_length=60)]
    strength: Annotated[float, Field(ge=0, le=1)] = 1.0


class StyleFile(_Strict):
    """One style.toml."""

    schema_: Annotated[Literal[1], Field(alias="schema")]
    id: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=60)]
    version: Annotated[int, Field(ge=1)] = 1
    kind: Literal["studio", "template"]
    title: Annotated[str, Field(min_length=1, max_length=80)]
    backdrop: str = ""
    picture: PictureFile | None = None
    faces: Annotated[int, Field(ge=1, le=16)] = 1
    retouch: Annotated[float, Field(ge=0, le=1)] = 0.4
    refiners: Annotated[tuple[RefinerStep, ...], Field(max_length=8)] = ()
    licence: Annotated[str, Field(min_length=1)]
    credit: str = ""
    tags: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _has_what_its_kind_needs(self) -> "StyleFile":
        if self.kind == "studio" and (not self.backdrop or self.picture):
            raise ValueError("a studio style needs a backdrop and no picture")
        if self.kind == "template" and (not self.picture or self.backdrop):
            raise ValueError("a template style needs a picture and no backdrop")
        return self


def read(path: Path) -> StyleFile:
    """Read one style.toml; raises `OperatorError` (`bad_style`) that names each wrong line."""
    try:
        if path.stat().st_size > LARGEST:
            raise OperatorError("bad_style", f"{path} is larger than a style can be.")
        return StyleFile.model_validate(tomllib.loads(path.read_text("utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise OperatorError("bad_style", f"The style {path} cannot be read: {error}.") from error
    except ValidationError as error:
        lines = "; ".join(f"{'.'.join(str(part) for part in wrong['loc'])}: {wrong['msg']}" for wrong in error.errors())
        raise OperatorError("bad_style", f"The style {path} does not hold: {lines}.") from error
