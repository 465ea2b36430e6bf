"""Indexes of what was deleted and can be restored hold that alone: by those of all rows SQLite read every row that is there."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

TABLES = ("selfies", "portraits", "templates")
REMOVED, THERE = sa.text("removed IS NOT NULL"), sa.text("removed IS NULL")


def upgrade() -> None:
    """Replace them, and add one that a page of portraits, and their number, are read from however many there are."""
    columns = ["owner", "created"]
    op.create_index("ix_portraits_there", "portraits", columns, postgresql_where=THERE, sqlite_where=THERE)
    for table in TABLES:
        op.drop_index(f"ix_{table}_removed", table)
        op.create_index(f"ix_{table}_removed", table, ["removed"], postgresql_where=REMOVED, sqlite_where=REMOVED)


def downgrade() -> None:
    """Bring those of all rows back."""
    op.drop_index("ix_portraits_there", "portraits")
    for table in TABLES:
        op.drop_index(f"ix_{table}_removed", table)
        op.create_index(f"ix_{table}_removed", table, ["removed"])
