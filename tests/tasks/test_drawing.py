"""Prepare, train and generate through the queue on tiny networks, in every mode of drawing."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel

from pipelines.deliver import read_recipe
from pipelines.diffusion.selftest import tiny_store
from pipelines.engines import Engines
from pipelines.image_io import read
from pipelines.model_store.add import NewModel
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings, TrainSettings, ValidationSettings
from portrait.arrays import Image
from portrait.ports import FaceFinder, Restorer
from portrait.types import Face
from tasks.files import Files
from tasks.jobs import Job, required_abilities
from tasks.ledger.database import new_id
from tasks.ledger.ledger import Ledger
from tasks.ledger.pictures import PortraitFilter
from tasks.ledger.rows import SelfieRow
from tasks.queue.flows import PortraitFlows
from tasks.queue.runner import JobRunner
from tasks.settings import LeaseSettings
from tests import fakes, hub_store, tiny
from tests.tasks.stand import new_job

KNOBS = TrainSettings(steps=2, rank=4, rate=1e-2, batch=1, flips=False, exam=ValidationSettings(every=0))
WORDS = frozenset({"prepare", "train:xl", "draw:text"})


class FakeReader(fakes.FakeFinder):
    """Sees the one face in a space that adapters read."""

    def faces(self, image: Image, embedded: int = 1) -> list[Face]:
        vector = np.random.default_rng(int(image.mean())).normal(size=512).astype(np.float32)
        return [replace(face, embeddings={self.space: vector}) for face in super().faces(image)]


class TinyEngines(Engines):
    """Real painters, trainers and identities; faces are read from the colour of made pictures."""

    def finder(self) -> FaceFinder:
        return fakes.FakeFinder()

    def restorer(self, name: str = "") -> Restorer:
        return fakes.FakeRestorer()

    def lazy_embedder(self, space: str) -> Callable[[], FaceFinder]:
        return lambda: FakeReader(space)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    filled = hub_store.fill(tmp_path_factory.mktemp("hub"))
    yield replace(filled, train=KNOBS, draw=replace(filled.draw, redraws=0))
    torch.set_num_threads(before)


@pytest.fixture
def runner(sqlite: Ledger, tmp_path: Path, settings: Settings) -> Iterator[JobRunner]:
    with TinyEngines(settings, ModelStore(settings.models)) as engines:
        flows = PortraitFlows(settings, engines)
        yield JobRunner("w", sqlite, Files(tmp_path / "data"), flows, LeaseSettings(), WORDS)


def run(runner: JobRunner, kind: str, needs: frozenset[str], **params: Any) -> Job:
    job = new_job(created=time.time(), kind=kind, params=params, needs=needs)
    runner.ledger.jobs.add(job, [str(params.get("person", ""))] if params.get("person") else [])
    assert runner.run_next("cpu")
    done = runner.ledger.jobs.get("ann", job.id)
    assert done.state == "succeeded", done.fault
    return done


def add_own_models(settings: Settings, folder: Path) -> None:
    """A base, a VAE, a LoRA of few steps and an IP-Adapter of one's own."""
    hub, models = settings.bases["xl"].path, ModelStore(settings.models)
    tiny.vae().save_pretrained(folder / "vae")
    facts = {"steps": 3, "guidance": 0, "scheduler": "euler", "timestep_spacing": "trailing"}
    models.add(NewModel("my_base", "base", str(hub), "MIT", "yes", family="sdxl"))
    models.add(NewModel("my_vae", "vae", str(folder / "vae"), "MIT", "yes", family="sdxl"))
    lora = hub.parent / tiny_store.PLACES["lcm_sdxl"][0]
    models.add(NewModel("my_lora", "lora", str(lora), "MIT", "yes", family="sdxl", facts=facts))
    adapter = folder / "look.safetensors"
    hub_store.save_adapter(hub_store.ip_adapter(UNet2DConditionModel.from_pretrained(hub / "unet"), True), adapter)
    models.add(NewModel("my_look", "ip-adapter", str(adapter), "MIT", "yes", family="sdxl"))


def test_from_photos_to_portraits_in_every_mode(runner: JobRunner, settings: Settings, tmp_path: Path) -> None:
    ledger, files = runner.ledger, runner.files
    person = ledger.people.add("ann", "Ann", "1", "Ann", 1.0).id
    for at in range(3):
        photo = fakes.save(tmp_path / f"{at}.png", fakes.picture(1, at))
        id = new_id("selfie", 2.0 + at)
        saved = files.save([photo.read_bytes()], files.selfie("ann", person, id), 10_000_000)
        row = SelfieRow(id, "ann", person, photo.name, saved.sha256, saved.bytes, 1, 1, "PNG", 2.0 + at)
        ledger.people.add_selfie(row, 99)
    prepared = run(runner, "prepare", required_abilities("prepare"), person=person)
    set_id = prepared.result["training_set"]
    trained = run(
        runner, "train", required_abilities("train", base="xl"), person=person, training_set=set_id, base="xl"
    )
    identity = str(trained.result["identity"])
    modes = (["lora"], ["instantid"], ["lora", "instantid"], ["photomaker"], ["faceid"])
    for number, names in enumerate(modes):
        technique = {"base": "xl", "identities": names, "scheduler": "own", "steps": 2}
        params: dict[str, Any] = {"identities": {"1": identity}, "style": "text-garden", "technique": technique}
        params |= {"seed": number, "size": [64, 80], "count": 1, "format": "png"}
        drawn = run(runner, "generate", required_abilities("generate", ["text"]), **params)
        (id,) = drawn.result["portraits"]
        row = next(each for each in ledger.portraits.list("ann", PortraitFilter()).items if each.id == id)
        assert "total" in row.scores
        file = files.portraits("ann", drawn.id) / row.file
        recipe = read_recipe(file)
        assert recipe["technique"]["identities"] == names
        assert recipe["drawn"]["base"] == "xl"
        assert ("lora_hash" in recipe["drawn"]) == ("lora" in names)
        assert b"trainedAlgorithmicMedia" in file.read_bytes()
    add_own_models(settings, tmp_path)
    content = fakes.save(tmp_path / "look.png", fakes.picture(2, 1, 120)).read_bytes()
    files.save([content], files.template("ann", "picture_1"), 10_000_000)
    look = {"template": "picture_1", "adapter": "my_look", "scale": 0.5}
    technique = {"base": "my_base", "identities": ["faceid"], "vae": "my_vae", "few_steps": "my_lora", "look": look}
    params = {"identities": {"1": identity}, "style": "text-garden", "technique": technique, "seed": 9}
    params |= {"size": [64, 80], "count": 1, "format": "png"}
    drawn = run(runner, "generate", required_abilities("generate", ["text"]), **params)
    (id,) = drawn.result["portraits"]
    again = run(runner, "generate", required_abilities("generate", ["text"]), **params, remake=id)
    rows = {each.id: each for each in ledger.portraits.list("ann", PortraitFilter()).items}
    first, second = (rows[each] for each in (id, again.result["portraits"][0]))
    facts = read_recipe(files.portraits("ann", first.job) / first.file)["drawn"]
    assert (facts["base"], facts["vae"], facts["few_steps"], facts["steps"]) == ("my_base", "my_vae", "my_lora", 3)
    assert "my_look/look.safetensors" in facts["models"]
    one, other = (read(files.portraits("ann", each.job) / each.file).image for each in (first, second))
    assert np.array_equal(one, other)
