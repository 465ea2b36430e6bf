"""ID-photo presets: what authorities ask for, backgrounds and papers, read from `idphotos.toml`."""

import datetime
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from portrait.arrays import Size
from portrait.errors import UserError
from portrait.idphoto_spec import IdPhotoSpec
from portrait.idphotos import Crown, FramingRules, Range

PRESETS = Path(__file__).with_name("idphotos.toml")
DPI = 300
"""Of pictures whose preset does not say otherwise: what print shops and most authorities ask for."""
MIN_SIDE, MAX_SIDE = 64, 4000
"""Pixels that a side of an ID photo may have."""
UNCHECKED = "not compared with its source"
"""What is said of a preset of which nobody has read the source."""

_Range = tuple[float, float]


class Preset(BaseModel):
    """One authority's rule, as `idphotos.toml` has it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
    title: str
    source: Annotated[str, Field(min_length=10)]
    checked: datetime.date | None = None
    unit: Literal["mm", "px", "percent"]
    size: _Range
    print_size: _Range | None = None
    resolution: Annotated[int, Field(ge=72, le=1200)] | None = None
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
    def dpi(self) -> int:
        """Pixels an inch in print: of pictures in pixels, those that give the document's millimetres."""
        if self.resolution is None and self.unit != "mm" and self.print_size is not None:
            (width, height), (wide, tall) = self.size, self.print_size
            return round((width / wide + height / tall) / 2 * 25.4)
        return self.resolution or DPI

    @property
    def pixels(self) -> Size:
        """Size of the picture."""
        width, height = self.size
        if self.unit != "mm":
            return Size(round(width), round(height))
        return Size(to_pixels(width, self.dpi), to_pixels(height, self.dpi))

    @property
    def millimetres(self) -> _Range:
        """Size in print."""
        if self.unit == "mm":
            return self.size
        return self.print_size or (self.size[0] / self.dpi * 25.4, self.size[1] / self.dpi * 25.4)

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


def apply_spec(preset: Preset, spec: IdPhotoSpec) -> Preset:
    """Return the preset with an own size, resolution and file size; raises `UserError` (`bad_size`, `bad_file_size`).

    In another size, head and eyes keep their shares of the picture's height.
    """
    changes: dict[str, Any] = {}
    if spec.kilobytes is not None:
        low, high = spec.kilobytes
        if not 0 <= low < high:
            raise UserError("bad_file_size", "The file's size is a range in thousands of bytes, such as 20-50.")
        changes["kilobytes"] = spec.kilobytes
    if spec.dpi is not None:
        changes |= {"resolution": spec.dpi} if preset.unit == "mm" else {"resolution": spec.dpi, "print_size": None}
    if spec.size is not None:
        changes |= _own_size(preset, spec.size, spec.unit, spec.dpi or DPI)
    adapted = preset.model_copy(update=changes)
    if not all(MIN_SIDE <= side <= MAX_SIDE for side in (adapted.pixels.width, adapted.pixels.height)):
        raise UserError("bad_size", f"The sides of an ID photo are {MIN_SIDE} to {MAX_SIDE} pixels.")
    return adapted


def _own_size(preset: Preset, size: _Range, unit: Literal["mm", "px"], dpi: int) -> dict[str, Any]:
    """Return what an own size changes: the rules become shares of the height."""
    wide, tall = size
    pixels = size if unit == "px" else (float(to_pixels(wide, dpi)), float(to_pixels(tall, dpi)))
    spans = ("head", "eyes", "top", "below", "breadth")
    given = {each: getattr(preset, each) for each in spans}
    shares = {
        each: None if span is None else tuple(round(100 * end / preset.scale_height, 3) for end in span)
        for each, span in given.items()
    }
    return {
        **shares,
        "id": f"{preset.id}-{wide:g}x{tall:g}{unit}",
        "title": f"{wide:g}×{tall:g} {unit}",
        "source": f"own size; the head as in {preset.id}",
        "checked": None,
        "unit": "percent",
        "size": pixels,
        "resolution": dpi,
        "print_size": size if unit == "mm" else None,
        "notes": "",
    }


def parse_size(text: str) -> tuple[tuple[float, float], Literal["mm", "px"]]:
    """Return width and height and their unit from `35x45mm` or `413x531px`; raises `UserError` (`bad_size`)."""
    found = re.fullmatch(r"([0-9.]{1,9}) *[x×*] *([0-9.]{1,9}) *(mm|px)", text.strip().lower())
    try:
        if found:
            return (float(found[1]), float(found[2])), "mm" if found[3] == "mm" else "px"
    except ValueError:
        pass
    raise UserError("bad_size", f"{text!r} is no size of an ID photo. Write it as 35x45mm or 413x531px.")


def parse_kilobytes(text: str) -> _Range:
    """Return the ends of a range such as `20-50`, or of `50` (at most); raises `UserError` (`bad_file_size`)."""
    found = re.fullmatch(r"(?:(\d{1,9}) *[-–])? *(\d{1,9})(?: *kb)?", text.strip().lower())
    if not found:
        raise UserError("bad_file_size", f"{text!r} is no size of a file. Write a range in thousands of bytes: 20-50.")
    return float(found[1] or 0), float(found[2])


def parse_gap(text: str) -> float:
    """Return millimetres from `2mm` or `2`; raises `UserError` (`bad_size`)."""
    found = re.fullmatch(r"(\d{1,9}(?:\.\d+)?) *(?:mm)?", text.strip().lower())
    if not found or float(found[1]) > 50:
        raise UserError("bad_size", f"{text!r} is no gap between pictures. Write millimetres up to 50: 2mm.")
    return float(found[1])


def to_pixels(millimetres: float, dpi: int = DPI) -> int:
    """Return a length in pixels of `dpi`."""
    return round(millimetres / 25.4 * dpi)
