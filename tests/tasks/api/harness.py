"""An API for tests, in this process or on a free port: its keys, and one of everything that an owner may have."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

import httpx
import PIL.Image
import uvicorn
from anyio.from_thread import BlockingPortal, start_blocking_portal
from fastapi import FastAPI
from starlette.routing import BaseRoute, Route
from starlette.testclient import TestClient

from tasks import auth
from tasks.api import app as api_app
from tasks.api.context import AppContext
from tasks.jobs import Job
from tasks.ledger.database import new_id
from tasks.ledger.queue import Outcome
from tasks.ledger.rows import IdentityRow, PortraitRow, TrainingSetRow
from tasks.settings import load_installation
from templates.catalog import Catalog
from tests import fakes
from tests.tasks import servers
from tests.tasks.stand import empty_ledger, wait_until

T = TypeVar("T")
CPU_ABILITIES = {"look", "prepare", "draw:studio", "draw:template", "draw:idphoto"}
STUDIO: dict[str, Any] = {
    "schema": 1,
    "id": "mine",
    "kind": "studio",
    "title": "Mine",
    "backdrop": "studio-grey",
    "licence": "CC0-1.0",
}
"""A style as an operator writes it."""


def environment(home: Path, **more: Any) -> dict[str, str]:
    """The environment of an installation whose rings go nowhere and that takes floods; `quotas__jobs=3` and the like on top."""
    limits = ("requests_a_minute", "strangers_a_minute", "strangers", "uploads", "uploads_in_all", "streams")
    tasks = {"broker": "memory://", **{f"limits__{name}": 100_000 for name in limits}, **more}
    return {"PORTRAIT_HOME": str(home)} | {f"PORTRAIT_TASKS__{name.upper()}": str(tasks[name]) for name in tasks}


@cache
def picture(seed: int = 0, person: int = 1, side: int = 160, format: str = "PNG") -> bytes:
    """A small picture; each seed gives other bytes."""
    content = BytesIO()
    PIL.Image.fromarray(fakes.picture(person, seed, side)).save(content, format)
    return content.getvalue()


@dataclass(frozen=True)
class OwnedIds:
    """Ids of one of everything that an owner may have."""

    person: str
    selfie: str
    identity: str
    waiting: str
    """A job that is queued."""
    drawn: str
    """A job that has delivered."""
    portrait: str
    template: str
    webhook: str
    delivery: str
    key: str
    session: str
    owner: str


@dataclass
class ApiHarness:
    """An API with its context, keys, and jobs completed as by a worker."""

    context: AppContext
    app: FastAPI = field(init=False)
    portal: BlockingPortal | None = None
    """The event loop of callers in this process; each request has one of its own without it."""
    _keys: dict[tuple[str, str], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.app = create_app(self.context)

    def key(self, owner: str = "ann", role: auth.Role = "person") -> str:
        """A key of an owner, made the first time it is asked for."""
        if (owner, role) not in self._keys:
            made = auth.create_key(self.context.ledger, owner, f"{owner}'s", role, time.time())
            self._keys[owner, role] = made.secret
        return self._keys[owner, role]

    def client(self, owner: str = "ann", role: auth.Role = "person") -> TestClient:
        """A caller in this process, with a key."""
        return self.anonymous(f"Bearer {self.key(owner, role)}")

    def anonymous(self, authorization: str = "") -> TestClient:
        """A caller in this process who sends that, or no key."""
        client = TestClient(
            self.app,
            base_url="http://testserver/v1",
            headers={"Authorization": authorization} if authorization else {},
            raise_server_exceptions=False,
        )
        client.portal = self.portal
        return client

    def prepared_person(self, owner: str = "ann", name: str = "Ann") -> str:
        """A person with consent, photos judged: somebody who can be drawn."""
        context, now = self.context, time.time()
        id = context.ledger.people.add(owner, name, "1", name, now).id
        added = self.client(owner).post(f"/people/{id}/selfies", files=[("files", ("me.png", picture()))])
        assert added.status_code == 201, added.text
        self.client(owner).post("/trainings", json={"person": id})
        self.complete_next_job("prepare")
        return id

    def complete_next_job(self, kind: str = "", count: int = 1) -> Job:
        """Do what a worker does with the next job, without drawing: a set and an identity, or portraits with files."""
        context, now = self.context, time.time()
        job = context.ledger.queue.claim("w", "cpu", {kind} if kind else CPU_ABILITIES, now, 60)
        assert job is not None, "there is a job to do"
        if job.kind == "prepare":
            return context.ledger.queue.finish(job, now, self._complete_prepare(job, now), lambda: None)
        if job.kind == "generate":
            return context.ledger.queue.finish(job, now, self._complete_generate(job, now, count), lambda: None)
        faces = (str(job.params["template"]), [{"left": 0.1, "top": 0.1, "right": 0.5, "bottom": 0.5}])
        return context.ledger.queue.finish(job, now, Outcome(faces=faces), lambda: None)

    def one_of_each(self, owner: str = "ann", name: str = "Ann") -> OwnedIds:
        """One of everything."""
        person, client = self.prepared_person(owner, name), self.client(owner)
        order = {"people": {"1": person}, "style": "studio-warm"}
        drawn = client.post("/generations", json=order).json()["id"]
        portrait = self.complete_next_job("draw:studio").result["portraits"][0]
        template = client.post("/templates", files={"file": ("beach.png", picture(7))}).json()["id"]
        self.complete_next_job("look")
        webhook = client.post("/webhooks", json={"url": "https://example.org/hook"}).json()["id"]
        store = self.context.ledger
        return OwnedIds(
            person=person,
            selfie=store.people.selfies(owner, person)[0].id,
            identity=store.people.identities(owner, person)[0].id,
            waiting=client.post("/generations", json=order).json()["id"],
            drawn=drawn,
            portrait=portrait,
            template=template,
            webhook=webhook,
            delivery=client.post(f"/webhooks/{webhook}/test").json()["id"],
            key=next(row.id for row in store.api_keys.list(owner)),
            session=self.anonymous().post("/sessions", json={"key": self.key(owner)}).json()["id"],
            owner=owner,
        )

    def stored_files(self) -> list[str]:
        """Every file in the data folder, by its place there."""
        root = self.context.files.root
        return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())

    def _complete_prepare(self, job: Job, now: float) -> Outcome:
        """A set with a crop of each photo, and an identity."""
        store, files, person = self.context.ledger, self.context.files, str(job.params["person"])
        photos = [row.id for row in store.people.selfies(job.owner, person)]
        verdicts_by_file = [{"file": id, "verdict": "use", "reasons": [], "quality": None} for id in photos]
        made = TrainingSetRow(new_id("set", now), job.owner, person, job.id, verdicts_by_file, now)
        folder = files.training_set(job.owner, person, made.id)
        folder.mkdir(parents=True)
        (folder / "crop.png").write_bytes(picture(9))
        crops = [{"file": "crop.png", "source": id} for id in photos]
        references = [{"file": "crop.png", "name": id} for id in photos]
        (folder / "set.json").write_text(
            json.dumps({"crops": crops, "references": references, "photos": verdicts_by_file})
        )
        identity = IdentityRow(new_id("identity", now), job.owner, person, made.id, now)
        verdicts: Mapping[str, Any] = {id: {"verdict": "use", "quality": {"total": 0.9}} for id in photos}
        return Outcome({"identity": identity.id}, training_set=made, identity=identity, verdicts=verdicts)

    def _complete_generate(self, job: Job, now: float, count: int) -> Outcome:
        folder = self.context.files.portraits(job.owner, job.id)
        folder.mkdir(parents=True)
        rows = []
        for number in range(1, count + 1):
            (folder / f"{number:02}.jpg").write_bytes(picture(100 + number, format="JPEG"))
            rows.append(portrait_row(job, number, now))
        return Outcome({"portraits": [row.id for row in rows]}, portraits=rows)


def portrait_row(job: Job, number: int, now: float) -> PortraitRow:
    """The row of a file that was delivered."""
    return PortraitRow(
        id=new_id("portrait", now, number),
        owner=job.owner,
        job=job.id,
        number=number,
        file=f"{number:02}.jpg",
        format="jpg",
        bytes=len(picture(100 + number, format="JPEG")),
        width=160,
        height=160,
        style=str(job.params.get("style") or "picture"),
        style_version=1,
        likeness={"1": {"space": "dlib", "distance": 0.4}},
        scores={"sharpness": 0.8},
        recipe={"seed": 1},
        created=now,
    )


def style_part(language: str = "en", id: str = "studio-warm") -> str:
    """What of a file's name is the title of a built-in style."""
    style = next(entry.style for entry in Catalog().entries() if entry.style.id == id)
    return "-".join(style.titles.get(language, style.title).split())


