"""`portrait serve`: the whole installation on one machine, with one command."""

import socket
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from app.terminal.errors import answering

if TYPE_CHECKING:
    from app.server.supervisor import Part
    from tasks.settings import Installation

OWNER = "me"
"""Whom a machine of one's own belongs to."""


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; 127.0.0.1 is this machine alone.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65534, help="Port of the app.")] = 8501,
    api_port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the task API.")] = 8000,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Jobs at once.")] = 1,
    pull: Annotated[bool, typer.Option(help="Fetch the embedded models if they are missing.")] = True,
) -> None:
    """Run API, app, workers and keeper; print where to open it. Ctrl-C stops."""
    with answering(False):
        from app.server.supervisor import House
        from tasks import auth
        from tasks.ledger.ledger import open_store
        from tasks.queue import device
        from tasks.settings import home, load_installation

        installation = load_installation()
        _free(host, port, "--port")
        _free(host, api_port, "--api-port")
        if pull:
            _pull(installation)
        store = open_store(installation.tasks.database)
        parts = _parts(host, port, api_port, workers)
        if device.device() != device.CPU or installation.tasks.cpu_for_gpu_queues:
            parts.append(_part("gpu-worker", "worker", "--queues", "gpu.train,gpu.generate"))
        typer.echo("Starting …")

        def ready() -> None:
            code = auth.new_code(store, OWNER, "admin", time.time())
            shown = "127.0.0.1" if host in {"0.0.0.0", "::"} else host  # noqa: S104 -- compared, not bound
            typer.echo(_welcome(f"http://{shown}:{port}/sign-in?code={code}", f"http://{shown}:{api_port}/v1", code))
            typer.echo(f"Logs are in {home() / 'logs'}. Ctrl-C stops; running jobs go back to the queue.")

        House(parts, home() / "logs", lambda text: typer.echo(text, err=True)).run(ready)
        store.close()
        typer.echo("Stopped.")


def _welcome(link: str, api: str, code: str) -> str:
    return (
        f"\nPortrait is running.\n\n"
        f"  Open      {link}\n"
        f"            (signs you in once, within a quarter of an hour; another: portrait keys link {OWNER} --role admin)\n"
        f"  Task API  {api}   document: {api}/openapi.json\n"
        f'            key: curl -X POST {api}/sign-in --json \'{{"code": "{code}"}}\', or portrait keys add {OWNER}\n'
    )


def _parts(host: str, port: int, api_port: int, workers: int) -> "list[Part]":
    from app.server.supervisor import Part

    near = "127.0.0.1" if host in {"0.0.0.0", "::"} else host  # noqa: S104 -- compared, not bound
    api = f"http://{near}:{api_port}"
    return [
        Part("api", _command("api", "--host", host, "--port", str(api_port)), f"{api}/v1/health"),
        _part("worker", "worker", "--queues", "cpu", "--processes", str(workers)),
        _part("calls", "worker", "--queues", "io"),
        _part("keeper", "keeper"),
        Part(
            "app",
            [sys.executable, "-m", "app.server.web", "--host", host, "--port", str(port)],
            f"http://{near}:{port}/_stcore/health",
            {"PORTRAIT_API_URL": api},
        ),
    ]


def _part(name: str, *words: str) -> "Part":
    from app.server.supervisor import Part

    return Part(name, _command(*words))


def _command(*words: str) -> list[str]:
    return [sys.executable, "-m", "app", *words]


def _free(host: str, port: int, option: str) -> None:
    """Raise `port_taken` when somebody listens there already, before anything is started."""
    from portrait.errors import OperatorError

    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise OperatorError(
                "port_taken", f"Port {port} of {host} cannot be used ({error.strerror}). Choose another with {option}."
            ) from error


def _pull(installation: "Installation") -> None:
    """Fetch what the embedded engines need; without a network everything else runs, and jobs say what is missing."""
    from app.terminal.progress_bar import Bar
    from pipelines.model_store.store import Models
    from portrait.errors import OperatorError

    models = Models(installation.flows.models)
    missing = [state.model.name for state in models.list() if state.model.embedded and state.state != "here"]
    if not missing:
        return
    typer.echo(f"Fetching models: {', '.join(missing)} …")
    try:
        with Bar(in_bytes=True) as bar:
            models.pull(missing, bar)
    except OperatorError as error:
        typer.echo(f"Some models are missing: {error.message}", err=True)
