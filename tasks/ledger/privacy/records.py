"""Everything that the ledger keeps of an owner, table by table, for an export."""

from typing import Any, TypeAlias

import sqlalchemy as sa

from tasks.ledger.database import Database
from tasks.ledger.tables import audit, job_events, job_people, jobs, metadata

Records: TypeAlias = dict[str, list[dict[str, Any]]]
SECRETS = frozenset({"hash", "secret", "token", "fingerprint"})
"""Columns that open something, or are the hash of what does."""
LEFT_OUT = frozenset({"erased", "idempotency_keys", "sign_in_codes", "turns"})
"""Tables that hold copies, or ids of what is gone."""


def records_of(database: Database, owner: str) -> Records:
    """Return the rows of every table that names the owner, without secrets; and the audit log of what they did."""
    with database.read() as connection:
        records = {
            table.name: _rows(connection, table, table.c.owner == owner)
            for table in metadata.sorted_tables
            if "owner" in table.c and table.name not in LEFT_OUT
        }
        of_owner = sa.select(jobs.c.id).where(jobs.c.owner == owner)
        for table, rule in ((job_people, sa.true()), (job_events, job_events.c.kind == "state")):
            records[table.name] = _rows(connection, table, table.c.job.in_(of_owner) & rule)
        records["audit"] = _rows(connection, audit, audit.c.actor.startswith(f"{owner}:", autoescape=True))
    return records


def _rows(connection: sa.Connection, table: sa.Table, condition: sa.ColumnElement[bool]) -> list[dict[str, Any]]:
    columns = [column for column in table.c if column.name not in SECRETS]
    chosen = sa.select(*columns).where(condition).order_by(*table.primary_key.columns)
    return [dict(row._mapping) for row in connection.execute(chosen)]
