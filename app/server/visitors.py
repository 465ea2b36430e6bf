"""Who is signed in: asks the task API about the secrets of sessions, and remembers its answers for some seconds."""

import asyncio
import hashlib
import math
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace

import anyio.to_thread

from app.server.attempts import Attempts
from portrait.errors import PortraitError, UserError
from tasks import schemas

CHECK_INTERVAL = 20.0
"""Seconds for which an answer of the API holds, and between two looks at an open page: a session ends here twice that later."""
UNREACHABLE_GRACE = 600.0
"""Seconds for which a session that was valid is taken for valid while the API does not answer, so that pages can say so."""
_MOST_REMEMBERED = 4096
_MOST_QUESTIONS = 8
"""Questions to the API at once."""
_SECRET = re.compile(r"ps_[A-Za-z0-9_-]{20,190}")
_REFUSALS = {401, 403}


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody who is signed in."""

    owner: str
    role: str
    id: str
    """A hash of the session's secret, which tells visitors apart and opens nothing."""


@dataclass(frozen=True, slots=True)
class _Answer:
    visitor: Visitor | None
    confirmed: float
    """When the API said so."""
    asked: float
    """When it was asked last, whether or not it answered."""


class Visitors:
    """Answers who has which secret; for one event loop.

    `fetch` gives the owner of a secret, as `Client.me` does, and is called in a thread. Its second argument says whether nobody
    did anything: then the question is no use of the session, which ends when it is idle.
    """

    def __init__(
        self,
        fetch: Callable[[str, bool], schemas.Me],
        attempts: Attempts,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch, self._attempts, self._clock = fetch, attempts, clock
        self._answers: OrderedDict[str, _Answer] = OrderedDict()
        self._questions: dict[str, asyncio.Task[Visitor | None]] = {}
        self._limiter = anyio.CapacityLimiter(_MOST_QUESTIONS)
        self._changed = asyncio.Event()

    async def find(self, secret: str, address: str = "", idle: bool = False) -> Visitor | None:
        """The visitor with this secret, None for one that opens nothing; `address` is the browser's.

        Raises what the API's client raises when the API does not answer and has not confirmed the session lately, and
        `UserError` (`too_many_requests`) for one more unknown secret of an address that had too many wrong ones.
        """
        if not _SECRET.fullmatch(secret):
            return None
        id = _id(secret)
        answer = self._answers.get(id)
        if answer is not None and self._clock() - answer.asked < CHECK_INTERVAL:
            return answer.visitor
        known = answer is not None and answer.visitor is not None
        if not known and not self._attempts.are_allowed(address):
            raise UserError("too_many_requests", "That was too often. Wait a minute.", {"status": 429})
        question = self._questions.get(id)
        if question is None:
            self._attempts.begin(address)
            question = self._questions[id] = asyncio.create_task(self._ask(id, secret, address, idle))
        return await asyncio.shield(question)

    async def wait(self) -> None:
        """Wait until an open page is to be looked at again: for `CHECK_INTERVAL`, or until a session has ended here."""
        changed = self._changed
        try:
            await asyncio.wait_for(changed.wait(), CHECK_INTERVAL)
        except TimeoutError:
            return

    def doubt(self, secret: str) -> None:
        """Ask the API anew about one session, because a page says that it has ended."""
        id = _id(secret)
        if id in self._answers:
            self._answers[id] = replace(self._answers[id], asked=-math.inf)

    def forget(self, owner: str) -> None:
        """Ask the API anew about every session of an owner, and have open pages looked at now."""
        for id, answer in self._answers.items():
            if answer.visitor is not None and answer.visitor.owner == owner:
                self._answers[id] = replace(answer, asked=-math.inf)
        self._changed.set()
        self._changed = asyncio.Event()

    async def _ask(self, id: str, secret: str, address: str, idle: bool) -> Visitor | None:
        now = self._clock()
        try:
            user = await anyio.to_thread.run_sync(self._fetch, secret, idle, limiter=self._limiter)
            self._remember(id, _Answer(Visitor(user.owner, user.role, id), now, now))
        except UserError as error:
            if error.details.get("status") not in _REFUSALS:
                return self._unanswered(id, now, error)
            self._attempts.count(address)
            self._remember(id, _Answer(None, now, now))
        except PortraitError as error:
            return self._unanswered(id, now, error)
        finally:
            self._attempts.end(address)
            del self._questions[id]
        return self._answers[id].visitor

    def _unanswered(self, id: str, now: float, error: PortraitError) -> Visitor | None:
        """What was known, when the API does not answer; raises the error when that is too long ago or nothing."""
        answer = self._answers.get(id)
        if answer is None or answer.visitor is None or now - answer.confirmed > UNREACHABLE_GRACE:
            raise error
        self._remember(id, replace(answer, asked=now))
        return answer.visitor

    def _remember(self, id: str, answer: _Answer) -> None:
        self._answers[id] = answer
        self._answers.move_to_end(id)
        while len(self._answers) > _MOST_REMEMBERED:
            self._answers.popitem(last=False)


def _id(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
