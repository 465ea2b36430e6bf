"""`portrait db copy`: every row into another database, every file into another folder or bucket, all of it compared."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.commands.db.schema import open_database
from app.terminal.errors import Json, cli_output
from app.terminal.tables import print_line

if TYPE_CHECKING:
    from tasks.files import Files
    from tasks.settings import TaskSettings


def copy(
    source: Annotated[
        str, typer.Option("--from", metavar="URL", help="The database to copy; default: that of the settings.")
    ] = "",
    target: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="URL",
            envvar="PORTRAIT_COPY_TO",
            help="An empty database. A password belongs in the variable, which others do not see.",
        ),
    ] = "",
    files: Annotated[
        tuple[str, str] | None,
        typer.Option("--files", metavar="FROM TO", help="Copy the files too: folders, or s3://BUCKET/PREFIX."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Copy every row, and files where asked, to where nothing is: SQLite to PostgreSQL or back. Stop everything first."""
    with cli_output(as_json) as output:
        from portrait.errors import OperatorError
        from tasks.settings import load_installation

        if not target and files is None:
            raise OperatorError(
                "bad_settings", "Say what to copy: a database with --to URL, files with --files FROM TO."
            )
        tasks = load_installation().tasks
        document: dict[str, Any] = {}
        if target:
            document["rows"] = _copy_rows(source or tasks.database, target, as_json)
        if files is not None:
            document["files"], document["bytes"] = _copy_files(tasks, *files)
        output(document, lambda: _print_copied(document))


def _copy_rows(source: str, target: str, as_json: bool) -> dict[str, int]:
    from tasks.ledger.database import Database
    from tasks.ledger.upkeep.copying import copy_ledger

    def report(table: str, rows: int) -> None:
        if rows and not as_json:
            typer.echo(f"{table}: {rows}", err=True)

    copied = copy_ledger(open_database(source), Database(target), report)
    return {name: digest.rows for name, digest in copied.items()}


def _copy_files(tasks: "TaskSettings", source: str, target: str) -> tuple[int, int]:
    from tempfile import TemporaryDirectory

    from tasks.backup.folders import copy_files
    from tasks.files import disk_error

    with TemporaryDirectory() as copies:
        try:
            return copy_files(_open(tasks, source, Path(copies, "from")), _open(tasks, target, Path(copies, "to")))
        except OSError as error:
            raise disk_error(error) from error


def _open(tasks: "TaskSettings", place: str, copies: Path) -> "Files":
    """A folder, or a bucket with the other settings of storage and a folder for copies."""
    from dataclasses import replace

    from tasks.files import Files, open_files

    if not place.startswith("s3://"):
        return Files(Path(place))
    return open_files(replace(tasks, data=copies, storage=replace(tasks.storage, url=place)))


def _print_copied(document: dict[str, Any]) -> None:
    if "rows" in document:
        print_line(f"{sum(document['rows'].values())} rows of {len(document['rows'])} tables, each compared.")
    if "files" in document:
        print_line(f"{document['files']} files, {document['bytes'] / 1e6:.1f} MB, each compared.")
