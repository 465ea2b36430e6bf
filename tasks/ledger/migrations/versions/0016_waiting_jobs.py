"""Index of the jobs that wait, from which claims and places in the queue are read alone, however many jobs have ended."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

COLUMNS = ["queue", "needs", "priority", "owner", "created", "id"]
QUEUED = sa.text("state = 'queued'")


def upgrade() -> None:
    """Create it."""
    op.create_index("ix_jobs_waiting", "jobs", COLUMNS, postgresql_where=QUEUED, sqlite_where=QUEUED)


def downgrade() -> None:
    """Drop it."""
    op.drop_index("ix_jobs_waiting", "jobs")
