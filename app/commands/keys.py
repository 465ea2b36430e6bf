"""`portrait keys`: adds, lists and revokes API keys, and makes sign-in codes."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from app.terminal.errors import Json, cli_output
from app.terminal.tables import Quiet, print_ids, print_line, print_table

if TYPE_CHECKING:
    from tasks.ledger import rows
    from tasks.ledger.ledger import Ledger

app = typer.Typer(help="API keys: add, list, revoke, sign-in links.", no_args_is_help=True)

Owner = Annotated[str, typer.Argument(metavar="OWNER", help="Whose photos and portraits the key opens.")]
Name = Annotated[str, typer.Option(help="What the key is for.")]
Role = Annotated[str, typer.Option(help="person, operator or admin.")]


@app.command()
def add(
    owner: Owner,
    role: Role = "person",
    name: Name = "key",
    days: Annotated[float | None, typer.Option(min=0, help="When it ends; default: when it is revoked.")] = None,
    as_json: Json = False,
) -> None:
    """Make a key; its secret is shown this once."""
    with cli_output(as_json) as output:
        from tasks import auth

        ledger = _open_ledger()
        now = ledger.now()
        expires = None if days is None else now + days * 86_400
        made = auth.create_key(ledger, owner, name, _check_role(role), now, expires)
        document = {"id": made.row.id, "owner": owner, "role": role, "secret": made.secret}
        output(document, lambda: typer.echo(f"{made.secret}\nKeep it: it cannot be shown again. Revoke: {made.row.id}"))


@app.command()
def link(owner: Owner, role: Role = "person", as_json: Json = False) -> None:
    """Make a link that signs somebody in once, within a quarter of an hour."""
    with cli_output(as_json) as output:
        from app.terminal.sign_in_links import recall, sign_in_link
        from tasks import auth
        from tasks.settings import home, load_installation

        ledger = _open_ledger()
        code = auth.create_code(ledger, owner, _check_role(role), ledger.now())
        url, listening = load_installation().tasks.app.url, recall(home())
        links = [sign_in_link(each, code) for each in ([url] if url else listening.network or [listening.local])]
        own = not url and not listening.network
        output({"code": code, "links": links}, lambda: _print_links(links, own))


@app.command("list")
def list_keys(quiet: Quiet = False, as_json: Json = False) -> None:
    """Every key, without its secret."""
    with cli_output(as_json) as output:
        ledger = _open_ledger()
        now = ledger.now()
        rows = [
            {"id": row.id, "owner": row.owner, "role": row.role, "name": row.name, "state": _state(row, now)}
            for row in ledger.api_keys.list(None)
        ]
        output({"keys": rows}, lambda: print_ids(rows) if quiet else _print_keys(rows))


@app.command()
def revoke(
    id: Annotated[str, typer.Argument(metavar="ID", help="As `portrait keys list` shows it.")], as_json: Json = False
) -> None:
    """Make a key open nothing any more."""
    with cli_output(as_json) as output:
        from tasks import auth

        ledger = _open_ledger()
        auth.revoke_key(ledger, id, None, ledger.now())
        output({"revoked": id}, lambda: typer.echo(f"{id} opens nothing any more."))


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


def _print_links(links: list[str], own: bool) -> None:
    """Print links, the first also as a QR code where somebody sees it; `own` are links that this machine alone can open."""
    from app.terminal.sign_in_links import qr_code

    typer.echo("\n".join(links))
    if own:
        hint = "Only this machine can open it: `portrait serve --host 0.0.0.0` opens it to others, and tasks.app.url names it."
        typer.echo(hint, err=True)
    elif sys.stdout.isatty():
        typer.echo(qr_code(links[0]))


def _state(row: "rows.ApiKeyRow", now: float) -> str:
    if row.revoked is not None:
        return "revoked"
    return "expired" if row.expires is not None and row.expires < now else "open"


def _print_keys(rows: list[dict[str, str]]) -> None:
    if not rows:
        print_line("There are no keys yet: portrait keys add OWNER")
        return
    cells = ([Text(value) for value in row.values()] for row in rows)
    print_table(list(rows[0]), cells, header_style="table.header")
