"""Traces by OpenTelemetry, from a request over its jobs to their webhooks; nothing of it is imported while they are off.

A job carries the `traceparent` of the request that placed it (W3C Trace Context), so that whichever worker claims it, as often
as it is tried, goes on with that trace. Attributes are ids, kinds and codes: no names, words or addresses of receivers.
"""

import importlib.util
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from portrait.errors import OperatorError
from tasks.telemetry.settings import TracingSettings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanProcessor

Attributes: TypeAlias = Mapping[str, str | int | float | bool]
Kind: TypeAlias = Literal["internal", "server", "client", "consumer"]
NAME = "portrait"


@dataclass(frozen=True)
class Span:
    """A span that is open; one that is not recorded takes everything and does nothing."""

    recorded: Any = None
    """OpenTelemetry's span."""

    def rename(self, name: str) -> None:
        """Give it another name: that of a request is known when it was routed."""
        if self.recorded is not None:
            self.recorded.update_name(name)

    def set(self, **attributes: str | int | float | bool) -> None:
        """Add attributes; `status_code` becomes `portrait.status_code`."""
        if self.recorded is not None:
            self.recorded.set_attributes({f"portrait.{name}": value for name, value in attributes.items()})

    def fail(self, code: str) -> None:
        """Mark it as failed, with the code of the error."""
        if self.recorded is not None:
            from opentelemetry.trace import StatusCode

            self.recorded.set_status(StatusCode.ERROR, code)

    def end(self) -> None:
        """End one that `begin` began."""
        if self.recorded is not None:
            self.recorded.end()

    @cached_property
    def traceparent(self) -> str:
        """Its place in its trace, as a job or header carries it; empty where it is not recorded."""
        if self.recorded is None:
            return ""
        found = self.recorded.get_span_context()
        return f"00-{found.trace_id:032x}-{found.span_id:016x}-{int(found.trace_flags):02x}" if found.is_valid else ""


NOTHING = Span()


def configure(process: str, settings: TracingSettings) -> None:
    """Trace this process where the settings give an endpoint; raises `OperatorError` (`missing_library`).

    Called once, after a fork: the thread that sends spans does not survive one.
    """
    if not settings.endpoint:
        return
    if importlib.util.find_spec("opentelemetry.exporter") is None:
        raise OperatorError(
            "missing_library", "Traces need packages that are not here: pip install 'portrait[tracing]'."
        )
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    install(process, settings.share, BatchSpanProcessor(OTLPSpanExporter(endpoint=settings.endpoint)))


def install(process: str, share: float, processor: "SpanProcessor") -> "TracerProvider":
    """Have spans of this process go to a processor; a request that comes with a trace is traced as that says."""
    from opentelemetry import trace
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

    told = {"service.name": f"portrait-{process}", "service.version": version("portrait"), "process.pid": os.getpid()}
    provider = TracerProvider(resource=Resource.create(told), sampler=ParentBased(TraceIdRatioBased(share)))
    provider.add_span_processor(processor)
    trace.set_tracer_provider(provider)
    return provider


def flush() -> None:
    """Send what is left, as the process ends."""
    if (trace := _loaded()) is not None and hasattr(provider := trace.get_tracer_provider(), "shutdown"):
        provider.shutdown()


def begin(name: str, parent: str = "", kind: Kind = "internal", attributes: Attributes | None = None) -> Span:
    """Begin a span within the present one, or within that of a `traceparent`; whoever begins it ends it."""
    trace = _loaded()
    if trace is None:
        return NOTHING
    return Span(
        trace.get_tracer(NAME).start_span(
            name,
            context=_context_of(parent) if parent else None,
            kind=trace.SpanKind[kind.upper()],
            attributes={f"portrait.{key}": value for key, value in (attributes or {}).items()},
        )
    )


@contextmanager
def span(name: str, parent: str = "", kind: Kind = "internal", attributes: Attributes | None = None) -> Iterator[Span]:
    """Have a span open, in which those that are begun within it lie; an error that leaves it marks it as failed.

    Of an error its code or class is noted, and no message.
    """
    trace = _loaded()
    if trace is None:
        yield NOTHING
        return
    opened = begin(name, parent, kind, attributes)
    with trace.use_span(opened.recorded, end_on_exit=True, record_exception=False, set_status_on_exception=False):
        try:
            yield opened
        except BaseException as error:
            opened.fail(getattr(error, "code", type(error).__name__))
            raise


def present() -> str:
    """Return the `traceparent` of the span that is open here; empty without one."""
    trace = _loaded()
    return "" if trace is None else Span(trace.get_current_span()).traceparent


def _context_of(traceparent: str) -> Any:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract({"traceparent": traceparent})


def _loaded() -> Any:
    """OpenTelemetry's interface where somebody has loaded it; without a provider it records nothing."""
    return sys.modules.get("opentelemetry.trace")
