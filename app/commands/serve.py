"""`portrait serve` runs an installation on one machine; `portrait api`, `app`, `worker`, `keeper` are its processes on many."""

import socket
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands.processes.start import Host
from app.terminal import packages
from app.terminal.errors import cli_output

if TYPE_CHECKING:
    from app.server.supervisor import Service
    from app.terminal.sign_in_links import Listening
    from tasks.ledger.ledger import Ledger
    from tasks.settings import Installation

OWNER = "me"
"""Whom a machine of one's own belongs to."""
GRACE = 3
"""Seconds in which workers may finish their jobs when everything is to stop."""
UNENCRYPTED = (
    "Others in the network can read along: nothing is encrypted. The cameras of phones open on https pages alone.",
    "A proxy with a certificate mends both: docs/serving.md.",
)


def serve(
    host: Host = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65534, help="Port of the app.")] = 8501,
    api_port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the task API.")] = 8000,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Jobs at once.")] = 1,
    pull: Annotated[bool, typer.Option(help="Fetch the embedded models if they are missing.")] = True,
) -> None:
    """Run API, app, workers and keeper; print where to open it. Ctrl-C stops."""
    with cli_output(False):
        packages.require("app", "`portrait serve`")
        from app.server.processes import forks
        from app.server.supervisor import Service, Supervisor
        from app.terminal import sign_in_links
        from pipelines.settings import PROFILES
        from tasks.ledger.ledger import open_ledger
        from tasks.queue import device
        from tasks.settings import home, load_installation

        installation = load_installation()
        _check_port(host, port, "--port")
        _check_port(host, api_port, "--api-port")
        if pull:
            _pull_models(installation)
        open_ledger(installation.tasks.database).close()  # migrated once, and no connection crosses a fork
        services = _services(host, port, api_port, workers)
        if device.detect_device() != device.CPU or installation.tasks.cpu_for_gpu_queues:
            services.append(Service("gpu-worker", _worker("gpu.train,gpu.generate")))
        listening = sign_in_links.Listening(host, port)
        typer.echo(f"Starting … Profile {PROFILES[installation.flows.profile]}.")

        def ready() -> None:
            sign_in_links.remember(home(), listening)
            api = f"http://{sign_in_links.connect_host(host)}:{api_port}/v1"
            ledger = open_ledger(installation.tasks.database)
            typer.echo(_welcome(ledger, listening, installation.tasks.app.url, api))
            ledger.close()
            typer.echo(f"Logs are in {home() / 'logs'}. Ctrl-C stops; running jobs go back to the queue.")

        forks.import_shared()
        try:
            Supervisor(services, home() / "logs", lambda text: typer.echo(text, err=True)).run(ready)
        finally:
            sign_in_links.forget(home())
        typer.echo("Stopped.")


def _welcome(ledger: "Ledger", listening: "Listening", url: str, api: str) -> str:
    """What `serve` says once everything runs: links that sign in, each with a code of its own, and the API's address."""
    from app.terminal.sign_in_links import qr_code, sign_in_link
    from tasks import auth

    code = auth.create_code(ledger, OWNER, "admin", ledger.now())
    lines = [
        "",
        "Portrait is running.",
        "",
        f"  Open      {sign_in_link(url or listening.local, code)}",
        f"            (signs you in once, within a quarter of an hour; another: portrait keys link {OWNER} --role admin)",
    ]
    elsewhere = [url] if url else listening.network
    if elsewhere:
        phone = auth.create_code(ledger, OWNER, "person", ledger.now())
        lines += [f"  Phone     {sign_in_link(address, phone)}" for address in elsewhere]
        if not url:
            lines += [f"            {line}" for line in UNENCRYPTED]
        if sys.stdout.isatty():
            lines += ["", qr_code(sign_in_link(elsewhere[0], phone))]
    lines += [
        f"  Task API  {api}   document: {api}/openapi.json",
        f'            key: curl -X POST {api}/sign-in --json \'{{"code": "{code}"}}\', or portrait keys add {OWNER}',
    ]
    return "\n".join([*lines, ""])


def _services(host: str, port: int, api_port: int, workers: int) -> "list[Service]":
    from app.server.supervisor import Service
    from app.terminal.sign_in_links import connect_host

    address = f"http://{connect_host(host)}"
    api = f"{address}:{api_port}"
    return [
        Service("api", _command("api", "--host", host, "--port", str(api_port)), f"{api}/v1/health", forked=True),
        Service("worker", _worker("cpu", "--processes", str(workers)), forked=True),
        Service("calls", _worker("io"), forked=True),
        Service("keeper", _command("keeper"), forked=True),
        Service(
            "app",
            _command("app", "--host", host, "--port", str(port), "--api-url", api),
            f"{address}:{port}/_stcore/health",
            forked=True,
        ),
    ]


def _worker(queues: str, *more: str) -> list[str]:
    """A worker that gives a long job back soon: whoever presses Ctrl-C waits for it."""
    return _command("worker", "--queues", queues, "--grace", str(GRACE), *more)


def _command(*words: str) -> list[str]:
    return [sys.executable, "-m", "app", *words]


def _check_port(host: str, port: int, option: str) -> None:
    """Raise `port_taken` when somebody listens there already, before anything is started."""
    from portrait.errors import OperatorError

    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            sentence = f"Port {port} of {host} cannot be used ({error.strerror}). Choose another with {option}."
            raise OperatorError("port_taken", sentence) from error


def _pull_models(installation: "Installation") -> None:
    """Fetch what the embedded engines need; without a network everything else runs, and jobs say what is missing."""
    from app.terminal.model_downloads import pull_models
    from pipelines.model_store.store import ModelStore
    from portrait.errors import OperatorError

    models = ModelStore(installation.flows.models)
    missing = [state.model.name for state in models.list() if state.model.embedded and state.state != "here"]
    if not missing:
        return
    typer.echo(f"Fetching models: {', '.join(missing)} …")
    try:
        pull_models(models, missing)
    except OperatorError as error:
        typer.echo(f"Some models are missing: {error.message}", err=True)
