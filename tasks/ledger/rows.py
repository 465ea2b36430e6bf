"""The ledger's rows as values, whose fields are the columns; how repositories read, page, check and change them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Generic, Literal, TypeAlias, TypeVar

import sqlalchemy as sa

from portrait.errors import UserError
from tasks.ledger.database import Database
from tasks.ledger.tables import erased

Role: TypeAlias = Literal["person", "operator", "admin"]
"""The role of an API key: see `tasks.auth`."""


@dataclass(frozen=True, slots=True)
class OwnedRow:
    """A row that belongs to an owner."""

    id: str
    owner: str


@dataclass(frozen=True, slots=True)
class PersonRow(OwnedRow):
    """A person whose selfies an owner keeps."""

    name: str
    created: float
    used: float
    """When the person was last used (made, photo added, in a job, looked at, downloaded): retention counts from here."""
    warned: float | None = None
    """When the owner was warned that the person is to be erased; counts while it is later than `used`."""
    traits: Mapping[str, str] = field(default_factory=dict)
    """What they chose to say of themselves in captions and prompts, by trait; see `portrait.traits`."""
    asks_guardian: bool | None = None
    """Whether their photos ask for a parent or guardian; None where it is not known."""
    age_settled: float | None = None
    """When an operator noted that the person is an adult; None where nobody did."""


@dataclass(frozen=True, slots=True)
class ConsentRow(OwnedRow):
    """The record of a consent: who agreed to which text, and when."""

    person: str
    text_version: str
    given_by: str
    given: float
    withdrawn: float | None = None
    language: str = ""
    text_hash: str = ""
    """Hash of the text in that language; empty for consents from before texts were kept."""
    days: float | None = None
    """The days that the text named."""
    given_for: str = ""
    """`self`, `proxy` or `guardian`; empty where it was not said."""
    adult: bool = False
    """Whether who agrees stated to be of age; in texts before 2027-01, that everybody is."""
    key: str = ""
    """Id of the key or session that it was given with."""


@dataclass(frozen=True, slots=True)
class SelfieRow(OwnedRow):
    """One photo of a person with its verdict."""

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
    """`include`, `exclude` or empty: how the person overrides the verdict."""
    verdict: str = ""
    """`use`, `spare`, `refuse`; empty until it was judged."""
    reasons: Sequence[Mapping[str, str]] = field(default_factory=list)
    """Code and tip of each."""
    quality: Mapping[str, Any] = field(default_factory=dict)
    uses: Mapping[str, Any] = field(default_factory=dict)
    """`serves`, `traits` and `eyes` (see `training_sets.photos_to_dicts`) and `doubt`, the number of the question about it;
    each where known."""
    removed: float | None = None
    """When it was deleted; it can be restored until it is erased, and counts nowhere meanwhile."""
    faces: Sequence[Mapping[str, float]] | None = None
    """Boxes of the faces in it as shares of width and height, from left to right; None until it was judged."""
    face: Mapping[str, float] | None = None
    """The point (x, y as shares) of the face that the owner said is the person's; None where nobody said."""

    @property
    def serves(self) -> Mapping[str, Any] | None:
        """What can be made from the photo; None where it is not known."""
        return self.uses.get("serves")

    @property
    def doubt(self) -> int:
        """Number, from 1, of the question whether the photo shows the person; 0 without one, and once it was answered."""
        return 0 if self.wish else int(self.uses.get("doubt", 0))


@dataclass(frozen=True, slots=True)
class TrainingSetRow(OwnedRow):
    """A training set; its folder is named by its id."""

    person: str
    job: str
    photos: Sequence[Mapping[str, Any]]
    """Verdicts, by the id of the selfie in `file`."""
    created: float


@dataclass(frozen=True, slots=True)
class IdentityRow(OwnedRow):
    """A person who can be drawn, made from one training set."""

    person: str
    training_set: str
    created: float
    base: str = ""
    """The base model that the identity's LoRA was trained on; empty without a LoRA."""
    stale: float | None = None
    """When a photo was deleted that its LoRA was trained on; None while there are all."""


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
    """A style that operators work on; its folder is named by its edition, which every change renews."""

    id: str
    edition: str
    content: Mapping[str, Any]
    changed: float
    changed_by: str
    """The operator who changed it last."""
    checked: Mapping[str, Any] | None = None
    """The result of the check: `seal` (hash of the content that was checked) and `findings`."""
    tested: Mapping[str, Any] | None = None
    """The last test drawing: `job`, `edition`, `at`, `samples`."""


