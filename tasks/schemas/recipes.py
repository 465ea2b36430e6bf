"""Schemas of the parameters of a job, of its result, and of the recipe of a portrait.

No field is always there, and earlier versions wrote others: what is not named here is handed on as it was written.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import ConfigDict, GetPydanticSchema, with_config
from typing_extensions import TypedDict

from tasks.schemas.shared import FaceBox

_OPEN = ConfigDict(extra="allow", use_attribute_docstrings=True)
"""Other fields are kept."""


@with_config(_OPEN)
class JobEdit(TypedDict, total=False):
    """An edit that a job makes of a portrait."""

    kind: str
    portrait: str
    """Id of the portrait that is edited."""
    words: str
    strength: float | None
    area: list[Any] | None
    """Outlines of the area, as shares of width and height, or where a painted mask lies."""
    shape: list[float] | None
    """Width and height of the new shape, as `16, 9`."""


@with_config(_OPEN)
class JobParams(TypedDict, total=False):
    """What a job is to do; of words that a person wrote operators get nothing."""

    person: str
    """Id of the person of a training."""
    training_set: str
    base: str
    """The base model that a LoRA is trained on."""
    steps: int | None
    people: Mapping[str, str]
    """Ids of people by number of the face."""
    identities: Mapping[str, str]
    """Ids of the identities that people are drawn from, by number of the face."""
    style: str
    version: int
    """Of the style."""
    template: str
    """Id of the uploaded picture that takes the place of a style."""
    places: Mapping[str, list[float]]
    """Pixels in which faces are that nobody found, by number."""
    count: int
    seed: int
    size: list[int] | None
    """Width and height in pixels."""
    format: str
    skin: str
    technique: Mapping[str, Any] | None
    """Generation options; what the request left out was chosen by the installation."""
    traits: Mapping[str, str]
    idphoto: Mapping[str, Any]
    photo: str
    """Id of the photo that an ID photo is made of."""
    edit: JobEdit
    remake: str
    """Id of the portrait that is drawn again."""
    edition: str
    """Of the draft that a check or a test is about."""


@with_config(_OPEN)
class JobResult(TypedDict, total=False):
    """What came of a job."""

    portraits: list[str]
    """Ids of the portraits, the best first."""
    person: str
    identity: str
    """Id of what the person can be drawn from now."""
    template: str
    faces: int
    """Faces that were found in an uploaded picture."""
    missed: list[FaceBox]
    """Where faces may have been missed."""
    style: str
    samples: int


@with_config(_OPEN)
class RecipeStyle(TypedDict, total=False):
    """The style of a recipe."""

    id: str
    version: int
    kind: str


@with_config(_OPEN)
class RecipeStep(TypedDict, total=False):
    """A refining of a recipe."""

    name: str
    strength: float


@with_config(_OPEN)
class Recipe(TypedDict, total=False):
    """What draws a portrait again: the request, and which of its candidates the portrait is."""

    schema: int
    style: RecipeStyle
    people: Mapping[str, str]
    """Ids of what people were drawn from, by number of the face."""
    seed: int
    count: int
    size: list[int] | None
    candidate: int
    """Number of the drawing, from 0, before the best were chosen."""
    variation: Mapping[str, Any]
    refiners: list[RecipeStep]
    refining: int
    skin: Literal["person", "template"]
    places: Mapping[str, list[float]]
    technique: Mapping[str, Any]
    method: int
    edit: Mapping[str, Any]
    idphoto: Mapping[str, Any]
    photos: Mapping[str, str]
    """Ids of the photos that were drawn from, by number of the face; in no file."""
    drawn: Mapping[str, Any]
    """Facts of the drawing, such as the base, the passes, where eyes are, the rules of an ID photo."""


Params: TypeAlias = Annotated[
    Mapping[str, Any], GetPydanticSchema(lambda _, handler: handler.generate_schema(JobParams))
]
"""`JobParams` where they are checked and described; for Python any mapping, since no field is always there."""
Result: TypeAlias = Annotated[
    Mapping[str, Any], GetPydanticSchema(lambda _, handler: handler.generate_schema(JobResult))
]
"""`JobResult` in the same way."""
RecipeFields: TypeAlias = Annotated[
    Mapping[str, Any], GetPydanticSchema(lambda _, handler: handler.generate_schema(Recipe))
]
"""`Recipe` in the same way."""