def create_app(context: AppContext) -> FastAPI:
    """The application of an installation.

    Its routes and its OpenAPI document are the same for all, and made once: each takes longer than most tests.
    """
    if known := _routes():
        with patch.object(api_app, "include_routers", lambda app: app.router.routes.extend(known)):
            app = api_app.create_app(context)
    else:
        app = api_app.create_app(context)
        known += [route for route in app.router.routes if not isinstance(route, Route)]
    describe = app.openapi

    @cache
    def openapi() -> dict[str, Any]:
        documents = _documents()
        if not documents:
            documents.append(describe())
        return deepcopy(documents[0])

    app.openapi = openapi
    return app


@cache
def _routes() -> list[BaseRoute]:
    """What `tasks.api.app` includes of its routers, filled by the first application."""
    return []


@cache
def _documents() -> list[dict[str, Any]]:
    """The OpenAPI document, once an application was asked for it."""
    return []


@contextmanager
def open_api(environment: Mapping[str, str]) -> Iterator[ApiHarness]:
    """An API of an installation, closed at the end."""
    context = api_app.open_context(load_installation(environment))
    try:
        with start_blocking_portal() as portal:
            yield ApiHarness(context, portal=portal)
    finally:
        context.thumbnails.close()
        context.ledger.close()
        context.celery.close()


