"""Schemas of portraits, styles and templates."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import AliasChoices, Field, StringConstraints, model_validator

from tasks.schemas.idphotos import IdPhotoRule
from tasks.schemas.people import Composition
from tasks.schemas.recipes import RecipeFields
from tasks.schemas.shared import FaceBox, Id, Page, RequestBody, ResponseBody, Timestamp


class FaceLikeness(ResponseBody):
    """Distance of the drawn face to the person, in an embedding space."""

    space: str
    distance: float
    step: int = Field(
        ge=0, le=3, description="The distance in words: 0 very alike, 1 alike, 2 somewhat alike, 3 not alike."
    )


class PictureTerms(ResponseBody):
    """What the licence of a model that drew a portrait asks to be handed on with the picture."""

    licence: str = Field(examples=["CreativeML-OpenRAIL++-M"])
    models: list[str] = Field(description="The models that drew it and are under that licence.")
    sentence: str = Field(description="What is to be handed on.")
    page: str = Field(description="Where the licence stands.")


class Portrait(ResponseBody):
    """A delivered portrait."""

    id: str
    job: str
    order: str = Field("", description="The order that its job was placed with; empty for a job of its own.")
    number: int = Field(description="1 is the best of its job.")
    name: str = Field("", validation_alias=AliasChoices("name", "title"), description="The name that you gave it.")
    people: Mapping[str, str] = Field({}, description="Who is on it, by number of the face.")
    style: str
    style_version: int
    format: str
    bytes: int
    width: int
    height: int
    likeness: Mapping[str, FaceLikeness] = Field(description="By number of the face.")
    scores: Mapping[str, float]
    recipe: RecipeFields = Field(description="What it takes to draw it again; empty where it was not asked for.")
    favourite: bool
    created: Timestamp
    rules: list[IdPhotoRule] = Field(
        [], description="Of an ID photo: every rule with what was measured; empty for other portraits."
    )
    erased_on: Timestamp | None = Field(
        None, description="When it is erased unless it, or a person on it, is used before; null where it is not asked."
    )
    erased_soon: bool = Field(False, description="Whether that is near: looking at it, or marking it, is a use.")
    terms: list[PictureTerms] = Field(
        [], description="What is to be handed on with the picture; empty where nothing of what drew it asks for that."
    )


class PortraitPage(Page[Portrait]):
    """One page of portraits."""

    total: int = Field(description="Portraits of all pages.")


class Neighbours(ResponseBody):
    """Where a portrait stands in a list."""

    previous: str = Field(description="Id of the portrait before it; empty for the first.")
    next: str = Field(description="Id of the portrait after it; empty for the last.")
    place: int = Field(description="1 is the first.")
    total: int = Field(description="Portraits of the list.")


class PortraitUpdate(RequestBody):
    """A change of a portrait; at least one of the two."""

    favourite: bool | None = Field(None, description="Whether it is a favourite; null changes nothing.")
    name: (
        Annotated[str, StringConstraints(strip_whitespace=True, max_length=80, pattern=r"^[^\x00-\x1f\x7f]*$")] | None
    ) = Field(None, description="Its name, one line; empty for none, null changes nothing.")

    @model_validator(mode="after")
    def _check_change(self) -> "PortraitUpdate":
        if self.favourite is None and self.name is None:
            raise ValueError("say what to change: `favourite`, `name`")
        return self


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
    group: str = Field(
        "", description="Where a gallery shows it: `backdrop`, `place`, `picture`, `idphoto` or `words`."
    )
    tags: list[str]
    compositions: list[Composition] = Field(
        [], description="Of a studio style: what it suits, the preferred one first; the usual ones when empty."
    )
    faces: int
    families: list[str] = Field(
        [], description="Families of bases that it may be drawn on: see `family` of an ability; any when empty."
    )
    licence: str
    credit: str
    samples: int = Field(
        0, description="Sample looks of several people: numbers 1 to this of `/styles/{id}/samples/{n}`."
    )
    ready: bool = Field(description="Whether a live worker can draw it.")
    missing: list[str] = Field(description="What is missing to draw it, one sentence each.")


class Trait(ResponseBody):
    """A trait: a placeholder of a style's prompt that a generation may fill."""

    name: str = Field(description="Key of `traits` in a generation.")
    default: str = Field(description="What is drawn where nobody says otherwise; empty for what the photos show.")
    choices: list[str] = Field(description="What it may be; anything short when empty.")


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
