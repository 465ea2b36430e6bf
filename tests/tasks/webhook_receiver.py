"""A web server that receives webhooks: it records each request and responds with the status of its path."""

import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True, slots=True)
class Call:
    """What arrived."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """The server, from the test's side."""

    url: str = ""
    statuses: Sequence[int] = (204,)
    """Statuses, one a call; the last one for all that follow."""
    slow: float = 0.0
    """Seconds until it responds on the path /slow, where it sends a byte now and then without end; 0 releases all."""
    calls: list[Call] = field(default_factory=list)

    @property
    def ids(self) -> list[str]:
        return [call.headers["webhook-id"] for call in self.calls]


@contextmanager
def receiver(context: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """A running receiver; with a context, it speaks TLS."""
    recorded = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            recorded.calls.append(Call(self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            status = recorded.statuses[min(len(recorded.calls), len(recorded.statuses)) - 1]
            if recorded.slow and self.path == "/slow":
                self.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
                end = time.monotonic() + recorded.slow
                while recorded.slow and time.monotonic() < end:
                    self.wfile.write(b"x")
                    time.sleep(0.05)
                return
            self.send_response(status)
            self.send_header("location", "/elsewhere")
            self.end_headers()
            if status != 204:
                self.wfile.write(b"Thank\0you. " + b"." * 9000)

        def log_message(self, format: str, *args: object) -> None:
            pass

        def handle(self) -> None:
            try:
                super().handle()
            except OSError:
                self.close_connection = True  # the client has closed the connection

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    recorded.url = f"http{'s' if context else ''}://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield recorded
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
