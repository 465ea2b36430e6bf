"""`portrait styles`: list, check, import and export styles; test, publish, retire and count them."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.terminal.errors import Json, cli_output
from app.terminal.tables import print_line

if TYPE_CHECKING:
    from tasks.ledger.rows import DraftRow
    from tasks.ledger.statistics import StyleStatistics
    from tasks.styles.service import StyleService
    from templates.catalog import Entry
    from templates.lint import Finding

app = typer.Typer(help="Styles: from a draft to a published version, and out again.", no_args_is_help=True)

Given = Annotated[
    list[str],
    typer.Argument(metavar="DRAFT|FOLDER", help="A draft, a style's folder, or a folder of them."),
]
Named = typer.Argument(metavar="NAME", help="As `portrait styles list` shows it.")
Name = Annotated[str, Named]
Draft = Annotated[str, typer.Argument(metavar="DRAFT", help="As `portrait styles list` shows it.")]
Pictures = Annotated[bool, typer.Option("--pictures/--words", help="Look for faces in pictures, or at words alone.")]
Replace = Annotated[bool, typer.Option("--replace", help="Take the place of a draft of the same name.")]


@app.command("list")
def list_styles(as_json: Json = False) -> None:
    """Every style there is: published, built in, or a draft."""
    with cli_output(as_json) as output:
        from app.terminal import style_tables, styles
        from tasks.styles.service import StyleService

        with styles.open_available_styles() as offered:
            found = {entry.style.id: _style_to_dict(entry) for entry in offered.entries()}
            if offered.ledger is not None:
                service = StyleService(offered.ledger, offered.files)
                drafts = {row.id: _draft_to_dict(service, row) for row in offered.ledger.drafts.list()}
                found = drafts | found
        documents = [found[id] for id in sorted(found)]
        output({"styles": documents}, lambda: style_tables.print_styles(documents))


@app.command()
def show(name: Name, as_json: Json = False) -> None:
    """One style in full: as it is offered, or its draft."""
    with cli_output(as_json) as output:
        from app.terminal import style_tables, styles
        from tasks.styles.service import StyleService

        with styles.open_available_styles() as offered:
            draft = offered.ledger.drafts.find(name) if offered.ledger else None
            if draft is not None and offered.ledger is not None:
                entry = StyleService(offered.ledger, offered.files).entry(draft)
            else:
                entry = offered.find(name)
        document = _style_to_dict(entry)
        output({"style": document}, lambda: style_tables.print_style(document))


@app.command("schema")
def print_schema() -> None:
    """The JSON Schema of a style.toml, for editors."""
    with cli_output(True) as output:
        from templates.schema import json_schema

        output(json_schema(), lambda: None)


@app.command()
def check(given: Given, pictures: Pictures = True, as_json: Json = False) -> None:
    """What is wrong with drafts or folders, and what to do about it."""
    with cli_output(as_json) as output:
        from app.terminal import style_tables, styles
        from portrait.errors import OperatorError

        with styles.open_style_service() as service:
            entries, drafts = _find_entries(service, given)
            found = _lint(service, entries, drafts, pictures)
        checked = [
            {"style": entry.style.id, "findings": [asdict(each) for each in faults]}
            for entry, faults in zip(entries, found, strict=True)
        ]
        errors = sum(each.level == "error" for faults in found for each in faults)
        document = {"ok": not errors, "styles": checked}
        if not (errors and as_json):
            output(document, lambda: style_tables.print_findings(entries, found))
        if errors:
            sentence = f"{errors} things are to be mended before this can be published."
            raise OperatorError("style_faults", sentence, document)


@app.command()
def add(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder, or its style.toml.")],
    replace: Replace = False,
    as_json: Json = False,
) -> None:
    """Take a folder with a style.toml, or a style.toml alone, in as a draft."""
    _import(folder, replace, as_json)


@app.command("import")
def import_styles(
    source: Annotated[Path, typer.Argument(metavar="PACK|FOLDER|FILE", help="What another installation or tool gave.")],
    replace: Replace = False,
    fetch: Annotated[
        bool, typer.Option("--fetch", help="Fetch the LoRAs that they name, where they say from where.")
    ] = False,
    prefix: Annotated[
        str, typer.Option("--prefix", metavar="WORD", help="Put before the ids of other tools' styles.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Take in a pack, styles of FaceChain, Fooocus or AUTOMATIC1111, or EasyPhoto's folder of JPEGs, as drafts."""
    _import(source, replace, as_json, fetch, prefix)


