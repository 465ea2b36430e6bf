"""ASGI middleware that ends streams of events when the server is to stop, so that it need only wait for downloads."""

import asyncio
import signal
import threading
from types import FrameType

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_STREAMS = "/events"
"""How the paths of streams end."""


class StoppingMiddleware:
    """Tells streams of events that the caller has gone, once this process was told to stop; callers resume them elsewhere."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._stopping: asyncio.Event | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request, or the beginning and end of the server."""
        if scope["type"] == "lifespan":
            self._stopping = asyncio.Event()
            _notice_signals(self._stopping)
        elif scope["type"] == "http" and scope["path"].endswith(_STREAMS) and self._stopping is not None:
            receive = _until(self._stopping, receive)
        await self._app(scope, receive, send)


def _until(stopping: asyncio.Event, receive: Receive) -> Receive:
    """A `receive` that says that the caller has gone as soon as the server stops."""

    async def receive_until() -> Message:
        message, stop = asyncio.ensure_future(receive()), asyncio.ensure_future(stopping.wait())
        try:
            await asyncio.wait({message, stop}, return_when=asyncio.FIRST_COMPLETED)
            return message.result() if message.done() else {"type": "http.disconnect"}
        finally:
            message.cancel()
            stop.cancel()

    return receive_until


def _notice_signals(stopping: asyncio.Event) -> None:
    """Set the event at SIGTERM and SIGINT, before uvicorn's own handlers, which then wait for what is under way."""
    if threading.current_thread() is not threading.main_thread():
        return  # a server of tests: signals reach the main thread alone
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        before = signal.getsignal(number)

        def handle(signum: int, frame: FrameType | None, before: object = before) -> None:
            loop.call_soon_threadsafe(stopping.set)
            if callable(before):
                before(signum, frame)

        signal.signal(number, handle)
