import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from portrait.errors import Cancelled, OperatorError, UserError
from tasks.jobs import Fault, Job, LeaseLost, Limits
from tasks.ledger.idempotency import Reserved, StoredResponse
from tasks.ledger.jobs import JobFilter
from tasks.ledger.ledger import Ledger, open_ledger
from tasks.ledger.privacy.erasures import Request
from tasks.ledger.queue import Outcome
from tasks.ledger.rows import ApiKeyRow, PortraitRow, SelfieRow, WorkerRow
from tasks.ledger.tables import metadata
from tests.tasks.stand import new_job, portraits_of

DRAWS = {"draw:studio"}


def claim(ledger: Ledger, now: float = 100.0, abilities: set[str] | None = None) -> Job:
    job = ledger.queue.claim("w", "cpu", abilities or DRAWS, now, 60.0)
    assert job is not None
    return job


def portrait(job: Job, number: int = 1) -> PortraitRow:
    return PortraitRow(
        f"{job.id}-{number}", job.owner, job.id, number, f"{number:02}.jpg", "jpg", 9, 1, 1, "s", 1, {}, {}, {}, 200.0
    )


def selfie(owner: str, person: str, sha256: str = "a" * 64) -> SelfieRow:
    return SelfieRow(f"selfie-{sha256[:8]}", owner, person, "me.jpg", sha256, 10, 4, 3, "JPEG", 101.0)


def code_of(act: Callable[[], object]) -> str:
    with pytest.raises(UserError) as caught:
        act()
    return caught.value.code


@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index")
def test_the_migrated_schema_is_that_of_the_tables(ledger: Ledger) -> None:
    with ledger.database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_opening_again_keeps_what_is_there(database: str) -> None:
    first = open_ledger(database)
    person = first.people.add("ann", "Ann", "1", "Ann", 100.0)
    first.close()
    second = open_ledger(database)
    assert second.people.get("ann", person.id) == person
    second.close()


@pytest.mark.parametrize("url", ["nonsense", "nosuch://x", "sqlite:////proc/nowhere/x.db"])
def test_a_database_that_cannot_be_is_refused(url: str) -> None:
    with pytest.raises(OperatorError) as caught:
        open_ledger(url)
    assert caught.value.code in {"bad_settings", "database_unreachable", "cannot_write"}


def test_a_job_is_read_as_it_was_written(ledger: Ledger) -> None:
    job = ledger.jobs.add(new_job(params={"style": "é", "size": [3, 4]}, units=4))
    assert ledger.jobs.get("ann", job.id) == job


def test_owners_take_turns_then_the_oldest_job_comes_first(ledger: Ledger) -> None:
    order = ["ann", "ann", "ann", "bob", "cat", "bob"]
    ids = [ledger.jobs.add(new_job(owner, 10.0 + at)).id for at, owner in enumerate(order)]
    claimed = [claim(ledger, 100.0 + at).id for at in range(6)]
    assert [ids.index(each) for each in claimed] == [0, 3, 4, 1, 5, 2]


def test_place_in_the_queue_is_what_claims_then_do(ledger: Ledger) -> None:
    owners = ["ann", "ann", "bob", "cat", "ann", "bob", "ann"]
    for at, owner in enumerate(owners[:2]):
        ledger.jobs.add(new_job(owner, 1.0 + at))
        claim(ledger, 5.0 + at)
    added = [ledger.jobs.add(new_job(owner, 10.0 + at)) for at, owner in enumerate(owners)]
    places = {job.id: ledger.jobs.queue_status(job, 50.0).place for job in added}
    claimed = [claim(ledger, 100.0 + at).id for at in range(len(added))]
    assert [places[each] for each in claimed] == list(range(1, len(added) + 1))


def test_a_worker_takes_only_what_it_can_do(ledger: Ledger) -> None:
    hard = ledger.jobs.add(new_job(created=1.0, needs=frozenset({"draw:studio", "draw:template"})))
    easy = ledger.jobs.add(new_job(created=2.0))
    assert claim(ledger).id == easy.id
    assert ledger.queue.claim("w", "cpu", DRAWS, 100.0, 60.0) is None
    assert ledger.queue.claim("w", "gpu.train", {"draw:studio", "draw:template"}, 100.0, 60.0) is None
    assert claim(ledger, abilities={"draw:studio", "draw:template", "prepare"}).id == hard.id


