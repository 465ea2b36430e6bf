"""What a worker keeps of memory over many jobs: `python -m tests.benchmarks.worker_memory [COUNT]`.

In an installation of its own a person is made ready, studio portraits of every backdrop are asked for, and one worker draws
them; the memory of all its processes is read while it does, as their shares of what they have in common (PSS).
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from portrait.studio import backdrops
from tasks.settings import load_installation
from tests import selfies
from tests.tasks.api.harness import ApiHarness, environment, open_api
from tests.tasks.stand import ROOT

COUNT, EARLY, SIDE = 1000, 0.2, 320
"""Jobs, the share of them after which the worker is warm, and the portraits' width in pixels."""
LOOKS = 5
"""Readings of a figure, of which the least counts: between two jobs."""


def main() -> None:
    """Print megabytes early and at the end."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else COUNT
    sys.stdout.write("| jobs | MB |\n|---|---|\n")
    with TemporaryDirectory() as folder:
        home = Path(folder)
        quotas = {"quotas__jobs": count + 9, "quotas__portraits_a_day": 9 * count + 9}
        given = environment(home, broker=f"filesystem://{home}/broker", **quotas)
        given |= {"PORTRAIT_MODELS__FOLDER": str(load_installation().flows.models.folder)}
        with open_api(given) as api, _worker(home, given) as worker:
            person = _person(api)
            names = [name.removeprefix("studio-") for name in backdrops.NAMES]
            orders = [api.client().post("/generations", json=_order(person, number, names)) for number in range(count)]
            assert all(order.status_code == 202 for order in orders), orders[-1].text
            for jobs in (round(EARLY * count), count):
                _wait(api, jobs + 1)
                sys.stdout.write(f"| {jobs} | {min(_look(worker) for _ in range(LOOKS)):.0f} |\n")
                sys.stdout.flush()


def _person(api: ApiHarness) -> str:
    client = api.client()
    id = api.context.ledger.people.add("ann", "Ann", "1", "Ann", time.time()).id
    photo = {"files": ("a.jpg", selfies.jpeg(selfies.astronaut()), "image/jpeg")}
    client.post(f"/people/{id}/selfies", files=photo).raise_for_status()
    client.post("/trainings", json={"person": id}).raise_for_status()
    _wait(api, 1)
    return id


def _order(person: str, number: int, names: list[str]) -> dict[str, object]:
    size = {"width": SIDE, "height": SIDE * 5 // 4}
    return {"people": {"1": person}, "style": f"studio-{names[number % len(names)]}", "count": 1, "size": size}


def _wait(api: ApiHarness, most: int) -> None:
    """Until so many jobs have succeeded; fails where one ended otherwise."""
    while True:
        states = api.context.ledger.jobs.count_by_state()
        ended = sum(number for (_, state), number in states.items() if state == "succeeded")
        assert not any(state in ("failed", "expired", "cancelled") for _, state in states), states
        if ended >= most:
            return
        time.sleep(0.2)


@contextmanager
def _worker(home: Path, given: dict[str, str]) -> Iterator[int]:
    with (home / "worker.log").open("wb") as log:
        command = [sys.executable, "-m", "app", "worker"]
        started = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **given}, stdout=log, stderr=log)
    try:
        yield started.pid
    finally:
        started.terminate()
        started.wait(30)


def _look(root: int) -> float:
    """Megabytes of a process and of all that it has started."""
    time.sleep(0.3)
    return sum(_pss(pid) for pid in _family(root))


def _family(root: int) -> Iterator[int]:
    yield root
    for task in Path(f"/proc/{root}/task").glob("*/children"):
        for child in task.read_text().split():
            yield from _family(int(child))


def _pss(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0  # it has ended
    return sum(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("Pss:"))


if __name__ == "__main__":
    main()
