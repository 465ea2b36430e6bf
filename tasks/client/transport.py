"""HTTP transport of the client: retries, errors by their code, event streams that resume where they broke off."""

import secrets
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeVar

import httpx
from httpx_sse import connect_sse
from pydantic import BaseModel, ValidationError

from portrait.errors import EngineError, OperatorError, PortraitError, UserError
from tasks import schemas

M = TypeVar("M", bound=BaseModel)
Files = Iterable[tuple[str, BinaryIO | bytes]]
"""Name and content."""
TRIES = 4
"""Of a request that may be repeated: reads, deletions, and whatever carries an Idempotency-Key."""
PAUSE = 0.3
"""Seconds before the second try; doubled each time."""
RECONNECT_TRIES = 7
"""Tries of a stream that has sent events before: a minute in all, in which an API restarts."""
RETRY_STATUSES = {502, 503, 504}
DELETED_STATUSES = {404, 410}


@dataclass(frozen=True, slots=True)
class Download:
    """A file while it is received."""

    media_type: str
    disposition: str
    """Its `Content-Disposition`, which names it; empty where the API says none."""
    chunks: Iterator[bytes]
    """To be read to the end, or closed."""


class HttpTransport:
    """Sends requests to one API and parses what it answers."""

    def __init__(self, url: str, key: str, timeout: float, transport: httpx.BaseTransport | None) -> None:
        headers, base = {"Authorization": f"Bearer {key}"} if key else {}, f"{url.rstrip('/')}/v1"
        # With a transport of its own no proxy of the environment comes between, which knows nothing of this network.
        self._http = httpx.Client(
            base_url=base, headers=headers, timeout=timeout, transport=transport or httpx.HTTPTransport()
        )

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def events(self, path: str) -> Iterator[schemas.JobEvent]:
        """Events of a job, each once, until it has ended and the API closes the stream.

        A stream that breaks off is opened again with `Last-Event-ID`. Raises `OperatorError` (`api_unreachable`).
        """
        last_id, state, tries = "", "", 0
        while True:
            try:
                for id, event in self._stream(path, last_id):
                    if id:
                        last_id, state, tries = id, event.state, 0
                    yield event
                if state in schemas.FINISHED:
                    return
            except (httpx.TransportError, OperatorError) as error:
                if tries >= (RECONNECT_TRIES if last_id else TRIES):
                    raise error if isinstance(error, OperatorError) else _unreachable() from error
            if tries >= RECONNECT_TRIES:
                raise _unreachable()
            tries += 1
            time.sleep(PAUSE * 2**tries)

    def upload(self, kind: type[M], path: str, files: Files) -> M:
        """Send files as the parts `files` of a form; not retried, because they were read."""
        parts = [("files", (name, content)) for name, content in files]
        return self.send(kind, "POST", path, tries=1, files=parts, timeout=300)

    def get(self, kind: type[M], path: str, **options: Any) -> M:
        """The thing at a path."""
        return self.send(kind, "GET", path, **options)

    def list(self, kind: type[M], path: str, params: Mapping[str, Any] | None = None) -> list[M]:
        """The items of every page; parameters without a value are left out."""
        items: list[M] = []
        query = {name: value for name, value in (params or {}).items() if value}
        while True:
            page = self.get(schemas.Page[kind], path, params=query)
            items += page.items
            if page.next is None:
                return items
            query["cursor"] = page.next

    def post(self, kind: type[M], path: str, body: BaseModel | None = None) -> M:
        """Create something with an `Idempotency-Key`: however often it is sent, it is done once."""
        content = None if body is None else body.model_dump(mode="json")
        headers = {"Idempotency-Key": secrets.token_hex(16)}
        return self.send(kind, "POST", path, json=content, headers=headers)

    def picture(self, path: str, side: int | None, params: Mapping[str, Any] | None = None) -> bytes:
        """The bytes of a picture: the whole file, or a JPEG whose long side has `side` pixels at most."""
        asked = dict(params or {}) | ({} if side is None else {"side": side})
        return self.request("GET", path, params=asked).content

    def stream_bytes(self, path: str, params: Mapping[str, Any]) -> Iterator[bytes]:
        """A large body in chunks; parameters without a value are left out."""
        query = {name: value for name, value in params.items() if value}
        try:
            with self._http.stream("GET", path, params=query, timeout=300) as response:
                _raise_for_problem(response)
                yield from response.iter_bytes()
        except httpx.TransportError as error:
            raise _unreachable() from error

    def download(self, path: str, params: Mapping[str, Any]) -> Download:
        """A file with its name, in chunks; it has begun to come when this returns."""
        try:
            request = self._http.build_request("GET", path, params=dict(params), timeout=300)
            response = self._http.send(request, stream=True)
            _raise_for_problem(response)
        except httpx.TransportError as error:
            raise _unreachable() from error
        headers = response.headers
        media = headers.get("content-type", "application/octet-stream")
        return Download(media, headers.get("content-disposition", ""), _chunks(response))

    def request(self, method: str, path: str, tries: int = TRIES, **options: Any) -> httpx.Response:
        """Send a request, up to `tries` times while nothing answers or the API says that it cannot at present."""
        for attempt in range(1, tries + 1):
            try:
                response = self._http.request(method, path, **options)
            except httpx.TransportError as error:
                if attempt == tries:
                    raise _unreachable() from error
            else:
                if response.is_success:
                    return response
                if method == "DELETE" and attempt > 1 and response.status_code in DELETED_STATUSES:
                    return response  # deleted by the try before, whose answer was lost
                error = _error(response)
                again = response.status_code in RETRY_STATUSES or error.code == "idempotency_in_flight"
                if attempt == tries or not again:
                    raise error
            time.sleep(PAUSE * 2 ** (attempt - 1))
        raise _unreachable()

    def send(self, kind: type[M], method: str, path: str, **options: Any) -> M:
        """Send a request as `request` does; its answer as a model. Raises `OperatorError` (`bad_answer`) for another one."""
        try:
            return kind.model_validate_json(self.request(method, path, **options).content)
        except ValidationError as error:
            raise OperatorError("bad_answer", "The API answered something else. Is the address right?") from error

    def _stream(self, path: str, last_id: str) -> Iterator[tuple[str, schemas.JobEvent]]:
        """Events of one connection after the event `last_id`: the last id sent (empty before the first), and the event."""
        headers = {"Last-Event-ID": last_id} if last_id else {}
        with connect_sse(self._http, "GET", path, headers=headers, timeout=60) as source:
            _raise_for_problem(source.response)
            for each in source.iter_sse():
                if each.data:  # a comment that keeps the connection open carries none
                    yield each.id, schemas.JobEvent.model_validate_json(each.data)


