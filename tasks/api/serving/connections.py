"""uvicorn's HTTP protocol with a clock: a connection on which no request arrives in time is closed.

uvicorn waits for ever for the rest of a header, and reads what follows a refused request for as long as it comes. Bodies that
are read have their times in `tasks.api.limits`.
"""

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

ROOM = 0.9
"""Share of the connections at which those that wait for a header are closed, the oldest first: a supervisor still gets in."""
HEADER_SECONDS = 10.0
"""Seconds from the connection, or from the first byte after a response, until the header of a request is complete."""


class TimedH11Protocol(H11Protocol):
    """HTTP/1.1 of one connection, closed when the header of a request is not complete within `HEADER_SECONDS`."""

    _late: asyncio.TimerHandle | None = None
    _handed_on = False

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)
        if self.limit_concurrency is not None and len(self.connections) > self.limit_concurrency * ROOM:
            self._make_room()
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Read on; what comes while no request is answered is the beginning of one, or the rest of a refused one."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_waiting()
        elif self._late is None:
            self._wait()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Hand the connection on to a websocket, which sends no more headers."""
        self._stop_waiting()
        self._handed_on = True
        super().handle_websocket_upgrade(event)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the clock."""
        self._stop_waiting()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """End the connection after what is being answered; at once where nothing is.

        Closed politely, a TLS connection lasts until the caller says goodbye too, which one that is idle does not.
        """
        idle = self.cycle is None or self.cycle.response_complete
        super().shutdown()
        if idle and not self.transport.get_write_buffer_size():
            self.transport.abort()

    def _wait(self) -> None:
        if self._handed_on:
            return
        self._late = self.loop.call_later(HEADER_SECONDS, self._close)

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _make_room(self) -> None:
        """Close the connection that has waited longest for the header of its request."""
        waiting = [
            (each._late.when(), each)
            for each in self.connections
            if isinstance(each, TimedH11Protocol) and each._late is not None
        ]
        if waiting:
            min(waiting, key=lambda each: each[0])[1]._close()

    def _close(self) -> None:
        self._stop_waiting()
        if not self.transport.is_closing():
            self.transport.close()
