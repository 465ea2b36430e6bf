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
from tasks.ledger.keys import Answer
from tasks.ledger.ledger import Store, open_store
from tasks.ledger.queue import Outcome
from tasks.ledger.rows import KeyRow, PortraitRow, SelfieRow, WorkerRow
from tasks.ledger.tables import metadata
from tests.tasks.stand import new_job, portraits_of

DRAWS = {"draw:studio"}


def claim(store: Store, now: float = 100.0, abilities: set[str] | None = None) -> Job:
    job = store.queue.claim("w", "cpu", abilities or DRAWS, now, 60.0)
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


def test_the_migrated_schema_is_that_of_the_tables(store: Store) -> None:
    with store.database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_opening_again_keeps_what_is_there(database: str) -> None:
    first = open_store(database)
    person = first.people.add("ann", "Ann", "1", "Ann", 100.0)
    first.close()
    second = open_store(database)
    assert second.people.get("ann", person.id) == person
    second.close()


@pytest.mark.parametrize("url", ["nonsense", "nosuch://x", "sqlite:////proc/nowhere/x.db"])
def test_a_database_that_cannot_be_is_refused(url: str) -> None:
    with pytest.raises(OperatorError) as caught:
        open_store(url)
    assert caught.value.code in {"bad_settings", "database_unreachable"}


def test_a_job_comes_back_as_it_went_in(store: Store) -> None:
    job = store.jobs.add(new_job(wants={"style": "é", "size": [3, 4]}, priority=2, units=4))
    assert store.jobs.get("ann", job.id) == job


def test_owners_take_turns_then_priority_then_age(store: Store) -> None:
    order = [("ann", 0), ("ann", 5), ("ann", 0), ("bob", 0), ("cat", 0), ("bob", 0)]
    ids = [
        store.jobs.add(new_job(owner, 10.0 + at, priority=priority)).id for at, (owner, priority) in enumerate(order)
    ]
    claimed = [claim(store, 100.0 + at).id for at in range(6)]
    assert [ids.index(each) for each in claimed] == [1, 3, 4, 0, 5, 2]


def test_place_in_the_queue_is_what_claims_then_do(store: Store) -> None:
    owners = ["ann", "ann", "bob", "cat", "ann", "bob", "ann"]
    for at, owner in enumerate(owners[:2]):
        store.jobs.add(new_job(owner, 1.0 + at))
        claim(store, 5.0 + at)
    asked = [store.jobs.add(new_job(owner, 10.0 + at)) for at, owner in enumerate(owners)]
    places = {job.id: store.jobs.standing(job, 50.0).place for job in asked}
    claimed = [claim(store, 100.0 + at).id for at in range(len(asked))]
    assert [places[each] for each in claimed] == list(range(1, len(asked) + 1))


def test_a_worker_takes_only_what_it_can_do(store: Store) -> None:
    hard = store.jobs.add(new_job(created=1.0, needs=frozenset({"draw:studio", "draw:template"})))
    easy = store.jobs.add(new_job(created=2.0))
    assert claim(store).id == easy.id
    assert store.queue.claim("w", "cpu", DRAWS, 100.0, 60.0) is None
    assert store.queue.claim("w", "gpu.train", {"draw:studio", "draw:template"}, 100.0, 60.0) is None
    assert claim(store, abilities={"draw:studio", "draw:template", "prepare"}).id == hard.id


def test_what_no_live_worker_can_do_says_what_is_missing(store: Store) -> None:
    job = store.jobs.add(new_job(needs=frozenset({"draw:studio", "draw:template"})))
    assert store.jobs.standing(job, 100.0).missing == ["draw:studio", "draw:template"]
    worker = WorkerRow("w", ["cpu"], ["draw:studio"], {"draw:template": ["Pull it."]}, "cpu", 90.0, 90.0)
    store.staff.arrive(worker)
    assert store.jobs.standing(job, 100.0).missing == ["draw:template"]
    store.staff.arrive(replace(worker, id="v", abilities=["draw:studio", "draw:template"]))
    assert store.jobs.standing(job, 100.0).missing == ()
    assert store.jobs.standing(job, 200.0).missing == ["draw:studio", "draw:template"], "nobody was heard of since"


