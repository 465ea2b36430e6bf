"""Which base model an identity was learned on."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Identities that are there learned nothing."""
    with op.batch_alter_table("identities") as identities:
        identities.add_column(sa.Column("base", sa.String(200), nullable=False, server_default=""))


def downgrade() -> None:
    """Forget it."""
    with op.batch_alter_table("identities") as identities:
        identities.drop_column("base")