def test_what_no_live_worker_can_do_says_what_is_missing(ledger: Ledger) -> None:
    job = ledger.jobs.add(new_job(needs=frozenset({"draw:studio", "draw:template"})))
    assert ledger.jobs.queue_status(job, 100.0).missing == ["draw:studio", "draw:template"]
    worker = WorkerRow("w", ["cpu"], ["draw:studio"], {"draw:template": ["Pull it."]}, "cpu", 90.0, 90.0)
    ledger.workers.register(worker)
    assert ledger.jobs.queue_status(job, 100.0).missing == ["draw:template"]
    ledger.workers.register(replace(worker, id="v", abilities=["draw:studio", "draw:template"]))
    assert ledger.jobs.queue_status(job, 100.0).missing == ()
    assert ledger.jobs.queue_status(job, 200.0).missing == ["draw:studio", "draw:template"], "nobody was heard of since"


def test_only_the_lease_may_write(ledger: Ledger) -> None:
    ledger.jobs.add(new_job())
    old = claim(ledger, 100.0)
    assert ledger.queue.requeue_expired(120.0, Limits()) == []
    assert [job.state for job in ledger.queue.requeue_expired(161.0, Limits())] == ["queued"]
    for write in late_writes(ledger, old):
        with pytest.raises(LeaseLost):
            write()
    new = claim(ledger, 162.0)
    for write in late_writes(ledger, old):
        with pytest.raises(LeaseLost):
            write()
    assert ledger.jobs.get("ann", old.id) == new
    ledger.queue.finish(new, 163.0, Outcome(portraits=[portrait(new)]), lambda: None)
    with pytest.raises(LeaseLost):
        ledger.queue.finish(new, 164.0, Outcome(portraits=[portrait(new, 2)]), lambda: None)
    assert len(portraits_of(ledger, new)) == 1


def late_writes(ledger: Ledger, job: Job) -> list[Callable[[], object]]:
    def publish() -> None:
        pytest.fail("published without the lease")

    return [
        lambda: ledger.queue.heartbeat(job, 162.0, 60.0),
        lambda: ledger.queue.report(job, 162.0, "drawing", 0.5, ""),
        lambda: ledger.queue.finish(job, 162.0, Outcome(portraits=[portrait(job)]), publish),
        lambda: ledger.queue.fail(job, 162.0, UserError("made", "No.")),
        lambda: ledger.queue.retry_or_fail(job, 162.0, Fault("EngineError", "made", "No."), Limits()),
        lambda: ledger.queue.release(job, 162.0),
    ]


def test_a_heartbeat_renews_the_lease(ledger: Ledger) -> None:
    ledger.jobs.add(new_job())
    job = claim(ledger, 100.0)
    assert ledger.queue.heartbeat(job, 150.0, 60.0) == "running"
    assert ledger.queue.requeue_expired(200.0, Limits()) == []
    assert len(ledger.queue.requeue_expired(211.0, Limits())) == 1


def test_files_that_cannot_be_published_leave_no_rows(ledger: Ledger) -> None:
    ledger.jobs.add(new_job())
    job = claim(ledger)

    def publish() -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        ledger.queue.finish(job, 110.0, Outcome({"a": 1}, [portrait(job)]), publish)
    assert ledger.jobs.get("ann", job.id) == job
    assert portraits_of(ledger, job) == []
    ledger.queue.finish(job, 111.0, Outcome(portraits=[portrait(job)]), lambda: None)


