"""What an installation does just now, over jobs that wait, run, ended lately and ended long ago."""

import time

from tasks.jobs import Fault, Limits
from tasks.ledger.ledger import Ledger
from tasks.ledger.queue import Outcome
from tasks.ledger.reports.activity import RECENT_SECONDS, ActivityRepository
from tasks.ledger.rows import WorkerRow
from tasks.queue.keeper_beat import KeeperBeat
from tests.tasks.stand import new_job


def test_activity_counts_what_waits_runs_and_ended_lately(ledger: Ledger) -> None:
    now = time.time()

    def claimed(at: float, queue: str = "cpu") -> str:
        job = ledger.queue.claim("host:1:a:2", queue, {"draw:studio"}, at, 1e6)
        assert job is not None
        return job.id

    for age in (1000, 900, 800, 700, 40):
        ledger.jobs.add(new_job(created=now - age))
    ledger.jobs.add(new_job(created=now - 30, queue="gpu.generate"))
    for end, fails in ((now - RECENT_SECONDS - 60, True), (now - 60, True), (now - 30, False)):
        job = ledger.jobs.get_any(claimed(end - 5))
        if fails:
            ledger.queue.retry_or_fail(job, end, Fault("EngineError", "out_of_memory", ""), Limits(failures=1))
        else:
            ledger.queue.finish(job, end, Outcome(), lambda: None)
    runs = claimed(now - 20)
    ledger.queue.report(ledger.jobs.get_any(runs), now, "drawing", 0.5, "Drawing 1 of 2")
    ledger.workers.register(WorkerRow("host:1:a:2", ["cpu", "io"], ["draw:studio"], {}, "cpu", now, now))
    KeeperBeat(ledger)(now)

    found = ActivityRepository(ledger.database).now(now)
    queues = {each.queue: each for each in found.queues}
    assert queues.keys() == {"cpu", "gpu.generate", "io"}
    cpu, gpu = queues["cpu"], queues["gpu.generate"]
    assert (cpu.waiting, round(cpu.oldest_wait), cpu.running, cpu.processes) == (1, 40, 1, 1)
    assert (gpu.waiting, gpu.running, gpu.processes) == (1, 0, 0)
    (running,) = found.running
    assert (running.id, running.owner, running.phase, running.progress) == (runs, "ann", "drawing", 0.5)
    assert round(running.seconds) == 20
    assert found.ended == {"failed": 1, "succeeded": 1}, "the first failed too long ago"
    assert found.failures == {"out_of_memory": 1}
    assert found.per_minute == 2 / 5
    assert [len(each) for each in (found.workers, found.keepers)] == [1, 1]
