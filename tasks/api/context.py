"""Dependencies of routes: the application context, the caller, path and query parameters, idempotency keys."""

import hashlib
import inspect
import json
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial, wraps
from typing import Annotated, Any, TypeAlias, TypeVar

from anyio import CancelScope
from anyio.to_thread import run_sync
from celery import Celery
from fastapi import Depends, Header, Path, Query, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from pydantic import BaseModel

from portrait.errors import PortraitError, UserError
from tasks import auth, erasing
from tasks.api import admission, problems
from tasks.api.recent import Recent
from tasks.api.thumbnails import ThumbnailCache
from tasks.files import Files
from tasks.jobs import Job
from tasks.ledger.database import new_id
from tasks.ledger.idempotency import StoredResponse
from tasks.ledger.ledger import Ledger
from tasks.ledger.privacy import erasures
from tasks.ledger.privacy.retention import templates_in
from tasks.ledger.usage import MEGA, Allowance
from tasks.oidc import OidcProvider, ProviderDocuments
from tasks.queue import broker
from tasks.queue.guards import JobGuards
from tasks.schemas.shared import UNDO_SECONDS
from tasks.settings import Installation, TaskSettings
from tasks.styles.available import AvailableStyles
from tasks.telemetry import correlation, tracing

T = TypeVar("T")
MAX_PAGE_SIZE = 200
READY_SECONDS = 1.0
"""Seconds for which the answer to whether the installation is ready is given again."""
COUNTED_SECONDS = 30.0
"""Seconds for which the count of jobs that have ended is given again: a million of them take a tenth of a second."""


@dataclass(frozen=True, slots=True)
class AppContext:
    """What the routes of one API process share: settings, ledger, files, Celery app, clock, thumbnails."""

    installation: Installation
    ledger: Ledger
    files: Files
    celery: Celery
    now: Callable[[], float]
    thumbnails: ThumbnailCache = field(default_factory=ThumbnailCache)
    provider_documents: ProviderDocuments = field(default_factory=ProviderDocuments)
    readiness: Recent[Mapping[str, str]] = field(default_factory=lambda: Recent(READY_SECONDS))
    ended_jobs: Recent[Mapping[tuple[str, str], int]] = field(default_factory=lambda: Recent(COUNTED_SECONDS))

    @property
    def tasks(self) -> TaskSettings:
        """The `[tasks]` settings."""
        return self.installation.tasks

    @property
    def guards(self) -> JobGuards:
        """What keeps jobs from being placed."""
        return JobGuards(self.installation.flows, self.ledger, self.files)

    @property
    def oidc(self) -> OidcProvider:
        """The OpenID provider of the settings."""
        return OidcProvider(self.tasks.oidc, self.provider_documents)

    @property
    def styles(self) -> AvailableStyles:
        """The styles that portraits can be made in."""
        return AvailableStyles(self.ledger, self.files)

    @property
    def allowance(self) -> Allowance:
        """Quotas of one owner for jobs."""
        quotas = self.tasks.quotas
        return Allowance(
            jobs=quotas.jobs,
            portraits_a_day=quotas.portraits_a_day,
            portrait_pixels_a_day=quotas.portrait_megapixels_a_day * MEGA,
            order_pixels=quotas.order_megapixels * MEGA,
            trainings_a_day=quotas.trainings_a_day,
            training_steps_a_day=quotas.training_steps_a_day,
            worker_seconds_a_day=quotas.worker_hours_a_day * 3600,
        )

    def job_counts(self) -> Mapping[tuple[str, str], int]:
        """Jobs by queue and state; those that have ended as they were counted within the last half minute."""
        ended = self.ended_jobs.get(lambda: self.ledger.jobs.count_by_state(ended=True))
        return {**ended, **self.ledger.jobs.count_by_state(ended=False)}

    def audit(self, caller: auth.Caller, action: str, subject: str, **detail: str | int) -> None:
        """Note in the audit log what the caller did."""
        self.ledger.audit.add(caller.actor, action, subject, detail, self.now())

    def erasure_by(self, caller: auth.Caller) -> erasures.Request:
        """An erasure that the caller asks for now, of things of their own."""
        return erasures.Request(caller.owner, self.now(), caller.actor)

    def finish(self, erasure: erasures.ErasureRow) -> erasures.ErasureRow:
        """Erase the files of an erasure; what cannot be erased now is left to the keeper."""
        done = erasing.finish_erasure(self.ledger, self.files, erasure, self.now())
        self.thumbnails.forget_erased()
        return done

    def enqueue(self, job: Job, people: Mapping[str, str] | None = None) -> Job:
        """Add a job to the ledger within the owner's quotas and notify a worker; `people` are the ids of persons it draws.

        Raises `statement_missing` as `require_statements`, and what `JobGuards` raises.
        """
        drawn = people or {}
        self.require_statements(job)
        self.guards.check(job, drawn.values())
        return self.place([(job, drawn)])[0]

    def place(self, placed: Sequence[tuple[Job, Mapping[str, str]]]) -> Sequence[Job]:
        """Add jobs of one owner that were checked as by `enqueue`, each with the ids of the people in it: all or none."""
        drawn = [(_of_request(job), sorted(set(people.values()))) for job, people in placed]
        added = self.ledger.jobs.add_together(drawn, self.allowance)
        for queue in sorted({job.queue for job in added}):
            broker.notify(self.celery, queue)
        return added

    def require_statements(self, job: Job) -> None:
        """Raise `statement_missing` for a picture without the statement about its people, where the settings ask for it."""
        if not self.tasks.consent.statements or job.kind == "look":
            return
        for id in templates_in(job.params):
            if not self.ledger.templates.get(job.owner, id).statement:
                sentence = "State first that the people on this picture agreed: PUT /v1/templates/ID/statement."
                raise UserError("statement_missing", sentence)


