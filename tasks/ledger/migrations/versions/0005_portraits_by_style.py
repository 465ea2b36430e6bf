"""Portraits are found by their style: for its figures."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make the index."""
    op.create_index("ix_portraits_style_id", "portraits", ["style", "id"])


def downgrade() -> None:
    """Take it away."""
    op.drop_index("ix_portraits_style_id", "portraits")
