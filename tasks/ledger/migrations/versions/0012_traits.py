"""What people chose to say of themselves in captions and prompts."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nobody has said anything yet."""
    with op.batch_alter_table("people") as people:
        people.add_column(sa.Column("traits", sa.JSON, nullable=False, server_default="{}"))


def downgrade() -> None:
    """Forget it."""
    with op.batch_alter_table("people") as people:
        people.drop_column("traits")
