"""The websocket of an open page: asks about the visitor's session time and again, and ends when the session has."""

import asyncio
from contextlib import suppress

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ClientState_pb2 import ClientState

from app.server.visitors import Visitors
from portrait.errors import PortraitError

FAREWELL_SECONDS = 3.0
"""Seconds in which a page whose session has ended is drawn once more, to say so, before its websocket is closed."""
_POLICY_VIOLATION = 1008
_CLOSE: Message = {"type": "websocket.close", "code": _POLICY_VIOLATION}
_DISCONNECT: Message = {"type": "websocket.disconnect", "code": _POLICY_VIOLATION}


class VisitorSocket:
    """A websocket between a browser and Streamlit, `receive` and `send`, that lasts as long as the session of `secret`."""

    def __init__(self, visitors: Visitors, secret: str, receive: Receive, send: Send) -> None:
        self._visitors, self._secret = visitors, secret
        self._browser, self._to_browser = receive, send
        self._active = self._told = self._closed = False
        self._ended = asyncio.Event()

    async def serve(self, app: ASGIApp, scope: Scope) -> None:
        """Run the app for this websocket."""
        watch = asyncio.create_task(self._watch())
        try:
            await app(scope, self._receive, self._send)
        finally:
            watch.cancel()

    async def _watch(self) -> None:
        """Set `_ended` when the session has; an API that does not answer ends nothing, and gives pages nothing either."""
        while not self._ended.is_set():
            self._active = False
            await self._visitors.wait()
            with suppress(PortraitError):
                if await self._visitors.find(self._secret, idle=not self._active) is None:
                    self._ended.set()

    async def _receive(self) -> Message:
        """The browser's next message; after the session's end one that draws the page again, and then none."""
        if not self._ended.is_set():
            message = await self._next_message()
            if message is not None:
                self._active = True
                return message
        if not self._told:
            self._told = True
            return {"type": "websocket.receive", "bytes": BackMsg(rerun_script=ClientState()).SerializeToString()}
        await asyncio.sleep(FAREWELL_SECONDS)
        self._closed = True
        await self._to_browser(_CLOSE)
        return _DISCONNECT

    async def _next_message(self) -> Message | None:
        """The browser's next message, or None when the session ends before."""
        message, end = asyncio.ensure_future(self._browser()), asyncio.ensure_future(self._ended.wait())
        try:
            await asyncio.wait({message, end}, return_when=asyncio.FIRST_COMPLETED)
            return message.result() if message.done() else None
        finally:
            message.cancel()
            end.cancel()

    async def _send(self, message: Message) -> None:
        if not self._closed:
            await self._to_browser(message)
