"""What was agreed to, by whom, and in which words; when portraits and pictures were last used, and who was warned."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def _added() -> dict[str, tuple[sa.Column[Any], ...]]:
    """Columns by table. Of consents and pictures from before, nothing more is known than that they were given."""
    return {
        "consents": (
            sa.Column("language", sa.String(10), nullable=False, server_default=""),
            sa.Column("text_hash", sa.String(64), nullable=False, server_default=""),
            sa.Column("days", sa.Double),
            sa.Column("given_for", sa.String(10), nullable=False, server_default=""),
            sa.Column("adult", sa.Boolean, nullable=False, server_default=sa.false()),
            sa.Column("key", sa.String(64), nullable=False, server_default=""),
        ),
        "people": (sa.Column("warned", sa.Double),),
        "portraits": (sa.Column("used", sa.Double),),
        "templates": (
            sa.Column("statement", sa.String(40), nullable=False, server_default=""),
            sa.Column("used", sa.Double),
            sa.Column("warned", sa.Double),
        ),
    }


def upgrade() -> None:
    """Add them."""
    for table, columns in _added().items():
        with op.batch_alter_table(table) as altered:
            for column in columns:
                altered.add_column(column)
    op.create_table(
        "consent_texts",
        sa.Column("version", sa.String(40), nullable=False),
        sa.Column("language", sa.String(10), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("asks_again", sa.Boolean, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("content", sa.JSON, nullable=False),
        sa.Column("published", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("version", "language", name="pk_consent_texts"),
    )
    op.create_table(
        "consent_proofs",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("person", sa.String(64), nullable=False),
        sa.Column("text_version", sa.String(40), nullable=False),
        sa.Column("language", sa.String(10), nullable=False),
        sa.Column("text_hash", sa.String(64), nullable=False),
        sa.Column("days", sa.Double),
        sa.Column("given_for", sa.String(10), nullable=False),
        sa.Column("adult", sa.Boolean, nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("given", sa.Double, nullable=False),
        sa.Column("withdrawn", sa.Double),
        sa.Column("erased", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_consent_proofs"),
    )
    op.create_index("ix_consent_proofs_owner_id", "consent_proofs", ["owner", "id"])
    op.create_index("ix_consent_proofs_erased", "consent_proofs", ["erased"])


def downgrade() -> None:
    """Drop them."""
    op.drop_table("consent_proofs")
    op.drop_table("consent_texts")
    for table, columns in _added().items():
        with op.batch_alter_table(table) as altered:
            for column in columns:
                altered.drop_column(column.name)
