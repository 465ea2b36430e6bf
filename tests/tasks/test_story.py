"""End to end on tiny networks: the HTTP API, a broker, a worker process of its own, and every mode of drawing."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from app.terminal import sample_photos
from pipelines.deliver import read_recipe
from pipelines.marks import credentials
from pipelines.marks.marks import Marks, open_marks
from tasks.settings import load
from tests import hub_store
from tests.tasks.api.harness import ApiHarness, open_api
from tests.tasks.conftest import stand_at
from tests.tasks.stand import Stand, wait_while_told

pytestmark = [pytest.mark.services, pytest.mark.models, pytest.mark.networks]

SETTINGS = """
[bases.tiny]
path = "{base}"

[train]
rank = 4
batch = 1
exam = {{ every = 0 }}

[draw]
base = "tiny"
device = "cpu"
redraws = 0

# Each portrait has another mark in its pixels: the drawings themselves shall be told apart.
[marks]
invisible = false
"""
MODES: dict[str, dict[str, Any]] = {
    "learned": {"identities": ["lora"]},
    "one photo": {"identities": ["instantid"]},
    "both": {"identities": ["lora", "instantid"], "strengths": {"lora": 0.7}},
    "merged photos": {"identities": ["photomaker"], "preset": "fast"},
    "face tokens": {"identities": ["faceid"], "guidance": 3.0},
}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Stand, ApiHarness]]:
    """An installation with a base of its own and the tiny adapters beside the embedded models; its API and its worker."""
    filled = hub_store.fill(tmp_path)
    for real in load().models.folder.iterdir():
        if not (filled.models.folder / real.name).exists():
            (filled.models.folder / real.name).symlink_to(real)
    (tmp_path / "portrait.toml").write_text(SETTINGS.format(base=filled.bases["xl"].path))
    more = {"PORTRAIT_TASKS__LEASE__SECONDS": "60", "PORTRAIT_TASKS__CPU_FOR_GPU_QUEUES": "true"}
    with contextmanager(stand_at)(tmp_path, more) as stand, open_api(stand.environment) as api:
        stand.start_worker(
            QUEUES="cpu,gpu.train,gpu.generate", FLOWS="tests.tasks.fake_reader_flows:open_flows", OMP_NUM_THREADS="1"
        )
        yield stand, api


def test_from_photos_to_portraits_in_five_modes(served: tuple[Stand, ApiHarness], tmp_path: Path) -> None:
    stand, api = served
    client = api.client()
    person = _person(client, tmp_path / "photos")
    _done(stand, client, client.post("/trainings", json={"person": person}))
    trained = _done(stand, client, client.post("/trainings", json={"person": person, "base": "tiny", "steps": 2}))
    assert trained["result"]["steps"] == 2
    able = {each["name"]: each["ready"] for each in client.get("/abilities").json()["items"]}
    assert all(able[f"base:tiny:{mode}"] for names in MODES.values() for mode in names["identities"])
    assert not able["base:sdxl"]
    pictures: dict[str, np.ndarray] = {}
    for name, mode in MODES.items():
        technique = {"base": "tiny", "steps": 2, **mode}
        order = {"people": {"1": person}, "style": "text-garden", "technique": technique, "seed": 5}
        order |= {"size": {"width": 128, "height": 160}, "format": "png", "traits": {"glasses": "with glasses"}}
        job = _done(stand, client, client.post("/generations", json=order))
        (id,) = job["result"]["portraits"]
        options = client.get(f"/portraits/{id}").json()
        _scored(options)
        file = tmp_path / f"{name}.png"
        file.write_bytes(client.get(f"/portraits/{id}/file").content)
        recipe = _marked(file, open_marks(api.context.installation.flows.marks))
        assert recipe["technique"]["identities"] == mode["identities"]
        assert recipe["drawn"]["base"] == "tiny"
        assert "with glasses" in recipe["drawn"]["prompt"]
        assert ("lora_hash" in recipe["drawn"]) == ("lora" in mode["identities"])
        with PIL.Image.open(file) as picture:
            pictures[name] = np.asarray(picture.convert("RGB"), np.float32)
    assert len({picture.tobytes() for picture in pictures.values()}) == len(MODES)
    assert all(picture.shape == (160, 128, 3) and picture.std() > 1 for picture in pictures.values())


def _person(client: Any, folder: Path) -> str:
    """Somebody with three photos."""
    consent = {"agreed": True, "text_version": "2026-11", "given_by": "Ann"}
    id = client.post("/people", json={"name": "Ann", "consent": consent}).json()["id"]
    photos = [("files", (path.name, path.read_bytes())) for path in sample_photos.write_selfies(folder)[:3]]
    added = client.post(f"/people/{id}/selfies", files=photos)
    assert added.status_code == 201, added.text
    return id


def _done(stand: Stand, client: Any, ordered: Any) -> dict[str, Any]:
    """The job as it is when it has succeeded."""
    assert ordered.status_code == 202, ordered.text
    place = ordered.headers["location"].removeprefix("/v1")

    def told() -> tuple[bool, object]:
        job = client.get(place).json()
        return job["finished"] is not None, (job["state"], job["progress"], job["message"])

    wait_while_told(told, log=stand.log)
    job = client.get(place).json()
    assert job["state"] == "succeeded", job["fault"]
    return job


def _scored(portrait: dict[str, Any]) -> None:
    """A face that was found is compared with the person; random networks draw none, which the scores show."""
    scores = portrait["scores"]
    assert {"total", "faces", "sharpness", "eyes"} <= set(scores)
    assert bool(portrait["likeness"]) == (scores["faces"] > 0)


def _marked(file: Path, marks: Marks) -> dict[str, Any]:
    """The recipe inside the file, beside the description; signed by the worker with the keys that the API has."""
    signed = credentials.read(file.read_bytes(), "image/png", marks.keys.anchors)
    assert signed is not None
    assert (signed.trusted, signed.faults) == (True, ())
    assert b"with glasses" not in file.read_bytes()
    with PIL.Image.open(io.BytesIO(file.read_bytes())) as picture:
        described = picture.getxmp()["xmpmeta"]["RDF"]["Description"]
    assert described["DigitalSourceType"].endswith("/trainedAlgorithmicMedia")
    return dict(read_recipe(file, marks))