def test_only_the_lease_may_write(store: Store) -> None:
    store.jobs.add(new_job())
    old = claim(store, 100.0)
    assert store.queue.take_back_lost(120.0, Limits()) == []
    assert [job.state for job in store.queue.take_back_lost(161.0, Limits())] == ["queued"]
    for write in late_writes(store, old):
        with pytest.raises(LeaseLost):
            write()
    new = claim(store, 162.0)
    for write in late_writes(store, old):
        with pytest.raises(LeaseLost):
            write()
    assert store.jobs.get("ann", old.id) == new
    store.queue.finish(new, 163.0, Outcome(portraits=[portrait(new)]), lambda: None)
    with pytest.raises(LeaseLost):
        store.queue.finish(new, 164.0, Outcome(portraits=[portrait(new, 2)]), lambda: None)
    assert len(portraits_of(store, new)) == 1


def late_writes(store: Store, job: Job) -> list[Callable[[], object]]:
    def publish() -> None:
        pytest.fail("published without the lease")

    return [
        lambda: store.queue.heartbeat(job, 162.0, 60.0),
        lambda: store.queue.report(job, 162.0, "drawing", 0.5, ""),
        lambda: store.queue.finish(job, 162.0, Outcome(portraits=[portrait(job)]), publish),
        lambda: store.queue.refuse(job, 162.0, UserError("made", "No.")),
        lambda: store.queue.falter(job, 162.0, Fault("EngineError", "made", "No."), Limits()),
        lambda: store.queue.release(job, 162.0),
    ]


def test_a_heartbeat_renews_the_lease(store: Store) -> None:
    store.jobs.add(new_job())
    job = claim(store, 100.0)
    assert store.queue.heartbeat(job, 150.0, 60.0) == "running"
    assert store.queue.take_back_lost(200.0, Limits()) == []
    assert len(store.queue.take_back_lost(211.0, Limits())) == 1


def test_files_that_cannot_be_published_leave_no_rows(store: Store) -> None:
    store.jobs.add(new_job())
    job = claim(store)

    def publish() -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        store.queue.finish(job, 110.0, Outcome({"a": 1}, [portrait(job)]), publish)
    assert store.jobs.get("ann", job.id) == job
    assert portraits_of(store, job) == []
    store.queue.finish(job, 111.0, Outcome(portraits=[portrait(job)]), lambda: None)


def test_cancelling(store: Store) -> None:
    waiting, running = store.jobs.add(new_job(created=2.0)), store.jobs.add(new_job(created=1.0))
    job = claim(store)
    assert job.id == running.id
    assert store.jobs.cancel("ann", waiting.id, 101.0).state == "cancelled"
    assert store.jobs.cancel("ann", running.id, 101.0).state == "cancelling"
    assert store.queue.heartbeat(job, 102.0, 60.0) == "cancelling"
    with pytest.raises(Cancelled):
        store.queue.report(job, 102.0, "drawing", 0.5, "")
    with pytest.raises(Cancelled):
        store.queue.finish(job, 102.0, Outcome(portraits=[portrait(job)]), lambda: pytest.fail("published"))
    assert store.queue.release(job, 103.0).state == "cancelled"
    assert store.jobs.retry("ann", running.id, 104.0).state == "queued"
    assert code_of(lambda: store.jobs.retry("ann", running.id, 104.0)) == "bad_transition"


