"""A collector of traces that takes OTLP over http, as those of operators do."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True, slots=True)
class Received:
    """A span as it arrived."""

    name: str
    service: str
    trace: str
    id: str
    parent: str
    failed: str
    """The description of its status where that is an error."""
    attributes: dict[str, str]


@dataclass
class Collector:
    """The server, from the test's side."""

    url: str = ""
    spans: list[Received] = field(default_factory=list)

    def of(self, trace: str) -> list[Received]:
        return [each for each in self.spans if each.trace == trace]

    def take(self, body: bytes) -> None:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            service = next(each for each in resource.resource.attributes if each.key == "service.name")
            for span in (each for scope in resource.scope_spans for each in scope.spans):
                self.spans.append(
                    Received(
                        span.name,
                        service.value.string_value,
                        span.trace_id.hex(),
                        span.span_id.hex(),
                        span.parent_span_id.hex(),
                        span.status.message if span.status.code == 2 else "",
                        {each.key: str(each.value) for each in span.attributes},
                    )
                )


@contextmanager
def collecting() -> Iterator[Collector]:
    """A running collector."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            collector.take(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector.url = f"http://127.0.0.1:{server.server_port}/v1/traces"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
