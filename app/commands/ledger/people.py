"""`portrait people`: who is on this installation; export and erasure are those of `portrait privacy`."""

from typing import Annotated, Any

import typer
from rich.text import Text

from app.commands.accounts import privacy
from app.terminal.errors import Json, cli_output
from app.terminal.tables import Quiet, print_ids, print_line, print_table, utc_time

app = typer.Typer(help="People of owners: list, export, erase.", no_args_is_help=True)
app.command("export")(privacy.export)
app.command("erase")(privacy.erase)
PAGE = 200
"""People that are read at once."""


@app.command("list")
def list_people(
    owner: Annotated[str, typer.Argument(metavar="OWNER", help="As `portrait owners list` shows it.")],
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """The people of an owner, the newest first; of names only whoever may read the ledger learns."""
    with cli_output(as_json) as output:
        from tasks.ledger.ledger import open_ledger
        from tasks.settings import load_installation

        ledger = open_ledger(load_installation().tasks.database)
        ledger.owners.get(owner)
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            page = ledger.people.list(owner, cursor, PAGE)
            known = ledger.people.summarize(page.items)
            for row in page.items:
                told = known[row.id]
                counts = {"photos": told.photos, "portraits": told.portraits, "consent": told.consent_state}
                found.append({"id": row.id, "name": row.name, **counts, "used": utc_time(row.used)})
            cursor = page.next
            if cursor is None:
                break
        output({"people": found}, lambda: print_ids(found) if quiet else _print_people(found))


def _print_people(people: list[dict[str, Any]]) -> None:
    if not people:
        print_line("This owner has no people.")
        return
    cells = ([Text(str(value)) for value in each.values()] for each in people)
    print_table(("id", "name", "photos", "portraits", "consent", "last used (UTC)"), cells, "fold", "table.header")
