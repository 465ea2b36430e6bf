"""Real processes for the tests: `python -m tests.tasks.processes worker`, or `claim DATABASE`."""

import json
import os
import resource
import sys
import time
from pathlib import Path

from tasks import logs
from tasks.ledger.ledger import open_ledger
from tasks.queue import worker
from tasks.settings import load_installation


def work() -> int:
    """A Celery worker; QUEUES, PROCESSES, FLOWS (default: the fake flows) and LIMIT (bytes a file may have) come by the
    environment."""
    limit = int(os.environ.get("LIMIT", "0"))
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    logs.configure("worker")
    options = worker.WorkerOptions(
        queues=os.environ.get("QUEUES", "cpu").split(","),
        processes=int(os.environ.get("PROCESSES", "1")),
        start="spawn" if os.environ.get("START") == "spawn" else "fork",
        flows=os.environ.get("FLOWS", "tests.tasks.fake_flows:open_flows"),
    )
    return worker.run(load_installation(), options)


def claim(database: str) -> int:
    """Claim and finish jobs until there are none for a second; tells which."""
    from tasks.ledger.queue import Outcome

    ledger = open_ledger(database)
    gate = Path(database.removeprefix("sqlite:///")).parent / "gate"
    (gate.parent / f"ready-{os.getpid()}").touch()
    while not gate.exists():
        time.sleep(0.01)
    claimed: list[str] = []
    last = time.monotonic()
    while time.monotonic() - last < 1:
        job = ledger.queue.claim(f"w{os.getpid()}", "cpu", {"prepare"}, time.time(), 60)
        if job is None:
            time.sleep(0.05)
            continue
        last = time.monotonic()
        time.sleep(0.01)
        claimed.append(job.id)
        ledger.queue.finish(job, time.time(), Outcome(), lambda: None)
    sys.stdout.write(json.dumps(claimed))
    return 0


if __name__ == "__main__":
    sys.exit(work() if sys.argv[1] == "worker" else claim(sys.argv[2]))
