"""A proxy of the tests that speaks HTTP (with and without CONNECT) and SOCKS 5 on one port, and notes whom it was asked for."""

import contextlib
import socket
import socketserver
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class Proxy:
    """Where it listens, and what it was asked for, in order."""

    port: int = 0
    asked: list[str] = field(default_factory=list)
    """`http`, `connect` or `socks5`, and host:port."""

    def url(self, scheme: str = "http") -> str:
        """The proxy's address as a setting of the environment has it."""
        return f"{scheme}://127.0.0.1:{self.port}"


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        first = self.rfile.read(1)
        with contextlib.suppress(OSError):
            if first == b"\x05":
                self._socks()
            elif first:
                self._http(first)

    def _note(self, asked: str) -> None:
        server = self.server
        assert isinstance(server, _Server)
        server.proxy.asked.append(asked)

    def _socks(self) -> None:
        self.rfile.read(self.rfile.read(1)[0])
        self.wfile.write(b"\x05\x00")
        kind = self.rfile.read(4)[3]
        host = self.rfile.read(self.rfile.read(1)[0]).decode() if kind == 3 else socket.inet_ntoa(self.rfile.read(4))
        port = int.from_bytes(self.rfile.read(2), "big")
        self._note(f"socks5 {host}:{port}")
        with socket.create_connection((host, port)) as out:
            self.wfile.write(b"\x05\x00\x00\x01" + bytes(6))
            self._pass(out)

    def _http(self, first: bytes) -> None:
        method, target, version = (first + self.rfile.readline()).decode().split()
        lines = list(iter(self.rfile.readline, b"\r\n"))
        parts = urlsplit(f"//{target}" if method == "CONNECT" else target)
        self._note(f"{'connect' if method == 'CONNECT' else 'http'} {parts.netloc}")
        with socket.create_connection((str(parts.hostname), parts.port or 80)) as out:
            if method == "CONNECT":
                self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
            else:
                path = f"{parts.path or '/'}{'?' * bool(parts.query)}{parts.query}"
                out.sendall(f"{method} {path} {version}\r\n".encode() + b"".join(lines) + b"\r\n")
            self._pass(out)

    def _pass(self, out: socket.socket) -> None:
        """Both ways at once, until the far side closes."""
        threading.Thread(target=self._send, args=(out,), daemon=True).start()
        while chunk := out.recv(1 << 16):
            self.wfile.write(chunk)

    def _send(self, out: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while chunk := self.rfile.read1(1 << 16):
                out.sendall(chunk)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads, allow_reuse_address, block_on_close = True, True, False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.proxy = Proxy(self.server_address[1])


@contextlib.contextmanager
def proxying() -> Iterator[Proxy]:
    """The proxy, while it runs."""
    with _Server() as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield server.proxy
        finally:
            server.shutdown()