def test_events_go_on_where_they_stopped(store: Store) -> None:
    added, other = store.jobs.add(new_job(created=1.0)), store.jobs.add(new_job(created=2.0))
    job = claim(store)
    store.queue.report(job, 101.0, "drawing", 0.5, "Drawing", preview=3)
    claim(store)
    store.queue.finish(job, 102.0, Outcome(), lambda: None)
    events = store.jobs.events("ann", added.id)
    assert [(each.kind, each.state) for each in events] == [
        ("state", "queued"),
        ("state", "running"),
        ("progress", "running"),
        ("state", "succeeded"),
    ]
    assert events[2].data == {"phase": "drawing", "progress": 0.5, "message": "Drawing", "preview": 3}
    assert sorted(each.id for each in events) == [each.id for each in events]
    assert store.jobs.events("ann", added.id, after=events[1].id) == events[2:]
    assert {each.job for each in store.jobs.events("ann", other.id)} == {other.id}


def test_what_ended_long_ago_is_pruned_but_not_what_left_portraits(store: Store) -> None:
    for at in range(2):
        store.jobs.add(new_job(created=float(at)))
    kept, gone = claim(store), claim(store)
    store.queue.finish(kept, 110.0, Outcome(portraits=[portrait(kept)]), lambda: None)
    store.queue.refuse(gone, 110.0, UserError("made", "No."))
    assert [job.id for job in store.queue.prune(111.0)] == [gone.id]
    assert store.jobs.get("ann", kept.id).state == "succeeded"


def test_nobody_took_it_in_time(store: Store) -> None:
    job = store.jobs.add(new_job(created=1.0))
    store.jobs.add(new_job(created=50.0))
    assert [each.id for each in store.queue.expire(100.0, 49.0)] == [job.id]
    expired = store.jobs.get("ann", job.id)
    assert expired.state == "expired"
    assert store.queue.waiting() == {"cpu": 1}


def test_pages_follow_each_other(store: Store) -> None:
    ids = [store.jobs.add(new_job(created=float(at))).id for at in range(7)][::-1]
    seen, cursor = [], None
    for _ in range(3):
        page = store.jobs.list("ann", cursor=cursor, limit=3)
        seen += [job.id for job in page.items]
        cursor = page.next
    assert (seen, cursor) == (ids, None)
    assert store.jobs.list("ann", limit=7).next is None
    assert [job.id for job in store.jobs.list_all(state=["queued"], limit=2).items] == ids[:2]
    assert store.jobs.list("ann", kind="prepare").items == []


def test_a_stranger_finds_nothing(store: Store) -> None:
    person = store.people.add("ann", "Ann", "1", "Ann", 100.0)
    photo = store.people.add_selfie(selfie("ann", person.id), 9)
    asked = store.jobs.add(new_job(), [person.id])
    job = claim(store)
    store.queue.finish(job, 110.0, Outcome(portraits=[portrait(job)]), lambda: None)
    drawn = portraits_of(store, job)[0].id
    hook = store.hooks.add("ann", "https://example.org", "s", [], 100.0)
    call = store.hooks.send("ann", hook.id, "test", {}, 100.0)
    reach: dict[str, Callable[[str], Any]] = {
        "person": lambda owner: store.people.get(owner, person.id),
        "rename": lambda owner: store.people.rename(owner, person.id, "Ann"),
        "consents": lambda owner: store.people.consents(owner, person.id),
        "selfies": lambda owner: store.people.selfies(owner, person.id),
        "selfie": lambda owner: store.people.selfie(owner, photo.id),
        "wish": lambda owner: store.people.wish(owner, photo.id, "exclude"),
        "identities": lambda owner: store.people.identities(owner, person.id),
        "job": lambda owner: store.jobs.get(owner, asked.id),
        "events": lambda owner: store.jobs.events(owner, asked.id),
        "persons": lambda owner: store.jobs.persons(owner, asked.id),
        "portrait": lambda owner: store.portraits.get(owner, drawn),
        "zip": lambda owner: store.portraits.some(owner, [drawn]),
        "mark": lambda owner: store.portraits.mark(owner, drawn, True),
        "hook": lambda owner: store.hooks.get(owner, hook.id),
        "deliveries": lambda owner: store.hooks.deliveries(owner, hook.id),
        "delivery": lambda owner: store.hooks.delivery(owner, call.id),
        "add": lambda owner: store.jobs.add(new_job(owner), [person.id]),
        "delete portrait": lambda owner: store.portraits.delete(owner, drawn, 120.0),
        "delete selfie": lambda owner: store.people.delete_selfie(owner, photo.id, 120.0),
        "delete hook": lambda owner: store.hooks.delete(owner, hook.id),
        "erase": lambda owner: store.people.erase(owner, person.id, 120.0),
    }
    assert {name: code_of(lambda: act("bob")) for name, act in reach.items()} == dict.fromkeys(reach, "not_found")  # noqa: B023 -- called at once
    assert code_of(lambda: store.jobs.cancel("bob", asked.id, 120.0)) == "not_found"
    assert code_of(lambda: store.jobs.retry("bob", asked.id, 120.0)) == "not_found"
    assert store.jobs.of_person("bob", person.id) == []
    assert [
        list(page.items) for page in (store.people.list("bob"), store.jobs.list("bob"), store.portraits.list("bob"))
    ] == [
        [],
        [],
        [],
    ]
    for act in reach.values():
        act("ann")


