"""The client against a real server: every method, and retries when responses are lost."""

import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import httpx
import pytest

from portrait.errors import EngineError, OperatorError, UserError
from tasks import auth, schemas
from tasks.api.routes import jobs
from tasks.client import steps
from tasks.client.client import Client
from tasks.jobs import Fault, Job, Limits
from tasks.ledger.privacy.erasures import Request
from tests.tasks import servers
from tests.tasks.api.harness import ApiHarness, ApiServer, api_server, environment, new_home, open_api, picture
from tests.tasks.stand import wait_until

pytestmark = pytest.mark.services


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits as long as in earnest."""
    monkeypatch.setattr(steps, "PAUSE", 0.02)
    monkeypatch.setattr(jobs, "POLL_SECONDS", 0.02)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ApiServer]:
    """An API on a port of this machine."""
    with open_api(environment(new_home(tmp_path / "home"))) as api, api_server(api) as server:
        yield server


class Dropping(httpx.BaseTransport):
    """Sends every request, and loses the answer to the first try of each."""

    def __init__(self) -> None:
        self.lost: list[str] = []
        self._real = httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = self._real.handle_request(request)
        what = f"{request.method} {request.url.path}"
        if what in self.lost:
            return answer
        self.lost.append(what)
        answer.read()
        answer.close()
        raise httpx.ReadError("the connection was reset", request=request)


def order(person: str) -> schemas.GenerationRequest:
    return schemas.GenerationRequest.model_validate({"people": {"1": person}, "style": "studio-warm", "count": 2})


def working(api: ApiHarness, stop: threading.Event) -> threading.Thread:
    """A thread that completes every job until `stop` is set."""

    def work() -> None:
        while not stop.is_set():
            if api.context.ledger.queue.count_waiting():
                api.complete_next_job(count=2)
            stop.wait(0.02)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_from_a_sign_in_link_to_a_portrait(server: ApiServer) -> None:
    api, stop = server.api, threading.Event()
    code = auth.create_code(api.context.ledger, "ann", "person", time.time())
    with Client(server.url) as stranger:
        key = stranger.sign_in(code)
    assert (key.owner, key.role) == ("ann", "person")
    worker = working(api, stop)
    try:
        with Client(server.url, key.secret) as client:
            person = client.add_person("Ann", "2026-11", "Ann")
            added = client.add_selfies(person.id, [("a.png", picture(1)), ("b.png", BytesIO(picture(2))), ("c", b"x")])
            assert ([each.name for each in added.added], [each.where for each in added.refused]) == (
                ["a.png", "b.png"],
                ["c"],
            )
            assert (
                client.wait(client.train(schemas.TrainingRequest.model_validate({"person": person.id})).id).state
                == "succeeded"
            )
            assert [each.verdict for each in client.selfies(person.id)] == ["use", "use"]
            heard: list[schemas.JobEvent] = []
            done = client.wait(client.generate(order(person.id)).id, heard.append)
            states = dict.fromkeys(event.state for event in heard)  # each may be told more than once
            assert [state for state in states if state != "queued"] == ["running", "succeeded"]
            drawn = client.portraits(job=done.id)
            assert [each.number for each in drawn] == [1, 2]
            assert client.portrait_file(drawn[0].id) == picture(101, format="JPEG")
            assert client.set_favourite(drawn[0].id, True).favourite
            archive = zipfile.ZipFile(BytesIO(b"".join(client.zip(job=done.id))))
            assert len(archive.namelist()) == 2
            rest(client, person.id, drawn)
    finally:
        stop.set()
        worker.join()


def portraits(client: Client, person: str, drawn: list[schemas.Portrait]) -> None:
    """What a person does with portraits."""
    first, second = (each.id for each in drawn)
    assert client.name_portrait(first, " At sea ").name == "At sea"
    assert client.set_favourite(first, True).name == "At sea"
    page = client.portrait_page(limit=1, person=person)
    assert ([each.id for each in page.items], page.total, page.items[0].recipe) == ([first], 2, {})
    assert page.items[0].people == {"1": person}
    rest = client.portrait_page(cursor=page.next or "", limit=1, person=person)
    assert ([each.id for each in rest.items], rest.next) == ([second], None)
    assert client.neighbours(second) == schemas.Neighbours(previous=first, next="", place=2, total=2)
    assert [each.id for each in client.portraits(sort="likeness", favourite=True)] == [first]
    taken = client.download_portrait(first, format="png", side=64, language="zh")
    assert (taken.media_type, taken.disposition) == ("image/png", 'attachment; filename="At-sea.png"')
    assert b"".join(taken.chunks)[:4] == b"\x89PNG"
    with pytest.raises(UserError) as caught:
        client.download_portrait("portrait_none")
    assert caught.value.code == "not_found"
    archive = zipfile.ZipFile(BytesIO(b"".join(client.download_zip([first], format="webp").chunks)))
    assert archive.namelist() == ["At-sea.webp"]
    client.remove_portrait(first)
    assert [each.id for each in client.portraits()] == [second]
    assert client.restore_portrait(first).id == first


def rest(client: Client, person: str, drawn: list[schemas.Portrait]) -> None:
    """What else a person does."""
    assert "us-passport" in [each.id for each in client.idphoto_presets().presets]
    assert client.sheet(drawn[0].id, gap=3, format="jpg", width=40)[:2] == b"\xff\xd8"
    portraits(client, person, drawn)
    photo = client.selfies(person)[0].id
    assert client.choose_face(photo, 0.25, 0.5).face == schemas.Point(x=0.25, y=0.5)
    client.remove_selfie(photo)
    assert client.person(person).photos == 1
    assert client.restore_selfie(photo).id == photo
    assert client.set_override(photo, "include").wish == "include"
    assert client.selfie_file(photo) == picture(1)
    assert client.selfie_crop(photo, side=64)[:2] == b"\xff\xd8"
    assert client.rename_person(person, "Anna").name == "Anna"
    assert [each.name for each in client.people()] == ["Anna"]
    assert client.person(person).photos == 2
    assert len(client.consents(person)) == 1
    client.withdraw_consent(person)
    assert client.consent_again(person, "2026-12", "Ann").text_version == "2026-12"
    template = client.add_template("beach.png", picture(5))
    assert client.wait(template.job).state == "succeeded"
    assert client.template(template.id).faces
    assert client.template_file(template.id) == picture(5)
    assert len(client.templates()) == 1
    client.remove_template(template.id)
    assert client.templates() == []
    assert client.restore_template(template.id).id == template.id
    client.delete_template(template.id)
    hook = client.add_webhook(schemas.WebhookRequest(url="https://example.org/hook", events=[]))
    assert [each.id for each in client.webhooks()] == [hook.id]
    client.delete_webhook(hook.id)
    assert {each.id for each in client.styles()} >= {"studio-warm"}
    assert client.style_preview("studio-warm", 64)[:2] == b"\xff\xd8"
    assert client.me().people.used == 1
    assert client.abilities() == []
    assert zipfile.ZipFile(BytesIO(b"".join(client.export()))).testzip() is None
    assert client.portrait(drawn[1].id).recipe == {"seed": 1}
    client.delete_portrait(drawn[1].id)
    key = client.add_key(schemas.KeyRequest(name="phone", owner=None, expires=None))
    client.revoke_key(key.id)
    revoked = {each.id: each.revoked for each in client.keys()}  # noqa: SIM118 -- not a dict
    assert revoked[key.id] is not None
    client.delete_selfie(photo)
    assert client.erase_person(person).people == [person]
    assert client.erase_me().people == []


def test_what_operators_ask(server: ApiServer) -> None:
    things = server.api.one_of_each()
    with Client(server.url, server.api.key("olga", "operator")) as client:
        assert {job.id for job in client.jobs(all_owners=True)} >= {things.waiting, things.drawn}
        assert [job.id for job in client.jobs(["queued"], "generate", all_owners=True)] == [things.waiting]
        assert client.jobs() == []
        assert client.cancel(things.waiting, any_owner=True).state == "cancelled"
        assert client.retry(things.waiting, any_owner=True).state == "queued"
        assert client.workers() == []
        assert client.queues()[0].queue == "cpu"
        assert {model.name for model in client.models()}
        assert client.statistics().styles[0].style == "studio-warm"
        assert client.prune(0) >= 1


def test_a_lost_answer_doubles_nothing(server: ApiServer) -> None:
    api, dropping = server.api, Dropping()
    things = api.one_of_each()
    with Client(server.url, api.key(), transport=dropping) as client:
        person = client.add_person("Bob", "2026-11", "Bob")
        client.consent_again(person.id, "2026-12", "Bob")
        hook = client.add_webhook(schemas.WebhookRequest(url="https://example.org/two", events=[]))
        job = client.generate(order(things.person))
        assert client.cancel(job.id).state == "cancelled"
        client.rename_person(person.id, "Bert")
        client.delete_webhook(hook.id)
        client.delete_portrait(things.portrait)
        client.delete_selfie(things.selfie)
        assert [each.name for each in client.people()] == ["Bert", "Ann"]
        assert len(client.consents(person.id)) == 2
        assert len(client.jobs()) == 5
        assert [each.id for each in client.webhooks()] == [things.webhook]
    assert len(dropping.lost) == 13


def test_what_cannot_be_repeated_is_not(server: ApiServer) -> None:
    api = server.api
    person = api.prepared_person()

    def lost(call: Callable[[Client], object]) -> None:
        dropping = Dropping()
        with Client(server.url, api.key(), transport=dropping) as client:
            with pytest.raises(OperatorError) as caught:
                call(client)
            assert caught.value.code == "api_unreachable"
            assert len(dropping.lost) == 1

    lost(lambda client: client.add_selfies(person, [("b.png", BytesIO(picture(2)))]))
    lost(lambda client: client.add_key(schemas.KeyRequest(name="k", owner=None, expires=None)))
    lost(lambda client: client.erase_person(person))


def test_nobody_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with Client(f"http://127.0.0.1:{servers.free_port()}", "k", timeout=1) as client:
        for call in (client.me, lambda: list(client.export()), lambda: client.wait("job"), lambda: client.sign_in("c")):
            with pytest.raises(OperatorError) as caught:
                call()
            assert caught.value.code == "api_unreachable"
            assert "may be starting" in caught.value.message


@pytest.mark.parametrize(
    ("answer", "branch", "code"),
    [
        (httpx.Response(200, text="<html>"), OperatorError, "bad_answer"),
        (httpx.Response(404, text="<html>"), UserError, "bad_answer"),
        (httpx.Response(502, text="no"), EngineError, "bad_answer"),
        (httpx.Response(503, json={"title": "x", "status": 503, "detail": "y", "code": "z"}), OperatorError, "z"),
        (httpx.Response(500, json={"title": "x", "status": 500, "detail": "y", "code": "z"}), EngineError, "z"),
    ],
)
def test_other_answers_are_errors_of_their_branch(answer: httpx.Response, branch: type[Exception], code: str) -> None:
    with Client("http://there", transport=httpx.MockTransport(lambda _: answer)) as client:
        with pytest.raises(branch) as caught:
            client.me()
        assert getattr(caught.value, "code", "") == code


def test_problems_carry_their_parts(server: ApiServer) -> None:
    with Client(server.url, server.api.key()) as client:
        with pytest.raises(UserError) as caught:
            client.add_selfies(server.api.prepared_person(), [("a.txt", b"no")])
        assert (caught.value.code, caught.value.details["status"]) == ("unreadable", 422)
        assert caught.value.details["errors"][0]["where"] == "a.txt"
        with pytest.raises(UserError) as caught:
            client.person("none")
        assert caught.value.code == "not_found"
    with Client(server.url, "pk_wrong") as stranger, pytest.raises(UserError) as caught:
        stranger.me()
    assert caught.value.code == "unauthenticated"


def test_requests_are_retried_while_the_api_is_unavailable() -> None:
    busy = {"title": "x", "status": 503, "detail": "y", "code": "database_unreachable"}
    answers = [httpx.Response(503, json=busy), httpx.Response(502), httpx.Response(200, json={"status": "ok"})]
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return answers[len(requests) - 1]

    with Client("http://there", transport=httpx.MockTransport(answer)) as client:
        client.health()
    assert len(requests) == 3


def running(api: ApiHarness) -> Job:
    job = api.context.ledger.queue.claim("w", "cpu", {"draw:studio"}, time.time(), 60)
    assert job is not None
    return job


def test_waiting_goes_on_while_the_api_restarts(server: ApiServer) -> None:
    api = server.api
    waiting = api.one_of_each().waiting
    heard: list[schemas.JobEvent] = []
    ended: list[schemas.Job] = []
    with Client(server.url, api.key()) as client:
        thread = threading.Thread(target=lambda: ended.append(client.wait(waiting, heard.append)))
        thread.start()
        wait_until(lambda: heard)
        server.stop()
        server.start()
        job = running(api)
        api.context.ledger.queue.report(job, time.time(), "drawing", 0.5, "Drawing")
        server.stop()
        server.start()
        api.context.ledger.jobs.cancel("ann", waiting, time.time())
        api.context.ledger.queue.release(job, time.time())
        thread.join()
    assert [each.state for each in ended] == ["cancelled"]
    # What tells how the job stands now has no progress, and comes whenever it is read.
    progressed = [(event.state, event.progress) for event in heard if event.progress]
    assert progressed == [("running", 0.5), ("cancelling", 0.5), ("cancelled", 0.5)]


def test_a_job_that_was_tried_again_is_followed_to_its_second_end(server: ApiServer) -> None:
    api = server.api
    waiting = api.one_of_each().waiting
    fault = Fault("EngineError", "out_of_memory", "There was not enough memory.")
    api.context.ledger.queue.retry_or_fail(running(api), time.time(), fault, Limits(failures=1))
    ended: list[schemas.Job] = []
    heard: list[str] = []
    with Client(server.url, api.key()) as client:
        client.retry(waiting)
        thread = threading.Thread(
            target=lambda: ended.append(client.wait(waiting, lambda event: heard.append(event.state)))
        )
        thread.start()
        wait_until(lambda: "failed" in heard)
        api.complete_next_job("draw:studio")
        thread.join()
    assert ended[0].state == "succeeded"
    assert heard.count("failed") == 1


def test_what_was_erased_is_not_waited_for(server: ApiServer) -> None:
    api = server.api
    things = api.one_of_each()
    caught: list[str] = []

    def wait() -> None:
        with Client(server.url, api.key()) as client, pytest.raises(UserError) as error:
            client.wait(things.waiting, lambda _: started.set())
        caught.append(error.value.code)

    started = threading.Event()
    thread = threading.Thread(target=wait)
    thread.start()
    started.wait(20)
    api.context.ledger.erasures.erase_person(Request("ann", time.time()), things.person)
    thread.join()
    assert caught == ["erased"]


def test_what_is_erased_has_a_receipt(server: ApiServer) -> None:
    things = server.api.one_of_each()
    with Client(server.url, server.api.key()) as client:
        (identity,) = client.identities(things.person)
        client.delete_identity(identity.id)
        erased = client.erase_person(things.person)
        assert client.erasure(erased.erasure).ids["people"] == [things.person]
        assert [each.kind for each in client.erasures()] == ["person", "identity"]
    with Client(server.url, server.api.key("root", "admin")) as client:
        assert zipfile.ZipFile(BytesIO(b"".join(client.export_owner("ann")))).testzip() is None
        assert client.erase_for("ann").kind == "owner"
        assert len(client.all_erasures("ann")) == 3
