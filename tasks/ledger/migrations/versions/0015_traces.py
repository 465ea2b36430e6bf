"""Which request a job came from, with the trace of it, and how much memory the GPUs of a worker have."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add them; of jobs and workers that are there it is not known."""
    op.add_column("jobs", sa.Column("request", sa.String(64), nullable=False, server_default=""))
    op.add_column("jobs", sa.Column("traceparent", sa.String(64), nullable=False, server_default=""))
    op.add_column("workers", sa.Column("gpus", sa.JSON()))


def downgrade() -> None:
    """Drop them."""
    with op.batch_alter_table("workers") as workers:
        workers.drop_column("gpus")
    with op.batch_alter_table("jobs") as jobs:
        jobs.drop_column("traceparent")
        jobs.drop_column("request")
