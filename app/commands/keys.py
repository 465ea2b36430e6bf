"""`portrait keys`: adds, lists and revokes API keys, and makes sign-in codes."""

import time
from typing import TYPE_CHECKING, Annotated

import typer

from app.terminal.errors import Json, cli_output

if TYPE_CHECKING:
    from tasks.ledger import rows
    from tasks.ledger.ledger import Ledger

app = typer.Typer(help="API keys: add, list, revoke, sign-in links.", no_args_is_help=True)

Owner = Annotated[str, typer.Argument(metavar="OWNER", help="Whose photos and portraits the key opens.")]
Name = Annotated[str, typer.Option(help="What the key is for.")]
Role = Annotated[str, typer.Option(help="person, operator or admin.")]


@app.command()
def add(owner: Owner, role: Role = "person", name: Name = "key", as_json: Json = False) -> None:
    """Make a key; its secret is shown this once."""
    with cli_output(as_json) as output:
        from tasks import auth

        made = auth.create_key(_open_ledger(), owner, name, _check_role(role), time.time())
        document = {"id": made.row.id, "owner": owner, "role": role, "secret": made.secret}
        output(document, lambda: _print(f"{made.secret}\nKeep it: it cannot be shown again. Revoke: {made.row.id}"))


@app.command()
def link(owner: Owner, role: Role = "person", as_json: Json = False) -> None:
    """Make a one-time code that signs somebody in within a quarter of an hour."""
    with cli_output(as_json) as output:
        from tasks import auth

        code = auth.create_code(_open_ledger(), owner, _check_role(role), time.time())
        output({"code": code}, lambda: _print(code))


@app.command("list")
def list_keys(as_json: Json = False) -> None:
    """Every key, without its secret."""
    with cli_output(as_json) as output:
        rows = [
            {"id": row.id, "owner": row.owner, "role": row.role, "name": row.name, "state": _state(row, time.time())}
            for row in _open_ledger().api_keys.list(None)
        ]
        output({"keys": rows}, lambda: _print_table(rows))


@app.command()
def revoke(
    id: Annotated[str, typer.Argument(metavar="ID", help="As `portrait keys list` shows it.")], as_json: Json = False
) -> None:
    """Make a key open nothing any more."""
    with cli_output(as_json) as output:
        _open_ledger().api_keys.revoke(id, time.time())
        output({"revoked": id}, lambda: _print(f"{id} opens nothing any more."))


def _open_ledger() -> "Ledger":
    from tasks.ledger.ledger import open_ledger
    from tasks.settings import load_installation

    return open_ledger(load_installation().tasks.database)


def _check_role(name: str) -> "rows.Role":
    from portrait.errors import UserError
    from tasks.auth import ROLES

    for role in ROLES:
        if role == name:
            return role
    raise UserError("bad_role", f"A role is one of {', '.join(ROLES)}.")


def _state(row: "rows.ApiKeyRow", now: float) -> str:
    if row.revoked is not None:
        return "revoked"
    return "expired" if row.expires is not None and row.expires < now else "open"


def _print(text: str) -> None:
    typer.echo(text)


def _print_table(rows: list[dict[str, str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*rows[0], box=None, pad_edge=False) if rows else Table(box=None)
    for row in rows:
        table.add_row(*(Text(value) for value in row.values()))
    Console(highlight=False).print(table if rows else "There are no keys yet: portrait keys add OWNER")
