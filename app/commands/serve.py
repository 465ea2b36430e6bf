"""`portrait serve` runs an installation on one machine; `portrait api`, `app`, `worker`, `keeper` are its processes on many."""

import logging
import os
import signal
import socket
import sys
import threading
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from app.terminal import packages
from app.terminal.errors import cli_output

if TYPE_CHECKING:
    from app.server.supervisor import Service
    from app.terminal.sign_in_links import Listening
    from tasks.ledger.ledger import Ledger
    from tasks.settings import Installation

OWNER = "me"
"""Whom a machine of one's own belongs to."""
UNENCRYPTED = (
    "Others in the network can read along: nothing is encrypted. The cameras of phones open on https pages alone.",
    "A proxy with a certificate mends both: docs/serving.md.",
)
Host = Annotated[str, typer.Option(help="Address to listen on; 127.0.0.1 is this machine alone.")]


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
        ledger = open_ledger(installation.tasks.database)
        services = _services(host, port, api_port, workers)
        if device.detect_device() != device.CPU or installation.tasks.cpu_for_gpu_queues:
            services.append(Service("gpu-worker", _command("worker", "--queues", "gpu.train,gpu.generate")))
        listening = sign_in_links.Listening(host, port)
        typer.echo(f"Starting … Profile {PROFILES[installation.flows.profile]}.")

        def ready() -> None:
            sign_in_links.remember(home(), listening)
            api = f"http://{sign_in_links.connect_host(host)}:{api_port}/v1"
            typer.echo(_welcome(ledger, listening, installation.tasks.app.url, api))
            typer.echo(f"Logs are in {home() / 'logs'}. Ctrl-C stops; running jobs go back to the queue.")

        try:
            Supervisor(services, home() / "logs", lambda text: typer.echo(text, err=True)).run(ready)
        finally:
            sign_in_links.forget(home())
        ledger.close()
        typer.echo("Stopped.")


def app(
    host: Host = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8501,
    api_url: Annotated[str, typer.Option(help="Address of the task API.", envvar="PORTRAIT_API_URL")] = "",
) -> None:
    """Serve the app's pages."""
    with cli_output(False):
        packages.require("app", "`portrait app`")
        from tasks import logs
        from tasks.settings import load_installation

        settings = load_installation().tasks.app
        logs.configure("app")
        if api_url:
            os.environ["PORTRAIT_API_URL"] = api_url  # Streamlit's scripts read it
        from app.server import web
        from app.server.uploads import UploadLimits
        from tasks.api.connections import TimedH11Protocol

        uploads = UploadLimits(settings.visitor_upload_megabytes * 1_000_000, settings.upload_megabytes * 1_000_000)
        code = web.serve(host, port, web.WebOptions(settings.url, settings.proxies, uploads, TimedH11Protocol))
    raise SystemExit(code)


def api(
    host: Host = "127.0.0.1", port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8000
) -> None:
    """Serve the task API."""
    with cli_output(False):
        packages.require("server", "`portrait api`")
        from tasks import logs
        from tasks.api import app
        from tasks.settings import load_installation

        installation = load_installation()
        logs.configure("api")
        _log_profile("api", installation)
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
    with cli_output(False):
        packages.require("server", "`portrait worker`")
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
        method = ("spawn" if gpu else "fork") if start == "auto" else start
        installation = load_installation()
        logs.configure("worker")
        _log_profile("worker", installation)
        code = workers.run(installation, workers.WorkerOptions(queues=named, processes=processes, start=method))
    raise SystemExit(code)


def keeper() -> None:
    """Requeue jobs of dead workers, notify workers of jobs that wait, erase what is past its date."""
    with cli_output(False):
        packages.require("server", "`portrait keeper`")
        from tasks import logs
        from tasks.files import Files
        from tasks.ledger.ledger import open_ledger
        from tasks.queue import broker
        from tasks.queue.keeper import Keeper
        from tasks.settings import load_installation

        tasks = load_installation().tasks
        logs.configure("keeper")
        stop = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        Keeper(open_ledger(tasks.database), Files(tasks.data), broker.create_app(tasks), tasks).run(stop)


def _log_profile(process: str, installation: "Installation") -> None:
    """Note in the log on what terms a process works."""
    from pipelines.settings import PROFILES

    logging.getLogger(f"portrait.{process}").info("profile %s", PROFILES[installation.flows.profile])


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
        Service("api", _command("api", "--host", host, "--port", str(api_port)), f"{api}/v1/health"),
        Service("worker", _command("worker", "--queues", "cpu", "--processes", str(workers))),
        Service("calls", _command("worker", "--queues", "io")),
        Service("keeper", _command("keeper")),
        Service(
            "app",
            _command("app", "--host", host, "--port", str(port), "--api-url", api),
            f"{address}:{port}/_stcore/health",
        ),
    ]


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
