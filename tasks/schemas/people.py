"""People with their consents and photos."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from tasks.schemas.shared import Asked, Detail, Line, Said, Wish


class ConsentGiven(Asked):
    """Somebody agreed: to which text, and who."""

    agreed: Literal[True] = Field(description="The person agreed, or who acts for them did.")
    text_version: Annotated[Line, StringConstraints(max_length=40)] = Field(examples=["2026-11"])
    given_by: Line = Field(description="Who agreed.", examples=["Ann"])


class Consent(Said):
    """A record of consent."""

    text_version: str
    given_by: str
    given: datetime
    withdrawn: datetime | None


class PersonOrder(Asked):
    """Somebody to draw; there is no person without consent."""

    name: Line = Field(examples=["Ann"])
    consent: ConsentGiven


class PersonChange(Asked):
    """Another name."""

    name: Line


class Person(Said):
    """Somebody whose photos are kept."""

    id: str
    name: str
    created: datetime
    used: datetime
    erased_after: datetime = Field(description="When everything of the person is erased, unless they are used before.")
    photos: int
    consent: bool = Field(description="Whether consent holds.")
    identity: str | None = Field(description="What portraits are drawn from; null until a training has succeeded.")
    learned: list[str] = Field([], description="Base models that the person was learned on, the newest first.")


class Identity(Said):
    """A person who can be drawn, from one training."""

    id: str
    person: str
    created: datetime
    base: str = Field("", description="The base model of its LoRA; empty where photos were judged alone.")


class Reason(Said):
    """Why a photo was judged so."""

    code: str
    tip: str


class Selfie(Said):
    """One photo with what was judged of it."""

    id: str
    person: str
    name: str
    bytes: int
    width: int
    height: int
    format: str
    created: datetime
    wish: Wish
    verdict: Literal["", "use", "spare", "refuse"] = Field(description="Empty until a training has judged it.")
    reasons: list[Reason]
    quality: Mapping[str, Any] = Field(description="Each part 0..1, and `likeness`.")


class SelfieChange(Asked):
    """Overrule the judge."""

    wish: Wish


class SelfiesAdded(Said):
    """What became of an upload, photo by photo."""

    added: list[Selfie]
    refused: list[Detail]
