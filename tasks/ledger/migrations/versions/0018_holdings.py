"""What is kept of each owner is counted by triggers as it is written, and read by indexes: no page sums all of it up."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

COUNTED = ("selfies", "portraits", "templates")
ACTIVE = sa.text("state IN ('queued', 'running', 'cancelling')")
THERE = sa.text("removed IS NULL")
MARKED, MARKED_SQLITE = (sa.text(f"removed IS NULL AND favourite IS {true}") for true in ("true", "1"))
ALIKE = ["owner", "rules_broken", sa.text("coalesce(distance, 99.0)"), sa.text("id DESC")]
PRESENT = (
    "INSERT INTO holdings (owner, kind, there, bytes) SELECT owner, '{0}', {1}, sum(bytes) FROM {0} GROUP BY owner"
)
ADD = """
    INSERT INTO holdings (owner, kind, there, bytes) VALUES (NEW.owner, '{0}', NEW.removed IS NULL, NEW.bytes)
    ON CONFLICT (owner, kind) DO UPDATE SET there = there + excluded.there, bytes = bytes + excluded.bytes;"""
TAKE = """
    UPDATE holdings SET there = there - (OLD.removed IS NULL), bytes = bytes - OLD.bytes
    WHERE owner = OLD.owner AND kind = '{0}';"""
FORGET = "DELETE FROM holdings WHERE owner = OLD.owner AND kind = '{0}' AND there = 0 AND bytes = 0;"
SQLITE = {"insert": ("INSERT", ADD), "delete": ("DELETE", TAKE + FORGET)}
SQLITE["update"] = ("UPDATE OF owner, bytes, removed", TAKE + ADD)
FUNCTION = """
CREATE OR REPLACE FUNCTION count_holdings() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        UPDATE holdings SET there = there - (OLD.removed IS NULL)::int, bytes = bytes - OLD.bytes
        WHERE owner = OLD.owner AND kind = TG_TABLE_NAME;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO holdings (owner, kind, there, bytes)
        VALUES (NEW.owner, TG_TABLE_NAME, (NEW.removed IS NULL)::int, NEW.bytes)
        ON CONFLICT (owner, kind) DO UPDATE
        SET there = holdings.there + excluded.there, bytes = holdings.bytes + excluded.bytes;
    ELSE
        DELETE FROM holdings WHERE owner = OLD.owner AND kind = TG_TABLE_NAME AND there = 0 AND bytes = 0;
    END IF;
    RETURN NULL;
END $$
"""
# At the end of the transaction: whoever writes locks the owner's row last, and waits for nobody while it is locked.
POSTGRESQL = """
CREATE CONSTRAINT TRIGGER holdings_of_{0} AFTER INSERT OR DELETE OR UPDATE OF owner, bytes, removed ON {0}
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION count_holdings()
"""


def upgrade() -> None:
    """Count what is there, and go on counting; add the indexes."""
    op.create_table(
        "holdings",
        sa.Column("owner", sa.String(64), primary_key=True),
        sa.Column("kind", sa.String(20), primary_key=True),
        sa.Column("there", sa.Integer, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
    )
    sqlite = op.get_bind().dialect.name == "sqlite"
    if not sqlite:
        op.execute(FUNCTION)
    for table in COUNTED:
        op.execute(PRESENT.format(table, "sum(CASE WHEN removed IS NULL THEN 1 ELSE 0 END)"))
        if not sqlite:
            op.execute(POSTGRESQL.format(table))
            continue
        for name, (event, body) in SQLITE.items():
            begun = f"CREATE TRIGGER holdings_of_{table}_{name} AFTER {event} ON {table} BEGIN"
            op.execute(sa.text(f"{begun}{body.format(table)} END"))
    op.create_index("ix_jobs_active", "jobs", ["owner", "started"], postgresql_where=ACTIVE, sqlite_where=ACTIVE)
    op.create_index("ix_portraits_alike", "portraits", ALIKE, postgresql_where=THERE, sqlite_where=THERE)
    op.create_index(
        "ix_portraits_marked", "portraits", ["owner", "created"], postgresql_where=MARKED, sqlite_where=MARKED_SQLITE
    )


def downgrade() -> None:
    """Drop all of it."""
    op.drop_index("ix_portraits_marked", "portraits")
    op.drop_index("ix_portraits_alike", "portraits")
    op.drop_index("ix_jobs_active", "jobs")
    sqlite = op.get_bind().dialect.name == "sqlite"
    for table in COUNTED:
        for name in SQLITE if sqlite else ():
            op.execute(f"DROP TRIGGER holdings_of_{table}_{name}")
        if not sqlite:
            op.execute(f"DROP TRIGGER holdings_of_{table} ON {table}")
    if not sqlite:
        op.execute("DROP FUNCTION count_holdings()")
    op.drop_table("holdings")
