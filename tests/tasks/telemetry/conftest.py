from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tasks.telemetry import tracing


class Spans(InMemorySpanExporter):
    """The spans of this process, which has one provider for ever; those of other tests are not kept."""

    wanted = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return super().export(spans) if self.wanted else SpanExportResult.SUCCESS

    @contextmanager
    def keeping(self) -> Iterator["Spans"]:
        self.clear()
        self.wanted = True
        yield self
        self.wanted = False
        self.clear()


@pytest.fixture(scope="session")
def exporter() -> Spans:
    """What spans are sent to."""
    exporter = Spans()
    tracing.install("test", 1.0, SimpleSpanProcessor(exporter))
    return exporter


@pytest.fixture
def spans(exporter: Spans) -> Iterator[Spans]:
    """The spans of one test."""
    with exporter.keeping():
        yield exporter


@pytest.fixture(scope="module")
def module_spans(exporter: Spans) -> Iterator[Spans]:
    """The spans of the tests of a file."""
    with exporter.keeping():
        yield exporter
