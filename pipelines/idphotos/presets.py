"""ID-photo presets: what authorities ask for, backgrounds and papers, read from `idphotos.toml`."""

import re
import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from portrait.arrays import Size
from portrait.errors import UserError
from portrait.idphotos import Crown, FramingRules, Range

PRESETS = Path(__file__).with_name("idphotos.toml")
DPI = 300
"""Of every picture and print sheet: what print shops and most authorities ask for."""

_Range = tuple[float, float]


class Preset(BaseModel):
    """One authority's rule, as `idphotos.toml` has it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
    title: str
    source: Annotated[str, Field(min_length=10)]
    unit: Literal["mm", "px", "percent"]
    size: _Range
    crown: Crown
    head: _Range
    eyes: _Range | None = None
    top: _Range | None = None
    below: _Range | None = None
    breadth: _Range | None = None
    kilobytes: _Range | None = None
    backgrounds: Annotated[tuple[str, ...], Field(min_length=1)]
    unaltered: bool = False
    notes: str = ""

    @property
    def pixels(self) -> Size:
        """Size of the picture."""
        width, height = self.size
        return Size(to_pixels(width), to_pixels(height)) if self.unit == "mm" else Size(round(width), round(height))

    @property
    def millimetres(self) -> _Range:
        """Size in print."""
        return self.size if self.unit == "mm" else (self.size[0] / DPI * 25.4, self.size[1] / DPI * 25.4)

    @property
    def scale_height(self) -> float:
        """The picture's height in the unit of the rules."""
        return 100.0 if self.unit == "percent" else self.size[1]

    @property
    def composition(self) -> FramingRules:
        """The rules, as shares of the picture's height."""
        return FramingRules(
            self._span(self.head),
            self.crown,
            self._span(self.eyes),
            self._span(self.top),
            self._span(self.below),
            self._span(self.breadth),
        )

    @property
    def file_size(self) -> Range:
        """Thousands of bytes that the file may have."""
        return Range() if self.kilobytes is None else Range(*self.kilobytes)

    def _span(self, given: _Range | None) -> Range:
        return Range() if given is None else Range(given[0] / self.scale_height, given[1] / self.scale_height)


class Presets(BaseModel):
    """The content of `idphotos.toml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    colours: dict[str, Annotated[str, Field(pattern=r"^#[0-9a-f]{6}$")]]
    papers: dict[str, _Range]
    preset: tuple[Preset, ...]

    @model_validator(mode="after")
    def _check_colors(self) -> "Presets":
        unknown = {name for each in self.preset for name in each.backgrounds} - set(self.colours)
        if unknown:
            raise ValueError(f"no such colours: {', '.join(sorted(unknown))}")
        return self

    def find(self, name: str) -> Preset:
        """Return one preset; raises `UserError` (`unknown_preset`) that lists those that exist."""
        for each in self.preset:
            if each.id == name:
                return each
        known = ", ".join(each.id for each in self.preset)
        raise UserError("unknown_preset", f"There is no preset {name!r} for ID photos. Presets: {known}.")

    def paper(self, name: str) -> _Range:
        """Return width and height of a paper in mm; raises `UserError` (`unknown_paper`)."""
        if name not in self.papers:
            raise UserError("unknown_paper", f"There is no paper {name!r}. Papers: {', '.join(self.papers)}.")
        return self.papers[name]

    def background_color(self, preset: Preset, name: str | None) -> tuple[str, tuple[int, int, int]]:
        """Return a background's name and RGB colour: `name`, or the preset's own; raises `UserError` (`bad_background`)."""
        chosen = name or preset.backgrounds[0]
        hex_color = self.colours.get(chosen, chosen).lower()
        if not re.fullmatch(r"#[0-9a-f]{6}", hex_color):
            known = ", ".join(self.colours)
            raise UserError("bad_background", f"{chosen!r} is no background. Choose one of {known}, or #rrggbb.")
        return chosen, (int(hex_color[1:3], 16), int(hex_color[3:5], 16), int(hex_color[5:7], 16))


def load_presets() -> Presets:
    """Read the presets that come with the project."""
    return Presets.model_validate(tomllib.loads(PRESETS.read_text("utf-8")))


def to_pixels(millimetres: float) -> int:
    """Return a length in pixels of `DPI`."""
    return round(millimetres / 25.4 * DPI)
