"""Schemas of people: consents, identities and photos."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from tasks.schemas.shared import (
    ErrorDetail,
    FaceBox,
    Id,
    Line,
    PhotoOverride,
    Point,
    RequestBody,
    ResponseBody,
    Timestamp,
)

GivenFor: TypeAlias = Literal["self", "proxy", "guardian"]
"""Whom somebody agrees for: for themselves, for somebody who gave them permission, or as a legal guardian."""
Language: TypeAlias = Annotated[str, StringConstraints(pattern=r"^([a-z]{2,3}(-[A-Za-z0-9]{2,8})?)?$")]
"""Code of a language, as `en` or `zh`."""


def _or_none_of_them(value: object) -> object:
    """What the ledger holds of faces, which is nothing for most photos, as a list."""
    return [] if value is None else value


class ConsentRequest(RequestBody):
    """A consent: to which text, by whom and for whom."""

    agreed: Literal[True] = Field(description="The person agreed, or who acts for them did.")
    text_version: Annotated[Line, StringConstraints(max_length=40)] = Field(
        description="A version that `/v1/consent-text` gives.", examples=["2026-12"]
    )
    given_by: Line = Field(description="Who agreed.", examples=["Ann"])
    language: Language = Field("", description="In which the text was read; without it, its hash is not recorded.")
    given_for: GivenFor | None = Field(None, description="Whom the photos show: who agrees, or somebody else.")
    adult: Literal[True] | None = Field(None, description="Who agrees stated to be 18 or older.")


class Consent(ResponseBody):
    """A record of consent."""

    id: str
    person: str
    text_version: str
    given_by: str
    given: Timestamp
    withdrawn: Timestamp | None
    language: str = ""
    text_hash: str = Field("", description="Of the text in that language; empty where it is not known.")
    given_for: GivenFor | Literal[""] = Field("", description="Empty where it was not said.")
    adult: bool = Field(False, description="Whether who agrees stated to be 18 or older.")


class ConsentText(ResponseBody):
    """A text of consent in one language, with the statements that are made with it."""

    version: str
    language: str
    sha256: str = Field(description="With which consents to this text are recorded.")
    days: float = Field(description="The days after the last use that the text names.")
    paragraphs: list[str]
    agree: str
    adult: str
    given_for: Mapping[GivenFor, str] = Field(description="Empty for a text from before it was asked.")
    pictures: str = Field(description="What is stated of the people on an uploaded picture; may be empty.")


class ConsentProof(ResponseBody):
    """What is known of a consent without a name, also after its person was erased."""

    id: str
    owner: str = Field(description="`removed` for an owner who was removed.")
    person: str
    text_version: str
    language: str
    text_hash: str
    days: float | None
    given_for: str
    adult: bool
    key: str = Field(description="Id of the key or session that it was given with.")
    given: Timestamp
    withdrawn: Timestamp | None
    erased: Timestamp | None = Field(description="When the person was erased; null while they are there.")


class PersonRequest(RequestBody):
    """A new person, with their consent; there is no person without."""

    name: Line = Field(examples=["Ann"])
    consent: ConsentRequest


class Traits(RequestBody):
    """What may be said of a person in the captions of their photos and in prompts; empty where nothing is to be said."""

    age: Literal["", "young", "middle-aged", "elderly"] = ""
    glasses: Literal["", "with glasses", "without glasses"] = ""
    beard: Literal["", "with a beard", "without a beard"] = ""
    expression: Literal["", "smiling", "serious"] = ""


class PersonUpdate(RequestBody):
    """A change of name, or of what is to be said of the person; at least one of the two."""

    name: Line | None = Field(None, description="Null changes nothing.")
    traits: Traits | None = Field(
        None, description="What is said in captions, from the next training on, and in prompts; null changes nothing."
    )

    @model_validator(mode="after")
    def _check_change(self) -> "PersonUpdate":
        if self.name is None and self.traits is None:
            raise ValueError("say what to change: `name`, `traits`")
        return self


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
    portraits: int = Field(0, description="Portraits that they are on and that were not deleted.")
    face: str = Field("", description="The photo whose crop shows the face best; empty without one that is used.")
    erased_on: Timestamp | None = Field(
        None, description="The same; where there are favourites, not before you were told for some days."
    )
    erased_soon: bool = Field(False, description="Whether that is near.")
    consent: bool = Field(description="Whether consent holds.")
    consent_state: Literal["given", "outdated", "withdrawn"] = Field(
        "given", description="`outdated`: given to a text that a newer one has ended; agree again."
    )
    guardian_needed: bool = Field(
        False, description="Whether a parent or guardian must agree (`given_for`) before portraits are made."
    )
    latest_consent: Consent | None = Field(
        None, description="The newest record of consent, also one that was withdrawn."
    )
    identity: str | None = Field(description="What portraits are drawn from; null until a training has succeeded.")
    learned: list[str] = Field(
        [], description="Base models that a LoRA of the person was trained on, the newest first."
    )
    serves: Serves | None = Field(None, description="What the photos serve; null until a training has judged them.")
    opens: list[Reason] = Field([], description="What more photos would open: the kind as code, with a tip.")
    questions: list[PersonQuestion] = Field([], description="What was not sure when the photos were judged.")
    traits: Traits = Field(
        Traits(), description="What was chosen to be said of the person; nothing is chosen by itself."
    )
    offered_traits: Traits = Field(Traits(), description="What the photos seem to show, as a proposal.")


class Identity(ResponseBody):
    """A person who can be drawn, from one training."""

    id: str
    person: str
    created: Timestamp
    base: str = Field("", description="The base model of its LoRA; empty where photos were judged alone.")
    stale: Timestamp | None = Field(
        None, description="When a photo was deleted that its LoRA was trained on: train again, or erase the identity."
    )


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
    faces: Annotated[list[FaceBox], BeforeValidator(_or_none_of_them)] = Field(
        [], description="The faces in the photo, from left to right; empty until it was judged."
    )
    face: Point | None = Field(None, description="A point in the face that was said to be the person's.")


class SelfieUpdate(RequestBody):
    """A change of a photo; at least one of the two."""

    wish: PhotoOverride | None = Field(
        None, description="What overrules the verdict: include, exclude, or (empty) neither; null changes nothing."
    )
    face: Point | None = Field(None, description="A point in the face that is the person's; null changes nothing.")

    @model_validator(mode="after")
    def _check_change(self) -> "SelfieUpdate":
        if self.wish is None and self.face is None:
            raise ValueError("say what to change: `wish`, `face`")
        return self


class SelfieUploadResult(ResponseBody):
    """The result of an upload: the photos that were added, and the errors of others."""

    added: list[Selfie]
    refused: list[ErrorDetail]