@dataclass(frozen=True, slots=True)
class DraftFindings:
    """The results of a check or test of one edition of a draft; None for what was not done."""

    id: str
    edition: str
    checked: Mapping[str, Any] | None = None
    tested: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class TemplateRow(OwnedRow):
    """A picture that an owner uploaded to have people put into it."""

    name: str
    bytes: int
    width: int
    height: int
    format: str
    job: str
    """The job that detects its faces."""
    created: float
    faces: Sequence[Mapping[str, float]] | None = None
    """Boxes (left, top, right, bottom as shares of width and height) from left to right; None until they were detected."""
    statement: str = ""
    """Version of the text whose statement about the people on the picture was made; empty without."""
    used: float | None = None
    """When it was last drawn in or looked at; None while it never was."""
    warned: float | None = None
    """When the owner was warned that it is to be erased; counts while it is later than `used`."""
    removed: float | None = None
    """When it was deleted; it can be restored until it is erased, and is shown nowhere meanwhile."""


@dataclass(frozen=True, slots=True)
class PortraitRow(OwnedRow):
    """A delivered portrait."""

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
    used: float | None = None
    """When it was last looked at, downloaded or marked; None while it never was."""
    removed: float | None = None
    """When it was deleted; it can be restored until it is erased, and is shown nowhere meanwhile."""
    title: str = ""
    """The name that its owner gave it."""
    distance: float | None = None
    """The largest distance of its faces; None where none was measured."""
    rules_broken: int = 0
    """Rules that an ID photo breaks; 0 for other portraits."""

    def __post_init__(self) -> None:
        """Fill the columns that lists are sorted by, however the row was made."""
        distances = [float(each["distance"]) for each in self.likeness.values()]
        object.__setattr__(self, "distance", max(distances, default=None))
        object.__setattr__(self, "rules_broken", int(self.scores.get("rules_broken", 0)))


@dataclass(frozen=True, slots=True)
class EventRow:
    """An event of a job; ids rise, so a stream can go on where it stopped."""

    id: int
    job: str
    at: float
    kind: str
    """`state` or `progress`."""
    state: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ApiKeyRow(OwnedRow):
    """An API key without its secret."""

    name: str
    role: Role
    created: float
    used: float | None = None
    revoked: float | None = None
    expires: float | None = None
    made_by: str | None = None
    """The key or session that made it; None for one made in the terminal or by a sign-in code."""


@dataclass(frozen=True, slots=True)
class WebhookRow(OwnedRow):
    """A webhook: an address of an owner that events are sent to."""

    url: str
    secret: str = field(repr=False)
    events: Sequence[str] = field(default_factory=list)
    """`job.succeeded` …; empty means all."""
    created: float = 0.0
    disabled: float | None = None
    why_disabled: str = ""


