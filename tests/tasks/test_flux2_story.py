"""FLUX.2 through the queue: drawn from photos at once, learned, drawn by both, edited by words; two people in turns."""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipelines.deliver import read_recipe
from pipelines.folders import identities
from pipelines.image_io import read
from pipelines.marks.marks import open_marks
from pipelines.model_store.store import ModelStore
from pipelines.settings import BaseLocation, DrawSettings, MarkSettings, ModelStoreSettings, Settings
from portrait.arrays import Image
from tasks.files import Files
from tasks.jobs import Job, required_abilities
from tasks.ledger.database import new_id
from tasks.ledger.ledger import Ledger
from tasks.ledger.rows import SelfieRow
from tasks.queue.flows import PortraitFlows
from tasks.queue.runner import JobRunner
from tasks.settings import LeaseSettings
from tests import fakes, tiny
from tests.tasks.test_drawing import KNOBS, TinyEngines, run

WORDS = frozenset({"prepare", "train:klein", "draw:text"})
NEEDS = required_abilities("generate", ["text"])


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A distilled base, `klein`, and the one that people are learned on in its place."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("flux2")
    bases = {
        "klein": BaseLocation(tiny.flux2(folder / "klein", distilled=True, seed=5), learn_on="klein_base"),
        "klein_base": BaseLocation(tiny.flux2(folder / "klein_base"), draw_on="klein"),
    }
    draw = DrawSettings(base="klein", device="cpu", redraws=0)
    marks = MarkSettings(folder / "marks", invisible=False)
    yield Settings(
        models=ModelStoreSettings(folder=folder / "models"), marks=marks, bases=bases, train=KNOBS, draw=draw
    )
    torch.set_num_threads(before)


class Installation:
    """One worker after another on a ledger and its files: each has loaded nothing."""

    def __init__(self, ledger: Ledger, folder: Path, settings: Settings) -> None:
        self._ledger, self.files, self.settings = ledger, Files(folder), settings
        self._engines: TinyEngines | None = None
        self.start_worker()

    def start_worker(self) -> None:
        """End the worker that there is, and start another."""
        self.close()
        self._engines = TinyEngines(self.settings, ModelStore(self.settings.models))
        flows = PortraitFlows(self.settings, self._engines)
        self.runner = JobRunner("w", self._ledger, self.files, flows, LeaseSettings(), WORDS)

    def close(self) -> None:
        if self._engines is not None:
            self._engines.__exit__(None, None, None)

    def add_person(self, name: str, number: int, folder: Path) -> str:
        """Somebody with three photos."""
        person = self._ledger.people.add("ann", name, name, name, 1.0).id
        for at in range(3):
            photo = fakes.save(folder / f"{name}-{at}.png", fakes.picture(number, at))
            id = new_id("selfie", 2.0 + at)
            saved = self.files.save([photo.read_bytes()], self.files.selfie("ann", person, id), 10_000_000)
            row = SelfieRow(id, "ann", person, photo.name, saved.sha256, saved.bytes, 1, 1, "PNG", 2.0 + at)
            self._ledger.people.add_selfie(row, 99)
        return person

    def draw(self, identity: str, **more: Any) -> Job:
        """A portrait of words, by the way that is chosen where a request names none."""
        params: dict[str, Any] = {"identities": {"1": identity}, "style": "text-garden", "technique": {"steps": 2}}
        return run(self.runner, "generate", NEEDS, **params | {"seed": 3, "size": [64, 80], "count": 1} | more)

    def edit(self, before: Job, words: str) -> Job:
        """The portrait of a job as words say."""
        (portrait,) = before.result["portraits"]
        edit = {"portrait": portrait, "kind": "instruct", "words": words, "area": [], "strength": None}
        params = {name: value for name, value in before.params.items() if name != "size"}
        return run(self.runner, "generate", NEEDS, **params, edit=edit)

    def file(self, job: Job) -> Path:
        return next(self.files.portraits("ann", job.id).glob("*.png"))

    def image(self, job: Job) -> Image:
        return read(self.file(job)).image


@pytest.fixture
def installation(sqlite: Ledger, tmp_path: Path, settings: Settings) -> Iterator[Installation]:
    made = Installation(sqlite, tmp_path / "data", settings)
    yield made
    made.close()


def told(installation: Installation, job: Job) -> dict[str, Any]:
    """What the recipe of a job's portrait says was drawn, and by which ways of telling who."""
    drawn = read_recipe(installation.file(job), open_marks(installation.settings.marks))["drawn"]
    return {**drawn, "identities": [name for name in ("lora", "reference") if name in drawn]}


def test_from_photos_to_portraits_and_edits(installation: Installation, tmp_path: Path) -> None:
    draw, image, prepared = functools.partial(installation.draw, format="png"), installation.image, {}
    for number, name in enumerate(("Anna", "Ben"), start=1):
        person = installation.add_person(name, number, tmp_path)
        prepared[name] = run(installation.runner, "prepare", required_abilities("prepare"), person=person)
    anna, ben = (str(each.result["identity"]) for each in prepared.values())

    at_once = draw(anna)
    facts = told(installation, at_once)
    assert facts["identities"] == ["reference"]
    assert (facts["base"], facts["steps"], facts["guidance"]) == ("klein", 2, 1.0)
    of_ben = draw(ben)
    assert not np.array_equal(image(at_once), image(of_ben))

    given = {"person": prepared["Anna"].params["person"], "training_set": prepared["Anna"].result["training_set"]}
    trained = run(installation.runner, "train", required_abilities("train", base="klein"), base="klein", **given)
    learned = str(trained.result["identity"])
    described = identities.read(installation.files.identity("ann", str(given["person"]), learned)).description
    assert (described["base"]["name"], described["base"]["family"]) == ("klein_base", "flux2")

    both = draw(learned)
    facts = told(installation, both)
    assert facts["identities"] == ["lora", "reference"]
    assert (facts["base"], "lora_hash" in facts) == ("klein", True)
    by_lora = draw(learned, technique={"steps": 2, "identities": ["lora"]})
    drawn = [image(each) for each in (at_once, both, by_lora)]
    assert not any(np.array_equal(drawn[one], drawn[other]) for one, other in ((0, 1), (0, 2), (1, 2)))

    edited = installation.edit(both, "Give them a red scarf.")
    assert told(installation, edited)["identities"] == ["lora", "reference"]
    assert "red scarf" in told(installation, edited)["prompt"]
    assert not np.array_equal(image(edited), image(installation.edit(both, "Make it night.")))

    installation.start_worker()
    assert np.array_equal(image(draw(ben)), image(of_ben)), "as the first of a process"
    assert np.array_equal(image(draw(learned)), drawn[1]), "after somebody else"
    assert np.array_equal(image(draw(ben)), image(of_ben)), "after somebody with a LoRA"
    assert np.array_equal(image(draw(learned, remake=both.result["portraits"][0])), drawn[1])
