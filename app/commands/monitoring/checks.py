"""A thing that `portrait doctor` looked at, and how all of them are printed."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text

from app.terminal.tables import print_table


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    ok: bool
    found: str
    mend: str = ""
    needed: bool = True
    """Whether the installation as it is set up needs it."""


def print_checks(findings: Sequence[Check]) -> None:
    """Print one line for each: what was found, and where it is not well what mends it."""
    rows = []
    for each in findings:
        sign = Text("ok", "green") if each.ok else Text("no", "red") if each.needed else Text("–", "yellow")
        rows.append((sign, each.name, Text(each.found if each.ok else f"{each.found}. {each.mend}")))
    print_table((), rows)