def test_the_same_photo_is_kept_once_and_not_too_many(store: Store) -> None:
    person = store.people.add("ann", "Ann", "1", "Ann", 100.0)
    first = store.people.add_selfie(selfie("ann", person.id), 1)
    assert store.people.add_selfie(replace(selfie("ann", person.id), id="other"), 1) == first
    assert code_of(lambda: store.people.add_selfie(selfie("ann", person.id, "b" * 64), 1)) == "too_many_photos"
    assert code_of(lambda: store.people.wish("ann", first.id, "maybe")) == "bad_wish"
    assert store.people.consents("ann", person.id)[0].text_version == "1"


def test_erasing_reaches_everything(store: Store) -> None:
    person, other = (store.people.add("ann", name, "1", "Ann", 100.0) for name in ("Ann", "Bo"))
    photo = store.people.add_selfie(selfie("ann", person.id), 9)
    done, running, waiting = (store.jobs.add(new_job(created=float(at)), [person.id]) for at in range(3))
    both = store.jobs.add(new_job(created=9.0), [other.id])
    first, second = claim(store), claim(store)
    store.queue.finish(first, 110.0, Outcome(portraits=[portrait(first)]), lambda: None)
    drawn = portraits_of(store, done)[0].id
    gone = store.people.erase("ann", person.id, 120.0)
    assert set(gone.jobs) == {done.id, running.id, waiting.id}
    assert (gone.selfies, gone.portraits) == ([photo.id], [drawn])
    for act in (
        lambda: store.people.get("ann", person.id),
        lambda: store.people.selfie("ann", photo.id),
        lambda: store.portraits.get("ann", drawn),
        lambda: store.jobs.get("ann", done.id),
        lambda: store.jobs.get("ann", waiting.id),
    ):
        assert code_of(act) == "erased"
    assert store.jobs.get("ann", running.id).state == "cancelling"
    with pytest.raises(Cancelled):
        store.queue.finish(second, 121.0, Outcome(portraits=[portrait(second)]), lambda: pytest.fail("published"))
    assert store.jobs.get("ann", both.id).state == "queued"
    assert set(store.people.erase_owner("ann", 130.0).people) == {other.id}


def test_people_whose_time_is_over(store: Store) -> None:
    old, busy = (store.people.add("ann", name, "1", "Ann", 100.0) for name in ("Ann", "Bo"))
    store.people.add("ann", "Cy", "1", "Ann", 300.0)
    store.jobs.add(new_job(created=100.0), [busy.id])
    assert [person.id for person in store.people.unused_since(200.0)] == [old.id]