def _chunks(response: httpx.Response) -> Iterator[bytes]:
    """The body of a streamed response, which is closed after it."""
    try:
        yield from response.iter_bytes()
    except httpx.TransportError as error:
        raise _unreachable() from error
    finally:
        response.close()


def _raise_for_problem(response: httpx.Response) -> None:
    """Raise the error that a streamed response carries instead of its content."""
    if response.status_code != 200:
        response.read()
        raise _error(response)


def _error(response: httpx.Response) -> PortraitError:
    """The problem in a response as an error of the branch that its status belongs to."""
    try:
        problem = schemas.Problem.model_validate_json(response.content)
    except ValidationError:
        problem = schemas.Problem(
            title=response.reason_phrase,
            status=response.status_code,
            detail=f"The API answered {response.status_code}. Is the address right?",
            code="bad_answer",
        )
    details: dict[str, Any] = {"status": problem.status, "errors": [each.model_dump() for each in problem.errors]}
    if "retry-after" in response.headers:
        details["retry_after"] = response.headers["retry-after"]
    status = response.status_code
    branch = UserError if status < 500 else OperatorError if status == 503 else EngineError
    return branch(problem.code, problem.detail, details)


def _unreachable() -> OperatorError:
    return OperatorError("api_unreachable", "The service does not answer. It may be starting; try again in a moment.")
