"""Schemas of styles for operators: drafts, findings of lint, sample renders, versions, imports, statistics."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import ConfigDict, Field

from tasks.schemas.shared import Id, RequestBody, ResponseBody, Timestamp

StyleStatus: TypeAlias = Literal["draft", "published", "retired", "built-in"]


class StyleFinding(ResponseBody):
    """A finding of lint in a style."""

    code: str
    level: Literal["error", "warning"] = Field(description="An error keeps it from being published.")
    where: str = Field(description="The field.")
    tip: str


class StyleSample(ResponseBody):
    """A sample render: a sample person, or one of an operator's own people, in the style."""

    number: int
    sitter: str = Field(description="Name of the sample person; empty for somebody of an operator's own.")
    person: str = Field("", description="Id of the operator's own person, whose picture that operator alone can see.")
    distance: float | None = Field(None, description="Of the drawn face to the person; smaller is more alike.")
    step: int | None = Field(None, description="As `step` of a portrait's likeness; null where it was not measured.")
    fault: str = Field("", description="Why there is no picture, in a sentence.")


class StyleTest(ResponseBody):
    """The last test of a draft: its sample renders."""

    job: str
    edition: str
    made: Timestamp
    current: bool = Field(description="Whether the draft is still the edition that was tested.")
    samples: list[StyleSample]


class StyleDraft(ResponseBody):
    """The draft of a style."""

    edition: str = Field(description="Changes with every change; send it with the next, so that nobody's is lost.")
    content: Mapping[str, Any] = Field(description="What stands in style.toml; see `/operator/style-schema`.")
    picture: bool = Field(description="Whether there is a picture.")
    findings: list[StyleFinding]
    checked: bool = Field(description="Whether a worker has checked the picture; true for styles without one.")
    publishable: bool
    test: StyleTest | None
    changed: Timestamp
    changed_by: str


class StyleVersion(ResponseBody):
    """A published version."""

    version: int
    content: Mapping[str, Any]
    picture: bool
    sha256: str = Field(description="Of everything the style is, its number apart.")
    published: Timestamp
    retired: Timestamp | None


class OperatorStyle(ResponseBody):
    """A style with its draft and versions."""

    id: str
    title: str
    titles: Mapping[str, str]
    kind: str
    tags: list[str]
    status: list[StyleStatus] = Field(description="Several may hold: a published style whose next version is a draft.")
    offered: int | None = Field(description="The version that people get; null when there is none.")
    content: Mapping[str, Any] = Field(
        description="Of the version that people get; else of the draft, or the last version."
    )
    draft: StyleDraft | None
    versions: list[StyleVersion] = Field(description="The newest first.")
    built_in: int | None = Field(description="Version of the built-in style of that name.")


class DraftRequest(RequestBody):
    """A new draft, or a change of one."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "edition": None,
                "content": {
                    "schema": 1,
                    "id": "blue-hour",
                    "kind": "studio",
                    "title": "Blue hour",
                    "backdrop": "studio-blue",
                    "licence": "CC0-1.0",
                },
            }
        }
    )

    edition: Id | None = Field(None, description="The edition that was changed; null for a style without a draft.")
    content: Annotated[dict[str, Any], Field(description="What stands in style.toml.")]


MAX_TEST_PEOPLE = 3
"""People of one's own that one test draws."""


class StyleTestRequest(RequestBody):
    """Whom a test of a draft draws."""

    people: list[Id] = Field(
        [],
        max_length=MAX_TEST_PEOPLE,
        description="People of your own, with their consent; empty for the sample people that come with Portrait.",
    )


class PublishRequest(RequestBody):
    """Publication of a draft as the next version."""

    edition: Id | None = Field(None, description="Only if the draft is still this one.")
    card: int | None = Field(
        None, ge=1, le=99, description="The sample of its test that people see; null takes the one most alike."
    )


class SkippedContent(ResponseBody):
    """Something of an import that was skipped, or not taken over as it was."""

    source: str
    field: str
    why: str


class StyleImportResult(ResponseBody):
    """The result of an import: drafts, and what was skipped."""

    styles: list[OperatorStyle]
    left: list[SkippedContent]


class VersionStatistics(ResponseBody):
    """Statistics of one version of a style."""

    version: int | None = Field(description="Null for all of them together.")
    uses: int = Field(description="Jobs that drew it or failed to.")
    portraits: int
    favourites: int
    failures: int
    likeness_median: float | None
    likeness_worst_tenth: float | None = Field(description="90th percentile of the distance.")


class StyleReport(ResponseBody):
    """Statistics of a style, over its newest portraits and failures."""

    style: str
    total: VersionStatistics
    versions: list[VersionStatistics]
