"""Event streams of jobs: every event once and in order, over broken connections, locks and erasure; no thread is held."""

import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from portrait.errors import OperatorError
from tasks.api.routes import jobs
from tasks.jobs import Job
from tasks.ledger.jobs import JobRepository
from tasks.ledger.privacy.erasures import Request
from tests.tasks.api.harness import ApiHarness, ApiServer
from tests.tasks.stand import wait_until

pytestmark = pytest.mark.services
AT_ONCE = 60
"""Streams: more than the API has threads, which are 40."""


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams look more often than they need to in earnest."""
    monkeypatch.setattr(jobs, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(jobs, "STANDING_SECONDS", 0.1)


@dataclass(frozen=True)
class Event:
    """One event of a stream."""

    kind: str
    id: int | None
    data: dict[str, Any]


def events(lines: Iterator[str]) -> Iterator[Event]:
    """The events of a stream as they come."""
    found: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        if not line and "data" in found:
            yield Event(found["event"], int(found["id"]) if "id" in found else None, json.loads(found["data"]))
        found = {} if not line else {**found, name: value}


def running(api: ApiHarness) -> Job:
    job = api.context.ledger.queue.claim("w", "cpu", {"draw:studio"}, time.time(), 60)
    assert job is not None
    return job


def report(api: ApiHarness, job: Job, progress: float) -> None:
    api.context.ledger.queue.report(job, time.time(), "drawing", progress, f"Drawing {progress}")


def all_events(api: ApiHarness, job: str, after: int = 0) -> list[Event]:
    """All events of a job that has ended."""
    headers = {"Last-Event-ID": str(after)} if after else {}
    answer = api.client().get(f"/jobs/{job}/events", headers=headers)
    assert answer.headers["content-type"].startswith("text/event-stream")
    return list(events(iter(answer.text.split("\n"))))


@pytest.fixture
def ended(api: ApiHarness) -> str:
    """A job with a history: queued, running, eight steps, failed."""
    job = running_after(api)
    for step in range(8):
        report(api, job, step / 10)
    api.context.ledger.queue.fail(job, time.time(), OperatorError("no_picture", "The style has no picture."))
    return job.id


def running_after(api: ApiHarness) -> Job:
    api.one_of_each()
    return running(api)


def test_events_come_in_order_and_the_stream_ends_with_the_job(api: ApiHarness, ended: str) -> None:
    found = all_events(api, ended)
    assert [event.kind for event in found] == ["state", "state", *["progress"] * 8, "state"]
    ids = [event.id or 0 for event in found]
    assert ids == sorted(set(ids))
    assert [event.data["state"] for event in found][:2] == ["queued", "running"]
    assert [event.data["progress"] for event in found[2:-1]] == [step / 10 for step in range(8)]
    assert (found[-1].data["state"], found[-1].data["fault"]["code"]) == ("failed", "no_picture")


def test_who_comes_back_hears_the_rest_and_nothing_twice(api: ApiHarness, ended: str) -> None:
    found = all_events(api, ended)
    for at, event in enumerate(found):
        assert all_events(api, ended, after=event.id or 0) == found[at + 1 :]
    assert all_events(api, ended, after=10**17) == []


def test_a_job_is_followed_while_it_happens(server: ApiServer) -> None:
    api = server.api
    waiting = api.one_of_each().waiting
    with server.client() as caller, caller.stream("GET", f"/jobs/{waiting}/events") as stream:
        assert stream.headers["cache-control"] == "private, no-cache"
        heard = events(stream.iter_lines())
        assert next(heard).data["state"] == "queued"
        standing = next(heard)
        assert (standing.kind, standing.id, standing.data["place"]) == ("standing", None, 1)
        assert standing.data["missing"] == ["No worker for it is running. An operator can start one."]
        job = running(api)
        report(api, job, 0.5)
        api.context.ledger.jobs.cancel("ann", job.id, time.time())
        api.context.ledger.queue.release(job, time.time())
        found = [(event.kind, event.data["state"]) for event in heard if event.kind != "standing"]
    assert found == [("state", "running"), ("progress", "running"), ("state", "cancelling"), ("state", "cancelled")]


def test_a_stream_that_broke_off_goes_on_where_it_stopped(server: ApiServer) -> None:
    api = server.api
    job = running_after(api)
    heard: list[Event] = []
    with server.client() as caller:
        for step in range(1, 6):
            report(api, job, step / 10)
            last = {"Last-Event-ID": str(heard[-1].id)} if heard else {}
            with caller.stream("GET", f"/jobs/{job.id}/events", headers=last) as stream:
                for event in events(stream.iter_lines()):
                    if event.id is not None:
                        heard.append(event)
                    if event.data.get("progress") == step / 10:
                        break
    assert [event.data["progress"] for event in heard] == [0, 0, 0.1, 0.2, 0.3, 0.4, 0.5]
    assert len({event.id for event in heard}) == 7


def test_the_last_event_is_not_lost_when_the_job_ends_between_two_reads(
    api: ApiHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = running_after(api)
    looked, settled = JobRepository.get, threading.Event()

    def get(self: JobRepository, owner: str, id: str) -> Job:
        found = looked(self, owner, id)
        if id == job.id and threading.current_thread() is not threading.main_thread() and not settled.is_set():
            settled.set()
            api.context.ledger.queue.fail(job, time.time(), OperatorError("no_picture", "None."))
        return found

    monkeypatch.setattr(JobRepository, "get", get)
    assert all_events(api, job.id)[-1].data["state"] == "failed"
    events_of = JobRepository.events
    settled.clear()
    other = api.client().post("/trainings", json={"person": api.context.ledger.people.list("ann").items[0].id}).json()

    def events_then_end(self: JobRepository, *order: Any) -> Any:
        found = events_of(self, *order)
        if not found and not settled.is_set():
            settled.set()
            api.context.ledger.jobs.cancel("ann", other["id"], time.time())
        return found

    monkeypatch.setattr(JobRepository, "get", looked)
    monkeypatch.setattr(JobRepository, "events", events_then_end)
    assert all_events(api, other["id"])[-1].data["state"] == "cancelled"


def test_a_database_that_does_not_answer_interrupts_nothing(server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    api = server.api
    job = running_after(api)
    away = threading.Event()
    missed: list[str] = []

    def deaf(name: str) -> None:
        method = getattr(JobRepository, name)

        def ask(self: JobRepository, *order: Any) -> Any:
            if away.is_set():
                missed.append(name)
                raise OperatorError("database_unreachable", "The database does not answer.")
            return method(self, *order)

        monkeypatch.setattr(JobRepository, name, ask)

    for name in ("get", "queue_status"):
        deaf(name)
    with server.client() as caller, caller.stream("GET", f"/jobs/{job.id}/events") as stream:
        heard = events(stream.iter_lines())
        first = [next(heard), next(heard)]
        away.set()
        wait_until(lambda: len(missed) > 3)
        report(api, job, 0.5)
        api.context.ledger.queue.fail(job, time.time(), OperatorError("no_picture", "None."))
        away.clear()
        rest = [event for event in heard if event.kind != "standing"]
    assert [event.data["state"] for event in first] == ["queued", "running"]
    assert [(event.kind, event.data["state"]) for event in rest] == [("progress", "running"), ("state", "failed")]


def test_a_locked_database_holds_up_the_worker_and_not_the_stream(server: ApiServer) -> None:
    api = server.api
    job = running_after(api)
    place = api.context.ledger.database.engine.url.database
    with server.client() as caller, caller.stream("GET", f"/jobs/{job.id}/events") as stream:
        heard = events(stream.iter_lines())
        assert [next(heard).kind, next(heard).kind, next(heard).kind] == ["state", "state", "standing"]
        locker = sqlite3.connect(str(place), isolation_level=None)
        locker.execute("BEGIN EXCLUSIVE")
        writer = threading.Thread(target=report, args=(api, job, 0.5))
        writer.start()
        with httpx.Client(headers=caller.headers) as other:
            assert other.get(f"{server.url}/v1/jobs/{job.id}").json()["progress"] == 0
        assert writer.is_alive()
        locker.execute("ROLLBACK")
        locker.close()
        writer.join()
        assert next(event for event in heard if event.kind == "progress").data["progress"] == 0.5


def test_a_stream_ends_when_what_it_follows_is_erased(server: ApiServer) -> None:
    api = server.api
    things = api.one_of_each()
    with server.client() as caller, caller.stream("GET", f"/jobs/{things.waiting}/events") as stream:
        heard = events(stream.iter_lines())
        assert next(heard).data["state"] == "queued"
        api.context.ledger.erasures.erase_person(Request("ann", time.time()), things.person)
        assert {event.kind for event in heard} <= {"standing", "state"}
    assert api.client().get(f"/jobs/{things.waiting}/events").status_code == 410


def test_streams_hold_no_threads(server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "POLL_SECONDS", 0.5)
    api = server.api
    job = running_after(api)
    with ExitStack() as stack:
        caller = stack.enter_context(server.client())
        caller.timeout = httpx.Timeout(60)
        streams = [
            stack.enter_context(caller.stream("GET", f"/jobs/{job.id}/events")).iter_lines() for _ in range(AT_ONCE)
        ]
        heard = [events(each) for each in streams]
        assert [next(each).data["state"] for each in heard] == ["queued"] * AT_ONCE
        assert caller.get("/me").status_code == 200, "there is a thread left for others"
        workers = [thread for thread in threading.enumerate() if "AnyIO worker" in thread.name]
        assert len(workers) < AT_ONCE
        api.context.ledger.queue.fail(job, time.time(), OperatorError("no_picture", "None."))
        assert [list(each)[-1].data["state"] for each in heard] == ["failed"] * AT_ONCE
