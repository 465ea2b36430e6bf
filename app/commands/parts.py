"""`portrait api`, `worker` and `keeper`: the parts of an installation on many machines, each a process of its own."""

import signal
import threading
from typing import Annotated, Literal

import typer

from app.terminal.errors import answering

Host = Annotated[str, typer.Option(help="Address to listen on; 127.0.0.1 is this machine alone.")]


def api(
    host: Host = "127.0.0.1", port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8000
) -> None:
    """Serve the task API."""
    with answering(False):
        from tasks import logs
        from tasks.api import app
        from tasks.settings import load_installation

        installation = load_installation()
        logs.configure("api")
        code = app.serve(installation, host, port)
    raise SystemExit(code)


def worker(
    queues: Annotated[str, typer.Option(help="Comma-separated: cpu, gpu.train, gpu.generate, io.")] = "cpu",
    processes: Annotated[int, typer.Option(min=1, max=64, help="Jobs at once.")] = 1,
    start: Annotated[
        Literal["auto", "fork", "spawn"], typer.Option(help="How processes start; a GPU needs spawn, which auto knows.")
    ] = "auto",
) -> None:
    """Do jobs of some queues."""
    with answering(False):
        from portrait.errors import UserError
        from tasks import logs
        from tasks.jobs import QUEUES
        from tasks.queue import worker as workers
        from tasks.settings import load_installation

        named = [each.strip() for each in queues.split(",") if each.strip()]
        unknown = [each for each in named if each not in QUEUES]
        if unknown or not named:
            raise UserError("bad_queue", f"Queues are {', '.join(QUEUES)}; not {', '.join(unknown) or 'none'}.")
        gpu = any(each.startswith("gpu.") for each in named)
        way = ("spawn" if gpu else "fork") if start == "auto" else start
        installation = load_installation()
        logs.configure("worker")
        code = workers.run(installation, workers.Options(queues=named, processes=processes, start=way))
    raise SystemExit(code)


def keeper() -> None:
    """Take back jobs of dead workers, ring for forgotten ones, erase what is past its date."""
    with answering(False):
        from tasks import logs
        from tasks.files import Files
        from tasks.ledger.ledger import open_store
        from tasks.queue import broker
        from tasks.queue.keeper import Keeper
        from tasks.settings import load_installation

        tasks = load_installation().tasks
        logs.configure("keeper")
        stop = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        Keeper(open_store(tasks.database), Files(tasks.data), broker.make(tasks), tasks).loop(stop)
