"""Many machines as processes, from settings alone: PostgreSQL, Redis, S3, API, app, keeper, two workers, a proxy with TLS."""

import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
import pytest
from starlette.testclient import TestClient

from app.terminal import sample_photos
from tasks import auth
from tasks.jobs import Job
from tasks.settings import load
from tests.app.cli_runner import run
from tests.certificates import make_certificate
from tests.reverse_proxy import reverse_proxy
from tests.tasks import servers
from tests.tasks.api.harness import open_api
from tests.tasks.conftest import create_database, stand_at
from tests.tasks.servers import free_port
from tests.tasks.stand import ROOT, Stand, kill, portraits_of, wait_until, wait_while_told

pytestmark = [pytest.mark.services, pytest.mark.models, pytest.mark.networks]
JOBS = 5
"""Jobs that are placed before a worker is replaced."""


@dataclass
class Topology:
    """The installation as its operator and its users have it."""

    stand: Stand
    url: str
    """Of the proxy: what people open."""
    certificate: Path
    server: str
    """Of PostgreSQL."""
    parts: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    def start(self, part: str, *options: str) -> None:
        """Start a part as `portrait PART`, on a machine of its own as far as the data folder goes."""
        words = (part.partition("-")[0], *options)
        machine = {"PORTRAIT_TASKS__DATA": str(self.stand.home / f"data-{part}"), "OMP_NUM_THREADS": "1"}
        with (self.stand.home / f"{part}.log").open("ab") as log:
            self.parts[part] = subprocess.Popen(
                [sys.executable, "-m", "app", *words],
                cwd=ROOT,
                env={**os.environ, **self.stand.environment, **machine},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def client(self) -> httpx.Client:
        """A caller who trusts the proxy's certificate."""
        trusted = ssl.create_default_context(cafile=str(self.certificate))
        return httpx.Client(base_url=self.url, verify=trusted, trust_env=False, timeout=60)

    @contextmanager
    def restored(self, name: str, backup: Path, *options: str) -> Iterator[TestClient]:
        """A caller of an API over an empty database, bucket and home, into which a backup was restored."""
        home = self.stand.home / name
        settings = {
            "PORTRAIT_HOME": str(home),
            "PORTRAIT_TASKS__DATA": str(home / "data"),
            "PORTRAIT_TASKS__DATABASE": create_database(self.server, name),
            **servers.storage_settings(self.stand.environment["PORTRAIT_TASKS__STORAGE__ENDPOINT"], name),
        }
        environment = {**self.stand.environment, **settings}
        _portrait(environment, "db", "restore", str(backup), *options)
        with open_api(environment) as api:
            yield api.anonymous()

    def log(self) -> str:
        """The ends of all logs."""
        files = sorted(self.stand.home.glob("*.log"))
        return "\n".join(f"{file.name}: {file.read_text()[-1500:]}" for file in files)

    def close(self) -> None:
        """End every part."""
        for process in self.parts.values():
            kill(process)


@pytest.fixture(scope="module")
def topology(
    migrated: str, started: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Topology]:
    """PostgreSQL, Redis, S3, API, app, keeper, and the proxy before API and app; no worker yet."""
    home, api, app, proxy = tmp_path_factory.mktemp("topology"), free_port(), free_port(), free_port()
    certificate, url = make_certificate(home), f"https://127.0.0.1:{proxy}"
    settings = {
        "PORTRAIT_TASKS__DATABASE": create_database(migrated, "topology", "migrated"),
        "PORTRAIT_TASKS__BROKER": f"{started('redis')}/15",
        "PORTRAIT_TASKS__APP__URL": url,
        "PORTRAIT_TASKS__APP__PROXIES": "127.0.0.1",
        "PORTRAIT_TASKS__LEASE__SECONDS": "60",
        "PORTRAIT_MODELS__FOLDER": str(load().models.folder),
        **servers.storage_settings(started("seaweedfs"), "topology"),
    }
    with ExitStack() as stack:
        stand = stack.enter_context(contextmanager(stand_at)(home, settings))
        stack.enter_context(reverse_proxy(proxy, certificate, {"/": app, "/v1/": api}))
        installed = Topology(stand, url, certificate[0], migrated)
        stack.callback(installed.close)
        installed.start("api", "--port", str(api))
        installed.start("app", "--port", str(app), "--api-url", f"http://127.0.0.1:{api}")
        installed.start("keeper")
        with installed.client() as client:
            for path in ("/v1/health", "/_stcore/health"):
                wait_until(lambda path=path: _answers(client, path), what=installed.log())
        yield installed


def _answers(client: httpx.Client, path: str) -> bool:
    try:
        return client.get(path).status_code == 200
    except httpx.TransportError:
        return False


def test_from_a_photo_to_a_portrait_through_the_proxy(topology: Topology, tmp_path: Path) -> None:
    topology.start("worker-1", "--queues", "cpu")
    topology.start("worker-2", "--queues", "cpu")
    with topology.client() as client:
        code = auth.create_code(topology.stand.ledger, "ann", "person", topology.stand.ledger.now())
        key = client.post("/v1/sign-in", json={"code": code}).json()["secret"]
        api = {"Authorization": f"Bearer {key}"}
        portrait = _draw(topology, client, api, tmp_path)
        whole = client.get(f"/v1/portraits/{portrait}/file", headers=api).content
        part = client.get(f"/v1/portraits/{portrait}/file", headers=api | {"Range": "bytes=100-199"})
        assert (part.status_code, part.content) == (206, whole[100:200])
    with topology.client() as browser:
        code = auth.create_code(topology.stand.ledger, "ann", "person", topology.stand.ledger.now())
        _sign_in(browser, code)
        assert browser.get("/").status_code == 200
        assert browser.get(f"/picture/portrait/{portrait}").headers["content-type"].startswith("image/")
    _portrait(topology.stand.environment, "worker", "--drain")
    assert [topology.parts[each].wait(30) for each in ("worker-1", "worker-2")] == [0, 0]
    assert topology.parts["api"].poll() is None
    file = tmp_path / "portrait.tar"
    _portrait(topology.stand.environment, "db", "backup", str(file))
    with topology.restored("back", file, "--no-erasures") as restored:
        again = restored.get(f"/portraits/{portrait}/file", headers=api)
        assert (again.status_code, again.content) == (200, whole)
    with topology.client() as client:
        (person,) = client.get("/v1/people", headers=api).json()["items"]
        assert client.delete(f"/v1/people/{person['id']}", headers=api).status_code == 200
    with topology.restored("again", file, "--erasures", str(topology.stand.home / "erasures.jsonl")) as restored:
        paths = (f"/portraits/{portrait}/file", f"/people/{person['id']}")
        assert [restored.get(path, headers=api).status_code for path in paths] == [410, 410]


def _portrait(environment: Mapping[str, str], *words: str) -> None:
    """Run a command of the operator's, who has nothing but these settings; fails with what it said."""
    with patch.dict(os.environ, environment):
        answer = run(*words)
    assert answer.returncode == 0, answer.stdout + answer.stderr


def _sign_in(browser: httpx.Client, code: str) -> None:
    """Follow the link that signs in: the cookie is for https and this host alone."""
    page = browser.get("/sign-in", params={"code": code})
    assert page.status_code == 200
    answer = browser.post("/sign-in", data={"code": code}, headers={"Origin": str(browser.base_url).rstrip("/")})
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-portrait_key=")
    assert "Secure" in cookie
    assert "max-age" in answer.headers["strict-transport-security"]


def _draw(topology: Topology, client: httpx.Client, api: dict[str, str], folder: Path) -> str:
    """Add somebody with a photo, have it judged, and draw a portrait; returns its id."""
    consent = {"agreed": True, "text_version": "2026-12", "language": "en", "given_by": "Ann"}
    consent |= {"given_for": "self", "adult": True}
    person = client.post("/v1/people", json={"name": "Ann", "consent": consent}, headers=api).json()["id"]
    photo = sample_photos.write_selfies(folder)[0]
    added = client.post(f"/v1/people/{person}/selfies", files={"files": (photo.name, photo.read_bytes())}, headers=api)
    assert added.status_code == 201, added.text
    _succeeded(topology, client, api, client.post("/v1/trainings", json={"person": person}, headers=api))
    order = {"people": {"1": person}, "style": "studio-warm", "size": {"width": 256, "height": 320}}
    job = _succeeded(topology, client, api, client.post("/v1/generations", json=order, headers=api))
    return job["result"]["portraits"][0]


def _succeeded(
    topology: Topology, client: httpx.Client, api: dict[str, str], ordered: httpx.Response
) -> dict[str, Any]:
    """The job as it is when it has succeeded."""
    assert ordered.status_code == 202, ordered.text

    def told() -> tuple[bool, object]:
        job = client.get(ordered.headers["location"], headers=api).json()
        return job["finished"] is not None, (job["state"], job["progress"], job["message"])

    wait_while_told(told, 120, topology.log)
    job = client.get(ordered.headers["location"], headers=api).json()
    assert job["state"] == "succeeded", job["fault"]
    return job


def test_workers_are_replaced_one_by_one_while_jobs_run_and_none_is_lost_or_doubled(topology: Topology) -> None:
    stand = topology.stand
    running = [stand.start_worker(PORTRAIT_TASKS__WORKERS__GRACE="60") for _ in range(2)]
    jobs: list[Job] = []
    for _ in range(4):
        jobs += [stand.add_job(f"owner{at % 4}", steps=4, seconds=0.15, count=2) for at in range(JOBS)]
        waiting = stand.count_unfinished()
        wait_until(lambda before=waiting: stand.count_unfinished() < before, what=topology.log())
        assert stand.count_unfinished(), "jobs still run"
        replaced = running.pop(0)
        replaced.send_signal(signal.SIGTERM)
        running.append(stand.start_worker(PORTRAIT_TASKS__WORKERS__GRACE="60"))
        assert replaced.wait(60) == 0
    wait_until(lambda: not stand.count_unfinished(), what=topology.log())
    for job in jobs:
        done = stand.get_job(job)
        assert (done.state, done.losses, done.failures, stand.count_runs(job)) == ("succeeded", 0, 0, 1)
        assert len(portraits_of(stand.ledger, job)) == 2
