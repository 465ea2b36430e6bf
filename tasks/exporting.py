"""Exports everything that is stored of an owner as one zip, which is made while it is sent.

ZIP/records.json (every row of the ledger, without secrets), photos/PERSON/, sets/PERSON/SET/ (crops, references, embeddings),
learned/PERSON/IDENTITY/ (weights), training/PERSON/JOB/ (checkpoints), pictures/, portraits/STYLE-ID-NUMBER.

What was deleted and can still be restored is in it: it is kept until it is erased.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zipstream import ZipStream

from tasks.files import Files
from tasks.ledger.ledger import Ledger
from tasks.ledger.privacy.records import Records, records_of

CHUNK_BYTES = 1 << 20


def export_owner(ledger: Ledger, files: Files, owner: str) -> Iterator[bytes]:
    """Yield the zip in chunks; what is erased meanwhile is empty in it. Raises `OperatorError` (`database_unreachable`)."""
    records, archive = records_of(ledger.database, owner), ZipStream()
    archive.add(json.dumps(_nested(records), ensure_ascii=False, indent=1), "records.json")
    for name, path in _contents(files, owner, records):
        for each in files.contents(path):
            inner = f"{name}/{each.relative_to(path).as_posix()}" if each != path else name
            archive.add(read(files, each), inner)
    yield from archive


def _nested(records: Records) -> dict[str, Any]:
    """The records, with what belongs to a person below the person."""
    of_people = ("consents", "selfies", "training_sets", "identities")
    people = [
        {**person, **{name: [row for row in records[name] if row["person"] == person["id"]] for name in of_people}}
        for person in records["people"]
    ]
    return {"people": people} | {name: rows for name, rows in records.items() if name not in {"people", *of_people}}


def _contents(files: Files, owner: str, records: Records) -> Iterator[tuple[str, Path]]:
    """What lies in the data folder: name in the zip, and path."""
    for row in records["selfies"]:
        name = f"photos/{row['person']}/{row['id']}.{row['format'].lower()}"
        yield name, files.selfie(owner, row["person"], row["id"])
    for row in records["training_sets"]:
        yield f"sets/{row['person']}/{row['id']}", files.training_set(owner, row["person"], row["id"])
    for row in records["identities"]:
        yield f"learned/{row['person']}/{row['id']}", files.identity(owner, row["person"], row["id"])
    trained = {row["id"] for row in records["jobs"] if row["kind"] == "train"}
    for row in records["job_people"]:
        if row["job"] in trained:
            yield f"training/{row['person']}/{row['job']}", files.work_dir(owner, row["person"], row["job"])
    for row in records["templates"]:
        yield f"pictures/{row['id']}.{row['format'].lower()}", files.template(owner, row["id"])
    for row in records["portraits"]:
        name = f"portraits/{row['style']}-{row['id'][-6:]}-{row['number']}.{row['format']}"
        yield name, files.portrait(owner, row["job"], row["file"])


def read(files: Files, path: Path) -> Iterator[bytes]:
    """Yield a file in chunks, which is fetched when the first is asked for; nothing where it is erased meanwhile."""
    try:
        with files.fetch(path).open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk
    except FileNotFoundError:
        return
