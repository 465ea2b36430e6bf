"""The words that all bodies share: ids, lines of text, states, pages, problems."""

from typing import Annotated, Generic, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Id: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
Line: TypeAlias = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")
]
"""One line of text that a person typed."""
State: TypeAlias = Literal["queued", "running", "cancelling", "succeeded", "failed", "cancelled", "expired"]
Role: TypeAlias = Literal["person", "operator", "admin"]
Wish: TypeAlias = Literal["", "include", "exclude"]
JobKind: TypeAlias = Literal["look", "prepare", "train", "generate", "check", "test"]
EventName: TypeAlias = Literal["job.succeeded", "job.failed", "job.cancelled", "job.expired"]
T = TypeVar("T")
FINISHED = frozenset({"succeeded", "failed", "cancelled", "expired"})
"""States that end a job."""


class Said(BaseModel):
    """What the API answers."""

    model_config = ConfigDict(frozen=True)


class Asked(BaseModel):
    """What the API is asked: unknown fields are refused, so that a misspelt one is not lost."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Page(Said, Generic[T]):
    """Some of a list."""

    items: list[T]
    next: str | None = Field(None, description="Give it as `cursor` for what follows; null at the end.")


class Detail(Said):
    """One part of what is wrong: a field, or a photo."""

    where: str = Field(description="The field, or the name of the photo.")
    code: str
    message: str


class Problem(Said):
    """What went wrong, by RFC 9457."""

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

    type: str = "about:blank"
    title: str
    status: int
    detail: str = Field(description="What happened and what to do, in a sentence for people.")
    code: str = Field(description="Stable; listed in docs/errors.md.")
    instance: str = Field("", description="Names the request in the server's log.")
    errors: list[Detail] = []
