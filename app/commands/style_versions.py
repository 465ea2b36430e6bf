"""`portrait styles test | publish | retire | remove | stats`: from a draft to a version, and how it does."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.terminal.errors import Json, answering

if TYPE_CHECKING:
    from tasks.ledger.statistics import StyleFigure
    from tasks.styles.service import Workshop

Draft = Annotated[str, typer.Argument(metavar="DRAFT", help="As `portrait styles list` shows it.", show_default=False)]
Name = Annotated[str, typer.Argument(metavar="NAME", help="As `portrait styles list` shows it.", show_default=False)]


def try_out(
    name: Draft,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for the page; default: ./test-NAME.")] = None,
    as_json: Json = False,
) -> None:
    """Draw three people in a draft's style, and write a page that shows them side by side."""
    with answering(as_json) as say:
        from app.terminal import style_tables, styles
        from app.terminal.portraits import hung
        from app.terminal.progress_bar import Bar
        from pipelines import build
        from pipelines.pages import gallery
        from tasks.settings import load
        from tasks.styles.samples import Trials

        settings, folder = load(), out or Path(f"test-{name}")
        with styles.workshop() as workshop, Bar() as bar, build.open_engines(settings) as engines:
            draft = workshop.draft(name)
            entry, trials = workshop.entry(draft), Trials(settings, engines)
            style = hung(entry, engines)
            samples = trials.draw(style, folder, bar)
            workshop.tested(trials.news(draft, entry, samples, ("", time.time())), draft, folder)
        drawn = [(folder / f"{each.number}.jpg", style, each.portrait) for each in samples if each.portrait]
        page = gallery.write(drawn, folder)
        told = [each.told() for each in samples]
        say({"style": name, "samples": told, "page": str(page)}, lambda: style_tables.print_samples(told, str(page)))


def publish(name: Draft, as_json: Json = False) -> None:
    """Make a draft the next version, which never changes; its picture is looked at if nobody did yet."""
    with answering(as_json) as say:
        from app.terminal import style_tables, styles

        with styles.workshop() as workshop:
            if not workshop.checked(workshop.draft(name)):
                _look(workshop, name)
            row = workshop.publish(name)
        document = {"style": row.id, "version": row.version, "sha256": row.sha256}
        say(document, lambda: style_tables.print_line(f"{row.id} is published as version {row.version}."))


def retire(
    name: Name,
    version: Annotated[int | None, typer.Option("--version", help="One version; all of them if not told.")] = None,
    as_json: Json = False,
) -> None:
    """Offer a style no more; what was drawn with it can be drawn again."""
    with answering(as_json) as say:
        from app.terminal import style_tables, styles

        with styles.workshop() as workshop:
            gone = [row.version for row in workshop.retire(name, version)]
        told = ", ".join(map(str, gone)) or "nothing that was offered"
        say({"style": name, "retired": gone}, lambda: style_tables.print_line(f"Retired of {name}: {told}."))


def remove(name: Draft, as_json: Json = False) -> None:
    """Throw a draft away; published versions stay."""
    with answering(as_json) as say:
        from app.terminal import style_tables, styles

        with styles.workshop() as workshop:
            workshop.remove(name)
        say({"removed": name}, lambda: style_tables.print_line(f"The draft of {name} is gone."))


def stats(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="One style by version; else all.")] = None,
    as_json: Json = False,
) -> None:
    """How styles do: uses, portraits, favourites, failures, and the distance of drawn faces to their people."""
    with answering(as_json) as say:
        from app.terminal import style_tables, styles

        with styles.workshop() as workshop:
            figures = workshop.store.figures
            if name is None:
                rows = list(figures.styles())
            else:
                total, versions = figures.versions(name)
                rows = [total, *versions]
        say({"styles": [_figure(each) for each in rows]}, lambda: style_tables.print_figures(rows))


def _look(workshop: "Workshop", name: str) -> None:
    """Look at a draft's picture with this machine's engines."""
    from pipelines import build
    from tasks.settings import load
    from tasks.styles.samples import Trials

    settings, draft = load(), workshop.draft(name)
    with build.open_engines(settings) as engines:
        workshop.store.drafts.hear(Trials(settings, engines).news(draft, workshop.entry(draft)))


def _figure(each: "StyleFigure") -> dict[str, object]:
    return {
        "style": each.style,
        "version": each.version,
        "uses": each.uses,
        "portraits": each.portraits,
        "favourites": each.favourites,
        "failures": each.failures,
        "likeness_median": each.median,
        "likeness_worst_tenth": each.worst_tenth,
    }
