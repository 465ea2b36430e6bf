import os
import threading
import time
from dataclasses import replace

import pytest

from portrait.errors import OperatorError, UserError
from tasks.jobs import DAY, Limits
from tasks.ledger.privacy.erasures import Request
from tasks.ledger.queue import Outcome
from tasks.ledger.rows import TemplateRow
from tasks.queue import broker
from tasks.settings import TaskSettings
from tests.tasks.stand import Stand, new_job, wait_until


def test_what_a_dead_worker_held_is_queued_and_rung_for(stand: Stand) -> None:
    job = stand.add_job(notify=False)
    assert stand.ledger.queue.claim("w", "cpu", {"draw:studio"}, 100.0, 3.0)
    report = stand.keeper.requeue(200.0)
    assert (report.requeued, report.notified) == (1, ("cpu",))
    assert stand.get_job(job).losses == 1
    assert stand.keeper.requeue(201.0).notified == (), "one ring that is not heard yet is enough"
    assert broker.pending_messages(stand.app, "cpu") == 1


def test_nothing_to_do_is_no_ring(stand: Stand) -> None:
    assert stand.keeper.requeue(time.time()).notified == ()


def test_calls_that_are_due_are_rung_for(stand: Stand) -> None:
    hook = stand.ledger.webhooks.add("ann", "https://example.com/", "whsec_eA==", [], 1.0)
    assert stand.keeper.requeue(10.0).notified == ()
    stand.ledger.webhooks.enqueue("ann", hook.id, "test", {}, 5.0)
    assert stand.keeper.requeue(4.0).notified == ()
    assert stand.keeper.requeue(10.0).notified == ("io",)


def test_what_nobody_takes_expires(stand: Stand) -> None:
    job = stand.ledger.jobs.add(new_job(created=0.0))
    assert stand.keeper.requeue(73 * 3600.0).expired == 1
    assert stand.get_job(job).state == "expired"


def test_what_is_past_its_date_is_erased(stand: Stand) -> None:
    ledger, files = stand.ledger, stand.files
    old, new = (ledger.people.add("ann", name, "1", "Ann", at) for name, at in (("Ann", 0.0), ("Bo", 20 * DAY)))
    for person in (old, new):
        files.save([b"x"], files.selfie("ann", person.id, "s"), 9)
    done = ledger.jobs.add(new_job(created=0.0))
    claimed = ledger.queue.claim("w", "cpu", {"draw:studio"}, 1.0, 3.0)
    assert claimed
    ledger.queue.finish(claimed, 2.0, Outcome(), lambda: None)
    orphan = files.staging("job-x", "t1")
    orphan.mkdir(parents=True)
    os.utime(orphan, (1, 1))
    purged = stand.keeper.purge(31 * DAY)
    assert (purged.people, purged.jobs, purged.folders) == (1, 1, 1)
    assert not files.selfie("ann", old.id, "s").exists()
    assert files.selfie("ann", new.id, "s").exists()
    with pytest.raises(UserError):
        ledger.jobs.get("ann", done.id)


def test_files_that_belong_to_no_portrait_go_when_a_lost_job_ends_and_with_each_purge(stand: Stand) -> None:
    ledger, files = stand.ledger, stand.files
    for lost in (True, False):
        job = ledger.jobs.add(new_job())
        assert ledger.queue.claim("w", "cpu", {"draw:studio"}, time.time(), 3.0)
        orphan = files.portrait("ann", job.id, "01.png")
        files.save([b"of a worker that was killed"], orphan, 99)
        ledger.jobs.cancel("ann", job.id, time.time())
        if lost:
            stand.keeper.requeue(time.time() + 4)
        else:
            ledger.queue.requeue_expired(time.time() + 4, Limits())
            assert orphan.exists()
            assert stand.keeper.purge(time.time()).orphans == 1
        assert not orphan.exists()


def test_checkpoints_of_lessons_that_ended_go(stand: Stand) -> None:
    ledger, files = stand.ledger, stand.files
    person = ledger.people.add("ann", "Ann", "1", "Ann", 0.0).id
    names = ("running", "failed", "cancelled")
    jobs = {name: ledger.jobs.add(new_job(created=0.0, kind="train"), [person]) for name in names}
    desks = {name: files.work_dir("ann", person, job.id) for name, job in jobs.items()}
    desks["forgotten"] = files.work_dir("ann", person, "job-x")
    for folder in desks.values():
        files.save([b"x"], folder / "state.pt", 9)
    ledger.jobs.cancel("ann", jobs["cancelled"].id, 1.0)
    for _ in range(2):
        claimed = ledger.queue.claim("w", "cpu", {"draw:studio"}, 2.0, 9 * DAY)
        assert claimed
        if claimed.id == jobs["failed"].id:
            ledger.queue.fail(claimed, 3.0, UserError("no_face", "No."))
    assert stand.keeper.purge(DAY).work_dirs == 2
    assert {name for name, folder in desks.items() if folder.exists()} == {"running", "failed"}, "it may be retried"
    assert stand.keeper.purge(2 * DAY).work_dirs == 1
    assert {name for name, folder in desks.items() if folder.exists()} == {"running"}


