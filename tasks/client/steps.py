"""What a call of the client does, step by step, written once for callers that block and callers that await.

A call is a generator: it yields what is to be done next (a request, a pause, an event to be read) and is given what came of it.
`tasks.client.transport` does these steps, in either way. Errors are those of `portrait.errors`.
"""

import random
import secrets
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, TypeAlias, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from portrait.errors import EngineError, OperatorError, PortraitError, UserError
from tasks import schemas

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)
Files: TypeAlias = Iterable[tuple[str, BinaryIO | bytes]]
"""Name and content."""
TRIES = 4
"""Of a request that may be repeated: see `may_repeat`."""
PAUSE = 0.3
"""Seconds before the second try; doubled each time."""
RECONNECT_TRIES = 7
"""Tries of a stream that has sent events before: a minute in all, in which an API restarts."""
RETRY_STATUSES = {429, 502, 503, 504}
MOST_ITEMS = 200
"""Items of a page at most."""
DELETED_STATUSES = {404, 410}
SAFE_METHODS = {"GET", "HEAD", "PUT", "PATCH", "DELETE"}
"""Methods that do the same thing when they come twice; what is changed by PATCH here is set to a value."""
UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
"""Errors after which nothing has reached the API, so that any request may be sent again."""
STREAM_SECONDS = 60
"""Seconds of silence after which a stream has broken off; the API sends something every 15."""


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request; the answer is its response, or the error of the transport."""

    method: str
    path: str
    options: Mapping[str, Any] = field(default_factory=dict)
    """Those of httpx: params, json, headers, files, timeout."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait; the answer is whether it was waited, or not because it is too long for the caller."""

    seconds: float
    """As the number of tries says; some more by chance, so that many who wait do not come back together."""
    retry_after: float = 0.0
    """What the API asks for."""

    def length(self) -> float:
        """Seconds to wait."""
        return max(self.seconds, self.retry_after) + random.uniform(0, self.seconds / 2)  # noqa: S311 -- nobody guesses it


@dataclass(frozen=True, slots=True)
class Open:
    """Open a stream of events; the answer is a handle of it, the response that refuses it, or the error of the transport."""

    request: Request


@dataclass(frozen=True, slots=True)
class Read:
    """Read the next event of a stream; the answer is the event, None at the end, or the error of the transport."""

    stream: Any


@dataclass(frozen=True, slots=True)
class Give:
    """Hand an item to whoever iterates; the answer is nothing."""

    item: Any


Step: TypeAlias = Request | Pause | Open | Read | Give
Steps: TypeAlias = Generator[Step, Any, T]


def may_repeat(request: Request) -> bool:
    """Whether a request may be sent again where it is not known whether it was done: it is safe, or carries its own key."""
    return request.method in SAFE_METHODS or "Idempotency-Key" in request.options.get("headers", {})


def respond(request: Request, tries: int = TRIES) -> Steps[httpx.Response]:
    """Send a request, up to `tries` times while nothing answers or the API says that it cannot at present.

    What may not be repeated is sent again only where it cannot have arrived. Raises the problem that the API answers with, and
    `OperatorError` (`api_unreachable`).
    """
    for attempt in range(1, tries + 1):
        answer = yield request
        if isinstance(answer, httpx.Response) and answer.is_success:
            return answer
        if isinstance(answer, httpx.Response) and attempt > 1 and _was_deleted(request, answer):
            return answer
        error = problem_of(answer) if isinstance(answer, httpx.Response) else unreachable()
        if attempt == tries or not _again(request, answer, error):
            raise error
        waited = yield Pause(PAUSE * 2 ** (attempt - 1), _retry_after(answer))
        if not waited:
            raise error
    raise unreachable()


def _again(request: Request, answer: httpx.Response | Exception, error: PortraitError) -> bool:
    """Whether another try may help and does no harm."""
    if isinstance(answer, Exception):
        return may_repeat(request) or isinstance(answer, UNSENT)
    in_flight = error.code == "idempotency_in_flight"
    return in_flight or (answer.status_code in RETRY_STATUSES and may_repeat(request))


def _was_deleted(request: Request, answer: httpx.Response) -> bool:
    """Whether what is to be deleted is gone: by the try before, whose answer was lost."""
    return request.method == "DELETE" and answer.status_code in DELETED_STATUSES


def _retry_after(answer: httpx.Response | Exception) -> float:
    """The seconds that an API asks to be left alone; 0 where it does not."""
    value = "" if isinstance(answer, Exception) else answer.headers.get("retry-after", "")
    return float(value) if value.isdecimal() else 0.0


