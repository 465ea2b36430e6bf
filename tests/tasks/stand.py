"""An installation for one test: a ledger, a broker, worker processes with fake flows, and a keeper."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from celery import Celery

from tasks.files import Files, open_files
from tasks.jobs import FINISHED, Job, required_abilities
from tasks.ledger.database import new_id
from tasks.ledger.ledger import Ledger, open_ledger
from tasks.ledger.pictures import PortraitFilter
from tasks.ledger.rows import PortraitRow
from tasks.queue import broker
from tasks.queue.keeper import Keeper
from tasks.settings import Installation, load_installation
from tests.tasks import forked

ROOT = Path(__file__).parent.parent.parent
LEASE = 8.0


def new_job(owner: str = "ann", created: float | None = None, **values: Any) -> Job:
    """A queued job that the fake flows can do."""
    now = time.time() if created is None else created
    given: dict[str, Any] = {
        "kind": "generate",
        "queue": "cpu",
        "params": {},
        "needs": required_abilities("generate", ["studio"]),
        **values,
    }
    return Job(id=new_id("job", now), owner=owner, created=now, **given)


def portraits_of(ledger: Ledger, job: Job) -> list[PortraitRow]:
    """The portraits of a job, the best first."""
    return sorted(ledger.portraits.list(job.owner, PortraitFilter(job=job.id)).items, key=lambda row: row.number)


def wait_until(true: Callable[[], object], within: float = 90.0, what: str = "") -> None:
    """Wait for something; fails when it takes too long even for a machine that does ten things at once."""
    began = time.monotonic()
    while not true():
        waited = time.monotonic() - began
        assert waited < within, what or "it took too long"
        # What takes long is asked about more seldom: asking takes time from it.
        time.sleep(min(0.25, max(0.02, waited / 20)))


def wait_while_told(
    told: Callable[[], tuple[bool, object]], within: float = 300.0, log: Callable[[], str] = str
) -> None:
    """Wait until the first of two is true, as long as the second changes: fails what tells nothing new for so many seconds."""
    (done, before), until = told(), time.monotonic() + within
    while not done:
        assert time.monotonic() < until, f"nothing new since {before}\n{log()}"
        time.sleep(min(0.25, within / 10))
        done, now = told()
        if now != before:
            before, until = now, time.monotonic() + within


@cache
def empty_ledger() -> bytes:
    """A SQLite ledger of the present schema: bringing it there takes longer than most tests."""
    with TemporaryDirectory() as folder:
        place = Path(folder) / "ledger.db"
        open_ledger(f"sqlite:///{place}").close()
        return place.read_bytes()


@dataclass
class Stand:
    """One installation, from the test's side."""

    home: Path
    environment: Mapping[str, str]
    installation: Installation = field(init=False)
    ledger: Ledger = field(init=False)
    app: Celery = field(init=False)
    workers: list["subprocess.Popen[bytes]"] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _keeper_thread: threading.Thread | None = None

    def __post_init__(self) -> None:
        self.installation = load_installation(self.environment)
        self.ledger = open_ledger(self.installation.tasks.database)
        self.app = broker.create_app(self.installation.tasks)

    @cached_property
    def files(self) -> Files:
        return open_files(self.installation.tasks)

    @property
    def keeper(self) -> Keeper:
        return Keeper(self.ledger, self.files, self.app, self.installation.tasks)

    def start_keeper(self) -> None:
        """Start a keeper."""
        self._keeper_thread = threading.Thread(target=self.keeper.run, args=(self._stop,))
        self._keeper_thread.start()

    def start_worker(self, ready: bool = True, anew: bool = False, **more: str) -> "subprocess.Popen[bytes]":
        """Start a worker in a process group of its own, and wait until it is there.

        It is forked from a process that has imported what workers do, and the modules that `LOADED` names: those that several
        workers of a test need. `anew`: from nothing, as whatever is loaded into it by its environment must be.
        """
        before, environment = self.worker_ids(), {**os.environ, **self.environment, **more}
        run = self._start if anew or "LD_PRELOAD" in more else self._fork
        started = run(environment, self.home / "workers.log")
        self.workers.append(started)
        if ready:
            wait_until(lambda: self.worker_ids() - before, what=self.log())
        return started

    @staticmethod
    def _fork(environment: Mapping[str, str], log: Path) -> "subprocess.Popen[bytes]":
        template = forked.template(*forked.WORKER, *environment.get("LOADED", "").split())
        return template.fork("tests.tasks.processes:work", environment, log)

    @staticmethod
    def _start(environment: Mapping[str, str], log: Path) -> "subprocess.Popen[bytes]":
        with log.open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "tests.tasks.processes", "worker"],
                cwd=ROOT,
                env=environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def add_job(self, owner: str = "ann", notify: bool = True, **params: Any) -> Job:
        """Add a job and notify the workers."""
        job = self.ledger.jobs.add(new_job(owner, params=params))
        if notify:
            broker.notify(self.app, "cpu")
        return job

    def get_job(self, job: Job) -> Job:
        return self.ledger.jobs.get(job.owner, job.id)

    def wait_for(self, job: Job, *states: str, within: float = 90.0) -> Job:
        """Wait until a job is in one of these states."""
        wait_until(lambda: self.get_job(job).state in states, within, f"{self.get_job(job)}\n{self.log()}")
        return self.get_job(job)

    def count_unfinished(self) -> int:
        """How many jobs have not ended."""
        counts = self.ledger.jobs.count_by_state()
        return sum(count for (_, state), count in counts.items() if state not in FINISHED)

    def count_runs(self, job: Job) -> int:
        """How often a run of a job began."""
        file = self.home / "runs"
        return file.read_text().split().count(job.id) if file.exists() else 0

    def worker_ids(self) -> set[str]:
        return {worker.id for worker in self.ledger.workers.list_live(time.time())}

    def log(self) -> str:
        file = self.home / "workers.log"
        return file.read_text()[-3000:] if file.exists() else ""

    def close(self) -> None:
        self._stop.set()
        if self._keeper_thread is not None:
            self._keeper_thread.join()
        for worker in self.workers:
            kill(worker)
        self.ledger.close()
        self.app.close()


def kill(worker: "subprocess.Popen[bytes]") -> None:
    """`kill -9` of the worker's process group."""
    with suppress(ProcessLookupError):
        os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()
