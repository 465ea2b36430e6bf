"""Sign-in codes, keys that expire, and templates that people bring."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make them."""
    with op.batch_alter_table("api_keys") as keys:
        keys.add_column(sa.Column("expires", sa.Double))
    op.create_table(
        "sign_in_codes",
        sa.Column("hash", sa.String(128), nullable=False),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("role", sa.String(20), nullable=False),
        sa.Column("expires", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("hash", name="pk_sign_in_codes"),
    )
    op.create_table(
        "templates",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("width", sa.Integer, nullable=False),
        sa.Column("height", sa.Integer, nullable=False),
        sa.Column("format", sa.String(20), nullable=False),
        sa.Column("faces", sa.JSON),
        sa.Column("job", sa.String(64), nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_templates"),
    )
    op.create_index("ix_templates_owner_id", "templates", ["owner", "id"])


def downgrade() -> None:
    """Take them away."""
    op.drop_table("templates")
    op.drop_table("sign_in_codes")
    with op.batch_alter_table("api_keys") as keys:
        keys.drop_column("expires")
