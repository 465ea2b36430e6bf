"""A ledger with rows in every table, each written at the first version that has the table, brought through all later ones."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import sqlalchemy as sa

from tasks.ledger.database import Database
from tasks.ledger.upkeep.tables import NOT_ROWS, Row, tables_of

Rows: TypeAlias = Mapping[str, list[dict[str, Any]]]
MINE = {"owner": "ann"}
MADE = {"created": 100.5}
WORDS = "Zoë «quoted» \\ 名字\n"
JOB = {
    **MINE,
    **MADE,
    "queue": "cpu",
    "wants": {"style": "film", "words": WORDS},
    "priority": 0,
    "units": 4,
    "phase": "drawing",
    "progress": 0.123456789012345,
    "message": WORDS,
    "preview": 0,
    "losses": 1,
    "failures": 2,
    "fault": None,
    "result": {"portraits": ["portrait_1"]},
    "started": 101.0,
    "finished": 102.0,
    "worker": None,
    "token": None,
    "lease_until": None,
}
LIKENESS = {"1": {"space": "dlib", "distance": 0.31}}
ROWS: Rows = {
    "people": [{"id": id, **MINE, "name": WORDS, **MADE, "used": 200.25} for id in ("person_1", "person_2")],
    "consents": [
        {
            "id": f"consent_{number}",
            **MINE,
            "person": f"person_{number}",
            "text_version": "1",
            "given_by": WORDS,
            "given": 100.5,
        }
        for number in (1, 2)
    ],
    "selfies": [
        {
            "id": "selfie_1",
            **MINE,
            "person": "person_1",
            "name": "é.jpg",
            "sha256": "a" * 64,
            "bytes": 3_000_000_000,
            "width": 4,
            "height": 3,
            "format": "JPEG",
            "wish": "",
            "verdict": "use",
            **MADE,
            "reasons": [{"code": "dark"}],
            "quality": {"total": 0.9},
        }
    ],
    "jobs": [
        {"id": "job_1", **JOB, "kind": "generate", "state": "succeeded", "needs": "draw:studio"},
        {
            "id": "job_2",
            **JOB,
            "kind": "train",
            "state": "failed",
            "needs": "train:sdxl",
            "fault": {"branch": "engine", "code": "x", "message": WORDS},
        },
    ],
    "training_sets": [
        {"id": "set_1", **MINE, "person": "person_1", "job": "job_2", "photos": [{"file": "selfie_1"}], **MADE}
    ],
    "identities": [{"id": "identity_1", **MINE, "person": "person_1", "training_set": "set_1", **MADE}],
    "style_versions": [{"id": "film", "version": 2, "content": {"kind": "text"}, "sha256": "b" * 64, "published": 1.0}],
    "erased": [{"id": "person_0", **MINE, "kind": "person", "at": 9.0}],
    "job_people": [{"job": "job_1", "person": "person_1"}, {"job": "job_1", "person": "person_2"}],
    "job_events": [
        {"id": 7, "job": "job_1", "at": 101.5, "kind": "progress", "state": "running", "data": {"message": WORDS}},
        {"id": 9, "job": "job_2", "at": 102.5, "kind": "state", "state": "failed", "data": {}},
    ],
    "turns": [{**MINE, "queue": "cpu", "served": 101.0}],
    "portraits": [
        {
            "id": "portrait_1",
            **MINE,
            "job": "job_1",
            "number": 1,
            "file": "01.jpg",
            "format": "jpg",
            "bytes": 9,
            "width": 2,
            "height": 3,
            "style": "film",
            "style_version": 2,
            "likeness": LIKENESS,
            "favourite": True,
            "scores": {"total": 0.5, "rules_broken": 2},
            "recipe": {"seed": 2**63, "words": WORDS},
            **MADE,
        }
    ],
    "api_keys": [
        {"id": "key_1", **MINE, "name": "laptop", "role": "person", "hash": "h1", **MADE, "used": None, "revoked": None}
    ],
    "idempotency_keys": [
        {**MINE, "key": "k", "fingerprint": "f", "status": 201, "headers": {"location": "/"}, "body": "{}", **MADE}
    ],
    "webhooks": [
        {
            "id": "webhook_1",
            **MINE,
            "url": "https://example.org/",
            "secret": "s",
            "events": [],
            **MADE,
            "why_disabled": "",
        }
    ],
    "webhook_deliveries": [
        {
            "id": "delivery_1",
            **MINE,
            "webhook": "webhook_1",
            "event": "job.failed",
            "payload": {"id": "job_2"},
            **MADE,
            "state": "waiting",
            "attempts": 1,
            "due": 5.0,
            "status": None,
            "answer": "",
            "ended": None,
        }
    ],
    "workers": [
        {
            "id": "w",
            "queues": ["cpu"],
            "abilities": [],
            "missing": {},
            "device": "cpu",
            "started": 1.0,
            "beat": 2.0,
            "stopping": False,
        }
    ],
    "sign_in_codes": [{"hash": "h2", **MINE, "role": "person", "expires": 9.0}],
    "templates": [
        {
            "id": "template_1",
            **MINE,
            "name": "beach.png",
            "bytes": 9,
            "width": 4,
            "height": 3,
            "format": "PNG",
            "faces": [{"box": [1, 2, 3, 4]}],
            "job": "job_1",
            **MADE,
        },
        {
            "id": "template_2",
            **MINE,
            "name": "party.png",
            "bytes": 9,
            "width": 4,
            "height": 3,
            "format": "PNG",
            "faces": None,
            "job": "job_1",
            **MADE,
        },
    ],
    "style_drafts": [
        {
            "id": "film",
            "edition": "e1",
            "content": {"kind": "text"},
            "changed": 3.0,
            "changed_by": "ann",
            "checked": [],
            "tested": None,
        }
    ],
    "sessions": [
        {
            "id": "session_1",
            **MINE,
            "role": "person",
            "hash": "h3",
            "key": "key_1",
            **MADE,
            "used": 1.0,
            "idle": 2.0,
            "expires": 3.0,
        }
    ],
    "owners": [{"id": "bea", "folded": "bea", **MADE, "disabled": 7.0}],
    "audit": [
        {"id": "audit_1", "at": 1.0, "actor": "system", "subject": "ann", "action": "key.created", "detail": {"n": 1}}
    ],
    "consent_texts": [
        {
            "version": "1",
            "language": "en",
            "number": 1,
            "asks_again": True,
            "sha256": "c" * 64,
            "content": {"agree": WORDS},
            "published": 1.0,
        }
    ],
    "consent_proofs": [
        {
            "id": "proof_1",
            **MINE,
            "person": "person_0",
            "key": "",
            "text_version": "1",
            "language": "en",
            "given_for": "",
            "text_hash": "",
            "adult": True,
            "given": 1.0,
            "days": 30.0,
            "withdrawn": None,
            "erased": 9.0,
        }
    ],
    "erasures": [
        {
            "id": "erasure_1",
            **MINE,
            "kind": "person",
            "subject": "person_0",
            "actor": "ann",
            "asked": 8.0,
            "until": 8.5,
            "targets": [],
            "ids": {"people": ["person_0"]},
            "done": 9.0,
        }
    ],
    "usage": [{"id": 3, **MINE, "kind": "portraits", "amount": 4, "at": 100.0, "job": "job_1"}],
    "blocked_people": [
        {"id": "blocked_1", "note": WORDS, "added_by": "ann", "added": 1.0, "embeddings": {"dlib": [0.1, -0.25]}}
    ],
}
"""Rows by table, with the columns that the table had when it was first there."""


def without_rows(tables: sa.MetaData) -> set[str]:
    """Names of tables that `ROWS` has no row for, and that no trigger fills."""
    return set(tables.tables) - set(ROWS) - set(NOT_ROWS)


def fill(database: Database) -> Iterator[str]:
    """Bring an empty database to the newest schema, writing the rows of each table as soon as it is there; yields each step."""
    filled: set[str] = set()
    for revision, _ in database.steps():
        database.migrate(revision)
        with database.write() as connection:
            for table in tables_of(connection):
                if table.name not in filled and table.name in ROWS:
                    connection.execute(sa.insert(table), ROWS[table.name])
                    filled.add(table.name)
        yield revision


def lost(database: Database) -> list[Row]:
    """Rows that were written and are not there any more with the same values, of the tables that are there."""
    with database.read() as connection:
        return [
            row
            for table in tables_of(connection)
            if table.name in ROWS
            for row in ROWS[table.name]
            if connection.execute(sa.select(table).where(*_key(table, row))).one_or_none() is None
            or not row.items()
            <= dict(connection.execute(sa.select(table).where(*_key(table, row))).one()._mapping).items()
        ]


def _key(table: sa.Table, row: Row) -> Iterator[sa.ColumnElement[bool]]:
    return (column == row[column.name] for column in table.primary_key.columns)
