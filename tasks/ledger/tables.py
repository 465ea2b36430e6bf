"""The ledger's tables in SQLAlchemy; a change here needs a migration, and a test compares the two.

Times are seconds since 1970, UTC. Ids are made by `tasks.ledger.database.new_id` and sort by age. Every table that a person's
request can reach carries the owner, and every query that serves a person names it.
"""

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


def _id() -> sa.Column[str]:
    return sa.Column("id", _ID, primary_key=True)


def _owner() -> sa.Column[str]:
    return sa.Column("owner", _ID, nullable=False)


def _of(table: str, name: str) -> sa.Column[str]:
    """Return a foreign key column whose row is deleted with its target."""
    return sa.Column(name, _ID, sa.ForeignKey(f"{table}.id", ondelete="CASCADE"), nullable=False, index=True)


people = sa.Table(
    "people",
    metadata,
    _id(),
    _owner(),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("created", _TIME, nullable=False),
    sa.Column("used", _TIME, nullable=False),
    sa.Index(None, "owner", "id"),
)

consents = sa.Table(
    "consents",
    metadata,
    _id(),
    _owner(),
    _of("people", "person"),
    sa.Column("text_version", sa.String(40), nullable=False),
    sa.Column("given_by", sa.String(200), nullable=False),
    sa.Column("given", _TIME, nullable=False),
    sa.Column("withdrawn", _TIME),
)

selfies = sa.Table(
    "selfies",
    metadata,
    _id(),
    _owner(),
    _of("people", "person"),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("width", sa.Integer, nullable=False),
    sa.Column("height", sa.Integer, nullable=False),
    sa.Column("format", sa.String(20), nullable=False),
    sa.Column("wish", sa.String(10), nullable=False),
    sa.Column("verdict", sa.String(10), nullable=False),
    sa.Column("reasons", sa.JSON, nullable=False),
    sa.Column("quality", sa.JSON, nullable=False),
    sa.Column("uses", sa.JSON, nullable=False, server_default="{}"),
    sa.Column("created", _TIME, nullable=False),
    sa.UniqueConstraint("person", "sha256"),
)

jobs = sa.Table(
    "jobs",
    metadata,
    _id(),
    _owner(),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("queue", sa.String(20), nullable=False),
    sa.Column("state", sa.String(12), nullable=False),
    sa.Column("wants", sa.JSON, nullable=False),
    # The words in alphabetical order with one space between: a worker claims by the few sets that it can serve.
    sa.Column("needs", sa.String(400), nullable=False),
    # Nobody reads it any more: it stays until a migration drops it.
    sa.Column("priority", sa.Integer, nullable=False, default=0),
    sa.Column("units", sa.Integer, nullable=False),
    sa.Column("phase", sa.String(40), nullable=False),
    sa.Column("progress", sa.Double, nullable=False),
    sa.Column("message", sa.String(400), nullable=False),
    sa.Column("preview", sa.Integer, nullable=False),
    sa.Column("losses", sa.Integer, nullable=False),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("fault", sa.JSON(none_as_null=True)),
    sa.Column("result", sa.JSON, nullable=False),
    sa.Column("created", _TIME, nullable=False),
    sa.Column("started", _TIME),
    sa.Column("finished", _TIME),
    sa.Column("worker", sa.String(120)),
    sa.Column("token", sa.String(64)),
    sa.Column("lease_until", _TIME),
    sa.Index(None, "queue", "state", "needs"),
    sa.Index(None, "owner", "id"),
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
    _id(),
    _owner(),
    _of("people", "person"),
    sa.Column("job", _ID, nullable=False),
    sa.Column("photos", sa.JSON, nullable=False),
    sa.Column("created", _TIME, nullable=False),
)

