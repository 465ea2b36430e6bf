"""Schemas of ID photos: what one shall be, the rules it was measured by, and the presets that there are."""

from datetime import date
from typing import Annotated, Literal

from pydantic import Field

from tasks.schemas.shared import Id, RequestBody, ResponseBody


class IdPhotoSize(RequestBody):
    """Width and height of an ID photo."""

    width: float = Field(gt=0, le=4000)
    height: float = Field(gt=0, le=4000)
    unit: Literal["mm", "px"] = "mm"


class IdPhotoOptions(RequestBody):
    """What an ID photo shall be, where the rule of its style does not decide."""

    preset: str = Field(
        "",
        max_length=60,
        pattern=r"^[a-z0-9-]*$",
        description="The rule by its name (`GET /v1/idphotos/presets` lists them); the style's when empty.",
    )
    size: IdPhotoSize | None = Field(None, description="null for the rule's; else head and eyes keep their shares.")
    dpi: int | None = Field(None, ge=72, le=1200, description="Pixels an inch in print; null for the rule's.")
    kilobytes: Annotated[list[Annotated[int, Field(ge=0, le=100_000)]], Field(min_length=2, max_length=2)] | None = (
        Field(None, description="Least and most thousands of bytes; null for the rule's.", examples=[[20, 50]])
    )
    background: str = Field(
        "",
        max_length=30,
        pattern=r"^([a-z-]*|#[0-9A-Fa-f]{6})$",
        description="A colour's name (`GET /v1/idphotos/presets` lists them), #rrggbb, or `kept` for the photo's own; "
        "the style's when empty.",
    )
    photo: Id | None = Field(
        None, description="The person's photo that it is made of; null for the one that meets the most rules."
    )


class IdPhotoRule(ResponseBody):
    """One rule of an ID photo, with what was measured."""

    rule: str = Field(description="docs/idphotos.md says what each measures.")
    measured: float | None
    allowed: list[float | None] = Field(description="Least and most; null leaves an end open.")
    unit: str
    ok: bool
    tip: str = Field("", description="What to do about it, where it does not hold.")


class IdPhotoPreset(ResponseBody):
    """A rule that ID photos can be made by."""

    id: str
    title: str
    source: str
    checked: date | None = Field(description="When it was compared with its source; null where it was not.")
    millimetres: list[float] = Field(description="Width and height in print.")
    pixels: list[int] = Field(description="Width and height of the picture.")
    dpi: int
    kilobytes: list[float] | None
    backgrounds: list[str] = Field(description="Those that the authority takes, the usual one first.")
    unaltered: bool = Field(description="Whether the authority asks for photos that no software has changed.")
    notes: str


class IdPhotoPresets(ResponseBody):
    """What ID photos can be made by."""

    presets: list[IdPhotoPreset]
    backgrounds: dict[str, str] = Field(description="#rrggbb by name.")
    papers: dict[str, list[float]] = Field(description="Width and height in mm, by name.")
