"""What a photo serves, and whether it is asked whom it shows."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Of photos that were judged before it is not known."""
    with op.batch_alter_table("selfies") as selfies:
        selfies.add_column(sa.Column("uses", sa.JSON, nullable=False, server_default="{}"))


def downgrade() -> None:
    """Forget it."""
    with op.batch_alter_table("selfies") as selfies:
        selfies.drop_column("uses")
