"""Which version of the program a worker runs, and until when one that is to stop may finish its job."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add them; of workers that run meanwhile the version is not known."""
    op.add_column("workers", sa.Column("stop_by", sa.Double()))
    op.add_column("workers", sa.Column("version", sa.String(40), nullable=False, server_default=""))


def downgrade() -> None:
    """Drop them."""
    with op.batch_alter_table("workers") as workers:
        workers.drop_column("version")
        workers.drop_column("stop_by")
