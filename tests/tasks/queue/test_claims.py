"""Many who claim at once: threads on both databases, processes on SQLite."""

import json
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tasks.ledger.ledger import Ledger
from tasks.ledger.queue import Outcome
from tests.tasks.stand import ROOT, new_job, wait_until


def test_twenty_claim_sixty_jobs_each_once(ledger: Ledger) -> None:
    added = [ledger.jobs.add(new_job(f"owner{at % 3}", created=float(at))).id for at in range(60)]
    start = threading.Barrier(20)
    clock = iter(range(100, 1_000_000))

    def work(number: int) -> list[tuple[str, str]]:
        mine = []
        start.wait()
        while (job := ledger.queue.claim(f"w{number}", "cpu", {"draw:studio"}, next(clock), 600)) is not None:
            mine.append((job.id, job.owner))
            ledger.queue.finish(job, next(clock), Outcome(), lambda: None)
        return mine

    with ThreadPoolExecutor(20) as pool:
        claimed = [each for part in pool.map(work, range(20)) for each in part]
    assert Counter(id for id, _ in claimed) == Counter(added)
    assert all(ledger.jobs.get(owner, id).state == "succeeded" for id, owner in claimed)


def test_processes_claim_each_job_once(sqlite: Ledger, tmp_path: Path) -> None:
    added = [sqlite.jobs.add(new_job(f"owner{at % 3}", needs=frozenset({"prepare"}))).id for at in range(60)]
    command = [sys.executable, "-m", "tests.tasks.processes", "claim", str(sqlite.database.engine.url)]
    processes = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    wait_until(lambda: len(list(tmp_path.glob("ready-*"))) == 4)
    (tmp_path / "gate").touch()
    claimed = [json.loads(process.communicate(timeout=60)[0]) for process in processes]
    assert Counter(id for part in claimed for id in part) == Counter(added)
    assert sum(1 for part in claimed if part) > 1, "more than one had something to do"


def test_an_owner_who_is_called_as_a_queue_holds_up_no_claim(ledger: Ledger) -> None:
    job = ledger.jobs.add(new_job("cpu"))
    with ThreadPoolExecutor(1) as pool, ledger.jobs.database.snapshot() as connection:
        ledger.jobs.database.lock_owner(connection, "cpu")
        claimed = pool.submit(ledger.queue.claim, "w", "cpu", {"draw:studio"}, 100.0, 60.0).result(timeout=20)
    assert claimed is not None
    assert claimed.id == job.id
