"""The lifecycle of a style with real engines: imported, corrected, tested, published; old portraits stay as they were."""

import time
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import pytest
from starlette.testclient import TestClient

from pipelines.engines import Engines
from pipelines.settings import Settings
from portrait.arrays import Image
from tasks.queue.flows import PortraitFlows
from tasks.queue.runner import JobRunner
from tasks.settings import LeaseSettings
from tests import packs, selfies
from tests.tasks.api.harness import ApiHarness


@dataclass
class Day:
    """An operator, a person, and a worker with real engines."""

    api: ApiHarness
    runner: JobRunner

    @property
    def olga(self) -> TestClient:
        return self.api.client("olga", "operator")

    @property
    def ann(self) -> TestClient:
        return self.api.client("ann")

    def done(self, answer: Any) -> dict[str, Any]:
        """Run what was asked for; the job as it ended."""
        assert answer.status_code == 202, answer.text
        assert self.runner.run_next("cpu")
        job = self.api.context.ledger.jobs.list_all().items[0]
        assert job.id == answer.json()["id"]
        assert job.state == "succeeded", job.fault
        return {"id": job.id, **job.result}

    def drawn(self, job: dict[str, Any]) -> Image:
        """The one portrait of a job."""
        return _read(self.ann.get(f"/portraits/{job['portraits'][0]}/file").content)


@pytest.fixture
def day(api: ApiHarness, settings: Settings, engines: Engines) -> Day:
    flows = PortraitFlows(settings, engines)
    context = api.context
    return Day(api, JobRunner("w", context.ledger, context.files, flows, LeaseSettings(), flows.abilities().words))


@pytest.mark.networks
def test_a_style_is_imported_mended_tried_out_and_published_and_old_portraits_stay(day: Day) -> None:
    olga, ann = day.olga, day.ann
    upload = ("files", ("launch.zip", packs.faulty()))
    imported = olga.post("/operator/styles/import", files=[upload]).json()["styles"][0]
    words = {each["code"] for each in imported["draft"]["findings"]}
    day.done(olga.post("/operator/styles/launch/check"))
    draft = olga.get("/operator/styles/launch").json()["draft"]
    found = {each["code"] for each in draft["findings"]}
    assert (words, found) == ({"licence_missing", "real_person"}, {"licence_missing", "real_person", "no_face"})
    assert olga.post("/operator/styles/launch/publish", json={}).json()["code"] == "style_faults"

    content = draft["content"] | {"licence": "CC0-1.0", "title": "Launch"}
    draft = olga.put("/operator/styles/launch/draft", json={"content": content, "edition": draft["edition"]}).json()[
        "draft"
    ]
    sent = {"file": ("astronaut.jpg", selfies.jpeg(_larger(selfies.astronaut())))}
    olga.post("/operator/styles/launch/picture", files=sent, params={"edition": draft["edition"]})
    tested = day.done(olga.post("/operator/styles/launch/test"))
    draft = olga.get("/operator/styles/launch").json()["draft"]
    assert (draft["findings"], draft["publishable"]) == ([], True)
    assert (draft["test"]["job"], draft["test"]["current"]) == (tested["id"], True)
    assert [each["sitter"] for each in draft["test"]["samples"]] == ["astronaut", "third player", "fourth player"]
    assert all(each["distance"] < 0.6 for each in draft["test"]["samples"]), draft["test"]
    for number in (1, 2, 3):
        assert _read(olga.get(f"/operator/styles/launch/test/{number}").content).shape == (640, 640, 3)
    assert olga.post("/operator/styles/launch/publish", json={"edition": draft["edition"]}).json()["version"] == 1

    person = _judged(day)
    order = {"people": {"1": person}, "style": "launch", "seed": 3}
    first = day.done(ann.post("/generations", json=order))
    before = day.drawn(first)
    portrait = ann.get(f"/portraits/{first['portraits'][0]}").json()
    assert portrait["recipe"]["style"] == {"id": "launch", "version": 1, "kind": "template"}

    content = olga.get("/operator/styles/launch").json()["content"] | {"retouch": 1.0}
    draft = olga.put("/operator/styles/launch/draft", json={"content": content}).json()["draft"]
    sent = {"file": ("astronaut.jpg", selfies.jpeg(_larger(selfies.astronaut()[:, ::-1])))}
    olga.post("/operator/styles/launch/picture", files=sent, params={"edition": draft["edition"]})
    day.done(olga.post("/operator/styles/launch/check"))
    assert olga.post("/operator/styles/launch/publish", json={}).json()["version"] == 2
    assert olga.post("/operator/styles/launch/retire", params={"version": 1}).json()["offered"] == 2

    second = day.drawn(day.done(ann.post("/generations", json=order)))
    again = day.done(ann.post(f"/portraits/{portrait['id']}/remake"))
    assert np.array_equal(day.drawn(again), before)
    once_more = day.done(ann.post(f"/portraits/{again['portraits'][0]}/remake"))
    assert np.array_equal(day.drawn(once_more), before)
    assert not np.array_equal(second, before)
    assert ann.get(f"/portraits/{again['portraits'][0]}").json()["style_version"] == 1
    report = olga.get("/operator/styles/launch/figures").json()
    assert [(each["version"], each["uses"], each["portraits"]) for each in report["versions"]] == [(2, 1, 1), (1, 3, 3)]


def _judged(day: Day) -> str:
    """A person of whom one photo was judged."""
    id = day.api.context.ledger.people.add("ann", "Ann", "1", "Ann", time.time()).id
    photo = selfies.jpeg(selfies.player("player 3"))
    day.ann.post(f"/people/{id}/selfies", files=[("files", ("me.jpg", photo))]).raise_for_status()
    day.done(day.ann.post("/trainings", json={"person": id}))
    return id


def _larger(image: Image) -> Image:
    """At 640 px, where the face is wide enough for lint to be quiet."""
    return np.asarray(cv2.resize(np.ascontiguousarray(image), (640, 640), interpolation=cv2.INTER_CUBIC), np.uint8)


def _read(content: bytes) -> Image:
    return np.asarray(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR), np.uint8)
