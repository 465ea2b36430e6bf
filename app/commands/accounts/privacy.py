"""`portrait privacy`: export and erasure for somebody who asks by mail; receipts of what was erased."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from app.terminal.errors import Json, cli_output
from app.terminal.tables import print_line, print_table, utc_time

if TYPE_CHECKING:
    from tasks.files import Files
    from tasks.ledger.ledger import Ledger
    from tasks.ledger.privacy.erasures import ErasureRow

app = typer.Typer(help="Export and erase what is kept of an owner; receipts.", no_args_is_help=True)

Owner = Annotated[str, typer.Argument(metavar="OWNER", help="As `portrait owners list` shows it.")]
Person = Annotated[str, typer.Option(metavar="ID", help="One person; without it everything of the owner.")]


@app.command()
def export(
    owner: Owner,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new zip file.")],
    as_json: Json = False,
) -> None:
    """Write everything that is kept of an owner into a zip: photos, what was made of them, portraits, records."""
    with cli_output(as_json) as output:
        from pipelines.folders import atomic
        from portrait.errors import UserError
        from tasks import exporting
        from tasks.ledger.access.audit import SYSTEM

        ledger, files = _open()
        ledger.owners.get(owner)
        if file.exists():
            raise UserError("folder_taken", f"{file} is there already. Name a new file.")
        ledger.audit.add(SYSTEM, "export.made", owner, {}, ledger.now())
        with (
            atomic.reported(f"{file} cannot be written"),
            atomic.replace_file(file) as staged,
            staged.open("xb") as zip,
        ):
            for chunk in exporting.export_owner(ledger, files, owner):
                zip.write(chunk)
        size = file.stat().st_size
        document = {"owner": owner, "file": str(file), "bytes": size}
        output(document, lambda: typer.echo(f"{file}: {size / 1e6:.1f} MB. It holds faces: hand it over safely."))


@app.command()
def erase(
    owner: Owner,
    person: Person = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Erase a person of an owner, or everything of the owner with keys and sessions. It cannot be undone.

    The name of the owner stays, to sign in again with; `portrait owners remove` takes that away as well.
    """
    with cli_output(as_json) as output:
        from tasks import erasing
        from tasks.ledger.privacy.erasures import Request

        ledger, files = _open()
        request = Request(owner, ledger.now())
        ledger.owners.get(owner)
        what = f"the person {person}" if person else "everything"
        if not yes:
            typer.confirm(f"Erase {what} of {owner}?", abort=True, err=True)
        erasures = ledger.erasures
        begun = erasures.erase_person(request, person) if person else erasures.erase_owner(request)
        done = erasing.finish_erasure(ledger, files, begun, ledger.now())
        document = {"erasure": done.id, "done": done.done is not None, "erased": done.ids}
        output(document, lambda: _print_erased(done))


@app.command()
def receipts(
    owner: Annotated[str, typer.Option(help="Those of one owner alone.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Receipts, the newest first.")] = 50,
    as_json: Json = False,
) -> None:
    """What was erased, when and by whom; no names."""
    with cli_output(as_json) as output:
        ledger, _ = _open()
        rows = [
            {
                "id": row.id,
                "owner": row.owner,
                "kind": row.kind,
                "subject": row.subject,
                "actor": row.actor,
                "asked": utc_time(row.asked),
                "done": utc_time(row.done),
            }
            for row in ledger.erasures.list(owner or None, None, limit).items
        ]
        output({"erasures": rows}, lambda: _print_receipts(rows))


def _open() -> "tuple[Ledger, Files]":
    from tasks.files import open_files
    from tasks.ledger.ledger import open_ledger
    from tasks.settings import load_installation

    tasks = load_installation().tasks
    return open_ledger(tasks.database, tasks.erasures), open_files(tasks)


def _print_erased(row: "ErasureRow") -> None:
    counts = ", ".join(f"{len(ids)} {kind.replace('_', ' ')}" for kind, ids in row.ids.items()) or "nothing was there"
    rest = "" if row.done is not None else " A worker may still write: the keeper erases the rest within minutes."
    typer.echo(f"Erased: {counts}. The receipt is {row.id}.{rest}")


def _print_receipts(rows: list[dict[str, str]]) -> None:
    if not rows:
        print_line("Nothing was erased yet.")
        return
    cells = ([Text(value) for value in row.values()] for row in rows)
    print_table(list(rows[0]), cells, "fold", header_style="table.header")
