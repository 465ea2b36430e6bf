"""Lines and tables on the terminal, in which commands give their answers to people."""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console, OverflowMethod
from rich.table import Column, Table
from rich.text import Text

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print the ids alone, one a line.")]
"""The option of lists for other programs to go on with."""


def print_ids(rows: Iterable[Mapping[str, Any]]) -> None:
    """Print the ids of a list, one a line."""
    for row in rows:
        typer.echo(row["id"])


def utc_time(seconds: float | None) -> str:
    """A time to the minute, UTC; empty where there is none."""
    return "" if seconds is None else time.strftime("%Y-%m-%d %H:%M", time.gmtime(seconds))


def print_line(text: str, style: str = "", soft_wrap: bool = False) -> None:
    """Print text as it is, without markup."""
    Console(highlight=False, soft_wrap=soft_wrap).print(Text(text, style))


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str | Text]],
    overflow: OverflowMethod = "ellipsis",
    header_style: str = "dim",
) -> None:
    """Print rows below the names of their columns, or without a header when no names are given; a `str` may hold markup."""
    headers = [Column(name, overflow=overflow) for name in columns]
    table = Table(*headers, box=None, pad_edge=False, show_header=bool(headers), header_style=header_style)
    for row in rows:
        table.add_row(*row)
    Console(highlight=False).print(table)
