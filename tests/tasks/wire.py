"""A wire of the tests to a server: connections pass through it, and it can be cut, silent, busy or short."""

import contextlib
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, TypeAlias

State: TypeAlias = Literal["through", "down", "silent", "busy", "short"]
SHORT_BYTES = 20_000
"""Bytes of answers that pass through a connection before a `short` wire is cut."""
BUSY = b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Wire(socketserver.ThreadingTCPServer):
    """Listens on `port` of this machine and passes on to `target`."""

    daemon_threads, allow_reuse_address, block_on_close = True, True, False
    request_queue_size = 200

    def __init__(self, target: int) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.target, self.port = target, int(self.server_address[1])
        self.state: State = "through"
        self.left = 0
        """Connections that a `busy` or `short` wire spoils before it is through again; 0: all."""
        self.spoiled = 0
        """Connections that were refused, left without an answer or cut."""
        self.heads: list[bytes] = []
        """The first 4 kB of what was sent to the target, piece by piece, the last of them."""
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()

    def set(self, state: State, left: int = 0) -> None:
        """Change what becomes of connections; those that are open are cut."""
        with self._lock:
            self.state, self.left = state, left
            connections = list(self._open)
        for each in connections:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def outage(self, seconds: float) -> None:
        """Nobody gets through for so long."""
        self.set("down")
        time.sleep(seconds)
        self.set("through")

    def fate(self) -> State:
        """What becomes of the next connection."""
        with self._lock:
            state = self.state
            if state != "through":
                self.spoiled += 1
            if state in ("busy", "short") and self.left:
                self.left -= 1
                if not self.left:
                    self.state = "through"
            return state

    def joined(self, *sockets: socket.socket) -> None:
        """Note the sockets of a connection."""
        with self._lock:
            self._open |= set(sockets)

    def parted(self, *sockets: socket.socket) -> None:
        """Forget them."""
        with self._lock:
            self._open -= set(sockets)

    def handle_error(self, request: object, client_address: object) -> None:
        """Whoever was cut off has seen it."""


class _Connection(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        wire = self.server
        assert isinstance(wire, Wire)
        state = wire.fate()
        near: socket.socket = self.request
        if state == "down":
            return
        if state == "busy":
            near.recv(1 << 16)
            near.sendall(BUSY)
            return
        wire.joined(near)
        try:
            if state == "silent":
                while near.recv(1 << 16):
                    pass
                return
            with socket.create_connection(("127.0.0.1", wire.target)) as far:
                wire.joined(far)
                threading.Thread(target=_pass, args=(near, far, None, wire.heads), daemon=True).start()
                _pass(far, near, SHORT_BYTES if state == "short" else None)
                wire.parted(far)
        finally:
            wire.parted(near)


def _pass(source: socket.socket, sink: socket.socket, most: int | None, heads: list[bytes] | None = None) -> None:
    """Pass bytes on until one side closes, or `most` have passed; then close both."""
    with contextlib.suppress(OSError):
        while chunk := source.recv(1 << 16):
            if heads is not None:
                heads.append(chunk[:4000])
                del heads[:-2000]
            sink.sendall(chunk if most is None else chunk[:most])
            most = None if most is None else most - len(chunk)
            if most is not None and most <= 0:
                break
    for each in (source, sink):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


@contextmanager
def wire_to(target: int) -> Iterator[Wire]:
    """A wire to a port of this machine."""
    with Wire(target) as wire:
        thread = threading.Thread(target=wire.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield wire
        wire.shutdown()
