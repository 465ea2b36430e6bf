"""What the commands of processes share: the address they listen on, and the terms they note in their log."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tasks.settings import Installation

Host = Annotated[str, typer.Option(help="Address to listen on, of IPv4 or IPv6; 127.0.0.1 is this machine alone.")]
Certificate = Annotated[
    Path | None, typer.Option("--tls-certificate", help="PEM file with the certificate and its chain: speaks https.")
]
CertificateKey = Annotated[
    Path | None, typer.Option("--tls-key", help="PEM file with the certificate's key, if it is in another file.")
]


def log_profile(process: str, installation: "Installation") -> None:
    """Note in the log on what terms a process works."""
    from pipelines.settings import PROFILES

    logging.getLogger(f"portrait.{process}").info("profile %s", PROFILES[installation.flows.profile])


def check_certificate(certificate: Path | None, key: Path | None) -> None:
    """Raise `OperatorError` (`bad_certificate`) where the files are no certificate with its key."""
    import ssl

    from portrait.errors import OperatorError

    if certificate is None:
        if key is not None:
            raise OperatorError("bad_certificate", "--tls-key was given without --tls-certificate.")
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=lambda: "")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or getattr(error, "reason", None) or "unreadable"
        raise OperatorError(
            "bad_certificate",
            f"{certificate} and its key cannot be used ({reason}): two PEM files, the key without a password.",
        ) from error
