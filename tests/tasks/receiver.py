"""A web server that is called by webhooks: it notes each call and answers as it was told."""

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
    answers: Sequence[int] = (204,)
    """Statuses, one a call; the last one for all that follow."""
    slow: float = 0.0
    """Seconds until it answers on the path /slow; there it sends a byte now and then, and never an end. 0 lets go of all."""
    calls: list[Call] = field(default_factory=list)

    @property
    def ids(self) -> list[str]:
        return [call.headers["webhook-id"] for call in self.calls]


@contextmanager
def receiver(context: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """A running receiver; with a context, it speaks TLS."""
    told = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            told.calls.append(Call(self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            status = told.answers[min(len(told.calls), len(told.answers)) - 1]
            if told.slow and self.path == "/slow":
                self.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
                end = time.monotonic() + told.slow
                while told.slow and time.monotonic() < end:
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
                self.close_connection = True  # whoever called has gone

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    told.url = f"http{'s' if context else ''}://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield told
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
