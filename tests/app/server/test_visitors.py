"""Who is signed in, as the app remembers it: asked of the API seldom, and never much later than it changed."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from app.server import visitors
from app.server.attempts import MOST, Attempts
from app.server.visitors import CHECK_INTERVAL, UNREACHABLE_GRACE, Visitor, Visitors
from portrait.errors import OperatorError, PortraitError, UserError
from tasks import schemas

SECRET = "ps_" + "a" * 43


class Api:
    """Whose secrets there are, at a time that the test sets."""

    def __init__(self) -> None:
        self.owners = {SECRET: "ann"}
        self.error: PortraitError | None = None
        self.now, self.asked, self.idle = 1000.0, 0, False
        self.visitors = Visitors(self.fetch, Attempts(), lambda: self.now)

    def fetch(self, secret: str, idle: bool) -> schemas.Me:
        self.asked += 1
        self.idle = idle
        if self.error is not None:
            raise self.error
        if secret not in self.owners:
            raise UserError("unauthenticated", "No.", {"status": 401})
        return schemas.Me.model_construct(owner=self.owners[secret], role="person")  # pyrefly: ignore[missing-argument] -- as it says

    def find(self, secret: str = SECRET, address: str = "10.0.0.1") -> Visitor | None:
        return run(self.visitors.find(secret, address))


@pytest.fixture
def api() -> Api:
    return Api()


def run(task: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(task)


def test_the_api_is_asked_once_in_a_while(api: Api) -> None:
    first = api.find()
    assert first is not None
    assert (first.owner, api.find(), api.asked) == ("ann", first, 1)
    assert SECRET not in repr(first)
    api.now += CHECK_INTERVAL
    api.find()
    assert api.asked == 2


def test_requests_at_once_ask_once(api: Api) -> None:
    async def ask() -> list[Visitor | None]:
        return list(await asyncio.gather(*(api.visitors.find(SECRET) for _ in range(20))))

    assert len(set(run(ask()))) == 1
    assert api.asked == 1


def test_an_ended_session_is_let_in_for_less_than_a_minute(api: Api) -> None:
    assert api.find() is not None
    api.owners.clear()
    api.now += CHECK_INTERVAL
    assert api.find() is None
    assert 2 * CHECK_INTERVAL < 60


def test_what_ends_here_is_asked_anew_at_once(api: Api) -> None:
    api.find()
    api.owners.clear()
    api.visitors.forget("ben")
    assert api.find() is not None
    api.visitors.forget("ann")
    assert api.find() is None


def test_only_secrets_of_sessions_are_asked_about(api: Api) -> None:
    for secret in ("", "pk_" + "a" * 43, "ps_", "ps_" + "a" * 500, "ps_" + "é" * 43):
        assert api.find(secret) is None
    assert api.asked == 0


def test_an_api_that_does_not_answer_ends_nothing_for_a_while(api: Api) -> None:
    found = api.find()
    for error in (OperatorError("api_unreachable", "No."), UserError("too_many_requests", "No.", {"status": 429})):
        api.error = error
        api.now += CHECK_INTERVAL
        assert api.find() == found
    api.now += UNREACHABLE_GRACE
    with pytest.raises(UserError):
        api.find()


def test_a_stranger_is_not_let_in_while_the_api_does_not_answer(api: Api) -> None:
    api.error = OperatorError("api_unreachable", "No.")
    with pytest.raises(OperatorError):
        api.find()


def test_guessing_reaches_the_api_seldom_and_keeps_nobody_out(api: Api) -> None:
    api.find()
    api.now += CHECK_INTERVAL
    asked = api.asked
    for number in range(MOST.amount):
        assert api.find(f"ps_{number:040}") is None
    with pytest.raises(UserError, match="too often"):
        api.find(f"ps_{MOST.amount:040}")
    assert api.asked - asked == MOST.amount
    assert api.find() is not None, "whoever is known at that address is let in"
    assert api.find(f"ps_{0:041}", "10.0.0.2") is None, "other addresses are asked for"


def test_an_address_has_few_questions_at_once(api: Api) -> None:
    async def flood() -> list[object]:
        secrets = (f"ps_{number:040}" for number in range(200))
        return list(await asyncio.gather(*(api.visitors.find(each) for each in secrets), return_exceptions=True))

    answers = run(flood())
    assert api.asked <= MOST.amount
    assert {type(each) for each in answers} == {type(None), UserError}


def test_answers_are_bounded(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visitors, "_MOST_REMEMBERED", 50)
    secrets = [f"ps_{number:040}" for number in range(200)]
    api.owners = dict.fromkeys(secrets, "ann")

    async def ask() -> None:
        for secret in secrets:
            await api.visitors.find(secret)

    run(ask())
    assert len(api.visitors._answers) == 50


def test_an_idle_question_says_so(api: Api) -> None:
    run(api.visitors.find(SECRET, idle=True))
    assert api.idle


def test_waiting_ends_when_a_session_does(api: Api) -> None:
    async def wait() -> None:
        waiting = asyncio.create_task(api.visitors.wait())
        await asyncio.sleep(0)
        api.visitors.forget("ann")
        await asyncio.wait_for(waiting, 5)

    run(wait())
