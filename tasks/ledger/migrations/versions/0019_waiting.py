"""Who waits in a queue, with which needs and since when, is kept by triggers: a claim reads that and few of the jobs."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

PRESENT = """
INSERT INTO waiting (queue, needs, priority, owner, since, job)
SELECT queue, needs, priority, owner, created, id FROM (
    SELECT queue, needs, priority, owner, created, id,
        row_number() OVER (PARTITION BY queue, needs, priority, owner ORDER BY created, id) AS place
    FROM jobs WHERE state = 'queued'
) AS placed WHERE place = 1
"""
UPDATE = "UPDATE OF state, queue, needs, priority, owner, created"
SQLITE = {
    "waiting_insert": ("INSERT", "NEW"),
    "waiting_delete": ("DELETE", "OLD"),
    "waiting_before_update": (UPDATE, "OLD"),
    "waiting_after_update": (UPDATE, "NEW"),
}
"""Triggers: when they run, and whose line they write anew."""
TRIGGER = """
CREATE TRIGGER {name} AFTER {event} ON jobs WHEN {row}.state = 'queued' BEGIN
    DELETE FROM waiting
    WHERE queue = {row}.queue AND needs = {row}.needs AND priority = {row}.priority AND owner = {row}.owner;
    INSERT INTO waiting (queue, needs, priority, owner, since, job)
    SELECT queue, needs, priority, owner, created, id FROM jobs
    WHERE state = 'queued' AND queue = {row}.queue AND needs = {row}.needs AND priority = {row}.priority
        AND owner = {row}.owner
    ORDER BY created, id LIMIT 1;
END
"""
# The trigger runs at the end of the transaction: who then locks an owner's lines waits for nobody who waits for them, and
# reads the jobs as they were left by whoever had the lock before.
POSTGRESQL = (
    """
CREATE OR REPLACE FUNCTION renew_waiting(its_queue text, its_needs text, its_priority integer, its_owner text)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    oldest double precision;
    first text;
BEGIN
    PERFORM pg_advisory_xact_lock(2, hashtext(its_owner));
    SELECT created, id INTO oldest, first FROM jobs
    WHERE state = 'queued' AND queue = its_queue AND needs = its_needs AND priority = its_priority AND owner = its_owner
    ORDER BY created, id LIMIT 1;
    IF first IS NULL THEN
        DELETE FROM waiting
        WHERE queue = its_queue AND needs = its_needs AND priority = its_priority AND owner = its_owner;
    ELSE
        INSERT INTO waiting (queue, needs, priority, owner, since, job)
        VALUES (its_queue, its_needs, its_priority, its_owner, oldest, first)
        ON CONFLICT (queue, needs, priority, owner) DO UPDATE SET since = excluded.since, job = excluded.job
        WHERE waiting.job <> excluded.job OR waiting.since <> excluded.since;
    END IF;
END $$
""",
    """
CREATE OR REPLACE FUNCTION note_waiting() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' AND OLD.state = 'queued' THEN
        PERFORM renew_waiting(OLD.queue, OLD.needs, OLD.priority, OLD.owner);
    END IF;
    IF TG_OP <> 'DELETE' AND NEW.state = 'queued' THEN
        PERFORM renew_waiting(NEW.queue, NEW.needs, NEW.priority, NEW.owner);
    END IF;
    RETURN NULL;
END $$
""",
    """
CREATE CONSTRAINT TRIGGER waiting AFTER INSERT OR DELETE OR UPDATE OF state, queue, needs, priority, owner, created ON jobs
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION note_waiting()
""",
)


def upgrade() -> None:
    """Read who waits, and go on noting it."""
    op.create_table(
        "waiting",
        sa.Column("queue", sa.String(20), primary_key=True),
        sa.Column("needs", sa.String(400), primary_key=True),
        sa.Column("priority", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("owner", sa.String(64), primary_key=True),
        sa.Column("since", sa.Double, nullable=False),
        sa.Column("job", sa.String(64), nullable=False),
    )
    op.execute(PRESENT)
    if op.get_bind().dialect.name == "sqlite":
        for name, (event, row) in SQLITE.items():
            op.execute(sa.text(TRIGGER.format(name=name, event=event, row=row)))
    else:
        for statement in POSTGRESQL:
            op.execute(statement)


def downgrade() -> None:
    """Drop all of it."""
    if op.get_bind().dialect.name == "sqlite":
        for name in SQLITE:
            op.execute(f"DROP TRIGGER {name}")
    else:
        op.execute("DROP TRIGGER waiting ON jobs")
        op.execute("DROP FUNCTION note_waiting()")
        op.execute("DROP FUNCTION renew_waiting(text, text, integer, text)")
    op.drop_table("waiting")
