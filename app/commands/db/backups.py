"""`portrait db backup`, `restore` and `replay`: everything in one file and back again, and erasures repeated."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.commands.db.schema import open_database
from app.terminal.errors import Json, cli_output
from app.terminal.tables import print_line

if TYPE_CHECKING:
    from tasks.settings import TaskSettings

Journals = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="FILE", help="A journal of erasures, or several; default: that of the settings (tasks.erasures)."
    ),
]
Marks = Annotated[bool, typer.Option("--marks", help="The keys too that sign portraits ($PORTRAIT_HOME/marks).")]


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file, a tar.")],
    marks: Marks = False,
    as_json: Json = False,
) -> None:
    """Write database and files of one moment into a file, while everything runs. It holds faces: keep it safe."""
    with cli_output(as_json) as output:
        from tasks.backup import saving
        from tasks.files import open_files
        from tasks.ledger.privacy.journal import ErasureJournal
        from tasks.settings import load_installation

        installation = load_installation()
        tasks = installation.tasks
        folder = installation.flows.marks.folder if marks else None
        database = open_database(tasks.database)
        if tasks.erasures is not None and not database.steps():
            ErasureJournal(tasks.erasures).update(database)  # whoever restores this is asked for it
        manifest = saving.save(database, open_files(tasks), file, folder, _report(as_json))
        size = file.stat().st_size
        document = {"file": str(file), "size": size, **_summary(manifest)}
        output(document, lambda: _print_saved(document))


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A backup.")],
    erasures: Journals = None,
    no_erasures: Annotated[
        bool, typer.Option("--no-erasures", help="There is no journal: whoever was erased since the backup is back.")
    ] = False,
    marks: Marks = False,
    as_json: Json = False,
) -> None:
    """Restore a backup into an empty database and data folder, and erase again whoever was erased since."""
    with cli_output(as_json) as output:
        from tasks.backup import restoring
        from tasks.files import open_files
        from tasks.ledger.database import Database
        from tasks.settings import load_installation

        installation = load_installation()
        tasks = installation.tasks
        journals = [] if no_erasures else _journals(tasks, erasures)
        folder = installation.flows.marks.folder if marks else None
        target = restoring.Target(Database(tasks.database), open_files(tasks), folder, tasks.erasures)
        manifest, replayed = restoring.restore(file, target, journals, _report(as_json))
        document = {"file": str(file), **_summary(manifest), "replayed": None if no_erasures else asdict(replayed)}
        output(document, lambda: _print_restored(document))


def replay(
    journal: Annotated[
        list[Path] | None,
        typer.Argument(metavar="JOURNAL", help="A journal of erasures, or several; default: that of the settings."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Erase again what a journal says was erased, after an older copy was brought back by other means than `restore`."""
    with cli_output(as_json) as output:
        from tasks.backup import replaying
        from tasks.files import open_files
        from tasks.ledger.ledger import open_ledger
        from tasks.settings import load_installation

        tasks = load_installation().tasks
        journals = _journals(tasks, journal)
        replayed = replaying.replay(open_ledger(tasks.database, tasks.erasures), open_files(tasks), journals)
        document = asdict(replayed)
        output(document, lambda: print_line(_replayed(document)))


def _journals(tasks: "TaskSettings", given: Sequence[Path] | None) -> Sequence[Path]:
    from portrait.errors import OperatorError

    if given:
        return given
    if tasks.erasures is None or not tasks.erasures.is_file():
        raise OperatorError(
            "no_journal",
            f"There is no journal of erasures at {tasks.erasures}, without which whoever was erased since comes back. Name a "
            "copy of it, or say --no-erasures where there is none.",
        )
    return [tasks.erasures]


def _report(as_json: bool) -> Any:
    words = {"check": "Checking the backup …", "rows": "The rows …", "files": "The files …"}
    return (lambda _: None) if as_json else (lambda what: typer.echo(words[what], err=True))


def _summary(manifest: Any) -> dict[str, Any]:
    return {
        "program": manifest.program,
        "schema": manifest.schema,
        "taken": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(manifest.taken)),
        "rows": {name: table.rows for name, table in manifest.tables.items()},
        "files": manifest.files,
        "bytes": manifest.bytes,
        "marks": manifest.marks,
    }


def _print_saved(document: dict[str, Any]) -> None:
    rows, size = sum(document["rows"].values()), document["size"] / 1e6
    print_line(f"{document['file']}: {rows} rows and {document['files']} files, {size:.1f} MB.")
    print_line(
        "It holds faces and the secrets of webhooks: keep it where nobody else reads it, and the journal apart from it."
    )


def _print_restored(document: dict[str, Any]) -> None:
    rows = sum(document["rows"].values())
    print_line(f"{rows} rows and {document['files']} files of {document['taken']} are back.")
    print_line(
        _replayed(document["replayed"])
        if document["replayed"]
        else "No journal was read: whoever was erased since is back."
    )
    print_line("Everybody signs in again. Portraits that were ordered then and not finished are drawn now.")


def _replayed(document: dict[str, Any]) -> str:
    rest = f" The keeper erases what is left of {document['pending']}." if document["pending"] else ""
    return (
        f"{document['entries']} entries of the journal: {document['erased']} erased again, {document['owners']} accounts "
        f"removed, {document['consents']} consents withdrawn, {document['keys']} keys revoked.{rest}"
    )
