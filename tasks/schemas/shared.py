"""Types that all schemas share: ids, lines of text, times, states, pages, problems."""

from datetime import UTC, datetime
from typing import Annotated, Generic, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints


def _from_seconds(value: object) -> object:
    """Seconds since 1970, as the ledger holds times, as a datetime in UTC; anything else as it is."""
    return datetime.fromtimestamp(value, UTC) if isinstance(value, int | float) else value


Timestamp: TypeAlias = Annotated[datetime, BeforeValidator(_from_seconds)]
"""A time in UTC."""
Id: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
Line: TypeAlias = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")
]
"""One line of text that a person typed."""
State: TypeAlias = Literal["queued", "running", "cancelling", "succeeded", "failed", "cancelled", "expired"]
Role: TypeAlias = Literal["person", "operator", "admin"]
PhotoOverride: TypeAlias = Literal["", "include", "exclude"]
JobKind: TypeAlias = Literal["look", "prepare", "train", "generate", "check", "test"]
EventName: TypeAlias = Literal["job.succeeded", "job.failed", "job.cancelled", "job.expired"]
T = TypeVar("T")
FINISHED = frozenset({"succeeded", "failed", "cancelled", "expired"})
"""States that end a job."""
UNDO_SECONDS = 30.0
"""Seconds for which what was deleted can be restored: time to read a line and to press the button in it."""


class ResponseBody(BaseModel):
    """Base of what the API answers; validates rows of the ledger by their attributes."""

    model_config = ConfigDict(frozen=True, from_attributes=True)


class RequestBody(BaseModel):
    """Base of what is sent to the API; unknown fields are refused, so that a misspelt one is not lost."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Page(ResponseBody, Generic[T]):
    """One page of a list."""

    items: list[T]
    next: str | None = Field(default=None, description="Give it as `cursor` for what follows; null at the end.")


class FaceBox(ResponseBody):
    """A box as shares of a picture's width and height, 0..1."""

    left: float
    top: float
    right: float
    bottom: float


class Point(RequestBody):
    """A point of a picture as shares of its width and height, 0..1."""

    model_config = ConfigDict(frozen=True, extra="forbid", from_attributes=True)

    x: float = Field(ge=0, le=1)
    y: float = Field(ge=0, le=1)


class ErrorDetail(ResponseBody):
    """One error: of a field, or of a photo."""

    where: str = Field(description="The field, or the name of the photo.")
    code: str
    message: str


class Problem(ResponseBody):
    """An error response, by RFC 9457."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "about:blank",
                "title": "Not Found",
                "status": 404,
                "detail": "There is nothing of yours with the id 'job_x'.",
                "code": "not_found",
                "instance": "urn:request:5f3c0b6a9d2e",
                "errors": [],
            }
        }
    )

    type: str = Field(
        default="about:blank",
        description="Says nothing: an address of documents would differ between installations. Go by `code`.",
    )
    title: str
    status: int
    detail: str = Field(description="What happened and what to do, in a sentence for people.")
    code: str = Field(description="Stable; listed in docs/errors.md.")
    instance: str = Field(default="", description="Names the request in the server's log.")
    errors: list[ErrorDetail] = []