def _of_request(job: Job) -> Job:
    """A job with the request that places it, and its place in the trace."""
    return replace(job, request=correlation.request_id(), traceparent=tracing.present())


async def get_context(request: Request) -> AppContext:
    """The context of this process."""
    return request.app.state.context


ContextDep: TypeAlias = Annotated[AppContext, Depends(get_context)]
_bearer = HTTPBearer(auto_error=False, description="A key (`portrait keys add`), or a session (`POST /v1/sessions`).")


async def get_caller(request: Request, context: ContextDep, _: Annotated[object, Depends(_bearer)]) -> auth.Caller:
    """The caller that the API key belongs to; raises `unauthenticated`."""
    return await _authenticate(request, context)


CallerDep: TypeAlias = Annotated[auth.Caller, Depends(get_caller)]


class AuthenticatedRoute(APIRoute):
    """A route that asks for key, role and what `admission` asks before it reads the body: nothing is taken in in vain."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, _in_thread(endpoint), **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler of the route, behind authentication where the route requires a key."""
        handler = super().get_route_handler()
        if not _requires(self.dependant, get_caller):
            return handler
        roles = [check for check in (require_operator, require_admin) if _requires(self.dependant, check)]
        question = admission.question_of(self.endpoint)

        async def authenticated(request: Request) -> Response:
            context = await get_context(request)
            caller = await _authenticate(request, context)
            for check in roles:
                await check(caller)
            if question is None:
                return await handler(request)
            length = admission.content_length(request.headers.get("content-length", ""))
            upload = admission.Upload(
                context.ledger,
                context.tasks,
                caller.owner,
                path=request.path_params,
                query=request.query_params,
                length=length,
                now=context.now(),
            )
            charge = await run_sync(admission.begin, question, upload)
            try:
                return await handler(request)
            finally:
                with CancelScope(shield=True):
                    await run_sync(admission.end, upload, charge, getattr(request.state, "received", 0))

        return authenticated


