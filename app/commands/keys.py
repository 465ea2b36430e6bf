"""`portrait keys`: who may use the API of this installation."""

import time
from typing import TYPE_CHECKING, Annotated

import typer

from app.terminal.errors import Json, answering

if TYPE_CHECKING:
    from tasks.ledger import rows
    from tasks.ledger.ledger import Store

app = typer.Typer(help="API keys: add, list, revoke, sign-in links.", no_args_is_help=True)

Owner = Annotated[str, typer.Argument(metavar="OWNER", help="Whose photos and portraits the key opens.")]
Name = Annotated[str, typer.Option(help="What the key is for.")]
Role = Annotated[str, typer.Option(help="person, operator or admin.")]


@app.command()
def add(owner: Owner, role: Role = "person", name: Name = "key", as_json: Json = False) -> None:
    """Make a key; its secret is shown this once."""
    with answering(as_json) as say:
        from tasks import auth

        made = auth.new_key(_store(), owner, name, _role(role), time.time())
        document = {"id": made.row.id, "owner": owner, "role": role, "secret": made.secret}
        say(document, lambda: _print(f"{made.secret}\nKeep it: it cannot be shown again. Revoke: {made.row.id}"))


@app.command()
def link(owner: Owner, role: Role = "person", as_json: Json = False) -> None:
    """Make a one-time code that signs somebody in within a quarter of an hour."""
    with answering(as_json) as say:
        from tasks import auth

        code = auth.new_code(_store(), owner, _role(role), time.time())
        say({"code": code}, lambda: _print(code))


@app.command("list")
def list_keys(as_json: Json = False) -> None:
    """Every key, without its secret."""
    with answering(as_json) as say:
        rows = [
            {"id": row.id, "owner": row.owner, "role": row.role, "name": row.name, "state": _state(row, time.time())}
            for row in _store().access.keys(None)
        ]
        say({"keys": rows}, lambda: _table(rows))


@app.command()
def revoke(
    id: Annotated[str, typer.Argument(metavar="ID", help="As `portrait keys list` shows it.")], as_json: Json = False
) -> None:
    """Make a key open nothing any more."""
    with answering(as_json) as say:
        _store().access.revoke_key(id, time.time())
        say({"revoked": id}, lambda: _print(f"{id} opens nothing any more."))


def _store() -> "Store":
    from tasks.ledger.ledger import open_store
    from tasks.settings import load_installation

    return open_store(load_installation().tasks.database)


def _role(name: str) -> "rows.Role":
    from portrait.errors import UserError
    from tasks.auth import ROLES

    for role in ROLES:
        if role == name:
            return role
    raise UserError("bad_role", f"A role is one of {', '.join(ROLES)}.")


def _state(row: "rows.KeyRow", now: float) -> str:
    if row.revoked is not None:
        return "revoked"
    return "expired" if row.expires is not None and row.expires < now else "open"


def _print(text: str) -> None:
    typer.echo(text)


def _table(rows: list[dict[str, str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*rows[0], box=None, pad_edge=False) if rows else Table(box=None)
    for row in rows:
        table.add_row(*(Text(value) for value in row.values()))
    Console(highlight=False).print(table if rows else "There are no keys yet: portrait keys add OWNER")
