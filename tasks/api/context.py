"""Dependencies of routes: the application context, the caller, path and query parameters, idempotency keys."""

import hashlib
import json
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeAlias

from anyio.to_thread import run_sync
from celery import Celery
from fastapi import Depends, Header, Path, Query, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from pydantic import BaseModel

from portrait.errors import PortraitError, UserError
from tasks import auth
from tasks.api import problems
from tasks.api.thumbnails import ThumbnailCache
from tasks.files import Files
from tasks.jobs import Job
from tasks.ledger.idempotency import StoredResponse
from tasks.ledger.jobs import Allowance
from tasks.ledger.ledger import Ledger
from tasks.queue import broker
from tasks.settings import Installation, TaskSettings
from tasks.styles.available import AvailableStyles

MAX_PAGE_SIZE = 200


@dataclass(frozen=True, slots=True)
class AppContext:
    """What the routes of one API process share: settings, ledger, files, Celery app, clock, thumbnails."""

    installation: Installation
    ledger: Ledger
    files: Files
    celery: Celery
    now: Callable[[], float] = time.time
    thumbnails: ThumbnailCache = field(default_factory=ThumbnailCache)

    @property
    def tasks(self) -> TaskSettings:
        """The `[tasks]` settings."""
        return self.installation.tasks

    @property
    def styles(self) -> AvailableStyles:
        """The styles that portraits can be made in."""
        return AvailableStyles(self.ledger, self.files)

    @property
    def allowance(self) -> Allowance:
        """Quotas of one owner for jobs."""
        return Allowance(self.tasks.quotas.jobs, self.tasks.quotas.portraits_a_day)

    def enqueue(self, job: Job, people: Mapping[str, str] | None = None) -> Job:
        """Add a job to the ledger within the owner's quotas and notify a worker; `people` are the ids of persons it draws."""
        added = self.ledger.jobs.add(job, sorted(set((people or {}).values())), self.allowance)
        broker.notify(self.celery, job.queue)
        return added


def get_context(request: Request) -> AppContext:
    """The context of this process."""
    return request.app.state.context


ContextDep: TypeAlias = Annotated[AppContext, Depends(get_context)]
_bearer = HTTPBearer(auto_error=False, description="A key: `portrait keys add`, or a sign-in code changed for one.")


def get_caller(request: Request, context: ContextDep, _: Annotated[object, Depends(_bearer)]) -> auth.Caller:
    """The caller that the API key belongs to; raises `unauthenticated`."""
    return _authenticate(request, context)


CallerDep: TypeAlias = Annotated[auth.Caller, Depends(get_caller)]


class AuthenticatedRoute(APIRoute):
    """A route that authenticates before it reads the body: nothing is taken in from a stranger."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler of the route, behind authentication where the route requires a key."""
        handler = super().get_route_handler()
        if not _requires_key(self.dependant):
            return handler

        async def authenticated(request: Request) -> Response:
            await run_sync(_authenticate, request, get_context(request))
            return await handler(request)

        return authenticated


def require_operator(caller: CallerDep) -> auth.Caller:
    """The caller, if an operator; raises `forbidden`."""
    if not caller.has_role("operator"):
        raise UserError("forbidden", "Only operators may do this.")
    return caller


OperatorDep: TypeAlias = Annotated[auth.Caller, Depends(require_operator)]
PathId: TypeAlias = Annotated[str, Path(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
Cursor: TypeAlias = Annotated[
    str | None, Query(pattern=r"^[A-Za-z0-9_.-]{1,64}$", description="`next` of the page before.")
]
Limit: TypeAlias = Annotated[int, Query(ge=1, le=MAX_PAGE_SIZE)]


@dataclass(frozen=True, slots=True)
class Paging:
    """Which page of a list is asked for."""

    cursor: Cursor = None
    limit: Limit = 50


PagingDep: TypeAlias = Annotated[Paging, Depends()]


@dataclass(frozen=True, slots=True)
class Idempotency:
    """Runs an action once for each `Idempotency-Key`: the same request again gets the stored response."""

    request: Request
    context: AppContext
    owner: str
    key: str | None
    fingerprint: str

    def run(self, act: Callable[[], Response]) -> Response:
        """Run `act`, or return the stored response; raises `idempotency_mismatch`, `idempotency_in_flight`."""
        if self.key is None:
            return act()
        store = self.context.ledger.idempotency
        before = store.begin(self.owner, self.key, self.fingerprint, self.context.now())
        if before is not None:
            return Response(before.body, before.status, {**before.headers, "Idempotent-Replayed": "true"})
        try:
            response = act()
        except PortraitError as error:
            response = problems.error_response(error, self.request)
        except BaseException:
            store.release(self.owner, self.key)
            raise
        if response.status_code in {429, 500, 503}:
            store.release(self.owner, self.key)  # it may be tried again
        else:
            headers = {name: value for name, value in response.headers.items() if name != "content-length"}
            stored = StoredResponse(response.status_code, headers, bytes(response.body).decode())
            store.save_response(self.owner, self.key, stored)
        return response


async def get_idempotency(
    request: Request,
    context: ContextDep,
    caller: CallerDep,
    idempotency_key: Annotated[
        str | None,
        Header(
            pattern=r"^[\x21-\x7e]{1,200}$",
            description="The same key with the same body gets the first answer again, and nothing is done twice.",
        ),
    ] = None,
) -> Idempotency:
    """The `Idempotency` of a request; without a key it runs every time."""
    content = [request.method, request.url.path, (await request.body()).decode("latin-1")]
    fingerprint = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    return Idempotency(request, context, caller.owner, idempotency_key, fingerprint)


IdempotencyDep: TypeAlias = Annotated[Idempotency, Depends(get_idempotency)]


def _authenticate(request: Request, context: AppContext) -> auth.Caller:
    """The caller, looked up once a request."""
    found: auth.Caller | None = getattr(request.state, "caller", None)
    if found is None:
        found = auth.authenticate(context.ledger, request.headers.get("authorization", ""), context.now())
        request.state.caller, request.state.key = found, found.key
    return found


def _requires_key(dependant: Dependant) -> bool:
    return dependant.call is get_caller or any(_requires_key(each) for each in dependant.dependencies)


def created(body: BaseModel, location: str, status: int = 201, retry_after: int | None = None) -> Response:
    """A response with a new thing, its `Location`, and `Retry-After` where it is long work."""
    headers = {"Location": location} | ({} if retry_after is None else {"Retry-After": str(retry_after)})
    return JSONResponse(body.model_dump(mode="json"), status, headers)
