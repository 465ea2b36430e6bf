"""The clients that block and that await: the same calls of the whole API, tried again where that does no harm."""

import asyncio
import inspect
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest

from portrait.errors import Cancelled, EngineError, OperatorError, PortraitError, UserError
from tasks import schemas
from tasks.api.routes import jobs
from tasks.client import steps
from tasks.client.calls import _Described
from tasks.client.client import AsyncClient, Calls, Client
from tasks.client.steps import Pause
from tests.tasks import servers
from tests.tasks.api.harness import ApiHarness, ApiServer, api_server, environment, new_home, open_api, picture
from tests.tasks.api.routes import routes

pytestmark = pytest.mark.services
PORTRAIT = schemas.GenerationRequest.model_validate({"people": {"1": "x"}, "style": "x"})
BODIES: dict[str, Any] = {
    "Sequence[tasks.schemas.jobs.GenerationRequest]": [PORTRAIT],
    "Sequence[str]": ["x"],
    "KeyRequest": schemas.KeyRequest.model_validate({}),
    "TrainingRequest": schemas.TrainingRequest.model_validate({"person": "x"}),
    "GenerationRequest": PORTRAIT,
    "EditRequest": schemas.EditRequest.model_validate({"kind": "variations"}),
    "WebhookRequest": schemas.WebhookRequest.model_validate({"url": "https://example.org"}),
    "ModelRequest": schemas.ModelRequest.model_validate(
        {"name": "x", "kind": "lora", "source": "hub:a/b", "licence": "x", "commercial": "yes"}
    ),
    "Iterable[tuple[str": [("a", b"x")],
    "BinaryIO | bytes": b"x",
    "Mapping[str, str]": {},
    "dict[str, typing.Any]": {},
    "bool": True,
    "int": 1,
    "float": 1.0,
}
"""What is given for a parameter, by what its annotation says."""


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits as long as in earnest."""
    monkeypatch.setattr(steps, "PAUSE", 0.01)
    monkeypatch.setattr(jobs, "POLL_SECONDS", 0.02)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ApiServer]:
    with open_api(environment(new_home(tmp_path / "home"))) as api, api_server(api) as server:
        yield server


def described() -> dict[str, Any]:
    """The calls of the clients, by name."""
    found = {name: inspect.getattr_static(Calls, name) for name in dir(Calls)}
    return {name: each for name, each in found.items() if isinstance(each, _Described)}


def given(parameter: inspect.Parameter) -> Any:
    """Something for a parameter that has no default."""
    if parameter.name == "redirect_uri":
        return "https://example.org"
    name = str(parameter.annotation)
    return next((value for part, value in BODIES.items() if part in name), "x")


def asked(call: Callable[[Client], object]) -> list[tuple[str, str]]:
    """Method and path of the requests of a call, which nothing answers well."""
    seen: list[tuple[str, str]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append((request.method, request.url.path.removeprefix("/v1")))
        return httpx.Response(200, json={"items": [], "jobs": 1})

    with Client("http://there", transport=httpx.MockTransport(answer)) as client, suppress(PortraitError):
        result = call(client)
        next(result, None) if isinstance(result, Iterator) else None
    return seen


def test_every_operation_of_the_api_has_a_method(server: ApiServer) -> None:
    reached: set[tuple[str, str]] = set()
    known = {(each.method, each.path) for each in routes(server.api.app)}
    for name in described():
        method = getattr(Client, name)
        needed = [
            each
            for each in inspect.signature(method.described).parameters.values()
            if each.default is each.empty and each.name != "self" and each.kind is not each.VAR_KEYWORD
        ]
        arguments = [given(each) for each in needed if each.kind is not each.VAR_POSITIONAL] or ["x"] * len(needed)
        optional: list[dict[str, Any]] = [{}, {"any_owner": True}, {"all_owners": True}]
        for flags in [{"code": "x"}] if name == "open_session" else optional:
            if flags.keys() <= set(inspect.signature(method.described).parameters):
                for verb, path in asked(lambda client: getattr(client, name)(*arguments, **flags)):  # noqa: B023
                    reached |= {(verb, each) for each in fitting(path, verb, known)}
    assert known - reached == set()


def fitting(path: str, method: str, known: set[tuple[str, str]]) -> list[str]:
    """The template that a path belongs to: the one with the fewest placeholders."""
    fits = [each for verb, each in known if verb == method and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", each), path)]
    return sorted(fits, key=lambda each: each.count("{"))[:1]


def test_both_clients_have_the_same_methods_with_the_same_parameters() -> None:
    assert len(described()) > 100
    blocking, awaiting = Client("http://there"), AsyncClient("http://there")
    for name, each in described().items():
        signatures = {inspect.signature(getattr(client, name)) for client in (blocking, awaiting)}
        assert signatures == {inspect.signature(getattr(blocking, name))}
        assert each.__doc__, name
    blocking.close()


def test_a_story_that_is_awaited(server: ApiServer) -> None:
    things = server.api.one_of_each()

    async def story() -> None:
        async with AsyncClient(server.url, server.api.key()) as client:
            names = [each.name for each in await client.people()]
            assert names == ["Ann"]
            both = await asyncio.gather(client.job(things.drawn), client.job(things.waiting))
            assert [each.state for each in both] == ["succeeded", "queued"]
            taken = await client.download_portrait(things.portrait, format="png")
            assert taken.media_type == "image/png"
            assert b"".join([each async for each in taken.chunks])[:4] == b"\x89PNG"
            archive = b"".join([each async for each in client.zip([things.portrait])])
            assert zipfile.ZipFile(BytesIO(archive)).testzip() is None
            added = await client.add_selfies(things.person, [("b.png", picture(2))])
            assert [each.name for each in added.added] == ["b.png"]
            with pytest.raises(UserError) as caught:
                await client.person("person_none")
            assert caught.value.code == "not_found"
            with pytest.raises(UserError):
                await client.download_portrait("portrait_none")
            states: list[str] = []
            drawn = asyncio.create_task(client.wait(things.waiting, lambda event: states.append(event.state)))
            await asyncio.to_thread(server.api.complete_next_job, "draw:studio")
            assert (await drawn).state == "succeeded"
            assert states[-1] == "succeeded"
            assert [each.state async for each in client.follow(things.waiting)][-1] == "succeeded"
            assert await client.preview(things.waiting) is None

    asyncio.run(story())


def test_nobody_there_for_who_awaits() -> None:
    async def story() -> None:
        async with AsyncClient(f"http://127.0.0.1:{servers.free_port()}", "k", timeout=1) as client:
            for call in (client.me(), client.wait("job"), client.sign_in("c"), client.download_portrait("p")):
                with pytest.raises(OperatorError) as caught:
                    await call
                assert caught.value.code == "api_unreachable"

    asyncio.run(story())


def test_a_stream_that_nobody_reads_on_is_closed(server: ApiServer) -> None:
    things = server.api.one_of_each()
    with Client(server.url, server.api.key()) as client:
        for event in client.follow(things.waiting):
            assert event.state == "queued"
            break
        assert client.job(things.waiting).state == "queued"
        pool: Any = client._http._http._transport
        connections = pool._pool.connections
    assert all(each.is_idle() or each.is_closed() for each in connections)


@pytest.mark.parametrize(
    ("again", "error", "code"), [(True, EngineError, "out_of_memory"), (False, UserError, "no_face")]
)
def test_a_job_that_failed_is_raised_where_that_is_wished(
    server: ApiServer, again: bool, error: type[PortraitError], code: str
) -> None:
    waiting = server.api.one_of_each().waiting
    job = claimed(server.api)
    fault = error(code, "It cannot be drawn.")
    server.api.context.ledger.queue.fail(job, 1.0, fault)
    with Client(server.url, server.api.key()) as client:
        assert client.wait(waiting).state == "failed"
        with pytest.raises(error) as caught:
            client.wait(waiting, check=True)
    assert (caught.value.code, caught.value.message) == (code, "It cannot be drawn.")
    assert caught.value.details["job"] == waiting


def test_a_job_that_was_cancelled_is_raised_where_that_is_wished(server: ApiServer) -> None:
    waiting = server.api.one_of_each().waiting
    with Client(server.url, server.api.key()) as client:
        client.cancel(waiting)
        assert client.wait(waiting).state == "cancelled"
        with pytest.raises(Cancelled):
            client.wait(waiting, check=True)


def claimed(api: ApiHarness) -> Any:
    job = api.context.ledger.queue.claim("w", "cpu", {"draw:studio"}, 0.0, 60)
    assert job is not None
    return job


def test_jobs_beyond_a_page_are_listed(server: ApiServer) -> None:
    things = server.api.one_of_each()
    with Client(server.url, server.api.key()) as client:
        for seed in range(5):
            client.generate(
                PORTRAIT.model_copy(update={"people": {"1": things.person}, "style": "studio-warm", "seed": seed})
            )
        everything = client.jobs()
        assert len(everything) == 9
        assert client.jobs(limit=2) == everything[:2]
    with Client(server.url, server.api.key("olga", "operator")) as olga:
        assert [each.id for each in olga.all_jobs(limit=None)] == [each.id for each in everything]


class Answers(httpx.BaseTransport):
    """Gives these answers one after the other, and notes when."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers, self.count = list(answers), 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.count += 1
        answer = self.answers[min(self.count, len(self.answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)


def refusal(status: int, after: str = "") -> httpx.Response:
    problem = {"title": "x", "status": status, "detail": "y", "code": "busy"}
    return httpx.Response(status, json=problem, headers={"Retry-After": after} if after else {})


HEALTHY = httpx.Response(200, json={"status": "ok"})


def test_an_api_that_asks_for_time_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("tasks.client.transport.time.sleep", slept.append)
    with Client("http://there", transport=Answers(refusal(503, "7"), refusal(429, "2"), HEALTHY)) as client:
        assert client.health().status == "ok"
    assert [int(each) for each in slept] == [7, 2]


def test_who_has_no_time_is_told_how_long_it_takes() -> None:
    answers = Answers(refusal(429, "3600"))
    with Client("http://there", transport=answers) as client, pytest.raises(UserError) as caught:
        client.health()
    assert (caught.value.details["retry_after"], answers.count) == ("3600", 1)
    impatient = Answers(refusal(503, "5"))
    with Client("http://there", transport=impatient, patience=1) as client, pytest.raises(OperatorError):
        client.health()
    assert impatient.count == 1


def test_those_who_wait_do_not_come_back_together() -> None:
    lengths = {Pause(1.0, 3.0).length() for _ in range(20)}
    assert len(lengths) > 10
    assert all(3.0 <= each <= 3.5 for each in lengths)


def test_only_what_is_safe_is_sent_again() -> None:
    order = PORTRAIT
    lost, unsent = httpx.ReadError("reset"), httpx.ConnectError("refused")
    job = refusal(409)
    for answers, call, count in (
        ([lost, HEALTHY], lambda client: client.health(), 2),
        ([lost, job], lambda client: client.generate(order), 2),
        ([lost, HEALTHY], lambda client: client.sign_in("code"), 1),
        ([refusal(503), HEALTHY], lambda client: client.retry("job"), 1),
        ([unsent, unsent, job], lambda client: client.sign_in("code"), 3),
        ([lost, job], lambda client: client.add_selfies("p", [("a", b"x")]), 1),
    ):
        transport = Answers(*answers)
        with Client("http://there", transport=transport) as client, suppress(PortraitError):
            call(client)
        assert transport.count == count


def test_an_installation_that_is_not_ready_says_what_is_away() -> None:
    away = httpx.Response(503, json={"status": "unready", "checks": {"database": "The database does not answer."}})
    with Client("http://there", transport=Answers(away)) as client:
        assert client.ready().checks == {"database": "The database does not answer."}
