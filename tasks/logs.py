"""Logs as lines of JSON, with the ids of request, job and trace; no names, keys, photos or messages of unknown errors."""

import logging
import sys
import threading
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias

from pythonjsonlogger.json import JsonFormatter

from tasks.telemetry.correlation import Correlation

_Raised: TypeAlias = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class Formatter(JsonFormatter):
    """Formats a record as one line of JSON; of an exception only its class and place, as its message may hold anything."""

    def process_log_data(self, log_data: dict[str, Any]) -> dict[str, Any]:
        """Leave out uvicorn's copy of its message with colours."""
        log_data.pop("color_message", None)
        return log_data

    def formatException(self, ei: _Raised) -> str:  # noqa: N802 -- logging's own name
        """Return the class of an exception and where it was raised."""
        kind, _, trace = ei
        return f"{kind.__name__ if kind else ''} at {format_trace(trace)}"


def format_trace(trace: TracebackType | None, steps: int = 6) -> str:
    """Return `file:line` of the last steps to an error, outermost first, without its message."""
    found = traceback.extract_tb(trace, limit=-steps)
    return " > ".join(f"{Path(step.filename).name}:{step.lineno}" for step in found)


def _log_uncaught(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    """Log an error that ends a process or thread: Python would print its message, over several lines."""
    if issubclass(kind, Exception):
        logging.getLogger("portrait").critical("%s at %s", kind.__name__, format_trace(trace))


def configure(process: str, level: str = "INFO") -> None:
    """Log to standard error; every line names the `process` of the installation."""
    handler = logging.StreamHandler(sys.stderr)
    fields: dict[str, Any] = {"levelname": "level", "asctime": "time", "name": "logger"}
    form = "%(asctime)s %(levelname)s %(name)s %(message)s"
    handler.setFormatter(
        Formatter(form, rename_fields=fields, static_fields={"process": process}, datefmt="%Y-%m-%dT%H:%M:%S%z")
    )
    handler.addFilter(Correlation())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught
    threading.excepthook = lambda ended: _log_uncaught(ended.exc_type, ended.exc_value, ended.exc_traceback)
    for noisy in ("httpx", "httpcore", "alembic", "celery", "kombu", "amqp", "multipart", "PIL"):
        logging.getLogger(noisy).setLevel("WARNING")


def is_configured() -> bool:
    """Whether this process logs so."""
    return any(isinstance(each.formatter, Formatter) for each in logging.getLogger().handlers)
