"""`portrait styles`: what portraits can look like; styles in and out, and what is wrong with them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.commands import style_versions
from app.terminal.errors import Json, answering

if TYPE_CHECKING:
    from tasks.ledger.rows import DraftRow
    from tasks.styles.service import Workshop
    from templates.catalog import Entry
    from templates.lint import Finding

app = typer.Typer(help="Styles: from a draft to a published version, and out again.", no_args_is_help=True)

Given = Annotated[
    list[str],
    typer.Argument(metavar="DRAFT|FOLDER", help="A draft, a style's folder, or a folder of them.", show_default=False),
]
Named = typer.Argument(metavar="NAME", help="As `portrait styles list` shows it.", show_default=False)
Name = Annotated[str, Named]
Pictures = Annotated[bool, typer.Option("--pictures/--words", help="Look for faces in pictures, or at words alone.")]
Replace = Annotated[bool, typer.Option("--replace", help="Take the place of a draft of the same name.")]


@app.command("list")
def list_styles(as_json: Json = False) -> None:
    """Every style there is: published, built in, or a draft."""
    with answering(as_json) as say:
        from app.terminal import style_tables, styles
        from tasks.styles.service import Workshop

        with styles.offered() as offered:
            entries = {entry.style.id: entry for entry in offered.entries()}
            if offered.store is not None:
                shop = Workshop(offered.store, offered.files)
                drafts = {row.id: shop.entry(row) for row in offered.store.drafts.list()}
                entries = drafts | entries
        documents = [_document(entries[id]) for id in sorted(entries)]
        say({"styles": documents}, lambda: style_tables.print_styles(documents))


@app.command()
def show(name: Name, as_json: Json = False) -> None:
    """One style in full: as it is offered, or its draft."""
    with answering(as_json) as say:
        from app.terminal import style_tables, styles
        from tasks.styles.service import Workshop

        with styles.offered() as offered:
            draft = offered.store.drafts.find(name) if offered.store else None
            if draft is not None and offered.store is not None:
                entry = Workshop(offered.store, offered.files).entry(draft)
            else:
                entry = offered.find(name)
        document = _document(entry)
        say({"style": document}, lambda: style_tables.print_one(document))


@app.command("schema")
def print_schema() -> None:
    """The JSON Schema of a style.toml, for editors."""
    with answering(True) as say:
        from templates.schema import document

        say(document(), lambda: None)


@app.command()
def check(given: Given, pictures: Pictures = True, as_json: Json = False) -> None:
    """What is wrong with drafts or folders, and what to do about it."""
    with answering(as_json) as say:
        from app.terminal import style_tables, styles
        from portrait.errors import OperatorError

        with styles.workshop() as workshop:
            entries, drafts = _meant(workshop, given)
            found = _linted(workshop, entries, drafts, pictures)
        told = [
            {"style": entry.style.id, "findings": [_finding(each) for each in faults]}
            for entry, faults in zip(entries, found, strict=True)
        ]
        errors = sum(each.level == "error" for faults in found for each in faults)
        document = {"ok": not errors, "styles": told}
        if not errors:
            say(document, lambda: style_tables.print_findings(entries, found))
            return
        if not as_json:
            style_tables.print_findings(entries, found)
        raise OperatorError("style_faults", f"{errors} things are to be mended before this can be published.", document)


@app.command()
def add(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder, or its style.toml.")],
    replace: Replace = False,
    as_json: Json = False,
) -> None:
    """Take a folder with a style.toml, or a style.toml alone, in as a draft."""
    _bring(folder, replace, as_json)


@app.command("import")
def import_styles(
    source: Annotated[Path, typer.Argument(metavar="PACK|FOLDER|FILE", help="What another installation or tool gave.")],
    replace: Replace = False,
    as_json: Json = False,
) -> None:
    """Take in a pack, FaceChain's JSON styles, or a folder of JPEGs as EasyPhoto has them, as drafts."""
    _bring(source, replace, as_json)


@app.command("export")
def export_styles(
    names: Annotated[list[str], Named],
    out: Annotated[Path, typer.Option("--out", "-o", help="The pack to write.")] = Path("styles.zip"),
    as_json: Json = False,
) -> None:
    """Write styles to a pack: one zip with their hashes."""
    with answering(as_json) as say:
        from app.terminal import style_tables, styles

        with styles.workshop() as workshop:
            path = workshop.export(names, out)
        say({"pack": str(path), "styles": names}, lambda: style_tables.print_line(f"{len(names)} styles in {path}"))


app.command("test")(style_versions.try_out)
app.command("publish")(style_versions.publish)
app.command("retire")(style_versions.retire)
app.command("remove")(style_versions.remove)
app.command("stats")(style_versions.stats)


def _bring(source: Path, replacing: bool, as_json: bool) -> None:
    with answering(as_json) as say:
        from app.terminal import style_tables, styles

        with styles.workshop() as workshop:
            brought = workshop.bring(source, styles.WHO, replacing)
            documents = [_document(workshop.entry(row)) for row in brought.drafts]
        left = [{"source": each.source, "field": each.field, "why": each.why} for each in brought.left]

        def human() -> None:
            style_tables.print_styles(documents)
            style_tables.print_left(brought.left)

        say({"styles": documents, "left": left}, human)


def _meant(workshop: "Workshop", given: list[str]) -> "tuple[list[Entry], list[DraftRow | None]]":
    """Drafts by name and styles in folders; raises `not_found`, `bad_style`."""
    from portrait.errors import UserError
    from templates.catalog import Entry
    from templates.schema import read

    entries: list[Entry] = []
    drafts: list[DraftRow | None] = []
    for each in given:
        folder = Path(each)
        draft = workshop.store.drafts.find(each)
        if draft is not None and not folder.is_dir():
            entries.append(workshop.entry(draft))
            drafts.append(draft)
            continue
        files = [folder / "style.toml"] if (folder / "style.toml").is_file() else sorted(folder.glob("*/style.toml"))
        if not files:
            raise UserError("not_found", f"There is no draft {each}, and no style.toml in a folder of that name.")
        entries += [Entry(read(file), file.parent) for file in files]
        drafts += [None] * len(files)
    return entries, drafts


def _linted(
    workshop: "Workshop", entries: "list[Entry]", drafts: "list[DraftRow | None]", pictures: bool
) -> "list[list[Finding]]":
    """Findings by style; what was seen of a draft is kept, so that it can be published."""
    from pipelines import build
    from tasks.settings import load
    from tasks.styles.samples import Trials
    from tasks.styles.service import words

    settings = load()
    with build.open_engines(settings) as engines:
        trials = Trials(settings, engines)
        if not pictures:
            return [words(entry, trials.installed()) for entry in entries]
        for entry, draft in zip(entries, drafts, strict=True):
            if draft is not None:
                workshop.store.drafts.hear(trials.news(draft, entry))
        return [trials.look(entry) for entry in entries]


def _finding(each: "Finding") -> dict[str, str]:
    return {"code": each.code, "level": each.level, "where": each.where, "tip": each.tip}


def _document(entry: "Entry") -> dict[str, Any]:
    return entry.style.model_dump(mode="json", by_alias=True, exclude_none=True) | {"folder": str(entry.folder)}
