"""Fills a ledger with rows as installations write them, to measure how many bytes each takes, indexes among them.

Lengths of what varies (quality, uses, recipe, photos of a set) are those of rows that the flows wrote, for twelve photos of
12 megapixels and studio portraits.
"""

import zlib
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import sqlalchemy as sa

from tasks.ledger.database import new_id
from tasks.ledger.ledger import Ledger
from tasks.ledger.tables import metadata

PHOTOS, JOBS, PORTRAITS, EVENTS = 12, 12, 4, 3
"""Of a person: photos and jobs; portraits of a job that draws, and events that stay of any: queued, running, done."""
MONTH = 30 * 86_400.0
Rows: TypeAlias = Mapping[str, list[dict[str, Any]]]
"""Rows by table, in the order in which foreign keys allow them."""
TABLES = (
    "owners",
    "people",
    "consents",
    "selfies",
    "jobs",
    "job_people",
    "job_events",
    "training_sets",
    "identities",
    "portraits",
)
"""What stays for as long as a person does; all else is a few rows, or gone within a day."""


def rows_of(number: int, started: float) -> Rows:
    """The rows of one owner with one person; ids sort by age, as real ones do."""
    owner, at = f"owner{number:08}", started + number
    person, training_set = new_id("person", at), new_id("set", at)
    kinds = ["prepare", "train", *["generate"] * (JOBS - 2)]
    jobs = [_job(owner, person, kind, at + 60.0 * place) for place, kind in enumerate(kinds)]
    selfies = [_selfie(owner, person, at + place) for place in range(PHOTOS)]
    return {
        "owners": [{"id": owner, "folded": owner, "created": at}],
        "people": [{"id": person, "owner": owner, "name": "Ann", "created": at, "used": at, "traits": {}}],
        "consents": [_consent(owner, person, at)],
        "selfies": selfies,
        "jobs": jobs,
        "job_people": [{"job": job["id"], "person": person} for job in jobs],
        "job_events": [each for job in jobs for each in _events(job)],
        "training_sets": [
            {
                "id": training_set,
                "owner": owner,
                "person": person,
                "job": jobs[0]["id"],
                "photos": [_photo_of_set(each["id"]) for each in selfies],
                "created": at,
            }
        ],
        "identities": [
            {
                "id": new_id("identity", at),
                "owner": owner,
                "person": person,
                "training_set": training_set,
                "created": at,
                "base": "sdxl",
            }
        ],
        "portraits": [
            _portrait(owner, job["id"], selfies[0]["id"], place, job["created"])
            for job in jobs[2:]
            for place in range(PORTRAITS)
        ],
    }


def fill(ledger: Ledger, owners: int, started: float = 1.8e9) -> Iterator[str]:
    """Insert the rows of so many owners, table by table; gives each table's name when its rows are there."""
    found = [rows_of(number, started + number * MONTH / owners) for number in range(owners)]
    for table in TABLES:
        with ledger.database.write() as connection:
            connection.execute(sa.insert(metadata.tables[table]), [row for each in found for row in each[table]])
        yield table


def bytes_a_row(ledger: Ledger, owners: int) -> dict[str, float]:
    """Bytes that a row takes by table, with its part of the indexes, in a ledger that is filled for it."""
    counts = {table: len(rows) * owners for table, rows in rows_of(0, 0.0).items()}
    found = {}
    if ledger.database.sqlite:
        before = _sqlite_bytes(ledger)
        for table in fill(ledger, owners):
            after = _sqlite_bytes(ledger)
            found[table], before = (after - before) / counts[table], after
        return found
    for table in fill(ledger, owners):
        with ledger.database.read() as connection:
            size = connection.scalar(
                sa.text("SELECT pg_total_relation_size(CAST(:table AS regclass))"), {"table": table}
            )
        found[table] = int(size or 0) / counts[table]
    return found


def _sqlite_bytes(ledger: Ledger) -> int:
    with ledger.database.read() as connection:
        pages, size = (connection.exec_driver_sql(f"PRAGMA {each}").scalar() for each in ("page_count", "page_size"))
    return int(pages or 0) * int(size or 0)


def _consent(owner: str, person: str, at: float) -> dict[str, Any]:
    return {
        "id": new_id("consent", at),
        "owner": owner,
        "person": person,
        "text_version": "2026-11",
        "given_by": "Ann",
        "given": at,
        "days": 30.0,
        "language": "en",
        "text_hash": "f" * 64,
        "given_for": "self",
        "adult": True,
        "key": new_id("key", at),
    }


