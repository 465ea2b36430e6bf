"""`portrait blocked`: faces that are never drawn on this installation."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from app.terminal.errors import Json, cli_output
from app.terminal.tables import Quiet, print_ids, print_line, print_table, utc_time

if TYPE_CHECKING:
    from tasks.ledger.ledger import Ledger

app = typer.Typer(help="Faces that are never drawn: add, list, remove.", no_args_is_help=True)
PAGE = 200
"""Faces that are read at once."""


@app.command()
def add(
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", help="A photo of one face; it is not kept.")],
    note: Annotated[str, typer.Option(help="Why, such as the number of a letter; no name is needed.")],
    as_json: Json = False,
) -> None:
    """Never draw the face of a photo. Nothing but numbers is kept of it."""
    with cli_output(as_json) as output:
        from pipelines import build, image_io
        from tasks.ledger.access.audit import SYSTEM
        from tasks.ledger.database import new_id
        from tasks.ledger.privacy.blocked_people import BlockedPersonRow
        from tasks.queue.face_reader import read_face
        from tasks.settings import load_installation

        words = " ".join(note.split())[:200] or "-"
        image_io.probe(photo)
        with build.open_engines(load_installation().flows) as engines:
            embeddings = read_face(engines.finder(), photo)
        ledger = _open_ledger()
        row = BlockedPersonRow(new_id("blocked", ledger.now()), words, SYSTEM, ledger.now(), embeddings)
        ledger.blocked_people.add(row)
        ledger.audit.add(SYSTEM, "guard.blocked", row.id, {}, ledger.now())
        spaces = sorted(embeddings)
        output({"id": row.id, "spaces": spaces}, lambda: typer.echo(f"{row.id}: this face is not drawn any more."))


@app.command("list")
def list_blocked(quiet: Quiet = False, as_json: Json = False) -> None:
    """Faces that are never drawn, the newest first."""
    with cli_output(as_json) as output:
        ledger, found = _open_ledger(), list[dict[str, Any]]()
        cursor: str | None = None
        while True:
            page = ledger.blocked_people.list(cursor, PAGE)
            found += [
                {"id": row.id, "note": row.note, "added": utc_time(row.added), "added_by": row.added_by}
                for row in page.items
            ]
            cursor = page.next
            if cursor is None:
                break
        output({"blocked": found}, lambda: print_ids(found) if quiet else _print_blocked(found))


@app.command()
def remove(
    id: Annotated[str, typer.Argument(metavar="ID", help="As `portrait blocked list` shows it.")], as_json: Json = False
) -> None:
    """Let somebody be drawn again."""
    with cli_output(as_json) as output:
        from tasks.ledger.access.audit import SYSTEM

        ledger = _open_ledger()
        ledger.blocked_people.remove(id)
        ledger.audit.add(SYSTEM, "guard.unblocked", id, {}, ledger.now())
        output({"removed": id}, lambda: typer.echo(f"{id} was removed: this face is drawn again."))


def _open_ledger() -> "Ledger":
    from tasks.ledger.ledger import open_ledger
    from tasks.settings import load_installation

    return open_ledger(load_installation().tasks.database)


def _print_blocked(faces: list[dict[str, Any]]) -> None:
    if not faces:
        print_line("No face is blocked.")
        return
    cells = ([Text(value) for value in each.values()] for each in faces)
    print_table(("id", "note", "added (UTC)", "by"), cells, "fold", "table.header")
