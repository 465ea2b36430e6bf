"""Drafts of styles."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "style_drafts",
        sa.Column("id", sa.String(60), nullable=False),
        sa.Column("edition", sa.String(64), nullable=False),
        sa.Column("content", sa.JSON, nullable=False),
        sa.Column("changed", sa.Double, nullable=False),
        sa.Column("changed_by", sa.String(64), nullable=False),
        sa.Column("checked", sa.JSON),
        sa.Column("tested", sa.JSON),
        sa.PrimaryKeyConstraint("id", name="pk_style_drafts"),
    )


def downgrade() -> None:
    """Take them away."""
    op.drop_table("style_drafts")
