"""Styles, findings and statistics as tables of a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from app.terminal.tables import print_line, print_table
from tasks.ledger.statistics import StyleStatistics
from templates.catalog import Entry
from templates.imported import Skipped
from templates.lint import Finding


def print_styles(documents: Sequence[Mapping[str, Any]]) -> None:
    """One line a style."""
    columns = ("title", "kind", "version", "status", "licence")
    rows = [(each["id"], *(str(each[name]) for name in columns)) for each in documents]
    print_table(("style", *columns), rows)


def print_style(document: Mapping[str, Any]) -> None:
    """Every field of a style."""
    for name, value in document.items():
        print_line(f"{name:10} {value}")


def print_findings(entries: Sequence[Entry], found: Sequence[Sequence[Finding]]) -> None:
    """What is wrong with each style, and what to do about it."""
    rows: list[Sequence[str | Text]] = []
    for entry, faults in zip(entries, found, strict=True):
        if not faults:
            rows.append((entry.style.id, Text("ok", style="green"), "", ""))
        for each in faults:
            colour = "red" if each.level == "error" else "yellow"
            rows.append((entry.style.id, Text(each.code, style=colour), each.where, Text(each.tip)))
    print_table(("style", "", "field", "what to do"), rows)


def print_skipped(skipped: Sequence[Skipped]) -> None:
    """What of an import did not come over as it was."""
    for each in skipped:
        print_line(f"{each.source}{f', {each.field}' if each.field else ''}: {each.why}")


def print_samples(samples: Sequence[Mapping[str, Any]], page: str) -> None:
    """What a test drew."""
    rows = [(each["sitter"], _format_distance(each["distance"]), Text(each["fault"])) for each in samples]
    print_table(("person", "distance", ""), rows)
    print_line(f"Page  {page}")


def print_statistics(rows: Sequence[StyleStatistics]) -> None:
    """How styles or versions did."""
    counts = ("uses", "portraits", "favourites", "failures")
    lines = []
    for each in rows:
        numbers = (str(getattr(each, name)) for name in counts)
        distances = (_format_distance(each.median), _format_distance(each.worst_tenth))
        lines.append((each.style, str(each.version or ""), *numbers, *distances))
    print_table(("style", "version", *counts, "median", "worst tenth"), lines)


def _format_distance(distance: float | None) -> str:
    return "" if distance is None else f"{distance:.2f}"