def _selfie(owner: str, person: str, at: float) -> dict[str, Any]:
    quality = {"sharpness": 0.9312, "exposure": 0.9871, "frontality": 0.997, "size": 1.0, "eyes": 1.0, "framing": 1.0}
    face = {"left": 0.40731, "top": 0.16225, "right": 0.57704, "bottom": 0.41155}
    return {
        "id": new_id("selfie", at),
        "owner": owner,
        "person": person,
        "name": "IMG_20261130_101530.jpg",
        "sha256": new_id("", at).rjust(64, "0"),
        "bytes": 4_000_000,
        "width": 4000,
        "height": 3000,
        "format": "jpeg",
        "wish": "",
        "verdict": "use",
        "reasons": [],
        "quality": {**quality, "total": 0.9995, "likeness": {"space": "dlib", "distance": 0.0317}},
        "uses": {
            name: {"ready": True, "reasons": []} for name in ("learning", "studio", "template", "idphoto", "look")
        },
        "created": at,
        "faces": [face],
    }


def _photo_of_set(selfie: str) -> dict[str, Any]:
    """What a set notes of a photo, half a kilobyte."""
    quality = {"sharpness": 1.0, "exposure": 1.0, "frontality": 0.9992, "size": 1.0, "eyes": 1.0, "framing": 1.0}
    studio = ["half_figure", "head_and_shoulders", "close", "very_close"]
    return {
        "file": selfie,
        "verdict": "use",
        "reasons": [],
        "likeness": {"space": "dlib", "distance": 0.0414},
        "quality": {**quality, "total": 0.9999},
        "serves": {"studio": studio, "idphoto": True, "template": "front"},
        "faces": [{"left": 0.40731, "top": 0.16225, "right": 0.57704, "bottom": 0.41155}],
        "eyes": [0.4552, 0.236, 0.5287, 0.2482],
        "traits": {"age": "young", "expression": "smiling"},
    }


def _job(owner: str, person: str, kind: str, at: float) -> dict[str, Any]:
    wants = {
        "people": {"1": person},
        "style": "studio-warm",
        "style_version": 1,
        "count": PORTRAITS,
        "seed": 1234567890,
    }
    made = [new_id("portrait", at) for _ in range(PORTRAITS if kind == "generate" else 1)]
    return {
        "id": new_id("job", at),
        "owner": owner,
        "kind": kind,
        "queue": "gpu.generate" if kind == "generate" else "gpu.train",
        "state": "succeeded",
        "wants": {**wants, "format": "jpg", "technique": {"base": "sdxl", "identities": ["lora"]}},
        "needs": "base:sdxl:lora draw:text",
        "priority": 0,
        "units": PORTRAITS,
        "preview": 4,
        "losses": 0,
        "failures": 0,
        "phase": "measuring",
        "progress": 1.0,
        "message": "",
        "result": {"portraits": made},
        "created": at,
        "started": at + 5.0,
        "finished": at + 30.0,
        "seen": at + 40.0,
        "worker": "host:12345:abc123:12346",
        "order_id": new_id("order", at),
    }


def _events(job: Mapping[str, Any]) -> list[dict[str, Any]]:
    data = {"phase": "drawing", "progress": 0.5123, "message": "Drawing, step 12 of 25", "preview": 2}
    states = ("queued", "running", "succeeded")
    return [
        {"job": job["id"], "at": job["created"] + place, "kind": "state", "state": state, "data": data}
        for place, state in enumerate(states)
    ]


def _portrait(owner: str, job: str, selfie: str, number: int, at: float) -> dict[str, Any]:
    drawn = {"base": "sdxl", "prompt": "photo of sks person, half figure, soft light, linen shirt, garden " * 2}
    drawn |= {"steps": 25, "guidance": 5.0, "scheduler": "dpm_2m_karras", "lora_hash": "f" * 64, "base_hash": "e" * 64}
    distance = round(0.2 + 0.4 * ((zlib.crc32(job.encode()) + number) % 997) / 997, 4)
    return {
        "id": new_id("portrait", at, number),
        "owner": owner,
        "job": job,
        "file": f"{number + 1:02}.jpg",
        "format": "jpg",
        "bytes": 330_000,
        "number": number + 1,
        "width": 1024,
        "height": 1280,
        "style": "text-garden",
        "style_version": 1,
        "likeness": {"1": {"space": "dlib", "distance": distance}},
        "scores": {"total": 0.9121, "faces": 1.0, "sharpness": 0.8812, "eyes": 1.0, "rules_broken": 0.0},
        "recipe": {"schema": 1, "seed": 1234567890, "count": 4, "drawn": drawn, "photos": {"1": selfie}},
        "favourite": False,
        "created": at,
        "distance": distance,
        "title": "Garden",
    }