def send(kind: type[M], method: str, path: str, tries: int = TRIES, **options: Any) -> Steps[M]:
    """Send a request as `respond` does; its answer as a model. Raises `OperatorError` (`bad_answer`) for another one."""
    response = yield from respond(Request(method, path, options), tries)
    return parse(kind, response)


def act(method: str, path: str, tries: int = TRIES, **options: Any) -> Steps[None]:
    """Send a request as `respond` does, whose answer says nothing."""
    yield from respond(Request(method, path, options), tries)


def get(kind: type[M], path: str, tries: int = TRIES, **options: Any) -> Steps[M]:
    """The thing at a path."""
    return send(kind, "GET", path, tries, **options)


def post(kind: type[M], path: str, body: BaseModel | None = None, key: str = "") -> Steps[M]:
    """Create something with an `Idempotency-Key`, a new one when empty: however often it is sent, it is done once."""
    content = None if body is None else body.model_dump(mode="json")
    return send(kind, "POST", path, json=content, headers={"Idempotency-Key": key or secrets.token_hex(16)})


def listed(
    kind: type[M], path: str, params: Mapping[str, Any] | None = None, limit: int | None = None
) -> Steps[list[M]]:
    """The items of every page, the first `limit` of them where one is given; parameters without a value are left out."""
    items: list[M] = []
    query = {name: value for name, value in (params or {}).items() if value}
    while limit is None or len(items) < limit:
        query |= {} if limit is None else {"limit": min(MOST_ITEMS, limit - len(items))}
        page = yield from get(schemas.Page[kind], path, params=query)
        items += page.items
        if page.next is None:
            break
        query["cursor"] = page.next
    return items


def upload(kind: type[M], path: str, files: Files) -> Steps[M]:
    """Send files as the parts `files` of a form."""
    return send(kind, "POST", path, files=[("files", part) for part in files], timeout=300)


def picture(path: str, side: int | None, params: Mapping[str, Any] | None = None) -> Steps[bytes]:
    """The bytes of a picture: the whole file, or a JPEG whose long side has `side` pixels at most."""
    asked = dict(params or {}) | ({} if side is None else {"side": side})
    response = yield from respond(Request("GET", path, {"params": asked}))
    return response.content


def events(path: str) -> Steps[None]:
    """Give the events of a job, each once, until it has ended and the API closes the stream.

    A stream that breaks off is opened again with `Last-Event-ID`. Raises `OperatorError` (`api_unreachable`).
    """
    reached = _Reached()
    while True:
        headers = {"Last-Event-ID": reached.id} if reached.id else {}
        stream = yield Open(Request("GET", path, {"headers": headers, "timeout": STREAM_SECONDS}))
        error = yield from _read_to_end(stream, reached)
        if error is None and reached.state in schemas.FINISHED:
            return
        if reached.tries >= (RECONNECT_TRIES if reached.id or error is None else TRIES):
            raise error or unreachable()
        reached.tries += 1
        yield Pause(PAUSE * 2**reached.tries)


@dataclass(slots=True)
class _Reached:
    """How far a stream was read, over all its connections."""

    id: str = ""
    """Of the last event that has one."""
    state: str = ""
    tries: int = 0
    """Since then."""


def _read_to_end(stream: Any, reached: _Reached) -> Steps[OperatorError | None]:
    """Give the events of one connection; returns why it broke off, None where the API closed it. Raises other problems."""
    if isinstance(stream, httpx.Response):
        problem = problem_of(stream)
        if isinstance(problem, OperatorError):
            return problem
        raise problem
    event = stream if isinstance(stream, Exception) else (yield Read(stream))
    while event is not None and not isinstance(event, Exception):
        if event.data:  # a comment that keeps the connection open carries none
            told = schemas.JobEvent.model_validate_json(event.data)
            if event.id:
                reached.id, reached.state, reached.tries = event.id, told.state, 0
            yield Give(told)
        event = yield Read(stream)
    return None if event is None else unreachable()


def each(stream: Steps[None], take: Callable[[Any], object]) -> Steps[None]:
    """Do the steps of a stream and hand what it gives to `take`."""
    answer = None
    while True:
        try:
            step = stream.send(answer)
        except StopIteration:
            return
        if isinstance(step, Give):
            take(step.item)
            answer = None
        else:
            answer = yield step


def parse(kind: type[M], response: httpx.Response) -> M:
    """An answer as a model; raises `OperatorError` (`bad_answer`) for another one."""
    try:
        return kind.model_validate_json(response.content)
    except ValidationError as error:
        raise OperatorError("bad_answer", "The API answered something else. Is the address right?") from error


def problem_of(response: httpx.Response) -> PortraitError:
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


def unreachable() -> OperatorError:
    """The error of an API that does not answer."""
    return OperatorError("api_unreachable", "The service does not answer. It may be starting; try again in a moment.")
