"""A reverse proxy of the tests, as Caddy or nginx stand before an installation.

It ends TLS, chooses a server by path, and tells it whom it serves; websockets pass.
"""

import contextlib
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

HOP_BY_HOP = {
    "connection",
    "keep-alive",
    "proxy-connection",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
}
"""Headers of a request that a proxy writes itself."""


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        server = self.server
        assert isinstance(server, _Server)
        first = self.rfile.readline()
        headers = [line.decode("latin-1") for line in iter(self.rfile.readline, b"\r\n")]
        if not first:
            return
        path = first.split()[1].decode()
        names = {each.partition(":")[0].lower() for each in headers}
        passed = [each for each in headers if each.partition(":")[0].lower() not in HOP_BY_HOP]
        passed += [f"X-Forwarded-For: {self.client_address[0]}\r\n", "X-Forwarded-Proto: https\r\n"]
        passed.append(f"Connection: {'Upgrade' if 'upgrade' in names else 'close'}\r\n")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", server.port_for(path))) as out:
            out.sendall(first + "".join(passed).encode("latin-1") + b"\r\n")
            threading.Thread(target=self._send, args=(out,), daemon=True).start()
            while chunk := out.recv(1 << 16):
                self.wfile.write(chunk)

    def _send(self, out: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError):
            while chunk := self.rfile.read1(1 << 16):
                out.sendall(chunk)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads, allow_reuse_address, block_on_close = True, True, False

    def __init__(self, port: int, certificate: tuple[Path, Path], ports: Mapping[str, int]) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self._ports = ports
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(*certificate)

    def port_for(self, path: str) -> int:
        """The port of the longest beginning of the path."""
        return self._ports[max((each for each in self._ports if path.startswith(each)), key=len)]

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Greet in the connection's own thread, so that nobody waits for a slow caller."""
        with contextlib.suppress(OSError), self._tls.wrap_socket(request, server_side=True) as secure:
            _Handler(secure, client_address, self)


@contextlib.contextmanager
def reverse_proxy(port: int, certificate: tuple[Path, Path], ports: Mapping[str, int]) -> Iterator[None]:
    """The proxy on a port, while it runs; `ports` are those of the servers by the beginning of the path."""
    with _Server(port, certificate, ports) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()
