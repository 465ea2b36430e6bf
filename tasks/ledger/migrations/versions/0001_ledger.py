"""The ledger as it began."""

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
ID, TIME = sa.String(64), sa.Double()


def _columns(kind: Any, *names: str, nullable: bool = False) -> Iterator[sa.Column[Any]]:
    return (sa.Column(name, kind, nullable=nullable) for name in names)


def _of(table: str, column: str, target: str) -> sa.Column[str]:
    key = sa.ForeignKey(f"{target}.id", name=f"fk_{table}_{column}", ondelete="CASCADE")
    return sa.Column(column, ID, key, nullable=False)


TABLES = {
    "people": (
        *_columns(ID, "id", "owner"),
        sa.Column("name", sa.String(200), nullable=False),
        *_columns(TIME, "created", "used"),
        sa.PrimaryKeyConstraint("id", name="pk_people"),
        sa.Index("ix_people_owner_id", "owner", "id"),
    ),
    "consents": (
        *_columns(ID, "id", "owner"),
        _of("consents", "person", "people"),
        sa.Column("text_version", sa.String(40), nullable=False),
        sa.Column("given_by", sa.String(200), nullable=False),
        sa.Column("given", TIME, nullable=False),
        sa.Column("withdrawn", TIME),
        sa.PrimaryKeyConstraint("id", name="pk_consents"),
        sa.Index("ix_consents_person", "person"),
    ),
    "selfies": (
        *_columns(ID, "id", "owner"),
        _of("selfies", "person", "people"),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        *_columns(sa.Integer(), "width", "height"),
        sa.Column("format", sa.String(20), nullable=False),
        *_columns(sa.String(10), "wish", "verdict"),
        *_columns(sa.JSON(), "reasons", "quality"),
        sa.Column("created", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_selfies"),
        sa.UniqueConstraint("person", "sha256", name="uq_selfies_person_sha256"),
        sa.Index("ix_selfies_person", "person"),
    ),
    "jobs": (
        *_columns(ID, "id", "owner"),
        *_columns(sa.String(20), "kind", "queue"),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("wants", sa.JSON(), nullable=False),
        sa.Column("needs", sa.String(400), nullable=False),
        *_columns(sa.Integer(), "priority", "units"),
        sa.Column("phase", sa.String(40), nullable=False),
        sa.Column("progress", sa.Double(), nullable=False),
        sa.Column("message", sa.String(400), nullable=False),
        *_columns(sa.Integer(), "preview", "losses", "failures"),
        sa.Column("fault", sa.JSON()),
        sa.Column("result", sa.JSON(), nullable=False),
        sa.Column("created", TIME, nullable=False),
        *_columns(TIME, "started", "finished", nullable=True),
        sa.Column("worker", sa.String(120)),
        sa.Column("token", ID),
        sa.Column("lease_until", TIME),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
        sa.Index("ix_jobs_kind_state_finished", "kind", "state", "finished"),
        sa.Index("ix_jobs_owner_id", "owner", "id"),
        sa.Index("ix_jobs_queue_state_needs", "queue", "state", "needs"),
        sa.Index("ix_jobs_state_lease_until", "state", "lease_until"),
    ),
    "training_sets": (
        *_columns(ID, "id", "owner"),
        _of("training_sets", "person", "people"),
        sa.Column("job", ID, nullable=False),
        sa.Column("photos", sa.JSON(), nullable=False),
        sa.Column("created", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_training_sets"),
        sa.Index("ix_training_sets_person", "person"),
    ),
    "identities": (
        *_columns(ID, "id", "owner"),
        _of("identities", "person", "people"),
        _of("identities", "training_set", "training_sets"),
        sa.Column("created", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_identities"),
        sa.Index("ix_identities_person", "person"),
        sa.Index("ix_identities_training_set", "training_set"),
    ),
    "style_versions": (
        sa.Column("id", sa.String(60), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("content", sa.JSON(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("published", TIME, nullable=False),
        sa.Column("retired", TIME),
        sa.PrimaryKeyConstraint("id", "version", name="pk_style_versions"),
    ),
    "erased": (
        *_columns(ID, "id", "owner"),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_erased"),
    ),
    "job_people": (
        _of("job_people", "job", "jobs"),
        sa.Column("person", ID, nullable=False),
        sa.PrimaryKeyConstraint("job", "person", name="pk_job_people"),
        sa.Index("ix_job_people_person", "person"),
    ),
    "job_events": (
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False, autoincrement=True),
        _of("job_events", "job", "jobs"),
        sa.Column("at", TIME, nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_job_events"),
        sa.Index("ix_job_events_job", "job"),
    ),
    "turns": (
        sa.Column("owner", ID, nullable=False),
        sa.Column("queue", sa.String(20), nullable=False),
        sa.Column("served", TIME, nullable=False),
        sa.PrimaryKeyConstraint("owner", "queue", name="pk_turns"),
    ),
    "portraits": (
        *_columns(ID, "id", "owner"),
        _of("portraits", "job", "jobs"),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("file", sa.String(120), nullable=False),
        sa.Column("format", sa.String(10), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        *_columns(sa.Integer(), "width", "height"),
        sa.Column("style", sa.String(60), nullable=False),
        sa.Column("style_version", sa.Integer(), nullable=False),
        *_columns(sa.JSON(), "likeness", "scores", "recipe"),
        sa.Column("favourite", sa.Boolean(), nullable=False),
        sa.Column("created", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_portraits"),
        sa.UniqueConstraint("job", "number", name="uq_portraits_job_number"),
        sa.Index("ix_portraits_job", "job"),
        sa.Index("ix_portraits_owner_id", "owner", "id"),
    ),
    "api_keys": (
        *_columns(ID, "id", "owner"),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("role", sa.String(20), nullable=False),
        sa.Column("hash", sa.String(128), nullable=False),
        sa.Column("created", TIME, nullable=False),
        *_columns(TIME, "used", "revoked", nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.UniqueConstraint("hash", name="uq_api_keys_hash"),
        sa.Index("ix_api_keys_owner", "owner"),
    ),
    "idempotency_keys": (
        sa.Column("owner", ID, nullable=False),
        sa.Column("key", sa.String(200), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("status", sa.Integer()),
        sa.Column("headers", sa.JSON(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("created", TIME, nullable=False),
        sa.PrimaryKeyConstraint("owner", "key", name="pk_idempotency_keys"),
    ),
    "webhooks": (
        *_columns(ID, "id", "owner"),
        sa.Column("url", sa.String(2000), nullable=False),
        sa.Column("secret", sa.String(200), nullable=False),
        sa.Column("events", sa.JSON(), nullable=False),
        sa.Column("created", TIME, nullable=False),
        sa.Column("disabled", TIME),
        sa.Column("why_disabled", sa.String(200), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_webhooks"),
        sa.Index("ix_webhooks_owner", "owner"),
    ),
    "webhook_deliveries": (
        *_columns(ID, "id", "owner"),
        _of("webhook_deliveries", "webhook", "webhooks"),
        sa.Column("event", sa.String(40), nullable=False),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due", TIME, nullable=False),
        sa.Column("status", sa.Integer()),
        sa.Column("answer", sa.String(400), nullable=False),
        sa.Column("created", TIME, nullable=False),
        sa.Column("ended", TIME),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_deliveries"),
        sa.Index("ix_webhook_deliveries_state_due", "state", "due"),
        sa.Index("ix_webhook_deliveries_webhook", "webhook"),
    ),
    "workers": (
        sa.Column("id", sa.String(120), nullable=False),
        *_columns(sa.JSON(), "queues", "abilities", "missing"),
        sa.Column("device", sa.String(60), nullable=False),
        *_columns(TIME, "started", "beat"),
        sa.Column("stopping", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_workers"),
    ),
}


def upgrade() -> None:
    """Make every table."""
    for name, parts in TABLES.items():
        op.create_table(name, *parts, sqlite_autoincrement=name == "job_events")


def downgrade() -> None:
    """Take them away."""
    for name in reversed(TABLES):
        op.drop_table(name)
