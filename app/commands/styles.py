"""`portrait styles`: what portraits can look like."""

from typing import Annotated, Any

import typer

from app.door import answering
from templates.catalog import Catalog, Entry

app = typer.Typer(help="Styles: list, show.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Answer with one JSON document.")]


@app.command("list")
def list_styles(as_json: Json = False) -> None:
    """Every style there is."""
    with answering(as_json) as say:
        entries = Catalog().entries()
        say({"styles": [_document(entry) for entry in entries]}, lambda: _print(entries))


@app.command()
def show(name: Annotated[str, typer.Argument(metavar="NAME")], as_json: Json = False) -> None:
    """One style in full."""
    with answering(as_json) as say:
        entry = Catalog().find(name)
        say({"style": _document(entry)}, lambda: _print_one(entry))


def _document(entry: Entry) -> dict[str, Any]:
    return entry.style.model_dump(by_alias=True, exclude_none=True) | {"folder": str(entry.folder)}


def _print(entries: list[Entry]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("style", "title", "kind", "licence", box=None, pad_edge=False, header_style="dim")
    for entry in entries:
        table.add_row(entry.style.id, entry.style.title, entry.style.kind, entry.style.licence)
    Console(highlight=False).print(table)


def _print_one(entry: Entry) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    for name, value in _document(entry).items():
        console.print(Text(f"{name:10} {value}"))
