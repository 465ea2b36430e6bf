"""Styles, findings and statistics as tables of a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tasks.ledger.statistics import StyleStatistics
from templates.catalog import Entry
from templates.importers import Skipped
from templates.lint import Finding


def print_styles(documents: Sequence[Mapping[str, Any]]) -> None:
    """One line a style."""
    table = _table("style", "title", "kind", "version", "status", "licence")
    for each in documents:
        cells = (each["id"], each["title"], each["kind"], str(each["version"]), each["status"], each["licence"])
        table.add_row(*cells)
    Console(highlight=False).print(table)


def print_style(document: Mapping[str, Any]) -> None:
    """Every field of a style."""
    console = Console(highlight=False)
    for name, value in document.items():
        console.print(Text(f"{name:10} {value}"))


def print_findings(entries: Sequence[Entry], found: Sequence[Sequence[Finding]]) -> None:
    """What is wrong with each style, and what to do about it."""
    table = _table("style", "", "field", "what to do")
    for entry, faults in zip(entries, found, strict=True):
        if not faults:
            table.add_row(entry.style.id, Text("ok", style="green"), "", "")
        for each in faults:
            colour = "red" if each.level == "error" else "yellow"
            table.add_row(entry.style.id, Text(each.code, style=colour), each.where, Text(each.tip))
    Console(highlight=False).print(table)


def print_skipped(skipped: Sequence[Skipped]) -> None:
    """What of an import did not come over as it was."""
    for each in skipped:
        print_line(f"{each.source}{f', {each.field}' if each.field else ''}: {each.why}")


def print_samples(samples: Sequence[Mapping[str, Any]], page: str) -> None:
    """What a test drew."""
    table = _table("person", "distance", "")
    for each in samples:
        distance = "" if each["distance"] is None else f"{each['distance']:.2f}"
        table.add_row(each["sitter"], distance, Text(each["fault"]))
    Console(highlight=False).print(table)
    print_line(f"Page  {page}")


def print_statistics(rows: Sequence[StyleStatistics]) -> None:
    """How styles or versions did."""
    table = _table("style", "version", "uses", "portraits", "favourites", "failures", "median", "worst tenth")
    for each in rows:
        numbers = (each.uses, each.portraits, each.favourites, each.failures)
        distances = ("" if far is None else f"{far:.2f}" for far in (each.median, each.worst_tenth))
        table.add_row(each.style, str(each.version or ""), *map(str, numbers), *distances)
    Console(highlight=False).print(table)


def print_line(text: str) -> None:
    """One line."""
    Console(highlight=False).print(Text(text))


def _table(*columns: str) -> Table:
    return Table(*columns, box=None, pad_edge=False, header_style="dim")