def test_cancelling(ledger: Ledger) -> None:
    waiting, running = ledger.jobs.add(new_job(created=2.0)), ledger.jobs.add(new_job(created=1.0))
    job = claim(ledger)
    assert job.id == running.id
    assert ledger.jobs.cancel("ann", waiting.id, 101.0).state == "cancelled"
    assert ledger.jobs.cancel("ann", running.id, 101.0).state == "cancelling"
    assert ledger.queue.heartbeat(job, 102.0, 60.0) == "cancelling"
    with pytest.raises(Cancelled):
        ledger.queue.report(job, 102.0, "drawing", 0.5, "")
    with pytest.raises(Cancelled):
        ledger.queue.finish(job, 102.0, Outcome(portraits=[portrait(job)]), lambda: pytest.fail("published"))
    assert ledger.queue.release(job, 103.0).state == "cancelled"
    assert ledger.jobs.retry("ann", running.id, 104.0).state == "queued"
    assert code_of(lambda: ledger.jobs.retry("ann", running.id, 104.0)) == "bad_transition"


def test_events_go_on_where_they_stopped(ledger: Ledger) -> None:
    added, other = ledger.jobs.add(new_job(created=1.0)), ledger.jobs.add(new_job(created=2.0))
    job = claim(ledger)
    ledger.queue.report(job, 101.0, "drawing", 0.5, "Drawing", preview=3)
    claim(ledger)
    ledger.queue.finish(job, 102.0, Outcome(), lambda: None)
    events = ledger.jobs.events("ann", added.id)
    assert [(each.kind, each.state) for each in events] == [
        ("state", "queued"),
        ("state", "running"),
        ("progress", "running"),
        ("state", "succeeded"),
    ]
    assert events[2].data == {"phase": "drawing", "progress": 0.5, "message": "Drawing", "preview": 3}
    assert sorted(each.id for each in events) == [each.id for each in events]
    assert ledger.jobs.events("ann", added.id, after=events[1].id) == events[2:]
    assert {each.job for each in ledger.jobs.events("ann", other.id)} == {other.id}


def test_what_ended_long_ago_is_pruned_but_not_what_left_portraits(ledger: Ledger) -> None:
    for at in range(2):
        ledger.jobs.add(new_job(created=float(at)))
    remaining, pruned = claim(ledger), claim(ledger)
    ledger.queue.finish(remaining, 110.0, Outcome(portraits=[portrait(remaining)]), lambda: None)
    ledger.queue.fail(pruned, 110.0, UserError("made", "No."))
    assert [job.id for job in ledger.queue.prune(111.0)] == [pruned.id]
    assert ledger.jobs.get("ann", remaining.id).state == "succeeded"


def test_nobody_took_it_in_time(ledger: Ledger) -> None:
    job = ledger.jobs.add(new_job(created=1.0))
    ledger.jobs.add(new_job(created=50.0))
    assert [each.id for each in ledger.queue.expire(100.0, 49.0)] == [job.id]
    expired = ledger.jobs.get("ann", job.id)
    assert expired.state == "expired"
    assert ledger.queue.count_waiting() == {"cpu": 1}


def test_pages_follow_each_other(ledger: Ledger) -> None:
    ids = [ledger.jobs.add(new_job(created=float(at))).id for at in range(7)][::-1]
    listed, cursor = [], None
    for _ in range(3):
        page = ledger.jobs.list("ann", cursor=cursor, limit=3)
        listed += [job.id for job in page.items]
        cursor = page.next
    assert (listed, cursor) == (ids, None)
    assert ledger.jobs.list("ann", limit=7).next is None
    assert [job.id for job in ledger.jobs.list_all(state=["queued"], limit=2).items] == ids[:2]
    assert ledger.jobs.list("ann", JobFilter(kind="prepare")).items == []


