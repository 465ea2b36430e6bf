"""Logs as lines of JSON: what happened, never to whom; no names, keys, photos or sentences of unknown errors."""

import logging
import sys
from types import TracebackType
from typing import Any, TypeAlias

from pythonjsonlogger.json import JsonFormatter

_Raised: TypeAlias = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class Formatter(JsonFormatter):
    """One JSON object a line; of an exception its class and where it was raised, because its sentence may hold anything."""

    def formatException(self, ei: _Raised) -> str:  # noqa: N802 -- logging's own name
        """Class, file and line."""
        kind, _, trace = ei
        steps = []
        while trace is not None:
            steps.append(f"{trace.tb_frame.f_code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno}")
            trace = trace.tb_next
        return f"{kind.__name__ if kind else ''} at {' > '.join(steps[-6:])}"


def configure(process: str, level: str = "INFO") -> None:
    """Log to standard error; `process` says which part of the installation speaks."""
    handler = logging.StreamHandler(sys.stderr)
    fields: dict[str, Any] = {"levelname": "level", "asctime": "time", "name": "logger"}
    form = "%(asctime)s %(levelname)s %(name)s %(message)s"
    handler.setFormatter(
        Formatter(form, rename_fields=fields, static_fields={"process": process}, datefmt="%Y-%m-%dT%H:%M:%S%z")
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in ("httpx", "httpcore", "alembic", "kombu", "amqp", "multipart", "PIL"):
        logging.getLogger(noisy).setLevel("WARNING")
