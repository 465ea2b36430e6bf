"""`portrait top`: one page of what an installation does just now, refreshed every few seconds."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Column, Table
from rich.text import Text

from app.terminal.errors import Json, cli_output
from portrait.errors import OperatorError

if TYPE_CHECKING:
    from tasks.ledger.reports.activity import Activity
    from tasks.ledger.rows import WorkerRow

GIGABYTE = 1e9


def top(
    once: Annotated[bool, typer.Option("--once", help="Print the page once and end.")] = False,
    interval: Annotated[float, typer.Option(min=0.5, max=3600, help="Seconds between two looks.")] = 2.0,
    as_json: Json = False,
) -> None:
    """Watch queues, jobs, workers and failures; Ctrl-C ends. Reads the database alone."""
    with cli_output(as_json) as output:
        from tasks.ledger.ledger import open_ledger
        from tasks.ledger.reports.activity import ActivityRepository
        from tasks.settings import load_installation

        ledger = open_ledger(load_installation().tasks.database)
        activity = ActivityRepository(ledger.database)
        try:
            if once or as_json or not sys.stdout.isatty():
                found = activity.now(ledger.now())
                output(to_document(found), lambda: Console(highlight=False).print(page(found)))
                return
            _watch(lambda: activity.now(ledger.now()), interval)
        except KeyboardInterrupt:
            return
        finally:
            ledger.close()


def _watch(look: Callable[[], "Activity"], interval: float) -> None:
    """Show the page until Ctrl-C; while the database does not answer the last one stays, with a line that says so."""
    last = page(look())
    with Live(last, screen=True, auto_refresh=False) as live:
        while True:
            live.refresh()
            time.sleep(interval)
            try:
                last = page(look())
                live.update(last)
            except OperatorError as error:
                live.update(Group(Text(error.message, "red"), last))


def to_document(found: "Activity") -> dict[str, Any]:
    """What is found as JSON; of workers what is told of them, of what they lack nothing."""
    document = asdict(found)
    document["per_minute"] = round(found.per_minute, 2)
    for worker in (*document["workers"], *document["keepers"]):
        del worker["missing"]
    return document


def page(found: "Activity") -> RenderableType:
    """The whole page: a line of sums, then queues, running jobs and workers, each as a table."""
    return Group(
        _sums(found),
        Text(),
        _table(("queue", "waiting", "oldest", "running", "processes"), _queues(found)),
        Text(),
        _table(("job", "owner", "kind", "step", "done", "runs", "tries", "worker"), _jobs(found)),
        Text(),
        _table(("worker", "version", "queues", "device", "memory", "seen", "can"), _workers(found)),
    )


def _sums(found: "Activity") -> Text:
    clock = time.strftime("%H:%M:%S", time.gmtime(found.at))
    ended = ", ".join(f"{count} {state}" for state, count in found.ended.items()) or "no job ended"
    line = Text(f"{clock} UTC   last 5 minutes: {ended} ({found.per_minute:.1f} a minute)")
    for code, count in list(found.failures.items())[:5]:
        line.append(f"   {code} {count}", "red")
    seen = min((found.at - each.beat for each in found.keepers), default=None)
    line.append("   no keeper" if seen is None else f"   keeper {_seconds(seen)} ago", "red" if seen is None else "dim")
    return line


def _queues(found: "Activity") -> Iterator[Sequence[str | Text]]:
    for each in found.queues:
        lonely = each.waiting and not each.processes
        oldest = _seconds(each.oldest_wait) if each.waiting else ""
        processes = Text(str(each.processes), "red" if lonely else "")
        yield each.queue, str(each.waiting), oldest, str(each.running), processes


def _jobs(found: "Activity") -> Iterator[Sequence[str | Text]]:
    for each in found.running:
        step = each.phase if each.state == "running" else each.state
        tries = f"{each.losses} lost, {each.failures} failed" if each.losses or each.failures else ""
        done = f"{each.progress:.0%}"
        yield each.id, each.owner, each.kind, step, done, _seconds(each.seconds), tries, _host(each.worker)


def _workers(found: "Activity") -> Iterator[Sequence[str | Text]]:
    for each in found.workers:
        seen = _seconds(found.at - each.beat)
        state = Text("stops", "yellow") if each.stopping else Text(seen)
        memory = ", ".join(_memory(gpu) for gpu in each.gpus or ())
        yield _host(each.id), each.version, " ".join(each.queues), each.device, memory, state, _abilities(each)


def _abilities(worker: "WorkerRow") -> str:
    """The abilities of a worker, those of bases by the names of these alone."""
    return " ".join(sorted({":".join(each.split(":")[:2]) for each in worker.abilities}))


def _memory(gpu: Mapping[str, int]) -> str:
    return f"{gpu['used'] / GIGABYTE:.0f} of {gpu['total'] / GIGABYTE:.0f} GB"


def _host(worker: str) -> str:
    """Machine and process of a worker's id, `HOST:PID:RANDOM:PID`."""
    parts = worker.split(":")
    return f"{parts[0]}:{parts[-1]}" if worker else ""


def _seconds(seconds: float) -> str:
    """A time in its largest two units, such as `3 min 20 s`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _table(names: Sequence[str], rows: Iterator[Sequence[str | Text]]) -> Table:
    """A table whose cells are what they are, without markup; each row is one line, and where it is narrow its end is cut."""
    cells = [[Text(each) if isinstance(each, str) else each for each in row] for row in rows]
    widths = [max(len(name), *(len(row[at]) for row in cells), 0) for at, name in enumerate(names)]
    columns = [
        Column(name, overflow="ellipsis", no_wrap=True, min_width=width)
        for name, width in zip(names, widths, strict=True)
    ]
    columns[-1].min_width = None
    table = Table(*columns, box=None, pad_edge=False, header_style="table.header")
    for row in cells:
        table.add_row(*row)
    return table
