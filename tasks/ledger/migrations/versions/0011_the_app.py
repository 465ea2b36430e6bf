"""Orders of several jobs, what may be restored after it was deleted, names and measures of portraits, faces of groups."""

from collections.abc import Iterator, Mapping
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

BATCH = 500
_portraits = sa.table(
    "portraits",
    sa.column("id", sa.String),
    sa.column("likeness", sa.JSON),
    sa.column("scores", sa.JSON),
    sa.column("distance", sa.Double),
    sa.column("rules_broken", sa.Integer),
)


def upgrade() -> None:
    """Add them; portraits get their measures from what was stored with them, and jobs that ended count as seen."""
    with op.batch_alter_table("jobs") as jobs:
        jobs.add_column(sa.Column("order_id", sa.String(64), nullable=False, server_default=""))
        jobs.add_column(sa.Column("seen", sa.Double()))
    op.create_index("ix_jobs_order_id", "jobs", ["order_id"])
    op.execute("UPDATE jobs SET seen = finished")
    with op.batch_alter_table("selfies") as selfies:
        selfies.add_column(sa.Column("removed", sa.Double()))
        selfies.add_column(sa.Column("faces", sa.JSON(none_as_null=True)))
        selfies.add_column(sa.Column("face", sa.JSON(none_as_null=True)))
    with op.batch_alter_table("templates") as templates:
        templates.add_column(sa.Column("removed", sa.Double()))
    with op.batch_alter_table("portraits") as portraits:
        portraits.add_column(sa.Column("removed", sa.Double()))
        portraits.add_column(sa.Column("title", sa.String(80), nullable=False, server_default=""))
        portraits.add_column(sa.Column("distance", sa.Double()))
        portraits.add_column(sa.Column("rules_broken", sa.Integer, nullable=False, server_default="0"))
    for table in ("selfies", "templates", "portraits"):
        op.create_index(f"ix_{table}_removed", table, ["removed"])
    _measure()


def downgrade() -> None:
    """Drop them."""
    for table in ("selfies", "templates", "portraits"):
        op.drop_index(f"ix_{table}_removed", table)
    with op.batch_alter_table("portraits") as portraits:
        for name in ("rules_broken", "distance", "title", "removed"):
            portraits.drop_column(name)
    with op.batch_alter_table("templates") as templates:
        templates.drop_column("removed")
    with op.batch_alter_table("selfies") as selfies:
        for name in ("face", "faces", "removed"):
            selfies.drop_column(name)
    op.drop_index("ix_jobs_order_id", "jobs")
    with op.batch_alter_table("jobs") as jobs:
        jobs.drop_column("seen")
        jobs.drop_column("order_id")


def _measure() -> None:
    """Fill `distance` and `rules_broken` of the portraits that are there."""
    connection = op.get_bind()
    update = (
        sa.update(_portraits)
        .where(_portraits.c.id == sa.bindparam("portrait"))
        .values(distance=sa.bindparam("far"), rules_broken=sa.bindparam("broken"))
    )
    for rows in _batches(connection):
        connection.execute(update, [_measures(each) for each in rows])


def _batches(connection: sa.Connection) -> Iterator[list[Mapping[str, Any]]]:
    """The portraits by their ids, a bounded number at a time."""
    last = ""
    while True:
        chosen = sa.select(_portraits.c.id, _portraits.c.likeness, _portraits.c.scores).where(_portraits.c.id > last)
        rows = [each._mapping for each in connection.execute(chosen.order_by(_portraits.c.id).limit(BATCH))]
        if not rows:
            return
        yield [dict(each) for each in rows]
        last = rows[-1]["id"]


def _measures(row: Mapping[str, Any]) -> dict[str, Any]:
    distances = [float(each["distance"]) for each in dict(row["likeness"]).values()]
    broken = int(dict(row["scores"]).get("rules_broken", 0))
    return {"portrait": row["id"], "far": max(distances, default=None), "broken": broken}
