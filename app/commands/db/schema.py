"""`portrait db upgrade` and `portrait db check`: the schema of the database, and what is wrong in it."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.terminal.errors import Json, cli_output
from app.terminal.tables import print_line, print_table

if TYPE_CHECKING:
    from tasks.backup.matching import FileCheck
    from tasks.ledger.database import Database
    from tasks.ledger.upkeep.checks import LedgerCheck

FOUND = 1
"""The exit code where something is wrong: that is an answer, and no error."""


def upgrade(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say which steps it would take.")] = False,
    backup: Annotated[Path | None, typer.Option(metavar="FILE", help="Make a backup of everything first.")] = None,
    as_json: Json = False,
) -> None:
    """Bring the database to the schema of this program. A SQLite file is copied first; the copy goes after seven days."""
    with cli_output(as_json) as output:
        from tasks.backup import saving
        from tasks.files import open_files
        from tasks.ledger.upkeep.copies import copy_beside
        from tasks.settings import load_installation

        tasks = load_installation().tasks
        database = open_database(tasks.database)
        before, steps = database.revision(), database.steps()
        copied = None
        if steps and not dry_run:
            if backup is not None:
                saving.save(database, open_files(tasks), backup)
            copied = copy_beside(database, time.time())
            database.migrate()
        document = {
            "from": before,
            "to": steps[-1][0] if steps else before,
            "done": not dry_run,
            "steps": [{"revision": revision, "purpose": purpose} for revision, purpose in steps],
            "copy": None if copied is None else str(copied),
            "backup": None if backup is None or not steps or dry_run else str(backup),
        }
        output(document, lambda: _print_upgrade(document, database.sqlite))


def check(
    files: Annotated[bool, typer.Option("--files", help="Compare the rows with the files as well.")] = False,
    as_json: Json = False,
) -> None:
    """Look for what is wrong: schema, pages, rows that refer to nothing, files; ends with 1 where something is found."""
    with cli_output(as_json) as output:
        from tasks.backup.matching import check_files
        from tasks.files import open_files
        from tasks.ledger.upkeep.checks import check_ledger
        from tasks.settings import load_installation

        tasks = load_installation().tasks
        database = open_database(tasks.database)
        found = check_ledger(database)
        matched = check_files(database, open_files(tasks), time.time()) if files and not found.steps else None
        journal = None if found.steps else _check_journal(database, tasks.erasures)
        sound = found.sound and (matched is None or matched.sound) and not (journal and journal["returned"])
        document: dict[str, Any] = {
            "url": database.engine.url.render_as_string(hide_password=True),
            "sound": sound,
            **asdict(found),
            "files": None if matched is None else asdict(matched),
            "journal": journal,
        }
        output(document, lambda: _print_check(document, found, matched))
    if not sound:
        raise SystemExit(FOUND)


def open_database(url: str) -> "Database":
    """Open a database as it is, of any schema; raises `OperatorError` (`no_ledger`) where a SQLite file is not there."""
    import sqlalchemy as sa
    from sqlalchemy.exc import ArgumentError

    from portrait.errors import OperatorError
    from tasks.ledger.database import Database

    try:
        address = sa.make_url(url)
    except ArgumentError as error:
        raise OperatorError("bad_settings", "The address of the database cannot be read.") from error
    place = address.database if address.get_backend_name() == "sqlite" else None
    if place and not Path(place).is_file():
        raise OperatorError("no_ledger", f"There is no database at {place} yet. `portrait serve` makes one.")
    return Database(url)


def _check_journal(database: "Database", path: Path | None) -> dict[str, Any] | None:
    from tasks.backup.replaying import count_returned, entries_of

    if path is None or not path.exists():
        return None
    entries, last = 0, 0.0
    for entry in entries_of([path]):
        entries, last = entries + 1, max(last, entry.at)
    returned = count_returned(database, [path])
    return {"file": str(path), "entries": entries, "last": _time(last) if entries else None, "returned": returned}


def _print_upgrade(document: dict[str, Any], sqlite: bool) -> None:
    if not document["steps"]:
        print_line(f"The database has the schema of this program already: {document['to']}.")
        return
    print_table(
        ("revision", "what it brings"), ([each["revision"], each["purpose"]] for each in document["steps"]), "fold"
    )
    if not document["done"]:
        print_line("Nothing was changed. Without --dry-run these steps are taken, all or none.")
        if not sqlite:
            print_line("Make a backup before: with --backup FILE, or with PostgreSQL's own means.")
        return
    print_line(f"The database was brought from {document['from'] or 'nothing'} to {document['to']}.")
    if not sqlite and not document["backup"]:
        print_line("No backup was made: with PostgreSQL that is yours to do, or --backup FILE.")
    if document["copy"]:
        print_line(
            f"What it was before is {document['copy']}; it goes after seven days. People erased since are still in it."
        )


def _print_check(document: dict[str, Any], found: "LedgerCheck", matched: "FileCheck | None") -> None:
    journal = document["journal"]
    lines = [
        ("database", document["url"]),
        ("schema", found.schema or "none yet"),
        ("rows", str(sum(found.rows.values()))),
        ("journal", f"{journal['entries']} entries in {journal['file']}" if journal else "none yet"),
    ]
    if matched is not None:
        lines += [("files", f"{matched.rows} rows name one"), ("without a row", str(matched.orphan_count))]
    print_table((), lines, "fold")
    if found.steps:
        print_line(f"It lacks {len(found.steps)} steps to the schema {found.newest}: portrait db upgrade", "yellow")
    for fault in found.integrity:
        print_line(fault, "red")
    for key, number in found.foreign_keys.items():
        print_line(f"{number} rows refer by {key} to a row that is gone.", "red")
    if journal and journal["returned"]:
        print_line(f"{journal['returned']} entries of the journal came back: portrait db replay", "red")
    if matched is not None:
        for path in matched.missing:
            print_line(f"missing: {path}", "red")
        for path in matched.orphans:
            print_line(f"belongs to no row, the keeper erases it: {path}")
    print_line("Nothing is wrong." if document["sound"] else "Something is wrong: see above, and docs/backup.md.")


def _time(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(seconds))