def test_a_stranger_finds_nothing(ledger: Ledger) -> None:
    person = ledger.people.add("ann", "Ann", "1", "Ann", 100.0)
    photo = ledger.people.add_selfie(selfie("ann", person.id), 9)
    added = ledger.jobs.add(new_job(), [person.id])
    job = claim(ledger)
    ledger.queue.finish(job, 110.0, Outcome(portraits=[portrait(job)]), lambda: None)
    drawn = portraits_of(ledger, job)[0].id
    hook = ledger.webhooks.add("ann", "https://example.org", "s", [], 100.0)
    call = ledger.webhooks.enqueue("ann", hook.id, "test", {}, 100.0)
    reach: dict[str, Callable[[str], Any]] = {
        "person": lambda owner: ledger.people.get(owner, person.id),
        "rename": lambda owner: ledger.people.rename(owner, person.id, "Ann"),
        "consents": lambda owner: ledger.people.consents(owner, person.id),
        "selfies": lambda owner: ledger.people.selfies(owner, person.id),
        "selfie": lambda owner: ledger.people.selfie(owner, photo.id),
        "wish": lambda owner: ledger.people.set_override(owner, photo.id, "exclude"),
        "identities": lambda owner: ledger.people.identities(owner, person.id),
        "job": lambda owner: ledger.jobs.get(owner, added.id),
        "events": lambda owner: ledger.jobs.events(owner, added.id),
        "portrait": lambda owner: ledger.portraits.get(owner, drawn),
        "zip": lambda owner: ledger.portraits.get_many(owner, [drawn]),
        "mark": lambda owner: ledger.portraits.change(owner, drawn, favourite=True),
        "hook": lambda owner: ledger.webhooks.get(owner, hook.id),
        "deliveries": lambda owner: ledger.webhooks.deliveries(owner, hook.id),
        "delivery": lambda owner: ledger.webhooks.delivery(owner, call.id),
        "add": lambda owner: ledger.jobs.add(new_job(owner), [person.id]),
        "delete portrait": lambda owner: ledger.erasures.erase_portrait(Request(owner, 120.0), drawn),
        "delete selfie": lambda owner: ledger.erasures.erase_selfie(Request(owner, 120.0), photo.id),
        "delete hook": lambda owner: ledger.webhooks.delete(owner, hook.id),
        "erase": lambda owner: ledger.erasures.erase_person(Request(owner, 120.0), person.id),
    }
    assert {name: code_of(lambda: act("bob")) for name, act in reach.items()} == dict.fromkeys(reach, "not_found")  # noqa: B023 -- called at once
    assert code_of(lambda: ledger.jobs.cancel("bob", added.id, 120.0)) == "not_found"
    assert code_of(lambda: ledger.jobs.retry("bob", added.id, 120.0)) == "not_found"
    assert [
        list(page.items) for page in (ledger.people.list("bob"), ledger.jobs.list("bob"), ledger.portraits.list("bob"))
    ] == [
        [],
        [],
        [],
    ]
    for act in reach.values():
        act("ann")


def test_the_same_photo_is_stored_once_and_not_too_many(ledger: Ledger) -> None:
    person = ledger.people.add("ann", "Ann", "1", "Ann", 100.0)
    first = ledger.people.add_selfie(selfie("ann", person.id), 1)
    assert ledger.people.add_selfie(replace(selfie("ann", person.id), id="other"), 1) == first
    assert code_of(lambda: ledger.people.add_selfie(selfie("ann", person.id, "b" * 64), 1)) == "too_many_photos"
    assert code_of(lambda: ledger.people.set_override("ann", first.id, "maybe")) == "bad_wish"
    assert ledger.people.consents("ann", person.id)[0].text_version == "1"


def test_erasing_reaches_everything(ledger: Ledger) -> None:
    person, other = (ledger.people.add("ann", name, "1", "Ann", 100.0) for name in ("Ann", "Bo"))
    photo = ledger.people.add_selfie(selfie("ann", person.id), 9)
    done, running, waiting = (ledger.jobs.add(new_job(created=float(at)), [person.id]) for at in range(3))
    both = ledger.jobs.add(new_job(created=9.0), [other.id])
    first, second = claim(ledger), claim(ledger)
    ledger.queue.finish(first, 110.0, Outcome(portraits=[portrait(first)]), lambda: None)
    drawn = portraits_of(ledger, done)[0].id
    pruned = ledger.erasures.erase_person(Request("ann", 120.0), person.id).erased
    assert set(pruned.jobs) == {done.id, running.id, waiting.id}
    assert (pruned.selfies, pruned.portraits) == ([photo.id], [drawn])
    for act in (
        lambda: ledger.people.get("ann", person.id),
        lambda: ledger.people.selfie("ann", photo.id),
        lambda: ledger.portraits.get("ann", drawn),
        lambda: ledger.jobs.get("ann", done.id),
        lambda: ledger.jobs.get("ann", waiting.id),
        lambda: ledger.jobs.get("ann", running.id),
    ):
        assert code_of(act) == "erased"
    with pytest.raises(LeaseLost):
        ledger.queue.finish(second, 121.0, Outcome(portraits=[portrait(second)]), lambda: pytest.fail("published"))
    assert ledger.jobs.get("ann", both.id).state == "queued"
    assert set(ledger.erasures.erase_owner(Request("ann", 130.0)).erased.people) == {other.id}


