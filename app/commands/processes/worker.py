"""`portrait worker`, `portrait keeper`, and `portrait alive`, which asks whether they live."""

import signal
import socket
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from app.commands.processes.start import log_profile
from app.terminal import packages
from app.terminal.errors import cli_output

if TYPE_CHECKING:
    from tasks.settings import Installation

DRAIN_SECONDS = 3600.0
"""In which a worker that is drained may finish its job: a training of an hour, or what is left of it."""
_POLL = 0.5
"""Seconds between two looks at the workers that are drained."""


def worker(
    queues: Annotated[str, typer.Option(help="Comma-separated: cpu, gpu.train, gpu.generate, io.")] = "cpu",
    processes: Annotated[int, typer.Option(min=1, max=64, help="Jobs at once.")] = 1,
    start: Annotated[
        Literal["auto", "fork", "spawn"], typer.Option(help="How processes start; a GPU needs spawn, which auto knows.")
    ] = "auto",
    grace: Annotated[
        float | None,
        typer.Option(
            min=0, help="Seconds to finish a job when it is to stop: tasks.workers.grace; an hour with --drain."
        ),
    ] = None,
    drain: Annotated[
        bool,
        typer.Option("--drain", help="Have the workers of a machine finish their jobs and end, and wait for that."),
    ] = False,
    machine: Annotated[str, typer.Option(help="With --drain: the machine; by default this one.")] = "",
) -> None:
    """Do jobs of some queues; or, with --drain, end the workers that do."""
    with cli_output(False):
        packages.require("server", "`portrait worker`")
        from tasks import logs
        from tasks.settings import load_installation

        installation = load_installation()
        if drain:
            _drain(installation, machine or socket.gethostname(), DRAIN_SECONDS if grace is None else grace)
            return
        if grace is not None:
            workers = replace(installation.tasks.workers, grace=grace)
            installation = replace(installation, tasks=replace(installation.tasks, workers=workers))
        named = _queues(queues)
        logs.configure("worker")
        log_profile("worker", installation)
        code = _work(installation, named, processes, start)
    raise SystemExit(code)


def keeper() -> None:
    """Requeue jobs of dead workers, notify workers of jobs that wait, erase what is past its date."""
    with cli_output(False):
        packages.require("server", "`portrait keeper`")
        from tasks import logs
        from tasks.files import open_files
        from tasks.ledger.ledger import open_ledger
        from tasks.queue import broker
        from tasks.queue.keeper import Keeper
        from tasks.settings import load_installation
        from tasks.telemetry.serving import serve_metrics

        tasks = load_installation().tasks
        logs.configure("keeper")
        stop = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        with serve_metrics(tasks.metrics, tasks.data):
            Keeper(open_ledger(tasks.database, tasks.erasures), open_files(tasks), broker.create_app(tasks), tasks).run(
                stop
            )


def alive(part: Annotated[Literal["worker", "keeper"], typer.Argument(help="The part to look for.")]) -> None:
    """Tell whether a part runs on this machine and does not hang: exit code 0, or 4. For health checks of containers."""
    with cli_output(False):
        packages.require("server", "`portrait alive`")
        from portrait.errors import OperatorError
        from tasks.queue.processes import liveness

        if not liveness.is_alive(part):
            sentence = f"No {part} runs on this machine, or it hangs. Start it anew: portrait {part}."
            raise OperatorError("not_alive", sentence)
        typer.echo(f"The {part} is alive.")


def _queues(text: str) -> list[str]:
    from portrait.errors import UserError
    from tasks.jobs import QUEUES

    named = [each.strip() for each in text.split(",") if each.strip()]
    unknown = [each for each in named if each not in QUEUES]
    if unknown or not named:
        raise UserError("bad_queue", f"Queues are {', '.join(QUEUES)}; not {', '.join(unknown) or 'none'}.")
    return named


def _work(
    installation: "Installation", queues: list[str], processes: int, start: Literal["auto", "fork", "spawn"]
) -> int:
    from tasks.queue import worker as workers

    gpu = any(each.startswith("gpu.") for each in queues)
    method = ("spawn" if gpu else "fork") if start == "auto" else start
    return workers.run(installation, workers.WorkerOptions(queues=queues, processes=processes, start=method))


def _drain(installation: "Installation", machine: str, grace: float) -> None:
    """Request the workers of a machine to stop, and wait until they have; those that are started anew meanwhile go on."""
    from tasks.ledger.ledger import open_ledger

    ledger = open_ledger(installation.tasks.database)

    def running() -> set[str]:
        return {row.id for row in ledger.workers.list_live(ledger.now()) if row.id.startswith(f"{machine}:")}

    stopping = running()
    if not stopping:
        typer.echo(f"No worker runs on {machine}.")
    else:
        ledger.workers.request_stop(f"{machine}:", ledger.now() + grace)
        many = "es" if len(stopping) > 1 else ""
        typer.echo(f"{len(stopping)} worker process{many} of {machine} finish what they do, and end.")
        while stopping & running():
            time.sleep(_POLL)
        typer.echo("They have ended.")
    ledger.close()
