"""Faces that are never drawn, and whether a parent or guardian is to be asked for somebody."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add them; of people whose photos were judged before it is not known."""
    op.create_table(
        "blocked_people",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("note", sa.String(200), nullable=False),
        sa.Column("added_by", sa.String(200), nullable=False),
        sa.Column("added", sa.Double, nullable=False),
        sa.Column("embeddings", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_blocked_people"),
    )
    with op.batch_alter_table("people") as people:
        people.add_column(sa.Column("asks_guardian", sa.Boolean()))
        people.add_column(sa.Column("age_settled", sa.Double()))


def downgrade() -> None:
    """Forget them."""
    with op.batch_alter_table("people") as people:
        people.drop_column("age_settled")
        people.drop_column("asks_guardian")
    op.drop_table("blocked_people")
