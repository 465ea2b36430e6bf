"""What an ID photo shall be: its preset, and where that does not decide size, resolution, size of the file, background."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class IdPhotoSpec:
    """What an ID photo shall be, where its style does not decide."""

    size: tuple[float, float] | None = None
    """Width and height in `unit`; the preset's when None, whose shares of the height its rules keep."""
    unit: Literal["mm", "px"] = "mm"
    dpi: int | None = None
    """Pixels an inch in print; the preset's when None."""
    kilobytes: tuple[float, float] | None = None
    """Thousands of bytes that the file may have; the preset's when None."""
    background: str = ""
    """A colour's name, #rrggbb, or `kept` for the photo's own; the style's when empty."""
    preset: str = ""
    """The rule by its name; the style's when empty."""


def spec_to_dict(spec: IdPhotoSpec) -> dict[str, object]:
    """What was asked of an ID photo, as jobs and recipes hold it; empty where the preset decides everything."""
    given: dict[str, object] = {
        name: list(value) if isinstance(value, tuple) else value for name, value in asdict(spec).items() if value
    }
    return given if spec.size else {name: value for name, value in given.items() if name != "unit"}


def spec_from_dict(recorded: Mapping[str, Any] | None) -> IdPhotoSpec:
    """What `spec_to_dict` has written."""
    given = dict(recorded or {})
    spans: dict[str, Any] = {name: tuple(given[name]) for name in ("size", "kilobytes") if given.get(name)}
    return IdPhotoSpec(**{**given, **spans})