def test_one_key_one_request(ledger: Ledger) -> None:
    barrier = threading.Barrier(20)

    def post(_: int) -> str:
        barrier.wait()
        try:
            response = ledger.idempotency.begin("ann", "k", "f", 100.0)
        except UserError as error:
            return error.code
        return "go" if isinstance(response, Reserved) else "again"

    with ThreadPoolExecutor(20) as pool:
        responses = list(pool.map(post, range(20)))
    assert sorted(responses) == ["go"] + ["idempotency_in_flight"] * 19
    ledger.idempotency.save_response("ann", "k", StoredResponse(202, {"Location": "/x"}, "{}"))
    assert ledger.idempotency.begin("ann", "k", "f", 101.0) == StoredResponse(202, {"Location": "/x"}, "{}")
    assert code_of(lambda: ledger.idempotency.begin("ann", "k", "other", 101.0)) == "idempotency_mismatch"
    first = ledger.idempotency.begin("bob", "k", "other", 101.0)
    ledger.idempotency.release("bob", "k")
    second = ledger.idempotency.begin("bob", "k", "f", 102.0)
    assert isinstance(first, Reserved)
    assert isinstance(second, Reserved)
    assert first != second, "a request of its own"
    assert ledger.idempotency.begin("bob", "k", "f", 200.0) == second, "the first process died: the request goes on"
    assert ledger.idempotency.prune(150.0) == 1


def test_keys_open_until_they_are_revoked(ledger: Ledger) -> None:
    key = ledger.api_keys.add(ApiKeyRow("key_1", "ann", "laptop", "person", 100.0, expires=500.0), "h")
    assert ledger.api_keys.find("h", 200.0) == key
    assert ledger.api_keys.find("h", 501.0) is None, "it has expired"
    ledger.api_keys.touch(key.id, 101.0)
    assert ledger.api_keys.list("ann")[0].used == 101.0
    ledger.api_keys.revoke(key.id, 102.0)
    assert ledger.api_keys.find("h", 300.0) is None
    assert code_of(lambda: ledger.api_keys.revoke("nothing", 102.0)) == "not_found"


def test_an_end_calls_who_listens(ledger: Ledger) -> None:
    every = ledger.webhooks.add("ann", "https://a", "s", [], 100.0)
    ledger.webhooks.add("ann", "https://b", "s", ["job.failed"], 100.0)
    ledger.webhooks.add("bob", "https://c", "s", [], 100.0)
    off = ledger.webhooks.add("ann", "https://d", "s", [], 100.0)
    ledger.webhooks.disable(off.id, "pruned", 100.0)
    job = ledger.jobs.add(new_job())
    ledger.queue.finish(claim(ledger), 110.0, Outcome(), lambda: None)
    taken = ledger.webhooks.claim_due(111.0, 171.0)
    assert taken is not None
    call, hook = taken
    assert (hook.id, call.event, call.payload["data"]["id"], call.attempts) == (every.id, "job.succeeded", job.id, 1)
    assert ledger.webhooks.claim_due(112.0, 172.0) is None, "it is somebody's until 171"
    ledger.webhooks.record_attempt(call, 112.0, 500, "no", 117.0)
    again = ledger.webhooks.claim_due(118.0, 178.0)
    assert again is not None
    ledger.webhooks.record_attempt(call, 119.0, 200, "late", None)
    assert ledger.webhooks.delivery("ann", call.id).state == "waiting", "another took it in between"
    ledger.webhooks.record_attempt(again[0], 119.0, 204, "", None)
    assert ledger.webhooks.deliveries("ann", every.id).items[0].state == "delivered"


