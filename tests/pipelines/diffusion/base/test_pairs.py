"""A distilled base and the one that people are learned on; and transformers that are alone in their files."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from pipelines.diffusion.base import convert, loading, lora
from pipelines.diffusion.base.source import BaseSource
from pipelines.engines.trainers.dreambooth import Dreambooth
from pipelines.folders import identities
from pipelines.model_store.add import NewModel
from pipelines.model_store.store import ModelStore
from pipelines.settings import BaseLocation, ModelStoreSettings, Settings
from portrait.arrays import Size
from portrait.errors import OperatorError
from portrait.generation.options import GenerationOptions, PromptSpec
from portrait.training import TrainingJob
from tests import fakes, hub_store, tiny
from tests.pipelines.engines import tiny_training


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hub")
    tiny.flux2(folder / "klein", distilled=True)
    tiny.flux2(folder / "klein_base", seed=3)
    return folder


@pytest.fixture
def settings(hub: Path, tmp_path: Path) -> Settings:
    bases = {
        "klein": BaseLocation(hub / "klein", learn_on="klein_base"),
        "klein_base": BaseLocation(hub / "klein_base", draw_on="klein"),
    }
    return Settings(models=ModelStoreSettings(folder=tmp_path / "models"), bases=bases)


def test_a_base_that_is_here_draws_who_was_learned_on_its_sibling(settings: Settings) -> None:
    models = ModelStore(settings.models)

    def find(name: str) -> BaseSource:
        return loading.find_base(name, settings, models)

    learned_on = loading.find_base_to_learn_on("klein", settings, models)
    assert (learned_on.name, learned_on.draw_on, learned_on.facts.steps) == ("klein_base", "klein", 0)
    assert loading.find_base_to_learn_on("klein_base", settings, models) == find("klein_base")
    drawn_on = loading.find_base_to_draw_on("klein_base", find)
    assert (drawn_on.name, drawn_on.facts.steps) == ("klein", 4)
    assert loading.find_base_to_draw_on("klein", find) == drawn_on
    settings = replace(settings, bases={"klein_base": settings.bases["klein_base"]})
    assert loading.find_base_to_draw_on("klein_base", find).name == "klein_base", "the sibling is not here"
    with pytest.raises(OperatorError, match="no base model 'klein'"):
        loading.find_base_to_draw_on("klein", find)


def test_who_is_learned_with_a_distilled_base_is_learned_on_its_sibling_and_worn_on_both(
    settings: Settings, tmp_path: Path
) -> None:
    models = ModelStore(settings.models)
    knobs = replace(tiny_training.PLAIN, steps=1, side=64)
    trainer = Dreambooth(
        lambda name: loading.find_base_to_learn_on(name, settings, models), fakes.FakeFinder, knobs, tmp_path / "cache"
    )
    job = TrainingJob(tiny_training.training_set(), "klein", tmp_path)
    assert trainer.plan(job).base == "klein_base"
    trained = trainer.train(job, tiny_training.RecordedProgress())
    learned_on = loading.find_base("klein_base", settings, models)
    assert identities.make_description(trained, job.training)["base"] == {
        "name": "klein_base",
        "family": "flux2",
        "hash": learned_on.sha256(),
        "draw_on": "klein",
    }
    assert trained.lora is not None
    for name in ("klein", "klein_base"):
        lora.check_person_lora(trained.lora, loading.find_base(name, settings, models))
    who = replace(hub_store.stranger(1), lora=trained.lora, trigger="sks", base="klein_base")
    painter = hub_store.painter(settings)
    for named, drawn_on, steps in (("", "klein", 4), ("klein_base", "klein_base", 28)):
        request = hub_store.request(who, PromptSpec("{who}", ""), GenerationOptions(base=named), size=Size(64, 64))
        plan = painter.plan(request)
        assert (plan.base.name, plan.parameters.steps) == (drawn_on, steps)


# ------------------------------------------------------------------ transformers alone in their files


@pytest.fixture
def single(hub: Path, tmp_path: Path) -> Path:
    file = tmp_path / "flux-2-klein.safetensors"
    convert.to_file(loading.open_base("klein", hub / "klein"), file, torch.float32)
    return file


def weights_of(base: BaseSource) -> dict[str, torch.Tensor]:
    return loading.load_components(base, torch.float32, ["transformer"])["transformer"].state_dict()


def test_a_transformer_goes_to_a_file_of_its_own_and_back(hub: Path, single: Path, tmp_path: Path) -> None:
    with safe_open(single, framework="pt") as stream:
        assert all(not name.startswith(("text_encoder", "vae", "first_stage")) for name in stream.keys())  # noqa: SIM118
    expected = weights_of(loading.open_base("klein", hub / "klein"))
    # Its own weights are drawn with, and not those of the folder that describes them.
    alone = loading.open_base("file", single, hub / "klein_base")
    convert.to_folder(loading.open_base("file", single, hub / "klein"), tmp_path / "back", torch.float32)
    back = loading.open_base("back", tmp_path / "back")
    for each in (alone, back):
        found = weights_of(each)
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], weight) for name, weight in expected.items())
    index = json.loads((tmp_path / "back" / "model_index.json").read_text())
    assert (index["is_distilled"], back.facts.steps) == (True, 4)


def test_a_transformer_in_a_file_goes_with_an_installed_base_of_its_size(
    hub: Path, single: Path, settings: Settings, tmp_path: Path
) -> None:
    models = ModelStore(settings.models)
    with pytest.raises(OperatorError, match=r"holds its transformer alone: .* run `portrait models pull flux2_klein`"):
        loading.find_base(str(single), settings, models)
    for name, folder in (("my_klein_base", "klein_base"), ("my_klein", "klein")):
        models.add(NewModel(name, "base", str(hub / folder), "MIT", "yes"))
    found = loading.find_base(str(single), settings, models)
    assert (found.config_folder, found.family.name) == (models.folder("my_klein"), "flux2"), "its name is most like it"
    other: Any = settings.models.folder / "my_klein" / "transformer" / "diffusion_pytorch_model.safetensors"
    tensors = {"img_in.weight": torch.zeros(2, 2)}
    other.unlink()
    save_file(tensors, other)
    assert loading.find_base(str(single), settings, models).config_folder == models.folder("my_klein_base")
