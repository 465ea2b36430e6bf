"""What every request finds on the desk: ledger, files, bell; who is asking; and answering a repeated request once."""

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
from tasks.api.thumbnails import Reduced
from tasks.files import Files
from tasks.jobs import Job
from tasks.ledger.jobs import Allowance
from tasks.ledger.keys import Answer
from tasks.ledger.ledger import Store
from tasks.queue import broker
from tasks.settings import Installation, Tasks

MOST_OF_A_PAGE = 200


@dataclass(frozen=True, slots=True)
class Office:
    """One API process."""

    installation: Installation
    store: Store
    files: Files
    bell: Celery
    now: Callable[[], float] = time.time
    reduced: Reduced = field(default_factory=Reduced)

    @property
    def tasks(self) -> Tasks:
        """Settings of jobs."""
        return self.installation.tasks

    @property
    def allowance(self) -> Allowance:
        """What one owner may ask for."""
        return Allowance(self.tasks.quotas.jobs, self.tasks.quotas.portraits_a_day)

    def ask(self, job: Job, people: Mapping[str, str] | None = None) -> Job:
        """Put a job into the ledger within the owner's allowance, and ring."""
        asked = self.store.jobs.add(job, sorted(set((people or {}).values())), self.allowance)
        broker.ring(self.bell, job.queue)
        return asked


def office(request: Request) -> Office:
    """The process's office."""
    return request.app.state.office


TheOffice: TypeAlias = Annotated[Office, Depends(office)]
_bearer = HTTPBearer(auto_error=False, description="A key: `portrait keys add`, or a sign-in code changed for one.")


def caller(request: Request, office: TheOffice, _: Annotated[object, Depends(_bearer)]) -> auth.Caller:
    """Who is asking; raises `unauthenticated`."""
    return _recognised(request, office)


TheCaller: TypeAlias = Annotated[auth.Caller, Depends(caller)]


class Guarded(APIRoute):
    """A route that knows who is asking before it reads what they sent: nothing is taken in from a stranger."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The route's own, behind the question for a key where it asks for one."""
        answer = super().get_route_handler()
        if not _asks_for_a_key(self.dependant):
            return answer

        async def guarded(request: Request) -> Response:
            await run_sync(_recognised, request, office(request))
            return await answer(request)

        return guarded


def operator(caller: TheCaller) -> auth.Caller:
    """Who is asking, if an operator; raises `forbidden`."""
    if not caller.may("operator"):
        raise UserError("forbidden", "Only operators may do this.")
    return caller


AnOperator: TypeAlias = Annotated[auth.Caller, Depends(operator)]
AnId: TypeAlias = Annotated[str, Path(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
Cursor: TypeAlias = Annotated[
    str | None, Query(pattern=r"^[A-Za-z0-9_.-]{1,64}$", description="`next` of the page before.")
]
Limit: TypeAlias = Annotated[int, Query(ge=1, le=MOST_OF_A_PAGE)]


@dataclass(frozen=True, slots=True)
class Once:
    """Acts once for each Idempotency-Key: the same request again gets the first answer."""

    request: Request
    office: Office
    owner: str
    key: str | None
    fingerprint: str

    def __call__(self, act: Callable[[], Response]) -> Response:
        """Act, or repeat what was answered; raises `idempotency_mismatch`, `idempotency_in_flight`."""
        if self.key is None:
            return act()
        access = self.office.store.access
        before = access.begin(self.owner, self.key, self.fingerprint, self.office.now())
        if before is not None:
            headers = {**before.headers, "Idempotent-Replayed": "true"}
            return Response(before.body, before.status, headers)
        try:
            response = act()
        except PortraitError as error:
            response = problems.refusal(error, self.request)
        except BaseException:
            access.forget_key(self.owner, self.key)
            raise
        if response.status_code in {429, 500, 503}:
            access.forget_key(self.owner, self.key)  # it may be tried again
        else:
            kept = {name: value for name, value in response.headers.items() if name != "content-length"}
            access.answered(self.owner, self.key, Answer(response.status_code, kept, bytes(response.body).decode()))
        return response


async def once(
    request: Request,
    office: TheOffice,
    caller: TheCaller,
    idempotency_key: Annotated[
        str | None,
        Header(
            pattern=r"^[\x21-\x7e]{1,200}$",
            description="The same key with the same body gets the first answer again, and nothing is done twice.",
        ),
    ] = None,
) -> Once:
    """The one who acts once."""
    seen = [request.method, request.url.path, (await request.body()).decode("latin-1")]
    fingerprint = hashlib.sha256(json.dumps(seen).encode()).hexdigest()
    return Once(request, office, caller.owner, idempotency_key, fingerprint)


ActOnce: TypeAlias = Annotated[Once, Depends(once)]


def _recognised(request: Request, office: Office) -> auth.Caller:
    """Who is asking, looked up once a request."""
    found: auth.Caller | None = getattr(request.state, "caller", None)
    if found is None:
        found = auth.caller_of(office.store, request.headers.get("authorization", ""), office.now())
        request.state.caller, request.state.key = found, found.key
    return found


def _asks_for_a_key(dependant: Dependant) -> bool:
    return dependant.call is caller or any(_asks_for_a_key(each) for each in dependant.dependencies)


def made(said: BaseModel, location: str, status: int = 201, retry_after: int | None = None) -> Response:
    """An answer that says where the new thing is, and when to look at it."""
    headers = {"Location": location} | ({} if retry_after is None else {"Retry-After": str(retry_after)})
    return JSONResponse(said.model_dump(mode="json"), status, headers)
