"""`portrait api` and `portrait app`: the two web servers of an installation."""

import os
from typing import Annotated

import typer

from app.commands.processes.start import Certificate, CertificateKey, Host, check_certificate, log_profile
from app.terminal import packages
from app.terminal.errors import cli_output


def app(
    host: Host = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8501,
    api_url: Annotated[
        str, typer.Option("--api-url", "--api", help="Address of the task API.", envvar="PORTRAIT_API_URL")
    ] = "",
    certificate: Certificate = None,
    key: CertificateKey = None,
) -> None:
    """Serve the app's pages."""
    with cli_output(False):
        packages.require("app", "`portrait app`")
        from tasks import logs
        from tasks.settings import load_installation

        tasks = load_installation().tasks
        settings = tasks.app
        check_certificate(certificate, key)
        logs.configure("app")
        if api_url:
            os.environ["PORTRAIT_API_URL"] = api_url  # Streamlit's scripts read it
        from app.server import web
        from app.server.uploads import UploadLimits
        from tasks.api.serving.connections import TimedH11Protocol

        uploads = UploadLimits(settings.visitor_upload_megabytes * 1_000_000, settings.upload_megabytes * 1_000_000)
        options = web.WebOptions(
            settings.url, settings.proxies, uploads, TimedH11Protocol, certificate, key, tasks.api.shutdown_seconds
        )
        code = web.serve(host, port, options)
    raise SystemExit(code)


def api(
    host: Host = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8000,
    processes: Annotated[int, typer.Option(min=1, max=64, help="Processes that answer requests.")] = 1,
    root_path: Annotated[str, typer.Option(help="Path under which a proxy shows the API, such as /portrait.")] = "",
    certificate: Certificate = None,
    key: CertificateKey = None,
) -> None:
    """Serve the task API."""
    with cli_output(False):
        packages.require("server", "`portrait api`")
        from tasks import logs
        from tasks.settings import load_installation

        if root_path:
            os.environ["PORTRAIT_TASKS__API__ROOT_PATH"] = root_path  # also of further processes, which read it
        installation = load_installation()
        check_certificate(certificate, key)
        from tasks.api.serving import server

        logs.configure("api")
        log_profile("api", installation)
        code = server.serve(installation, server.ServerOptions(host, port, processes, certificate, key))
    raise SystemExit(code)
