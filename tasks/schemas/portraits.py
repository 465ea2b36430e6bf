"""Schemas of portraits, styles and templates."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field, computed_field

from tasks.schemas.idphotos import IdPhotoRule
from tasks.schemas.shared import Id, RequestBody, ResponseBody, Timestamp


class FaceLikeness(ResponseBody):
    """Distance of the drawn face to the person, in an embedding space."""

    space: str
    distance: float


class Portrait(ResponseBody):
    """A delivered portrait."""

    id: str
    job: str
    number: int = Field(description="1 is the best of its job.")
    style: str
    style_version: int
    format: str
    bytes: int
    width: int
    height: int
    likeness: Mapping[str, FaceLikeness] = Field(description="By number of the face.")
    scores: Mapping[str, float]
    recipe: Mapping[str, Any]
    favourite: bool
    created: Timestamp
    erased_on: Timestamp | None = Field(
        None, description="When it is erased unless it, or a person on it, is used before; null where it is not asked."
    )
    erased_soon: bool = Field(False, description="Whether that is near: looking at it, or marking it, is a use.")

    @computed_field(description="Of an ID photo: every rule with what was measured; empty for other portraits.")  # type: ignore[prop-decorator]
    @property
    def rules(self) -> list[IdPhotoRule]:
        """The rules of an ID photo, from its recipe."""
        drawn = self.recipe.get("drawn", {})
        return [IdPhotoRule.model_validate(each) for each in drawn.get("rules", ())]

    @property
    def file_name(self) -> str:
        """The name of the file when it is downloaded."""
        return f"{self.style}-{self.id.removeprefix('portrait_')[-6:]}-{self.number}.{self.format}"


class PortraitUpdate(RequestBody):
    """A change of whether a portrait is a favourite."""

    favourite: bool


class StatementRequest(RequestBody):
    """A statement about the people on an uploaded picture."""

    text_version: Id = Field(description="Version of the text whose statement `pictures` you make.")


class Style(ResponseBody):
    """A style that portraits can be made in."""

    id: str
    version: int
    kind: str
    title: str
    titles: Mapping[str, str] = Field({}, description="In other languages, by their code.")
    tags: list[str]
    faces: int
    families: list[str] = Field(
        [], description="Families of bases that it may be drawn on: see `family` of an ability; any when empty."
    )
    licence: str
    credit: str
    ready: bool = Field(description="Whether a live worker can draw it.")
    missing: list[str] = Field(description="What is missing to draw it, one sentence each.")


class Trait(ResponseBody):
    """A trait: a placeholder of a style's prompt that a generation may fill."""

    name: str = Field(description="Key of `traits` in a generation.")
    default: str = Field(description="What is drawn where nobody says otherwise; empty for what the photos show.")
    choices: list[str] = Field(description="What it may be; anything short when empty.")


class FaceBox(ResponseBody):
    """A box as shares of a picture's width and height, 0..1."""

    left: float
    top: float
    right: float
    bottom: float


class Template(ResponseBody):
    """An uploaded picture that people can be put into."""

    id: str
    name: str
    width: int
    height: int
    format: str
    created: Timestamp
    job: str = Field(description="The job that detects its faces.")
    faces: list[FaceBox] | None = Field(description="From left to right; null until they were detected.")
    statement: str = Field("", description="Version of the text whose statement about the people on it was made.")
    erased_on: Timestamp | None = Field(None, description="When it is erased, unless it is used before.")
    erased_soon: bool = Field(False, description="Whether that is near.")
    missed: list[FaceBox] = Field([], description="Where somebody may have been missed: see `places` of a generation.")
