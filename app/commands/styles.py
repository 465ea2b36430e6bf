"""`portrait styles`: what portraits can look like; styles in and out, and what is wrong with them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.door import answering
from tasks.settings import home
from templates.catalog import Entry, installed

if TYPE_CHECKING:
    from templates.importers import Left
    from templates.lint import Finding

app = typer.Typer(help="Styles: list, show, check, add, import, export, schema.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Answer with one JSON document.")]
Given = Annotated[
    list[Path], typer.Argument(metavar="FOLDER…", help="A style, or a folder of styles.", show_default=False)
]
Pictures = Annotated[bool, typer.Option("--pictures/--words", help="Look for faces in pictures, or at words alone.")]


@app.command("list")
def list_styles(as_json: Json = False) -> None:
    """Every style there is."""
    with answering(as_json) as say:
        entries = installed(home()).entries()
        say({"styles": [_document(entry) for entry in entries]}, lambda: _print(entries))


@app.command()
def show(name: Annotated[str, typer.Argument(metavar="NAME")], as_json: Json = False) -> None:
    """One style in full."""
    with answering(as_json) as say:
        entry = installed(home()).find(name)
        say({"style": _document(entry)}, lambda: _print_one(entry))


@app.command("schema")
def print_schema() -> None:
    """The JSON Schema of a style.toml, for editors."""
    with answering(True) as say:
        from templates.schema import document

        say(document(), lambda: None)


@app.command()
def check(folders: Given, pictures: Pictures = True, as_json: Json = False) -> None:
    """What is wrong with styles, and what to do about it."""
    with answering(as_json) as say:
        from portrait.errors import OperatorError

        entries = _entries(folders)
        found = _linted(entries, pictures)
        told = [
            {"style": entry.style.id, "findings": [_finding(each) for each in faults]}
            for entry, faults in zip(entries, found, strict=True)
        ]
        errors = sum(each.level == "error" for faults in found for each in faults)
        document = {"ok": not errors, "styles": told}
        if not errors:
            say(document, lambda: _print_findings(entries, found))
            return
        if not as_json:
            _print_findings(entries, found)
        raise OperatorError("style_faults", f"{errors} things are to be mended before this can be published.", document)


@app.command()
def add(folder: Annotated[Path, typer.Argument(metavar="FOLDER")], as_json: Json = False) -> None:
    """Copy a folder with a style.toml to the installation's own styles."""
    with answering(as_json) as say:
        from templates import catalog

        entry = catalog.add(folder, home() / "styles")
        say({"style": _document(entry)}, lambda: _print([entry]))


@app.command("export")
def export_styles(
    names: Annotated[list[str], typer.Argument(metavar="NAME…")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The pack to write.")] = Path("styles.zip"),
    as_json: Json = False,
) -> None:
    """Write styles to a pack: one zip with their hashes."""
    with answering(as_json) as say:
        from templates import packs

        known = installed(home())
        path = packs.export([known.find(name) for name in names], out)
        say({"pack": str(path), "styles": names}, lambda: _line(f"{len(names)} styles in {path}"))


@app.command("import")
def import_styles(source: Annotated[Path, typer.Argument(metavar="PACK|FOLDER|FILE")], as_json: Json = False) -> None:
    """Take in a pack, FaceChain's JSON styles, or a folder of JPEGs as EasyPhoto has them."""
    with answering(as_json) as say:
        from templates import importers, packs

        target = home() / "styles"
        if source.suffix.lower() == ".zip":
            entries, left = packs.bring(source, target), ()
        else:
            brought = importers.bring(source, target)
            entries, left = list(brought.entries), brought.left
        say(
            {
                "styles": [_document(entry) for entry in entries],
                "left": [{"source": each.source, "field": each.field, "why": each.why} for each in left],
            },
            lambda: _print_brought(entries, left),
        )


def _entries(folders: list[Path]) -> list[Entry]:
    """The styles in some folders; raises `UserError` (`not_found`), `OperatorError` (`bad_style`)."""
    from portrait.errors import UserError
    from templates.schema import read

    entries = []
    for folder in folders:
        files = [folder / "style.toml"] if (folder / "style.toml").is_file() else sorted(folder.glob("*/style.toml"))
        if not files:
            raise UserError("not_found", f"There is no style.toml in {folder} or in a folder of it.")
        entries += [Entry(read(file), file.parent) for file in files]
    return entries


def _linted(entries: list[Entry], pictures: bool) -> "list[list[Finding]]":
    """Findings by style; a finder is only loaded where there is a picture to look at."""
    from pipelines import build, photos
    from pipelines.engines import names
    from portrait.backdrops import NAMES
    from portrait.geometry import size_of
    from tasks.settings import load
    from templates import lint

    here = lint.Installed(backdrops=frozenset(NAMES), engines=frozenset(names("painters")))
    found = [lint.words(entry.style, here) + lint.file(entry.picture(), entry.style) for entry in entries]
    if pictures:
        with build.open_engines(load()) as engines:
            for entry, faults in zip(entries, found, strict=True):
                if place := entry.picture():
                    image = photos.read(place).image
                    faces = engines.finder().faces(image, embedded=0)
                    faults += lint.picture(entry.style, lint.Seen(size_of(image), tuple(faces)))
    return found


def _finding(each: "Finding") -> dict[str, str]:
    return {"code": each.code, "level": each.level, "where": each.where, "tip": each.tip}


def _document(entry: Entry) -> dict[str, Any]:
    return entry.style.model_dump(mode="json", by_alias=True, exclude_none=True) | {"folder": str(entry.folder)}


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


def _print_findings(entries: list[Entry], found: "list[list[Finding]]") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("style", "", "field", "what to do", box=None, pad_edge=False, header_style="dim")
    for entry, faults in zip(entries, found, strict=True):
        if not faults:
            table.add_row(entry.style.id, Text("ok", style="green"), "", "")
        for each in faults:
            colour = "red" if each.level == "error" else "yellow"
            table.add_row(entry.style.id, Text(each.code, style=colour), each.where, Text(each.tip))
    Console(highlight=False).print(table)


def _print_brought(entries: list[Entry], left: "tuple[Left, ...]") -> None:
    _print(entries)
    for each in left:
        _line(f"{each.source}{f', {each.field}' if each.field else ''}: {each.why}")


def _line(text: str) -> None:
    from rich.console import Console
    from rich.text import Text

    Console(highlight=False).print(Text(text))
