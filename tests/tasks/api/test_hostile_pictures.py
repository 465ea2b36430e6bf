"""Pictures that are meant to harm, through the API: each is answered with its reason, and nothing else notices."""

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tasks import auth
from tasks.ledger.ledger import open_ledger
from tasks.settings import load_installation
from tests import hostile_pictures
from tests.tasks import servers
from tests.tasks.api.harness import environment, new_home, picture
from tests.tasks.stand import ROOT

QUOTAS = {
    "quotas__photos": 100_000,
    "quotas__photos_a_day": 100_000,
    "quotas__upload_megapixels_a_day": 10_000_000,
    "limits__requests_a_minute": 100_000,
}
REASONS = {"unreadable", "too_large"}
MAX_BYTES = 1_000_000_000
"""Memory at the peak of the API and its decoders, together."""
HEALTH_SECONDS = 0.5
BUSY_HEALTH_SECONDS = 2.0
"""On a machine that runs other tests meanwhile; a decoder that health waited for takes longer."""
THREADS = 6


@dataclass
class Watched:
    """An API in a process of its own, whose memory and health are looked at all the time."""

    url: str
    pid: int
    key: str
    slowest: float = 0
    peak: int = 0
    faults: list[str] = field(default_factory=list)

    def watch(self, ended: threading.Event) -> None:
        """Ask for health and look at memory until the end."""
        with httpx.Client(timeout=10) as http:
            while not ended.wait(0.05):
                began = time.monotonic()
                try:
                    status = http.get(f"{self.url}/health").status_code
                except httpx.TransportError as error:
                    status = repr(error)
                if status != 200:
                    self.faults.append(f"health: {status}")
                self.slowest = max(self.slowest, time.monotonic() - began)
                self.peak = max(self.peak, memory_of(self.pid))

    def try_out(self, person: str, name: str, content: bytes) -> str:
        """Upload a picture and look at it small; how that ended."""
        with httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {self.key}"}, timeout=120) as http:
            upload = [("files", (f"{name}.jpg", content, "image/jpeg"))]
            answer = http.post(f"/people/{person}/selfies", files=upload)
            if answer.status_code != 201:
                return self.checked(name, answer)
            address = f"/selfies/{answer.json()['added'][0]['id']}/file"
            answers = [http.get(address, params={"side": side}) for side in (64, 480)]
            return ["shown" if each.status_code == 200 else self.checked(name, each) for each in answers][-1]

    def checked(self, name: str, answer: httpx.Response) -> str:
        """The reason of a refusal; anything else is a fault."""
        code = answer.json()["code"] if "problem" in answer.headers.get("content-type", "") else ""
        if answer.status_code == 503 and code == "busy" and "retry-after" in answer.headers:
            return code
        if answer.status_code not in (413, 422) or code not in REASONS:
            self.faults.append(f"{name}: {answer.status_code} {code}")
        return code


def memory_of(pid: int) -> int:
    """Peak memory of a process and of its living children, in bytes."""
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True).stdout
    total = 0
    for each in [pid, *map(int, listed.split())]:
        try:
            lines = Path(f"/proc/{each}/status").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    return total


@contextmanager
def watched_api(folder: Path) -> Iterator[tuple[Watched, str]]:
    """An API as an operator starts it, and a person in it who consented."""
    settings = environment(new_home(folder / "home"), **QUOTAS)
    ledger = open_ledger(load_installation(settings).tasks.database)
    key = auth.create_key(ledger, "ann", "ann's", "person", time.time()).secret
    person = ledger.people.add("ann", "Ann", "1", "Ann", time.time()).id
    ledger.close()
    port = servers.free_port()
    command, quiet = [sys.executable, "-m", "app", "api", "--port", str(port)], subprocess.DEVNULL
    ended = threading.Event()
    with subprocess.Popen(command, cwd=ROOT, env={**os.environ, **settings}, stdout=quiet, stderr=quiet) as api:
        found = Watched(f"http://127.0.0.1:{port}/v1", api.pid, key)
        watching = threading.Thread(target=found.watch, args=(ended,))
        try:
            assert servers.accepts(port, within=60)
            watching.start()
            yield found, person
            assert api.poll() is None, "the API lives"
        finally:
            ended.set()
            if watching.is_alive():
                watching.join()
            api.terminate()


def try_all(api: Watched, person: str, pictures: Iterator[tuple[str, bytes]]) -> Counter[str]:
    """Try pictures out, some at the same time; how many ended how."""
    found: Counter[str] = Counter()
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                item = next(pictures, None)
            if item is None:
                return
            ended = api.try_out(person, *item)
            with lock:
                found[ended] += 1

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def check(api: Watched, person: str, health_seconds: float) -> None:
    """Nothing broke, health answered within the seconds, and a good picture is shown as ever."""
    assert api.faults == []
    assert api.try_out(person, "good", picture(5)) == "shown"
    assert api.peak < MAX_BYTES
    assert api.slowest < health_seconds


def test_some_hostile_pictures_harm_nobody(tmp_path: Path) -> None:
    good = hostile_pictures.photos(96)
    chosen = [
        *hostile_pictures.truncated({name: good[name] for name in ("jpeg", "png", "heif")}, 2500),
        *hostile_pictures.random_headers(good, 2),
        *list(hostile_pictures.huge_sizes(good))[::4],
        *list(hostile_pictures.nested_exif(good))[::2],
        *list(hostile_pictures.of_two_kinds(good))[::5],
        ("many scans", hostile_pictures.with_scans(200, 200, 400)),
    ]
    with watched_api(tmp_path) as (api, person):
        found = try_all(api, person, iter(chosen))
        check(api, person, BUSY_HEALTH_SECONDS)
    assert sum(found.values()) == len(chosen)
    assert {"unreadable", "too_large", "shown"} <= set(found)


@pytest.mark.chaos
def test_500_hostile_pictures_harm_nobody(tmp_path: Path) -> None:
    """Every kind, with bombs of the largest size that is allowed to each format, and larger."""
    good = hostile_pictures.photos()
    bombs = [each for megapixels in (26, 50, 72, 96) for each in hostile_pictures.bombs(megapixels)]
    chosen = [*hostile_pictures.everything(good), *bombs]
    with watched_api(tmp_path) as (api, person):
        found = try_all(api, person, iter(chosen))
        sys.stdout.write(
            f"\n{len(chosen)} pictures: {dict(found)}; memory {api.peak / 1e6:.0f} MB; health {api.slowest * 1000:.0f} ms\n"
        )
        check(api, person, HEALTH_SECONDS)
    assert len(chosen) >= 500
