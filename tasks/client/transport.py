"""How the client asks: again while nobody answers, errors by their code, streams that go on where they stopped."""

import json
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from portrait.errors import EngineError, OperatorError, PortraitError, UserError
from tasks import schemas

M = TypeVar("M", bound=BaseModel)
TRIES = 4
"""Of a request that may be repeated: reads, deletions, and whatever carries an Idempotency-Key."""
PAUSE = 0.3
"""Seconds before the second try; doubled each time."""
SEEK_AGAIN = 7
"""Tries for a stream that was heard before: a minute in all, in which an API restarts."""
AGAIN = {502, 503, 504}
GONE = {404, 410}


class Wire:
    """Requests to one API."""

    def __init__(self, url: str, key: str, timeout: float, transport: httpx.BaseTransport | None) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.Client(
            base_url=f"{url.rstrip('/')}/v1", headers=headers, timeout=timeout, transport=transport
        )

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def events(self, path: str) -> Iterator[schemas.JobEvent]:
        """What a stream of events tells, each once, until it is told that the job has ended and the API closes the stream."""
        after, state, tries = "", "", 0
        while True:
            try:
                for id, event in self._stream(path, after):
                    if id:
                        after, state, tries = id, event.state, 0
                    yield event
                if state in schemas.FINISHED:
                    return
            except (httpx.TransportError, OperatorError) as error:
                if tries >= (SEEK_AGAIN if after else TRIES):
                    raise error if isinstance(error, OperatorError) else _unreachable() from error
            if tries >= SEEK_AGAIN:
                raise _unreachable()
            tries += 1
            time.sleep(PAUSE * 2**tries)

    def get(self, kind: type[M], path: str, params: Mapping[str, Any] | None = None) -> M:
        """One thing, read."""
        return self.read(kind, self.ask("GET", path, params=params))

    def list(self, kind: type[M], path: str, params: Mapping[str, Any] | None = None) -> list[M]:
        """Every page."""
        items: list[M] = []
        asked = {name: value for name, value in (params or {}).items() if value}
        while True:
            page = self.read(schemas.Page[kind], self.ask("GET", path, params=asked))
            items += page.items
            if page.next is None:
                return items
            asked["cursor"] = page.next

    def post(self, kind: type[M], path: str, order: BaseModel | None = None) -> M:
        """Ask for something new; asked twice it is done once."""
        body = None if order is None else order.model_dump(mode="json")
        headers = {"Idempotency-Key": secrets.token_hex(16)}
        return self.read(kind, self.ask("POST", path, json=body, headers=headers))

    def content(self, path: str, side: int | None) -> bytes:
        """A picture, whole or small."""
        return self.ask("GET", path, params={} if side is None else {"side": side}).content

    def pieces(self, path: str, params: Mapping[str, Any]) -> Iterator[bytes]:
        """A large answer, in pieces."""
        asked = {name: value for name, value in params.items() if value}
        try:
            with self._http.stream("GET", path, params=asked, timeout=300) as stream:
                if stream.status_code != 200:
                    stream.read()
                    raise _error(stream)
                yield from stream.iter_bytes()
        except httpx.TransportError as error:
            raise _unreachable() from error

    def ask(self, method: str, path: str, tries: int = TRIES, **request: Any) -> httpx.Response:
        """Send a request, again while nobody answers or the API says that it cannot at present."""
        for attempt in range(1, tries + 1):
            try:
                answer = self._http.request(method, path, **request)
            except httpx.TransportError as error:
                if attempt == tries:
                    raise _unreachable() from error
            else:
                error = None if answer.is_success else _error(answer)
                if error is None:
                    return answer
                if method == "DELETE" and attempt > 1 and answer.status_code in GONE:
                    return answer  # by the try before, whose answer was lost
                in_flight = error.code == "idempotency_in_flight"
                if attempt == tries or not (answer.status_code in AGAIN or in_flight):
                    raise error
            time.sleep(PAUSE * 2 ** (attempt - 1))
        raise _unreachable()

    def _stream(self, path: str, after: str) -> Iterator[tuple[str, schemas.JobEvent]]:
        """One stream, from behind an event."""
        headers = {"Last-Event-ID": after} if after else {}
        with self._http.stream("GET", path, headers=headers, timeout=60) as stream:
            if stream.status_code != 200:
                stream.read()
                raise _error(stream)
            yield from _events(stream.iter_lines())

    def read(self, kind: type[M], answer: httpx.Response) -> M:
        """An answer as what it should be; raises `OperatorError` (`bad_answer`)."""
        try:
            return kind.model_validate_json(answer.content)
        except ValidationError as error:
            raise OperatorError("bad_answer", "The API answered something else. Is the address right?") from error


def _events(lines: Iterable[str]) -> Iterator[tuple[str, schemas.JobEvent]]:
    """Server-sent events: id (or empty) and what happened."""
    id, data = "", ""
    for line in lines:
        name, _, value = line.partition(": ")
        if name == "id":
            id = value
        elif name == "data":
            data = value
        elif not line and data:
            yield id, schemas.JobEvent.model_validate_json(data)
            id, data = "", ""


def _error(answer: httpx.Response) -> PortraitError:
    """What the API said as an error of ours."""
    try:
        problem = schemas.Problem.model_validate_json(answer.content)
    except ValidationError:
        problem = schemas.Problem(
            title=answer.reason_phrase,
            status=answer.status_code,
            instance="",
            detail=f"The API answered {answer.status_code}. Is the address right?",
            code="bad_answer",
        )
    details = {"status": problem.status, "errors": [json.loads(each.model_dump_json()) for each in problem.errors]}
    if "retry-after" in answer.headers:
        details["retry_after"] = answer.headers["retry-after"]
    branch = UserError if answer.status_code < 500 else OperatorError if answer.status_code == 503 else EngineError
    return branch(problem.code, problem.detail, details)


def _unreachable() -> OperatorError:
    return OperatorError("api_unreachable", "The service does not answer. It may be starting; try again in a moment.")