def new_home(home: Path) -> Path:
    """A folder for an installation, with an empty ledger."""
    home.mkdir(parents=True, exist_ok=True)
    (home / "ledger.db").write_bytes(empty_ledger())
    return home


@dataclass
class ApiServer:
    """An API on a port of this machine."""

    api: ApiHarness
    port: int = field(default_factory=servers.free_port)
    _server: uvicorn.Server | None = None
    _thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, owner: str = "ann", role: auth.Role = "person") -> httpx.Client:
        """A caller over the network, with a key."""
        key = {"Authorization": f"Bearer {self.api.key(owner, role)}"}
        return httpx.Client(base_url=f"{self.url}/v1", headers=key, timeout=60)

    def start(self) -> None:
        """Serve; the context outlives the server, so that it can start again."""
        context = replace(self.api.context)
        app = create_app(context)
        config = uvicorn.Config(
            app, "127.0.0.1", self.port, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, name="served")
        self._thread.start()
        wait_until(lambda: self._server is not None and self._server.started)

    def stop(self) -> None:
        """Stop as at SIGTERM."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join()
            self._server = None


@contextmanager
def api_server(api: ApiHarness) -> Iterator[ApiServer]:
    """Serve an API on a free port."""
    server = ApiServer(api)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def run_concurrently(count: int, call: Callable[[int], T]) -> list[T]:
    """The same call from many threads that start together."""
    gate = threading.Barrier(count)

    def started(number: int) -> T:
        gate.wait()
        return call(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(started, range(count)))