@app.command("export")
def export_styles(
    names: Annotated[list[str], Named],
    out: Annotated[Path, typer.Option("--out", "-o", help="The pack to write.")] = Path("styles.zip"),
    as_json: Json = False,
) -> None:
    """Write styles to a pack: one zip with their hashes."""
    with cli_output(as_json) as output:
        from app.terminal import styles

        with styles.open_style_service() as service:
            path = service.export(names, out)
        output({"pack": str(path), "styles": names}, lambda: print_line(f"{len(names)} styles in {path}"))


@app.command("test")
def draw_test(
    name: Draft,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for the page; default: ./test-NAME.")] = None,
    as_json: Json = False,
) -> None:
    """Draw three people in a draft's style, and write a page that shows them side by side."""
    with cli_output(as_json) as output:
        from app.terminal import style_tables, styles
        from app.terminal.portraits import attach_picture
        from app.terminal.progress_bar import ProgressBar
        from pipelines import build
        from pipelines.pages import gallery
        from tasks.settings import load
        from tasks.styles.samples import StyleTester

        settings, folder = load(), out or Path(f"test-{name}")
        with styles.open_style_service() as service, ProgressBar() as bar, build.open_engines(settings) as engines:
            draft = service.draft(name)
            entry, tester = service.entry(draft), StyleTester(settings, engines)
            style = attach_picture(entry, engines)
            samples = tester.render_samples(style, folder, bar)
            service.save_test(tester.draft_findings(draft, entry, samples, ("", time.time())), draft, folder)
        drawn = [(folder / f"{each.number}.jpg", style, each.portrait) for each in samples if each.portrait]
        page = gallery.write(drawn, folder)
        rows = [each.to_dict() for each in samples]
        output({"style": name, "samples": rows, "page": str(page)}, lambda: style_tables.print_samples(rows, str(page)))


@app.command()
def publish(name: Draft, as_json: Json = False) -> None:
    """Make a draft the next version, which never changes; its picture is checked first if that was not done yet."""
    with cli_output(as_json) as output:
        from app.terminal import styles

        with styles.open_style_service() as service:
            if not service.is_checked(service.draft(name)):
                _check_picture(service, name)
            row = service.publish(name)
        document = {"style": row.id, "version": row.version, "sha256": row.sha256}
        output(document, lambda: print_line(f"{row.id} is published as version {row.version}."))


@app.command()
def retire(
    name: Name,
    version: Annotated[int | None, typer.Option("--version", help="One version; default: all of them.")] = None,
    as_json: Json = False,
) -> None:
    """Retire a style: it is no longer offered; portraits made with it can be drawn again."""
    with cli_output(as_json) as output:
        from app.terminal import styles

        with styles.open_style_service() as service:
            retired = [row.version for row in service.retire(name, version)]
        versions = ", ".join(map(str, retired)) or "nothing that was published"
        output({"style": name, "retired": retired}, lambda: print_line(f"Retired of {name}: {versions}."))


@app.command()
def remove(name: Draft, as_json: Json = False) -> None:
    """Delete a draft; published versions stay."""
    with cli_output(as_json) as output:
        from app.terminal import styles

        with styles.open_style_service() as service:
            service.delete_draft(name)
        output({"removed": name}, lambda: print_line(f"The draft of {name} is deleted."))


@app.command()
def stats(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="One style by version; else all.")] = None,
    as_json: Json = False,
) -> None:
    """Statistics of styles: uses, portraits, favourites, failures, and the distance of drawn faces to their people."""
    with cli_output(as_json) as output:
        from app.terminal import style_tables, styles

        with styles.open_style_service() as service:
            statistics = service.ledger.statistics
            if name is None:
                rows = list(statistics.styles())
            else:
                total, versions = statistics.versions(name)
                rows = [total, *versions]
        output({"styles": [_statistics_to_dict(each) for each in rows]}, lambda: style_tables.print_statistics(rows))