def test_estimates_come_from_past_runs(ledger: Ledger) -> None:
    for at in range(3):
        ledger.jobs.add(new_job(created=float(at), units=2))
        ledger.queue.finish(claim(ledger, 100.0), 100.0 + 2 * (at + 1), Outcome(), lambda: None)
    ledger.workers.register(WorkerRow("w", ["cpu"], sorted(DRAWS), {}, "cpu", 190.0, 190.0))
    job = ledger.jobs.add(new_job(units=4))
    standing = ledger.jobs.queue_status(job, 200.0)
    assert (standing.place, standing.seconds, standing.missing) == (1, 8.0, ())


def test_who_waits_is_told_what_is_left_of_the_job_before_and_nothing_of_a_silent_worker(ledger: Ledger) -> None:
    ledger.jobs.add(new_job(created=0.0))
    ledger.queue.finish(claim(ledger, 100.0), 104.0, Outcome(), lambda: None)
    ledger.workers.register(WorkerRow("w", ["cpu"], sorted(DRAWS), {}, "cpu", 190.0, 200.0))
    waits = ledger.jobs.add(new_job(created=1.0))
    assert ledger.jobs.queue_status(waits, 200.0).seconds == 4.0
    running, waits = claim(ledger, 200.0), ledger.jobs.add(new_job(created=2.0))
    running = ledger.queue.report(running, 210.0, "drawing", 0.25, "")
    found = ledger.jobs.queue_statuses([running, waits], 210.0)
    assert {id: status.seconds for id, status in found.items()} == {running.id: 30.0, waits.id: 34.0}
    assert found[waits.id] == ledger.jobs.queue_status(waits, 210.0)
    late = ledger.jobs.queue_statuses([running, waits], 240.0)
    assert late[running.id].seconds is None, "its worker was not heard of for 40 seconds"
    assert ledger.jobs.queue_status(running, 240.0, silent=50.0).seconds == 120.0


def test_workers_are_requested_to_stop_together(ledger: Ledger) -> None:
    for id in ("h:1:a:10", "h:1:a:11", "h:1_a:12"):
        ledger.workers.register(WorkerRow(id, ["cpu"], [], {}, "cpu", 90.0, 90.0))
    ledger.workers.request_stop("h:1:a")
    assert [ledger.workers.is_stopping(id) for id in ("h:1:a:10", "h:1:a:11", "h:1_a:12")] == [True, True, False]
    assert ledger.workers.heartbeat("h:1:a:10", 150.0)
    assert not ledger.workers.heartbeat("nobody", 150.0)
    assert [worker.id for worker in ledger.workers.list_live(180.0)] == ["h:1:a:10"]
    ledger.workers.unregister("h:1:a:10")
    assert ledger.workers.prune(150.0) == 2


def test_nothing_is_lost_while_the_database_is_locked(sqlite: Ledger) -> None:
    jobs = [sqlite.jobs.add(new_job(created=float(at))) for at in range(4)]
    held = [claim(sqlite), claim(sqlite)]
    locked, free = threading.Event(), threading.Event()

    def lock() -> None:
        with sqlite.database.write():
            locked.set()
            free.wait(5)

    began = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        holder = pool.submit(lock)
        locked.wait(5)
        added = pool.submit(sqlite.jobs.add, new_job("bob"))
        claimed = pool.submit(claim, sqlite)
        beat = pool.submit(sqlite.queue.heartbeat, held[0], 120.0, 60.0)
        finished = pool.submit(sqlite.queue.finish, held[1], 120.0, Outcome(), lambda: None)
        assert sqlite.jobs.get("ann", jobs[3].id).state == "queued", "readers do not wait"
        assert not added.done()
        holder.result()
        assert beat.result() == "running"
        assert finished.result().state == "succeeded"
        assert claimed.result().state == "running"
        assert sqlite.jobs.get("bob", added.result().id)
    assert time.monotonic() - began >= 5
