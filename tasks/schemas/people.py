"""Schemas of people: consents, identities and photos."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from tasks.schemas.shared import ErrorDetail, Id, Line, PhotoOverride, RequestBody, ResponseBody, Timestamp


class ConsentRequest(RequestBody):
    """A consent: to which text, and by whom."""

    agreed: Literal[True] = Field(description="The person agreed, or who acts for them did.")
    text_version: Annotated[Line, StringConstraints(max_length=40)] = Field(examples=["2026-11"])
    given_by: Line = Field(description="Who agreed.", examples=["Ann"])


class Consent(ResponseBody):
    """A record of consent."""

    text_version: str
    given_by: str
    given: Timestamp
    withdrawn: Timestamp | None


class PersonRequest(RequestBody):
    """A new person, with their consent; there is no person without."""

    name: Line = Field(examples=["Ann"])
    consent: ConsentRequest


class PersonUpdate(RequestBody):
    """A change of name."""

    name: Line


Composition = Literal["half_figure", "head_and_shoulders", "close", "very_close"]
"""How much of a person a studio portrait shows."""
Turn = Literal["left", "front", "right"]
"""Side of the picture to which a head is turned."""


class Reason(ResponseBody):
    """A reason for the verdict on a photo, or what more photos would open."""

    code: str
    tip: str


class PhotoServes(ResponseBody):
    """What can be made from a photo; borderline cases may still be refused when they are drawn."""

    studio: list[Composition] = Field(description="Compositions of studio portraits, the widest first.")
    idphoto: bool
    template: Literal["", Turn] = Field(description="Templates that it suits best, by the turn of the head.")


class Serves(ResponseBody):
    """What can be made from the photos of a person."""

    studio: list[Composition]
    idphoto: bool
    template: list[Turn]
    training: bool = Field(description="Whether there are enough photos to train a LoRA.")


class PersonQuestion(ResponseBody):
    """A question: do these photos show one person? Include or exclude the unsure ones to answer it."""

    number: int = Field(description="As `doubt` of the photos.")
    person: list[Id] = Field(description="Photos that are taken for the person's.")
    unsure: list[Id]


class Person(ResponseBody):
    """A person whose photos are stored."""

    id: str
    name: str
    created: Timestamp
    used: Timestamp
    erased_after: Timestamp = Field(description="When everything of the person is erased, unless they are used before.")
    photos: int
    consent: bool = Field(description="Whether consent holds.")
    identity: str | None = Field(description="What portraits are drawn from; null until a training has succeeded.")
    learned: list[str] = Field(
        [], description="Base models that a LoRA of the person was trained on, the newest first."
    )
    serves: Serves | None = Field(None, description="What the photos serve; null until a training has judged them.")
    opens: list[Reason] = Field([], description="What more photos would open: the kind as code, with a tip.")
    questions: list[PersonQuestion] = Field([], description="What was not sure when the photos were judged.")


class Identity(ResponseBody):
    """A person who can be drawn, from one training."""

    id: str
    person: str
    created: Timestamp
    base: str = Field("", description="The base model of its LoRA; empty where photos were judged alone.")


class Selfie(ResponseBody):
    """A photo with its verdict and quality."""

    id: str
    person: str
    name: str
    bytes: int
    width: int
    height: int
    format: str
    created: Timestamp
    wish: PhotoOverride
    verdict: Literal["", "use", "spare", "refuse"] = Field(description="Empty until a training has judged it.")
    reasons: list[Reason]
    quality: Mapping[str, Any] = Field(description="Each part 0..1, and `likeness`.")
    serves: PhotoServes | None = Field(None, description="What can be made from it; null for refused photos.")
    doubt: int = Field(0, description="Number of the question about it (`questions` of the person); 0 without one.")


class SelfieUpdate(RequestBody):
    """A choice that overrules the verdict: include, exclude, or (empty) neither."""

    wish: PhotoOverride


class SelfieUploadResult(ResponseBody):
    """The result of an upload: the photos that were added, and the errors of others."""

    added: list[Selfie]
    refused: list[ErrorDetail]