def _in_thread(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    """An endpoint as a coroutine that has it run in a thread: FastAPI takes a second one to check what a function returned."""
    if inspect.iscoroutinefunction(endpoint):
        return endpoint

    @wraps(endpoint)
    async def run(**values: Any) -> Any:
        return await run_sync(partial(endpoint, **values))

    return run


async def require_operator(caller: CallerDep) -> auth.Caller:
    """The caller, if an operator; raises `forbidden`."""
    if not caller.has_role("operator"):
        raise UserError("forbidden", "Only operators may do this.")
    return caller


OperatorDep: TypeAlias = Annotated[auth.Caller, Depends(require_operator)]


async def require_admin(caller: CallerDep) -> auth.Caller:
    """The caller, if an admin; raises `forbidden`."""
    if not caller.has_role("admin"):
        raise UserError("forbidden", "Only admins may do this.")
    return caller


AdminDep: TypeAlias = Annotated[auth.Caller, Depends(require_admin)]
UndoQuery: TypeAlias = Annotated[
    bool, Query(description=f"Hide it at once; it can be restored for {UNDO_SECONDS:g} seconds, then it is erased.")
]
PathId: TypeAlias = Annotated[str, Path(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
Cursor: TypeAlias = Annotated[
    str | None, Query(pattern=r"^[A-Za-z0-9_.-]{1,64}$", description="`next` of the page before.")
]
Limit: TypeAlias = Annotated[int, Query(ge=1, le=MAX_PAGE_SIZE)]


def from_parameters(kind: Callable[..., T]) -> Any:
    """A dependency that is a value of parameters of a request: made at once, while a class as dependency takes a thread."""

    async def make(**parameters: Any) -> T:
        return kind(**parameters)

    make.__signature__ = inspect.signature(kind)  # pyrefly: ignore[missing-attribute] -- where FastAPI finds the parameters
    return Depends(make)


@dataclass(frozen=True, slots=True)
class Paging:
    """Which page of a list is asked for."""

    cursor: Cursor = None
    limit: Limit = 50


PagingDep: TypeAlias = Annotated[Paging, from_parameters(Paging)]


@dataclass(frozen=True, slots=True)
class ListPaging:
    """Which page is asked for of a list that is short as a rule: earlier versions gave such lists whole."""

    cursor: Annotated[str | None, Query(pattern=r"^[\x21-\x7e]{1,200}$", description="`next` of the page before.")] = (
        None
    )
    limit: Limit = MAX_PAGE_SIZE


ListPagingDep: TypeAlias = Annotated[ListPaging, from_parameters(ListPaging)]


def page_of(items: Sequence[T], paging: ListPaging, name: Callable[[T], str]) -> tuple[Sequence[T], str | None]:
    """The page of a list that was read whole, and the `next` of it; raises `bad_cursor`.

    A page goes on behind the item whose `name` is the cursor, which names one item of the list alone.
    """
    start = 0
    if paging.cursor is not None:
        start = next((at for at, each in enumerate(items, 1) if name(each) == paging.cursor), 0)
        if not start:
            raise UserError(
                "bad_cursor", "This page belongs to another list, or its last item is gone. Begin at the first page."
            )
    page = items[start : start + paging.limit]
    return page, name(page[-1]) if start + paging.limit < len(items) else None


@dataclass(frozen=True, slots=True)
class HiddenField:
    """A field of a JSON response that is not stored with it, and how to read it again."""

    name: str
    read: Callable[[Mapping[str, Any]], str]
    """The value for a stored response; raises what is wrong when it is gone."""

    def remove(self, body: str) -> str:
        """The response without the value."""
        return self._with(body, lambda _: "")

    def restore(self, body: str) -> str:
        """The response with the value, as it was sent first."""
        return self._with(body, self.read)

    def _with(self, body: str, value: Callable[[Mapping[str, Any]], str]) -> str:
        fields = json.loads(body)
        return bytes(JSONResponse({**fields, self.name: value(fields)}).body).decode() if self.name in fields else body


@dataclass(frozen=True, slots=True)
class Idempotency:
    """Runs an action once for each `Idempotency-Key`: the same request again gets the stored response."""

    request: Request
    context: AppContext
    owner: str
    key: str | None
    fingerprint: str

    def run(self, act: Callable[[str], Response], hidden: HiddenField | None = None) -> Response:
        """Run `act`, or return the stored response; raises `idempotency_mismatch`, `idempotency_in_flight`.

        `act` is given the id for a job that it places, or by `id_of_kind` for anything else: the same where it runs again
        because the first process died, so that the ledger finds what was made before. A `hidden` field is not stored.
        """
        now = self.context.now()
        if self.key is None:
            return act(new_id("job", now))
        store = self.context.ledger.idempotency
        before = store.begin(self.owner, self.key, self.fingerprint, now)
        if isinstance(before, StoredResponse):
            body = before.body if hidden is None else hidden.restore(before.body)
            return Response(body, before.status, {**before.headers, "Idempotent-Replayed": "true"})
        try:
            response = act(before.id)
        except PortraitError as error:
            response = problems.error_response(error, self.request)
        except BaseException:
            store.release(self.owner, self.key)
            raise
        if response.status_code in {429, 500, 503}:
            store.release(self.owner, self.key)  # it may be tried again
        else:
            headers = {name: value for name, value in response.headers.items() if name != "content-length"}
            body = bytes(response.body).decode()
            kept = body if hidden is None else hidden.remove(body)
            store.save_response(self.owner, self.key, StoredResponse(response.status_code, headers, kept))
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


async def _authenticate(request: Request, context: AppContext) -> auth.Caller:
    """The caller, looked up once a request."""
    found: auth.Caller | None = getattr(request.state, "caller", None)
    if found is None:
        headers = request.headers
        idle = "portrait-idle" in headers  # a page that is open and nobody looks at keeps no session alive
        sent = headers.get("authorization", "")
        found = await run_sync(lambda: auth.authenticate(context.ledger, sent, context.now(), idle))
        request.state.caller, request.state.key = found, found.key
    return found


def _requires(dependant: Dependant, call: Callable[..., Any]) -> bool:
    return dependant.call is call or any(_requires(each, call) for each in dependant.dependencies)


def created(body: BaseModel, location: str, status: int = 201, retry_after: int | None = None) -> Response:
    """A response with a new thing, its `Location`, and `Retry-After` where it is long work."""
    headers = {"Location": location} | ({} if retry_after is None else {"Retry-After": str(retry_after)})
    return JSONResponse(body.model_dump(mode="json"), status, headers)
