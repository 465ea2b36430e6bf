"""The ledger's tables in SQLAlchemy; a change here needs a migration, and a test compares the two.

Times are seconds since 1970, UTC. Ids are made by `new_id` of `tasks.ledger.database` and sort by age. What a person's request
can reach carries the owner, and every query that serves a person names it. `blocked_people`, `usage` and `holdings` stand with
their repositories.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_ID = sa.String(64)
_TIME = sa.Double
_REMOVED, _THERE = sa.text("removed IS NOT NULL"), sa.text("removed IS NULL")
_MARKED, _MARKED_SQLITE = (sa.text(f"removed IS NULL AND favourite IS {true}") for true in ("true", "1"))
_ALIKE = ("owner", "rules_broken", sa.text("coalesce(distance, 99.0)"), sa.text("id DESC"))
Type: TypeAlias = sa.types.TypeEngine[Any]


def _id() -> sa.Column[str]:
    return sa.Column("id", _ID, primary_key=True)


def _owner() -> sa.Column[str]:
    return sa.Column("owner", _ID, nullable=False)


def _owned() -> tuple[sa.Column[str], sa.Column[str]]:
    """Return the columns of what belongs to an owner."""
    return _id(), _owner()


def _values(kind: type[Type] | Type, *names: str) -> Sequence[sa.Column[Any]]:
    """Return columns of one type, which are never empty."""
    return [sa.Column(name, kind, nullable=False) for name in names]


def _optional(kind: type[Type] | Type, *names: str) -> Sequence[sa.Column[Any]]:
    """Return columns of one type, which may be empty."""
    return [sa.Column(name, kind) for name in names]


def _of(table: str, name: str) -> sa.Column[str]:
    """Return a foreign key column whose row is deleted with its target."""
    return sa.Column(name, _ID, sa.ForeignKey(f"{table}.id", ondelete="CASCADE"), nullable=False, index=True)


people = sa.Table(
    "people",
    metadata,
    *_owned(),
    sa.Column("name", sa.String(200), nullable=False),
    *_values(_TIME, "created", "used"),
    *_optional(_TIME, "warned", "age_settled"),
    sa.Column("asks_guardian", sa.Boolean),
    sa.Column("traits", sa.JSON, nullable=False, server_default="{}"),
    sa.Index(None, "owner", "id"),
)

consents = sa.Table(
    "consents",
    metadata,
    *_owned(),
    _of("people", "person"),
    sa.Column("text_version", sa.String(40), nullable=False),
    sa.Column("given_by", sa.String(200), nullable=False),
    sa.Column("given", _TIME, nullable=False),
    *_optional(_TIME, "withdrawn", "days"),
    *(sa.Column(each, sa.String(10), nullable=False, server_default="") for each in ("language", "given_for")),
    *(sa.Column(each, _ID, nullable=False, server_default="") for each in ("text_hash", "key")),
    sa.Column("adult", sa.Boolean, nullable=False, server_default=sa.false()),
)

consent_texts = sa.Table(
    "consent_texts",
    metadata,
    sa.Column("version", sa.String(40), primary_key=True),
    sa.Column("language", sa.String(10), primary_key=True),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("asks_again", sa.Boolean, nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("content", sa.JSON, nullable=False),
    sa.Column("published", _TIME, nullable=False),
)

# What is left of a consent when its person was erased: no name.
consent_proofs = sa.Table(
    "consent_proofs",
    metadata,
    *_owned(),
    *_values(_ID, "person", "key", "text_hash"),
    sa.Column("text_version", sa.String(40), nullable=False),
    *_values(sa.String(10), "language", "given_for"),
    sa.Column("adult", sa.Boolean, nullable=False),
    sa.Column("given", _TIME, nullable=False),
    *_optional(_TIME, "days", "withdrawn"),
    sa.Column("erased", _TIME, nullable=False, index=True),
    sa.Index(None, "owner", "id"),
)

selfies = sa.Table(
    "selfies",
    metadata,
    *_owned(),
    _of("people", "person"),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    *_values(sa.Integer, "width", "height"),
    sa.Column("format", sa.String(20), nullable=False),
    *_values(sa.String(10), "wish", "verdict"),
    *_values(sa.JSON, "reasons", "quality"),
    sa.Column("uses", sa.JSON, nullable=False, server_default="{}"),
    sa.Column("created", _TIME, nullable=False),
    sa.Column("removed", _TIME),
    *_optional(sa.JSON(none_as_null=True), "faces", "face"),
    sa.Index(None, "removed", postgresql_where=_REMOVED, sqlite_where=_REMOVED),
    sa.UniqueConstraint("person", "sha256"),
)

_ACTIVE = sa.text("state IN ('queued', 'running', 'cancelling')")
_WAITING, _QUEUED = ("queue", "needs", "priority", "owner", "created", "id"), sa.text("state = 'queued'")
jobs = sa.Table(
    "jobs",
    metadata,
    *_owned(),
    *_values(sa.String(20), "kind", "queue"),
    sa.Column("state", sa.String(12), nullable=False),
    *_values(sa.JSON, "wants", "result"),
    # The words of needs in alphabetical order with one space between: a worker claims by the few sets that it can serve.
    *_values(sa.String(400), "needs", "message"),
    *_values(sa.Integer, "priority", "units", "preview", "losses", "failures"),
    sa.Column("phase", sa.String(40), nullable=False),
    *_values(sa.Double, "progress", "created"),
    sa.Column("fault", sa.JSON(none_as_null=True)),
    *_optional(_TIME, "started", "finished", "lease_until", "seen"),
    sa.Column("worker", sa.String(120)),
    sa.Column("token", sa.String(64)),
    sa.Column("order_id", _ID, nullable=False, server_default="", index=True),
    *(sa.Column(each, _ID, nullable=False, server_default="") for each in ("request", "traceparent")),
    sa.Index(None, "queue", "state", "needs"),
    sa.Index("ix_jobs_waiting", *_WAITING, postgresql_where=_QUEUED, sqlite_where=_QUEUED),
    sa.Index(None, "owner", "id"),
    sa.Index("ix_jobs_active", "owner", "started", postgresql_where=_ACTIVE, sqlite_where=_ACTIVE),
    sa.Index(None, "state", "lease_until"),
    sa.Index(None, "kind", "state", "finished"),
)

job_people = sa.Table(
    "job_people",
    metadata,
    sa.Column("job", _ID, sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("person", _ID, primary_key=True),
    sa.Index(None, "person"),
)

job_events = sa.Table(
    "job_events",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    _of("jobs", "job"),
    sa.Column("at", _TIME, nullable=False),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("state", sa.String(12), nullable=False),
    sa.Column("data", sa.JSON, nullable=False),
    sqlite_autoincrement=True,  # an id that was used is never used again, or a stream could not go on where it stopped
)

turns = sa.Table(
    "turns",
    metadata,
    sa.Column("owner", _ID, primary_key=True),
    sa.Column("queue", sa.String(20), primary_key=True),
    sa.Column("served", _TIME, nullable=False),
)

training_sets = sa.Table(
    "training_sets",
    metadata,
    *_owned(),
    _of("people", "person"),
    sa.Column("job", _ID, nullable=False),
    sa.Column("photos", sa.JSON, nullable=False),
    sa.Column("created", _TIME, nullable=False),
)

identities = sa.Table(
    "identities",
    metadata,
    *_owned(),
    _of("people", "person"),
    _of("training_sets", "training_set"),
    sa.Column("created", _TIME, nullable=False),
    sa.Column("base", sa.String(200), nullable=False),
    sa.Column("stale", _TIME),
)

style_versions = sa.Table(
    "style_versions",
    metadata,
    sa.Column("id", sa.String(60), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("content", sa.JSON, nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("published", _TIME, nullable=False),
    sa.Column("retired", _TIME),
)

style_drafts = sa.Table(
    "style_drafts",
    metadata,
    sa.Column("id", sa.String(60), primary_key=True),
    *_values(_ID, "edition", "changed_by"),
    sa.Column("content", sa.JSON, nullable=False),
    sa.Column("changed", _TIME, nullable=False),
    *_optional(sa.JSON(none_as_null=True), "checked", "tested"),
)

portraits = sa.Table(
    "portraits",
    metadata,
    *_owned(),
    _of("jobs", "job"),
    sa.Column("file", sa.String(120), nullable=False),
    sa.Column("format", sa.String(10), nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    *_values(sa.Integer, "number", "width", "height", "style_version"),
    sa.Column("style", sa.String(60), nullable=False),
    *_values(sa.JSON, "likeness", "scores", "recipe"),
    sa.Column("favourite", sa.Boolean, nullable=False),
    sa.Column("created", _TIME, nullable=False),
    *_optional(_TIME, "used", "distance", "removed"),
    sa.Column("title", sa.String(80), nullable=False, server_default=""),
    sa.Column("rules_broken", sa.Integer, nullable=False, server_default="0"),
    sa.Index(None, "owner", "id"),
    sa.Index(None, "style", "id"),
    sa.Index("ix_portraits_alike", *_ALIKE, postgresql_where=_THERE, sqlite_where=_THERE),
    sa.Index("ix_portraits_marked", "owner", "created", postgresql_where=_MARKED, sqlite_where=_MARKED_SQLITE),
    sa.Index("ix_portraits_there", "owner", "created", postgresql_where=_THERE, sqlite_where=_THERE),
    sa.Index(None, "removed", postgresql_where=_REMOVED, sqlite_where=_REMOVED),
    sa.UniqueConstraint("job", "number"),
)

erased = sa.Table(
    "erased",
    metadata,
    *_owned(),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("at", _TIME, nullable=False),
)

erasures = sa.Table(
    "erasures",
    metadata,
    *_owned(),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("subject", _ID, nullable=False),
    sa.Column("actor", sa.String(200), nullable=False),
    *_values(_TIME, "asked", "until"),
    *_values(sa.JSON, "targets", "ids"),
    sa.Column("done", _TIME, index=True),
    sa.Index(None, "owner", "id"),
)

api_keys = sa.Table(
    "api_keys",
    metadata,
    *_owned(),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("role", sa.String(20), nullable=False),
    sa.Column("hash", sa.String(128), nullable=False, unique=True),
    sa.Column("created", _TIME, nullable=False),
    *_optional(_TIME, "used", "revoked", "expires"),
    sa.Column("made_by", _ID),
    sa.Index(None, "owner"),
)

sessions = sa.Table(
    "sessions",
    metadata,
    *_owned(),
    sa.Column("role", sa.String(20), nullable=False),
    sa.Column("hash", sa.String(128), nullable=False, unique=True),
    sa.Column("key", _ID),
    *_values(_TIME, "created", "used", "idle", "expires"),
    sa.Index(None, "owner"),
)

owners = sa.Table(
    "owners",
    metadata,
    _id(),
    sa.Column("folded", _ID, nullable=False, index=True),
    sa.Column("created", _TIME, nullable=False),
    sa.Column("disabled", _TIME),
)

audit = sa.Table(
    "audit",
    metadata,
    _id(),
    sa.Column("at", _TIME, nullable=False, index=True),
    *_values(sa.String(200), "actor", "subject"),
    sa.Column("action", sa.String(40), nullable=False),
    sa.Column("detail", sa.JSON, nullable=False),
)

sign_in_codes = sa.Table(
    "sign_in_codes",
    metadata,
    sa.Column("hash", sa.String(128), primary_key=True),
    _owner(),
    sa.Column("role", sa.String(20), nullable=False),
    sa.Column("expires", _TIME, nullable=False),
)

templates = sa.Table(
    "templates",
    metadata,
    *_owned(),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    *_values(sa.Integer, "width", "height"),
    sa.Column("format", sa.String(20), nullable=False),
    sa.Column("faces", sa.JSON(none_as_null=True)),
    sa.Column("job", _ID, nullable=False),
    sa.Column("created", _TIME, nullable=False),
    sa.Column("statement", sa.String(40), nullable=False, server_default=""),
    *_optional(_TIME, "used", "warned", "removed"),
    sa.Index(None, "owner", "id"),
    sa.Index(None, "removed", postgresql_where=_REMOVED, sqlite_where=_REMOVED),
)

idempotency_keys = sa.Table(
    "idempotency_keys",
    metadata,
    sa.Column("owner", _ID, primary_key=True),
    sa.Column("key", sa.String(200), primary_key=True),
    sa.Column("fingerprint", sa.String(64), nullable=False),
    sa.Column("status", sa.Integer),
    sa.Column("headers", sa.JSON, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("created", _TIME, nullable=False),
)

webhooks = sa.Table(
    "webhooks",
    metadata,
    *_owned(),
    sa.Column("url", sa.String(2000), nullable=False),
    *_values(sa.String(200), "secret", "why_disabled"),
    sa.Column("events", sa.JSON, nullable=False),
    sa.Column("created", _TIME, nullable=False),
    sa.Column("disabled", _TIME),
    sa.Index(None, "owner"),
)

webhook_deliveries = sa.Table(
    "webhook_deliveries",
    metadata,
    *_owned(),
    _of("webhooks", "webhook"),
    sa.Column("event", sa.String(40), nullable=False),
    sa.Column("payload", sa.JSON, nullable=False),
    sa.Column("state", sa.String(12), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    *_values(_TIME, "due", "created"),
    sa.Column("status", sa.Integer),
    sa.Column("answer", sa.String(400), nullable=False),
    sa.Column("ended", _TIME),
    sa.Index(None, "state", "due"),
)

workers = sa.Table(
    "workers",
    metadata,
    sa.Column("id", sa.String(120), primary_key=True),
    *_values(sa.JSON, "queues", "abilities", "missing"),
    sa.Column("device", sa.String(60), nullable=False),
    *_values(_TIME, "started", "beat"),
    sa.Column("stopping", sa.Boolean, nullable=False),
    *(*_optional(_TIME, "stop_by"), sa.Column("version", sa.String(40), nullable=False, server_default="")),
    sa.Column("gpus", sa.JSON(none_as_null=True)),
)