identities = sa.Table(
    "identities",
    metadata,
    _id(),
    _owner(),
    _of("people", "person"),
    _of("training_sets", "training_set"),
    sa.Column("created", _TIME, nullable=False),
    sa.Column("base", sa.String(200), nullable=False),
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
    sa.Column("edition", _ID, nullable=False),
    sa.Column("content", sa.JSON, nullable=False),
    sa.Column("changed", _TIME, nullable=False),
    sa.Column("changed_by", _ID, nullable=False),
    sa.Column("checked", sa.JSON(none_as_null=True)),
    sa.Column("tested", sa.JSON(none_as_null=True)),
)

portraits = sa.Table(
    "portraits",
    metadata,
    _id(),
    _owner(),
    _of("jobs", "job"),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("file", sa.String(120), nullable=False),
    sa.Column("format", sa.String(10), nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("width", sa.Integer, nullable=False),
    sa.Column("height", sa.Integer, nullable=False),
    sa.Column("style", sa.String(60), nullable=False),
    sa.Column("style_version", sa.Integer, nullable=False),
    sa.Column("likeness", sa.JSON, nullable=False),
    sa.Column("scores", sa.JSON, nullable=False),
    sa.Column("recipe", sa.JSON, nullable=False),
    sa.Column("favourite", sa.Boolean, nullable=False),
    sa.Column("created", _TIME, nullable=False),
    sa.Index(None, "owner", "id"),
    sa.Index(None, "style", "id"),
    sa.UniqueConstraint("job", "number"),
)

erased = sa.Table(
    "erased",
    metadata,
    _id(),
    _owner(),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("at", _TIME, nullable=False),
)

api_keys = sa.Table(
    "api_keys",
    metadata,
    _id(),
    _owner(),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("role", sa.String(20), nullable=False),
    sa.Column("hash", sa.String(128), nullable=False, unique=True),
    sa.Column("created", _TIME, nullable=False),
    sa.Column("used", _TIME),
    sa.Column("revoked", _TIME),
    sa.Column("expires", _TIME),
    sa.Index(None, "owner"),
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
    _id(),
    _owner(),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("width", sa.Integer, nullable=False),
    sa.Column("height", sa.Integer, nullable=False),
    sa.Column("format", sa.String(20), nullable=False),
    sa.Column("faces", sa.JSON(none_as_null=True)),
    sa.Column("job", _ID, nullable=False),
    sa.Column("created", _TIME, nullable=False),
    sa.Index(None, "owner", "id"),
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
    _id(),
    _owner(),
    sa.Column("url", sa.String(2000), nullable=False),
    sa.Column("secret", sa.String(200), nullable=False),
    sa.Column("events", sa.JSON, nullable=False),
    sa.Column("created", _TIME, nullable=False),
    sa.Column("disabled", _TIME),
    sa.Column("why_disabled", sa.String(200), nullable=False),
    sa.Index(None, "owner"),
)

webhook_deliveries = sa.Table(
    "webhook_deliveries",
    metadata,
    _id(),
    _owner(),
    _of("webhooks", "webhook"),
    sa.Column("event", sa.String(40), nullable=False),
    sa.Column("payload", sa.JSON, nullable=False),
    sa.Column("state", sa.String(12), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("due", _TIME, nullable=False),
    sa.Column("status", sa.Integer),
    sa.Column("answer", sa.String(400), nullable=False),
    sa.Column("created", _TIME, nullable=False),
    sa.Column("ended", _TIME),
    sa.Index(None, "state", "due"),
)

workers = sa.Table(
    "workers",
    metadata,
    sa.Column("id", sa.String(120), primary_key=True),
    sa.Column("queues", sa.JSON, nullable=False),
    sa.Column("abilities", sa.JSON, nullable=False),
    sa.Column("missing", sa.JSON, nullable=False),
    sa.Column("device", sa.String(60), nullable=False),
    sa.Column("started", _TIME, nullable=False),
    sa.Column("beat", _TIME, nullable=False),
    sa.Column("stopping", sa.Boolean, nullable=False),
)