def test_one_key_one_request(store: Store) -> None:
    barrier = threading.Barrier(20)

    def post(_: int) -> str:
        barrier.wait()
        try:
            answer = store.access.begin("ann", "k", "f", 100.0)
        except UserError as error:
            return error.code
        return "go" if answer is None else "again"

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(post, range(20)))
    assert sorted(answers) == ["go"] + ["idempotency_in_flight"] * 19
    store.access.answered("ann", "k", Answer(202, {"Location": "/x"}, "{}"))
    assert store.access.begin("ann", "k", "f", 101.0) == Answer(202, {"Location": "/x"}, "{}")
    assert code_of(lambda: store.access.begin("ann", "k", "other", 101.0)) == "idempotency_mismatch"
    assert store.access.begin("bob", "k", "other", 101.0) is None
    store.access.forget_key("bob", "k")
    assert store.access.begin("bob", "k", "f", 102.0) is None
    assert store.access.begin("bob", "k", "f", 200.0) is None, "the first request died"
    assert store.access.prune(150.0) == 1


def test_keys_open_until_they_are_revoked(store: Store) -> None:
    key = store.access.add_key(KeyRow("key_1", "ann", "laptop", "person", 100.0, expires=500.0), "h")
    assert store.access.key("h", 200.0) == key
    assert store.access.key("h", 501.0) is None, "it has expired"
    store.access.touch_key(key.id, 101.0)
    assert store.access.keys("ann")[0].used == 101.0
    store.access.revoke_key(key.id, 102.0)
    assert store.access.key("h", 300.0) is None
    assert code_of(lambda: store.access.revoke_key("nothing", 102.0)) == "not_found"


def test_an_end_calls_who_listens(store: Store) -> None:
    every = store.hooks.add("ann", "https://a", "s", [], 100.0)
    store.hooks.add("ann", "https://b", "s", ["job.failed"], 100.0)
    store.hooks.add("bob", "https://c", "s", [], 100.0)
    off = store.hooks.add("ann", "https://d", "s", [], 100.0)
    store.hooks.disable(off.id, "gone", 100.0)
    job = store.jobs.add(new_job())
    store.queue.finish(claim(store), 110.0, Outcome(), lambda: None)
    taken = store.hooks.take_due(111.0, 171.0)
    assert taken is not None
    call, hook = taken
    assert (hook.id, call.event, call.payload["data"]["id"], call.attempts) == (every.id, "job.succeeded", job.id, 1)
    assert store.hooks.take_due(112.0, 172.0) is None, "it is somebody's until 171"
    store.hooks.settle(call, 112.0, 500, "no", 117.0)
    again = store.hooks.take_due(118.0, 178.0)
    assert again is not None
    store.hooks.settle(call, 119.0, 200, "late", None)
    assert store.hooks.delivery("ann", call.id).state == "waiting", "another took it in between"
    store.hooks.settle(again[0], 119.0, 204, "", None)
    assert store.hooks.deliveries("ann", every.id).items[0].state == "delivered"


def test_estimates_come_from_past_runs(store: Store) -> None:
    for at in range(3):
        store.jobs.add(new_job(created=float(at), units=2))
        store.queue.finish(claim(store, 100.0), 100.0 + 2 * (at + 1), Outcome(), lambda: None)
    store.staff.arrive(WorkerRow("w", ["cpu"], sorted(DRAWS), {}, "cpu", 190.0, 190.0))
    job = store.jobs.add(new_job(units=4))
    standing = store.jobs.standing(job, 200.0)
    assert (standing.place, standing.seconds, standing.missing) == (1, 8.0, ())


def test_workers_are_told_to_stop_together(store: Store) -> None:
    for id in ("h:1:a:10", "h:1:a:11", "h:1_a:12"):
        store.staff.arrive(WorkerRow(id, ["cpu"], [], {}, "cpu", 90.0, 90.0))
    store.staff.stop("h:1:a")
    assert [store.staff.stopping(id) for id in ("h:1:a:10", "h:1:a:11", "h:1_a:12")] == [True, True, False]
    assert store.staff.beat("h:1:a:10", 150.0)
    assert not store.staff.beat("nobody", 150.0)
    assert [worker.id for worker in store.staff.live(180.0)] == ["h:1:a:10"]
    store.staff.leave("h:1:a:10")
    assert store.staff.prune(150.0) == 2


def test_nothing_is_lost_while_the_database_is_locked(sqlite: Store) -> None:
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
