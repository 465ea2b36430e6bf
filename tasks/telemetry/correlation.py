"""The ids that a log line carries: of the request that the work is for, of the job, and of the trace."""

import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")
"""What an `X-Request-ID` of a caller must look like to be taken over."""
_ids: ContextVar[dict[str, str]] = ContextVar("portrait_ids", default={})  # noqa: B039 -- never changed, only replaced


@contextmanager
def about(**ids: str) -> Iterator[None]:
    """Have every log line written within it carry these ids; empty ones are left out."""
    token = _ids.set(_ids.get() | {name: id for name, id in ids.items() if id})
    try:
        yield
    finally:
        _ids.reset(token)


def request_id() -> str:
    """Return the id of the request that is being handled; empty outside of one."""
    return _ids.get().get("request", "")


class Correlation(logging.Filter):
    """Adds the ids to each record that does not carry them already."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Add them; every record passes."""
        for name, id in (_ids.get() | _trace()).items():
            if not hasattr(record, name):
                setattr(record, name, id)
        return True


def _trace() -> dict[str, str]:
    """The id of the present trace, where traces are on."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return {}
    found = trace.get_current_span().get_span_context()
    return {"trace": f"{found.trace_id:032x}"} if found.is_valid else {}
