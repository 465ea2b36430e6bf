"""What the ledger holds, one value a row, and how rows are read and paged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeAlias, TypeVar

import sqlalchemy as sa

from portrait.errors import UserError
from tasks.ledger.tables import consents, erased

Role: TypeAlias = Literal["person", "operator", "admin"]
"""What the owner of a key may do: see `tasks.auth`."""


@dataclass(frozen=True, slots=True)
class PersonRow:
    """Somebody whose selfies an owner keeps."""

    id: str
    owner: str
    name: str
    created: float
    used: float
    """When last something was done with the person; the retention time counts from here."""


@dataclass(frozen=True, slots=True)
class ConsentRow:
    """Who agreed to which text, and when."""

    id: str
    owner: str
    person: str
    text_version: str
    given_by: str
    given: float
    withdrawn: float | None = None


@dataclass(frozen=True, slots=True)
class SelfieRow:
    """One photo of a person with what was judged of it."""

    id: str
    owner: str
    person: str
    name: str
    """The file's name as the person knows it."""
    sha256: str
    bytes: int
    width: int
    height: int
    format: str
    created: float
    wish: str = ""
    """`include`, `exclude` or empty: what the person overrules."""
    verdict: str = ""
    """`use`, `spare`, `refuse`; empty until it was judged."""
    reasons: Sequence[Mapping[str, str]] = field(default_factory=list)
    """Code and tip of each."""
    quality: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SetRow:
    """A training set; its folder is named by its id."""

    id: str
    owner: str
    person: str
    job: str
    photos: Sequence[Mapping[str, Any]]
    """Verdicts, by the id of the selfie in `file`."""
    created: float


@dataclass(frozen=True, slots=True)
class IdentityRow:
    """A person who can be drawn, from one training set."""

    id: str
    owner: str
    person: str
    training_set: str
    created: float
    base: str = ""
    """The base model that a LoRA was learned on; empty where nothing was learned."""


@dataclass(frozen=True, slots=True)
class StyleRow:
    """One published version of a style; it never changes but for being retired."""

    id: str
    version: int
    content: Mapping[str, Any]
    sha256: str
    published: float
    retired: float | None = None


@dataclass(frozen=True, slots=True)
class DraftRow:
    """A style that operators work on; its folder is named by its edition, which each change renews."""

    id: str
    edition: str
    content: Mapping[str, Any]
    changed: float
    changed_by: str
    """The operator who changed it last."""
    checked: Mapping[str, Any] | None = None
    """What a worker saw: `seal` of what it looked at, and `findings`."""
    tested: Mapping[str, Any] | None = None
    """The last test drawing: `job`, `edition`, `at`, `samples`."""


@dataclass(frozen=True, slots=True)
class DraftNews:
    """What a worker found out about an edition of a draft; None for what it did not look at."""

    id: str
    edition: str
    checked: Mapping[str, Any] | None = None
    tested: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class TemplateRow:
    """A picture of the owner's that people can be put into."""

    id: str
    owner: str
    name: str
    bytes: int
    width: int
    height: int
    format: str
    job: str
    """The job that looks for its faces."""
    created: float
    faces: Sequence[Mapping[str, float]] | None = None
    """Boxes (left, top, right, bottom as shares of width and height) from left to right; None until they were looked for."""


@dataclass(frozen=True, slots=True)
class PortraitRow:
    """A delivered portrait."""

    id: str
    owner: str
    job: str
    number: int
    """1 is the best of its job."""
    file: str
    """Name inside the job's folder."""
    format: str
    bytes: int
    width: int
    height: int
    style: str
    style_version: int
    likeness: Mapping[str, Any]
    """By face number: space and distance."""
    scores: Mapping[str, float]
    recipe: Mapping[str, Any]
    created: float
    favourite: bool = False


@dataclass(frozen=True, slots=True)
class EventRow:
    """Something that happened to a job; ids rise, so a stream can go on where it stopped."""

    id: int
    job: str
    at: float
    kind: str
    """`state` or `progress`."""
    state: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class KeyRow:
    """An API key without its secret."""

    id: str
    owner: str
    name: str
    role: Role
    created: float
    used: float | None = None
    revoked: float | None = None
    expires: float | None = None


@dataclass(frozen=True, slots=True)
class WebhookRow:
    """Where an owner wants to be called."""

    id: str
    owner: str
    url: str
    secret: str = field(repr=False)
    events: Sequence[str] = field(default_factory=list)
    """`job.succeeded` …; empty means all."""
    created: float = 0.0
    disabled: float | None = None
    why_disabled: str = ""


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """One call, until it is delivered or given up."""

    id: str
    owner: str
    webhook: str
    event: str
    payload: Mapping[str, Any]
    state: Literal["waiting", "delivered", "given_up"]
    attempts: int
    due: float
    created: float
    status: int | None = None
    """Status of the last answer."""
    answer: str = ""
    ended: float | None = None


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """A worker process and what it can do."""

    id: str
    queues: Sequence[str]
    abilities: Sequence[str]
    missing: Mapping[str, Sequence[str]]
    """What an ability still lacks here, one sentence each with the command that mends it."""
    device: str
    started: float
    beat: float
    stopping: bool = False


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some of a list."""

    items: Sequence[T]
    next: str | None
    """Give it as `cursor` for what follows; None at the end."""


def row_as(kind: type[T], row: sa.Row[Any]) -> T:
    """A row as its value."""
    wanted = kind.__dataclass_fields__  # type: ignore[attr-defined] -- every kind here is a dataclass
    return kind(**{name: value for name, value in row._mapping.items() if name in wanted})


def page_of(
    connection: sa.Connection, kind: type[T], chosen: "sa.Select[Any]", cursor: str | None, limit: int
) -> Page[T]:
    """The newest first; `chosen` selects rows of one table by its condition, ids sort by age."""
    ids = chosen.selected_columns["id"]
    if cursor:
        chosen = chosen.where(ids < cursor)
    rows = connection.execute(chosen.order_by(ids.desc()).limit(limit + 1)).all()
    items = [row_as(kind, row) for row in rows[:limit]]
    return Page(items, rows[limit - 1]._mapping["id"] if len(rows) > limit else None)


def one(connection: sa.Connection, table: sa.Table, owner: str, id: str) -> sa.Row[Any]:
    """The owner's row; raises `UserError`: `erased` when it was, `not_found` when it is not theirs or never was."""
    row = connection.execute(sa.select(table).where(table.c.id == id, table.c.owner == owner)).first()
    if row is not None:
        return row
    gone = connection.execute(sa.select(erased.c.id).where(erased.c.id == id, erased.c.owner == owner)).first()
    if gone is not None:
        raise UserError("erased", "It was erased.")
    raise UserError("not_found", f"There is nothing of yours with the id {id[:64]!r}.")


def agreed(connection: sa.Connection, person: str) -> None:
    """Nothing, if consent holds; raises `UserError` (`consent_withdrawn`)."""
    holds = sa.select(consents.c.id).where(consents.c.person == person, consents.c.withdrawn.is_(None))
    if connection.execute(holds.limit(1)).first() is None:
        raise UserError("consent_withdrawn", "Consent was withdrawn for this person. Agree again to go on.")


def bury(connection: sa.Connection, owner: str, kind: str, ids: Sequence[str], now: float) -> None:
    """Remember that these ids were erased, and nothing else of them."""
    if ids:
        connection.execute(sa.insert(erased), [{"id": each, "owner": owner, "kind": kind, "at": now} for each in ids])