def test_what_is_staged_under_a_lease_stays(stand: Stand) -> None:
    stand.add_job(notify=False)
    job = stand.ledger.queue.claim("w", "cpu", {"draw:studio"}, 1.0, 3.0)
    assert job
    assert job.token
    staged = stand.files.staging(job.id, job.token)
    staged.mkdir(parents=True)
    os.utime(staged, (1, 1))
    assert stand.keeper.purge(time.time()).folders == 0


def test_styles_that_were_left_half_unpacked_go_after_a_day(stand: Stand) -> None:
    folder = stand.files.styles / ".desk.x"
    folder.mkdir(parents=True)
    (stand.files.styles / "published").mkdir()
    now = time.time()
    assert stand.keeper.purge(now).folders == 0
    assert stand.keeper.purge(now + 90_000).folders == 1
    assert [path.name for path in stand.files.styles.iterdir()] == ["published"]


def test_the_loop_goes_on_after_a_pass_that_failed(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[float] = []

    def requeue(_: object, now: float) -> None:
        passes.append(now)
        raise OperatorError("database_unreachable", "No.")

    monkeypatch.setattr("tasks.queue.keeper.Keeper.requeue", requeue)
    stop = threading.Event()
    thread = threading.Thread(target=stand.keeper.run, args=(stop,))
    thread.start()
    wait_until(lambda: len(passes) >= 2)
    stop.set()
    thread.join(5)
    assert not thread.is_alive()


def test_the_loop_finishes_what_somebody_began_to_erase(stand: Stand) -> None:
    ledger, files = stand.ledger, stand.files
    person = ledger.people.add("ann", "Ann", "1", "Ann", time.time()).id
    files.save([b"x"], files.selfie("ann", person, "s"), 9)
    begun = ledger.erasures.erase_person(Request("ann", time.time()), person)
    assert files.person("ann", person).exists()
    stand.start_keeper()
    wait_until(lambda: ledger.erasures.get("ann", begun.id).done)
    assert not files.person("ann", person).exists()


def test_a_broker_that_is_away_harms_nobody(stand: Stand) -> None:
    app = broker.create_app(TaskSettings(broker="amqp://127.0.0.1:9//"))
    began = time.monotonic()
    assert not broker.notify(app, "cpu")
    assert broker.pending_messages(app, "cpu") is None
    assert time.monotonic() - began < 5, "who asks for a job does not wait for the broker"


@pytest.mark.parametrize("url", ["", "filesystem://", "sqs://x"])
def test_a_broker_that_cannot_be_is_refused(url: str) -> None:
    with pytest.raises(OperatorError) as caught:
        broker.create_app(TaskSettings(broker=url))
    assert caught.value.code == "bad_settings"


def test_the_database_is_rewritten_once_something_was_erased(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    rewrites: list[bool] = []
    answers = iter([False, True])

    def rewrite(_: object) -> bool:
        rewrites.append(next(answers))
        return rewrites[-1]

    monkeypatch.setattr("tasks.ledger.database.Database.rewrite", rewrite)
    monkeypatch.setattr("tasks.queue.keeper.REWRITE_INTERVAL", 0.0)
    keeper = replace(stand.keeper, settings=replace(stand.keeper.settings, keeper=0.01))
    person = stand.ledger.people.add("ann", "Ann", "1", "Ann", time.time()).id
    stop = threading.Event()
    running = threading.Thread(target=keeper.run, args=(stop,))
    running.start()
    try:
        time.sleep(0.2)
        assert rewrites == [], "nothing was erased"
        stand.ledger.erasures.erase_person(Request("ann", time.time()), person)
        wait_until(lambda: len(rewrites) == 2)
        time.sleep(0.2)
    finally:
        stop.set()
        running.join()
    assert rewrites == [False, True], "again where a table was in use, and then no more"


def test_what_was_deleted_too_long_ago_to_be_restored_is_erased_in_a_pass(stand: Stand) -> None:
    now = time.time()
    picture = TemplateRow("template_1", "ann", "beach.png", 9, 4, 3, "PNG", "job_1", now)
    stand.ledger.templates.add(picture, 10)
    stand.ledger.undo.remove(Request("ann", now - 100), "template", picture.id)
    keeper = replace(stand.keeper, settings=replace(stand.keeper.settings, keeper=0.01))
    stop = threading.Event()
    running = threading.Thread(target=keeper.run, args=(stop,))
    running.start()
    try:
        wait_until(lambda: bool(stand.ledger.erasures.list("ann").items))
    finally:
        stop.set()
        running.join()
    with pytest.raises(UserError) as caught:
        stand.ledger.templates.get("ann", picture.id)
    assert caught.value.code == "erased"
