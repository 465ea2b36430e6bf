"""Does the steps of the client's calls over HTTP: one after the other in this thread, or awaited in an event loop."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx
from httpx_sse import EventSource, ServerSentEvent

from tasks.client import steps
from tasks.client.steps import Give, Open, Pause, Read, Request, Steps

T = TypeVar("T")
DOWNLOAD_SECONDS = 300
"""Seconds without a byte after which a download has broken off: a large zip is begun when its first picture was read."""

PATIENCE = 20.0
"""Seconds that an API may ask for by `Retry-After` before a request is sent again; for more the error is raised."""


@dataclass(frozen=True, slots=True)
class Download:
    """A file while it is received."""

    media_type: str
    disposition: str
    """Its `Content-Disposition`, which names it; empty where the API says none."""
    chunks: Iterator[bytes]
    """To be read to the end, or closed."""


@dataclass(frozen=True, slots=True)
class AsyncDownload:
    """A file while it is received in an event loop."""

    media_type: str
    disposition: str
    """Its `Content-Disposition`, which names it; empty where the API says none."""
    chunks: AsyncIterator[bytes]
    """To be read to the end, or closed."""


@dataclass(frozen=True, slots=True)
class _Stream:
    """An open stream of events."""

    response: httpx.Response
    events: Any
    """Iterator of its events, or one that is awaited."""


class HttpTransport:
    """Does steps one after the other; `transport` is httpx's, by default one that asks no proxy."""

    def __init__(
        self,
        url: str,
        key: str = "",
        timeout: float = 30.0,
        transport: httpx.BaseTransport | None = None,
        patience: float = PATIENCE,
    ) -> None:
        self.patience = patience
        # With a transport of its own no proxy of the environment comes between, which knows nothing of this network.
        carrier = transport or httpx.HTTPTransport()
        self._http = httpx.Client(
            base_url=_base(url), headers=_headers(key), timeout=timeout, transport=carrier, follow_redirects=True
        )

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def run(self, wanted: Steps[T]) -> T:
        """Do the steps of a call; returns what it returns."""
        answer = None
        while True:
            try:
                step = wanted.send(answer)
            except StopIteration as end:
                return end.value
            answer = self._do(step)

    def iterate(self, wanted: Steps[None]) -> Iterator[Any]:
        """Do the steps of a stream and yield what it gives; whoever stops to iterate closes its connection."""
        answer, opened = None, list[_Stream]()
        try:
            while True:
                try:
                    step = wanted.send(answer)
                except StopIteration:
                    return
                if isinstance(step, Give):
                    yield step.item
                    answer = None
                else:
                    answer = self._do(step)
                    opened += [answer] if isinstance(answer, _Stream) else []
        finally:
            for each in opened:
                each.response.close()

    def download(self, path: str, params: Mapping[str, Any]) -> Download:
        """A file with its name, in chunks; it has begun to come when this returns."""
        request = self._http.build_request("GET", path, params=dict(params), timeout=DOWNLOAD_SECONDS)
        try:
            response = self._http.send(request, stream=True)
            if response.status_code != 200:
                response.read()
                raise steps.problem_of(response)
        except httpx.TransportError as error:
            raise steps.unreachable() from error
        return Download(*_named(response), _chunks(response))

    def chunks(self, path: str, params: Mapping[str, Any]) -> Iterator[bytes]:
        """A large body in chunks, asked for when the first of them is."""
        yield from self.download(path, params).chunks

    def _do(self, step: object) -> Any:
        try:
            match step:
                case Request(method, path, options):
                    return self._http.request(method, path, **options)
                case Pause():
                    return step.retry_after <= self.patience and not time.sleep(step.length())
                case Open(request):
                    return self._open(request)
                case Read(stream):
                    return next(stream.events, None)
        except httpx.TransportError as error:
            return error

    def _open(self, request: Request) -> _Stream | httpx.Response:
        response = self._http.send(
            self._http.build_request(request.method, request.path, **request.options), stream=True
        )
        if response.status_code != 200:
            response.read()
            return response
        return _Stream(response, EventSource(response).iter_sse())