def _import(source: Path, replacing: bool, as_json: bool, fetch: bool = False, prefix: str = "") -> None:
    with cli_output(as_json) as output:
        from app.terminal import style_tables, styles

        with styles.open_style_service() as service:
            imported = service.import_drafts(source, styles.AUTHOR, replacing, prefix)
            entries = [service.entry(row) for row in imported.drafts]
        documents = [_style_to_dict(entry) for entry in entries]
        fetched, missing = styles.fetch_loras([entry.style for entry in entries]) if fetch else ([], [])
        skipped = [*imported.skipped, *missing]

        def human() -> None:
            style_tables.print_styles(documents)
            style_tables.print_skipped(skipped)
            if fetched:
                print_line(f"Fetched: {', '.join(fetched)}. Nobody has said under which licence they may be used.")

        output({"styles": documents, "left": [asdict(each) for each in skipped], "fetched": fetched}, human)


def _find_entries(service: "StyleService", given: list[str]) -> "tuple[list[Entry], list[DraftRow | None]]":
    """Drafts by name and styles in folders; raises `not_found`, `bad_style`."""
    from portrait.errors import UserError
    from templates.catalog import Entry
    from templates.schema import read_style

    entries: list[Entry] = []
    drafts: list[DraftRow | None] = []
    for each in given:
        folder = Path(each)
        draft = service.ledger.drafts.find(each)
        if draft is not None and not folder.is_dir():
            entries.append(service.entry(draft))
            drafts.append(draft)
            continue
        files = [folder / "style.toml"] if (folder / "style.toml").is_file() else sorted(folder.glob("*/style.toml"))
        if not files:
            raise UserError("not_found", f"There is no draft {each}, and no style.toml in a folder of that name.")
        entries += [Entry(read_style(file), file.parent) for file in files]
        drafts += [None] * len(files)
    return entries, drafts


def _lint(
    service: "StyleService", entries: "list[Entry]", drafts: "list[DraftRow | None]", pictures: bool
) -> "list[list[Finding]]":
    """Findings by style; those of a draft are recorded, so that it can be published."""
    from pipelines import build
    from tasks.settings import load
    from tasks.styles.samples import StyleTester
    from tasks.styles.service import lint_entry

    settings = load()
    with build.open_engines(settings) as engines:
        tester = StyleTester(settings, engines)
        if not pictures:
            return [lint_entry(entry, tester.installed()) for entry in entries]
        for entry, draft in zip(entries, drafts, strict=True):
            if draft is not None:
                service.ledger.drafts.record_findings(tester.draft_findings(draft, entry))
        return [tester.findings(entry) for entry in entries]


def _draft_to_dict(service: "StyleService", row: "DraftRow") -> dict[str, Any]:
    """A draft as JSON; of one that does not hold any more, that it is broken: others are listed all the same."""
    from portrait.errors import OperatorError

    try:
        return _style_to_dict(service.entry(row))
    except OperatorError:
        known = {name: row.content.get(name, "") for name in ("title", "kind", "version", "licence")}
        return {"id": row.id, **known, "status": "broken"}


def _style_to_dict(entry: "Entry") -> dict[str, Any]:
    return entry.style.model_dump(mode="json", by_alias=True, exclude_none=True) | {"folder": str(entry.folder)}


def _check_picture(service: "StyleService", name: str) -> None:
    """Find the faces in a draft's picture with this machine's engines, and record the findings."""
    from pipelines import build
    from tasks.settings import load
    from tasks.styles.samples import StyleTester

    settings, draft = load(), service.draft(name)
    with build.open_engines(settings) as engines:
        findings = StyleTester(settings, engines).draft_findings(draft, service.entry(draft))
        service.ledger.drafts.record_findings(findings)


def _statistics_to_dict(each: "StyleStatistics") -> dict[str, Any]:
    names = ("style", "version", "uses", "portraits", "favourites", "failures")
    likeness = {"likeness_median": each.median, "likeness_worst_tenth": each.worst_tenth}
    return {name: getattr(each, name) for name in names} | likeness
