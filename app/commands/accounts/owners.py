"""`portrait owners`: lists owners, disables, enables and removes them, signs them out, shows the audit log."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from app.terminal.errors import Json, cli_output
from app.terminal.tables import Quiet, print_ids, print_line, print_table, utc_time

if TYPE_CHECKING:
    from tasks.ledger.ledger import Ledger

app = typer.Typer(help="Owners: list, disable, enable, remove, sign out; the audit log.", no_args_is_help=True)

Owner = Annotated[str, typer.Argument(metavar="OWNER", help="As `portrait owners list` shows it.")]


@app.command("list")
def list_owners(quiet: Quiet = False, as_json: Json = False) -> None:
    """Every owner, with keys and sessions that open something."""
    with cli_output(as_json) as output:
        ledger = _open_ledger()
        now = ledger.now()
        rows = [asdict(row) | asdict(ledger.owners.use(row.id, now)) for row in _owners(ledger)]
        output({"owners": rows}, lambda: print_ids(rows) if quiet else _print_owners(rows))


@app.command()
def disable(owner: Owner, as_json: Json = False) -> None:
    """Let an owner in no more: sessions end, keys open nothing; what is stored stays."""
    with cli_output(as_json) as output:
        from tasks import accounts

        ledger = _open_ledger()
        accounts.disable(ledger, owner, None, ledger.now())
        output(
            {"disabled": owner}, lambda: typer.echo(f"{owner} is let in no more. `portrait owners enable` undoes it.")
        )


@app.command()
def enable(owner: Owner, as_json: Json = False) -> None:
    """Let an owner in again with their keys."""
    with cli_output(as_json) as output:
        from tasks import accounts

        ledger = _open_ledger()
        accounts.enable(ledger, owner, None, ledger.now())
        output({"enabled": owner}, lambda: typer.echo(f"{owner} is let in again."))


@app.command("sign-out")
def sign_out(
    owner: Owner,
    keys: Annotated[bool, typer.Option("--keys", help="Revoke every key too.")] = False,
    as_json: Json = False,
) -> None:
    """End every session of an owner."""
    with cli_output(as_json) as output:
        from tasks import auth

        ledger = _open_ledger()
        ended = auth.end_sessions(ledger, owner, keys, ledger.now())
        output({"owner": owner, **ended}, lambda: typer.echo(f"{owner} is signed out everywhere."))


@app.command()
def remove(
    owner: Owner,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Remove an owner with every person, photo, portrait, key and job. It cannot be undone."""
    with cli_output(as_json) as output:
        from tasks import accounts, erasing
        from tasks.files import open_files
        from tasks.settings import load_installation

        ledger, files = _open_ledger(), open_files(load_installation().tasks)
        now = ledger.now()
        ledger.owners.get(owner)
        if not yes:
            typer.confirm(f"Remove {owner} with everything that is kept of them?", abort=True, err=True)
        erasure = erasing.finish_erasure(ledger, files, accounts.remove(ledger, owner, None, now), now)
        accounts.forget_removed(ledger, files)
        rest = "" if erasure.done is not None else " The keeper erases what a worker still holds."
        document = {"removed": owner, "erasure": erasure.id, "done": erasure.done is not None}
        output(document, lambda: typer.echo(f"{owner} was removed; the receipt is {erasure.id}.{rest}"))


@app.command()
def audit(
    action: Annotated[str, typer.Option(help="Such as key.created, or key for all of keys.")] = "",
    actor: Annotated[str, typer.Option(help="An owner, OWNER:ID, or system.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Entries, the newest first.")] = 50,
    as_json: Json = False,
) -> None:
    """Who did what and when; no content."""
    with cli_output(as_json) as output:
        entries = [asdict(row) for row in _open_ledger().audit.list(None, limit, action, actor).items]
        output({"audit": entries}, lambda: _print_audit(entries))


def _open_ledger() -> "Ledger":
    from tasks.ledger.ledger import open_ledger
    from tasks.settings import load_installation

    tasks = load_installation().tasks
    return open_ledger(tasks.database, tasks.erasures)


def _owners(ledger: "Ledger") -> list[Any]:
    rows: list[Any] = []
    while page := ledger.owners.list(rows[-1].id if rows else ""):
        rows += page
    return rows


def _print_owners(rows: list[dict[str, Any]]) -> None:
    if not rows:
        print_line("There are no owners yet: portrait keys add OWNER")
        return
    cells = [
        [
            Text(str(row["id"])),
            Text("open" if row["disabled"] is None else "disabled"),
            *(Text(str(row[name])) for name in ("people", "keys", "sessions")),
            Text(utc_time(row["used"])),
        ]
        for row in rows
    ]
    print_table(("owner", "state", "people", "keys", "sessions", "last used"), cells, header_style="table.header")


def _print_audit(entries: list[dict[str, Any]]) -> None:
    cells = [
        [
            Text(utc_time(each["at"])),
            *(Text(each[name]) for name in ("actor", "action", "subject")),
            Text(json.dumps(each["detail"]) if each["detail"] else ""),
        ]
        for each in entries
    ]
    print_table(("time (UTC)", "actor", "action", "subject", "detail"), cells, "fold", header_style="table.header")
