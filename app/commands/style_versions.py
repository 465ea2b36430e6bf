"""`portrait styles test | publish | retire | remove | stats`: from a draft to published versions, and their statistics."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.terminal.errors import Json, cli_output
from app.terminal.tables import print_line

if TYPE_CHECKING:
    from tasks.ledger.statistics import StyleStatistics
    from tasks.styles.service import StyleService

Draft = Annotated[str, typer.Argument(metavar="DRAFT", help="As `portrait styles list` shows it.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="As `portrait styles list` shows it.")]


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


def remove(name: Draft, as_json: Json = False) -> None:
    """Delete a draft; published versions stay."""
    with cli_output(as_json) as output:
        from app.terminal import styles

        with styles.open_style_service() as service:
            service.delete_draft(name)
        output({"removed": name}, lambda: print_line(f"The draft of {name} is deleted."))


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
