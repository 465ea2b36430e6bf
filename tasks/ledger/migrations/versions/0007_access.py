"""Sessions, disabled owners and the audit log."""

import time
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_OWNED = ("api_keys", "people", "jobs", "templates", "portraits", "webhooks")


def upgrade() -> None:
    """Add them; whoever owns something is an owner. Where `Ann` and `ann` are both there, both stay."""
    with op.batch_alter_table("api_keys") as keys:
        keys.add_column(sa.Column("made_by", sa.String(64)))
    op.create_table(
        "sessions",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("role", sa.String(20), nullable=False),
        sa.Column("hash", sa.String(128), nullable=False),
        sa.Column("key", sa.String(64)),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("used", sa.Double, nullable=False),
        sa.Column("idle", sa.Double, nullable=False),
        sa.Column("expires", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_sessions"),
        sa.UniqueConstraint("hash", name="uq_sessions_hash"),
    )
    op.create_index("ix_sessions_owner", "sessions", ["owner"])
    owners = op.create_table(
        "owners",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("folded", sa.String(64), nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("disabled", sa.Double),
        sa.PrimaryKeyConstraint("id", name="pk_owners"),
    )
    op.create_index("ix_owners_folded", "owners", ["folded"])
    op.create_table(
        "audit",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.Column("action", sa.String(40), nullable=False),
        sa.Column("subject", sa.String(200), nullable=False),
        sa.Column("detail", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
    )
    op.create_index("ix_audit_at", "audit", ["at"])
    chosen = sa.union(*(sa.select(sa.column("owner", sa.String)).select_from(sa.table(name)) for name in _OWNED))
    names: Sequence[Any] = op.get_bind().execute(chosen).scalars().all()
    now = time.time()
    if names:
        op.bulk_insert(owners, [{"id": name, "folded": name.lower(), "created": now} for name in sorted(names)])


def downgrade() -> None:
    """Drop them."""
    op.drop_table("audit")
    op.drop_table("owners")
    op.drop_table("sessions")
    with op.batch_alter_table("api_keys") as keys:
        keys.drop_column("made_by")
