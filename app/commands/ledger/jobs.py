"""`portrait jobs`: everybody's jobs on this installation: list, show, cancel, retry, set the priority."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from app.terminal.errors import Json, cli_output
from app.terminal.tables import Quiet, print_ids, print_line, print_table, utc_time
from tasks.jobs import JobKind, JobState

if TYPE_CHECKING:
    from tasks.jobs import Job
    from tasks.ledger.jobs import QueueStatus
    from tasks.ledger.ledger import Ledger

app = typer.Typer(help="Jobs of everybody: list, show, cancel, retry, priority.", no_args_is_help=True)

Ids = Annotated[list[str], typer.Argument(metavar="ID…", help="As `portrait jobs list` shows them.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="As `portrait jobs list` shows it.")]
PAGE = 200
"""Jobs that are read at once."""


@app.command("list")
def list_jobs(
    state: Annotated[JobState | None, typer.Option(help="Those in one state alone.")] = None,
    kind: Annotated[JobKind | None, typer.Option(help="Those of one kind alone.")] = None,
    owner: Annotated[str, typer.Option(help="Those of one owner alone.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Jobs, the newest first.")] = 50,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Jobs, the newest first: without words that people wrote."""
    with cli_output(as_json) as output:
        ledger, found = _open_ledger(), []
        cursor: str | None = None
        while len(found) < limit:
            page = ledger.jobs.list_all(
                [state] if state else (), kind or "", cursor, min(PAGE, limit - len(found)), owner
            )
            found += _documents(ledger, page.items)
            cursor = page.next
            if cursor is None:
                break
        output({"jobs": found}, lambda: print_ids(found) if quiet else _print_jobs(found))


@app.command()
def show(id: Id, as_json: Json = False) -> None:
    """One job, and what it went through."""
    with cli_output(as_json) as output:
        ledger = _open_ledger()
        job = ledger.jobs.get_any(id)
        [document] = _documents(ledger, [job])
        events = ledger.jobs.events(job.owner, id, limit=500)
        log = [{"at": utc_time(each.at), "state": each.state, "phase": each.data.get("phase", "")} for each in events]
        output({**document, "log": log}, lambda: _print_job(document, log))


@app.command()
def cancel(ids: Ids, as_json: Json = False) -> None:
    """Cancel jobs: at once while they wait, within a step while they run."""
    with cli_output(as_json) as output:
        ledger = _open_ledger()
        changed = [_audited(ledger, "job.cancelled", ledger.jobs.cancel_any(id, ledger.now())) for id in ids]
        output({"jobs": _documents(ledger, changed)}, lambda: _print_states(changed))


@app.command()
def retry(ids: Ids, as_json: Json = False) -> None:
    """Queue jobs again that failed, were cancelled or expired."""
    with cli_output(as_json) as output:
        from tasks.queue import broker
        from tasks.settings import load_installation

        ledger, celery = _open_ledger(), broker.create_app(load_installation().tasks)
        changed = [_audited(ledger, "job.retried", ledger.jobs.retry_any(id, ledger.now())) for id in ids]
        for queue in sorted({job.queue for job in changed}):
            broker.notify(celery, queue)
        output({"jobs": _documents(ledger, changed)}, lambda: _print_states(changed))


@app.command()
def priority(
    id: Id,
    number: Annotated[int, typer.Argument(min=-100, max=100, help="Jobs of a higher one are begun first; 0 is usual.")],
    as_json: Json = False,
) -> None:
    """Put a job that waits before others, or behind them."""
    with cli_output(as_json) as output:
        ledger = _open_ledger()
        job = ledger.queue.set_priority(id, number, ledger.now())
        _audited(ledger, "job.prioritised", job, priority=number)
        [document] = _documents(ledger, [job])
        place = f" It is number {document['place']} of its queue." if document["place"] else ""
        output(document, lambda: typer.echo(f"{id} has the priority {number}.{place}"))


def _open_ledger() -> "Ledger":
    from tasks.ledger.ledger import open_ledger
    from tasks.settings import load_installation

    return open_ledger(load_installation().tasks.database)


def _audited(ledger: "Ledger", action: str, job: "Job", **detail: int) -> "Job":
    from tasks.ledger.access.audit import SYSTEM

    ledger.audit.add(SYSTEM, action, job.id, detail, ledger.now())
    return job


def _documents(ledger: "Ledger", jobs: Sequence["Job"]) -> list[dict[str, Any]]:
    """Jobs as JSON, with their places."""
    status = ledger.jobs.queue_statuses(jobs, ledger.now())
    return [_document(job, status[job.id]) for job in jobs]


def _document(job: "Job", status: "QueueStatus") -> dict[str, Any]:
    names = ("id", "owner", "kind", "queue", "state", "priority", "phase", "progress", "losses", "failures", "worker")
    times = {name: utc_time(getattr(job, name)) for name in ("created", "started", "finished")}
    more = {"place": status.place, "missing": list(status.missing), "code": job.fault.code if job.fault else ""}
    return {name: getattr(job, name) for name in names} | times | more


def _print_jobs(jobs: Sequence[dict[str, Any]]) -> None:
    if not jobs:
        print_line("There are no such jobs.")
        return
    cells = ([Text(value) for value in (*_words(job), job["created"])] for job in jobs)
    print_table(("id", "owner", "kind", "state", "how far", "since (UTC)"), cells, "fold", header_style="table.header")


def _words(job: dict[str, Any]) -> tuple[str, str, str, str, str]:
    """A job in words: the state with its reason, and how far it is."""
    far = f"{job['phase']} {job['progress']:.0%}" if job["state"] in ("running", "cancelling") else ""
    waits = f"number {job['place']}" if job["place"] else ""
    lacks = f", needs {' '.join(job['missing'])}" if job["missing"] else ""
    reason = f" ({job['code']})" if job["code"] else ""
    return job["id"], job["owner"], job["kind"], f"{job['state']}{reason}", f"{far or waits}{lacks}"


def _print_job(job: dict[str, Any], log: Sequence[dict[str, str]]) -> None:
    told = {name: value for name, value in job.items() if value not in ("", None, [], 0)}
    print_table(
        (),
        (
            [Text(name), Text(" ".join(value) if isinstance(value, list) else str(value))]
            for name, value in told.items()
        ),
        "fold",
    )
    cells = ([Text(value) for value in each.values()] for each in log)
    print_table(("at (UTC)", "state", "phase"), cells, "fold", header_style="table.header")


def _print_states(jobs: Sequence["Job"]) -> None:
    for job in jobs:
        typer.echo(f"{job.id} is {job.state}.")