class AsyncHttpTransport:
    """Does the same steps in an event loop."""

    def __init__(
        self,
        url: str,
        key: str = "",
        timeout: float = 30.0,
        transport: httpx.AsyncBaseTransport | None = None,
        patience: float = PATIENCE,
    ) -> None:
        self.patience = patience
        carrier = transport or httpx.AsyncHTTPTransport()
        self._http = httpx.AsyncClient(
            base_url=_base(url), headers=_headers(key), timeout=timeout, transport=carrier, follow_redirects=True
        )

    async def close(self) -> None:
        """Let go of the connections."""
        await self._http.aclose()

    async def run(self, wanted: Steps[T]) -> T:
        """Do the steps of a call; returns what it returns."""
        answer = None
        while True:
            try:
                step = wanted.send(answer)
            except StopIteration as end:
                return end.value
            answer = await self._do(step)

    async def iterate(self, wanted: Steps[None]) -> AsyncIterator[Any]:
        """Do the steps of a stream and yield what it gives; whoever stops to iterate closes its connection."""
        answer, opened = None, list[_Stream]()
        try:
            while True:
                try:
                    step = wanted.send(answer)
                except StopIteration:
                    return
                if isinstance(step, Give):
                    yield step.item
                    answer = None
                else:
                    answer = await self._do(step)
                    opened += [answer] if isinstance(answer, _Stream) else []
        finally:
            for each in opened:
                await each.response.aclose()

    async def download(self, path: str, params: Mapping[str, Any]) -> AsyncDownload:
        """A file with its name, in chunks; it has begun to come when this returns."""
        request = self._http.build_request("GET", path, params=dict(params), timeout=DOWNLOAD_SECONDS)
        try:
            response = await self._http.send(request, stream=True)
            if response.status_code != 200:
                await response.aread()
                raise steps.problem_of(response)
        except httpx.TransportError as error:
            raise steps.unreachable() from error
        return AsyncDownload(*_named(response), _async_chunks(response))

    async def chunks(self, path: str, params: Mapping[str, Any]) -> AsyncIterator[bytes]:
        """A large body in chunks, asked for when the first of them is."""
        async for each in (await self.download(path, params)).chunks:
            yield each

    async def _do(self, step: object) -> Any:
        try:
            match step:
                case Request(method, path, options):
                    return await self._http.request(method, path, **options)
                case Pause():
                    return step.retry_after <= self.patience and not await asyncio.sleep(step.length())
                case Open(request):
                    return await self._open(request)
                case Read(stream):
                    return await anext(stream.events, None)
        except httpx.TransportError as error:
            return error

    async def _open(self, request: Request) -> _Stream | httpx.Response:
        built = self._http.build_request(request.method, request.path, **request.options)
        response = await self._http.send(built, stream=True)
        if response.status_code != 200:
            await response.aread()
            return response
        events: AsyncIterator[ServerSentEvent] = EventSource(response).aiter_sse()
        return _Stream(response, events)


def _base(url: str) -> str:
    return f"{url.rstrip('/')}/v1"


def _headers(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"} if key else {}


def _named(response: httpx.Response) -> tuple[str, str]:
    """Media type and `Content-Disposition` of a file."""
    headers = response.headers
    return headers.get("content-type", "application/octet-stream"), headers.get("content-disposition", "")


def _chunks(response: httpx.Response) -> Iterator[bytes]:
    """The body of a streamed response, which is closed after it."""
    try:
        yield from response.iter_bytes()
    except httpx.TransportError as error:
        raise steps.unreachable() from error
    finally:
        response.close()


async def _async_chunks(response: httpx.Response) -> AsyncIterator[bytes]:
    """The body of a streamed response, which is closed after it."""
    try:
        async for each in response.aiter_bytes():
            yield each
    except httpx.TransportError as error:
        raise steps.unreachable() from error
    finally:
        await response.aclose()