@dataclass(frozen=True, slots=True)
class DeliveryRow(OwnedRow):
    """One delivery of an event to a webhook."""

    webhook: str
    event: str
    payload: Mapping[str, Any]
    state: Literal["waiting", "delivered", "given_up"]
    attempts: int
    due: float
    created: float
    status: int | None = None
    """HTTP status of the last response."""
    answer: str = ""
    """The beginning of the last response, or why there is none."""
    ended: float | None = None


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """A worker process with its abilities."""

    id: str
    queues: Sequence[str]
    abilities: Sequence[str]
    missing: Mapping[str, Sequence[str]]
    """By ability that it has not: what is missing, one sentence each with the command that installs it."""
    device: str
    started: float
    beat: float
    stopping: bool = False
    """Whether it claims no more jobs."""
    stop_by: float | None = None
    """Until when a worker that is to stop may finish its job, which it gives back then; None: at once."""
    version: str = ""
    """Version of the program."""
    gpus: Sequence[Mapping[str, int]] | None = None
    """The memory of each GPU of its machine: `index`, `used` and `total` bytes; None where it uses none."""


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list."""

    items: Sequence[T]
    next: str | None
    """The `cursor` of the next page; None at the end."""


def row_as(kind: type[T], row: sa.Row[Any]) -> T:
    """Convert a row into a value of this dataclass; other columns are left out."""
    names = kind.__dataclass_fields__  # pyrefly: ignore[missing-attribute] -- every kind here is a dataclass
    return kind(**{name: value for name, value in row._mapping.items() if name in names})  # pyrefly: ignore[bad-unpacking] -- strings


def there(table: sa.Table) -> sa.ColumnElement[bool]:
    """Whether a row was not deleted, also where it could still be restored."""
    return table.c.removed.is_(None) if "removed" in table.c else sa.true()


# Made once for each table: to put a statement together takes longer than to have it answered.
_OWNED = cache(lambda table: sa.select(table).filter_by(id=sa.bindparam("of_id"), owner=sa.bindparam("of_owner")))


def get_owned(connection: sa.Connection, table: sa.Table, owner: str, id: str, removed: bool = False) -> sa.Row[Any]:
    """Return the owner's row, with `removed` also one that can be restored.

    Raises `UserError`: `erased` when it was, `not_found` when it was deleted, is not theirs or never was.
    """
    row = connection.execute(_OWNED(table), {"of_id": id, "of_owner": owner}).first()
    if row is not None and (removed or row._mapping.get("removed") is None):
        return row
    if connection.execute(_OWNED(erased), {"of_id": id, "of_owner": owner}).first() is not None:
        raise UserError("erased", "It was erased.")
    raise UserError("not_found", f"There is nothing of yours with the id {id[:64]!r}.")


def add_tombstones(connection: sa.Connection, owner: str, kind: str, ids: Sequence[str], now: float) -> None:
    """Store that these ids were erased, and nothing else of them, so that `get_owned` can raise `erased`."""
    if ids:
        connection.execute(sa.insert(erased), [{"id": each, "owner": owner, "kind": kind, "at": now} for each in ids])


@dataclass(frozen=True, slots=True)
class Repository:
    """Base of the repositories over one database."""

    database: Database

    def _find(self, kind: type[T], chosen: "sa.Select[Any]", **values: Any) -> T | None:
        """Return the one row that `chosen` selects with these values of its parameters, None without one."""
        return next(iter(self._all(kind, chosen, **values)), None)

    def _all(self, kind: type[T], chosen: "sa.Select[Any]", **values: Any) -> Sequence[T]:
        """Return the rows that `chosen` selects with these values of its parameters."""
        with self.database.read() as connection:
            return [row_as(kind, row) for row in connection.execute(chosen, values)]

    def _page(
        self, convert: Callable[[sa.Row[Any]], T], chosen: "sa.Select[Any]", cursor: str | None, limit: int
    ) -> Page[T]:
        """Return one page of the rows of one table that `chosen` selects, the newest first; ids sort by age."""
        ids = chosen.selected_columns["id"]
        if cursor:
            chosen = chosen.where(ids < cursor)
        with self.database.read() as connection:
            rows = connection.execute(chosen.order_by(ids.desc()).limit(limit + 1)).all()
        more = rows[limit - 1]._mapping["id"] if len(rows) > limit else None
        return Page([convert(row) for row in rows[:limit]], more)

    def _owned(self, kind: type[T], table: sa.Table, owner: str, id: str) -> T:
        """Return the owner's row; raises as `get_owned`."""
        with self.database.read() as connection:
            return row_as(kind, get_owned(connection, table, owner, id))

    def _change_owned(self, kind: type[T], table: sa.Table, owner: str, id: str, **values: Any) -> T:
        """Change the owner's row and return it."""
        with self.database.write() as connection:
            get_owned(connection, table, owner, id)
            connection.execute(sa.update(table).where(table.c.id == id).values(values))
            return row_as(kind, get_owned(connection, table, owner, id))

    def _write(self, statement: sa.UpdateBase) -> int:
        """Execute one statement in a transaction of its own; returns how many rows it touched."""
        with self.database.write() as connection:
            return connection.execute(statement).rowcount
