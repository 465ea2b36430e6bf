"""What is to be erased, until it is; and whether an identity was learned from a photo that was deleted."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add them; nothing is known to be stale or under way."""
    op.create_table(
        "erasures",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("subject", sa.String(64), nullable=False),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.Column("asked", sa.Double(), nullable=False),
        sa.Column("until", sa.Double(), nullable=False),
        sa.Column("targets", sa.JSON(), nullable=False),
        sa.Column("ids", sa.JSON(), nullable=False),
        sa.Column("done", sa.Double()),
        sa.PrimaryKeyConstraint("id", name="pk_erasures"),
    )
    op.create_index("ix_erasures_owner_id", "erasures", ["owner", "id"])
    op.create_index("ix_erasures_done", "erasures", ["done"])
    op.add_column("identities", sa.Column("stale", sa.Double()))


def downgrade() -> None:
    """Drop them."""
    with op.batch_alter_table("identities") as identities:
        identities.drop_column("stale")
    op.drop_table("erasures")
