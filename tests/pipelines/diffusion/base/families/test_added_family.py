"""A family of base models is one file: with it in a folder, its bases are found, drawn with, learned with and exported."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from pipelines import build, model_requirements
from pipelines.diffusion.base import convert, families, registry
from pipelines.diffusion.base.loading import find_base, open_base
from pipelines.engines import Engines
from pipelines.engines.painters.diffusion import Diffusion
from pipelines.model_store.store import ModelStore
from pipelines.settings import BaseLocation, DrawSettings, ModelStoreSettings, Settings
from portrait.arrays import Size
from portrait.errors import UserError
from portrait.generation.options import GenerationOptions, PromptSpec
from portrait.types import Identity
from tests import hub_store
from tests.pipelines.diffusion.base.families import flux2_drawing as drawing
from tests.pipelines.engines import tiny_training
from tests.pipelines.engines.tiny_training import PLAIN

SCENE = PromptSpec("a photo of a {who}", "low quality")


@pytest.fixture
def hub(flux2_hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a base of the added family, which has the weights of the tiny FLUX.2."""
    folder = tmp_path / "families"
    folder.mkdir()
    shutil.copyfile(Path(__file__).with_name("added_family.py"), folder / "added.py")
    monkeypatch.setattr(families, "__path__", [*families.__path__, str(folder)])
    monkeypatch.delitem(sys.modules, "pipelines.diffusion.base.families.added", raising=False)
    shutil.copytree(flux2_hub / "flux2", tmp_path / "hub" / "mine")
    index = tmp_path / "hub" / "mine" / "model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {"_class_name": "AddedPipeline"}))
    return tmp_path / "hub"


def pixels(painter: Diffusion, who: Identity, *identities: str, **options: Any) -> np.ndarray:
    """A square picture of somebody by the preset."""
    given = GenerationOptions(base="mine", identities=identities, **options)
    made = painter.plan(hub_store.request(who, SCENE, given, drawing.SEED, Size(64, 64)))
    return hub_store.pixels(painter, made)


def test_a_family_from_a_folder_is_found_drawn_with_learned_with_and_exported(
    hub: Path, flux2_hub: Path, tmp_path: Path
) -> None:
    assert "added" in families.family_names()
    assert registry.family_by_name("added").name == "added"
    models = ModelStoreSettings(folder=tmp_path / "models")
    settings = Settings(
        models=models, bases={"mine": BaseLocation(hub / "mine")}, draw=DrawSettings(device="cpu", memory="full")
    )
    assert model_requirements.family_of(settings, "mine") == "added"
    able = build.missing_by_ability(settings)
    assert able["base:mine:reference"] == able["base:mine:lora"] == able["base:mine:option:prompt_weights"] == []
    assert able["base:mine:instantid"]
    assert "base:mine:instruct" not in able

    store = ModelStore(models)
    engines = Engines(settings, store)
    painter = Diffusion(
        lambda name: find_base(name, settings, store), engines.identity_adapter, engines.control, store, settings.draw
    )
    who = hub_store.stranger(1)
    drawn = pixels(painter, who, "reference")
    assert drawing.apart(drawn, pixels(painter, hub_store.stranger(2), "reference")) > 1e-4
    stock = drawing.load(flux2_hub / "flux2")
    bare = drawing.draw(stock, prompt="a photo of a man", size=Size(64, 64), steps=1, guidance=1.0)
    with painter._get_base(open_base("mine", hub / "mine"), "full").lease() as lease:
        assert lease.family.name == "added"
    ours = drawing.draw(drawing.load(hub / "mine"), size=Size(64, 64), steps=1, guidance=1.0)
    assert np.array_equal(ours, bare), "the weights are those of the tiny FLUX.2"
    with pytest.raises(UserError, match="FreeU"):
        pixels(painter, who, "reference", freeu=True)

    result = tiny_training.train(hub, "mine", tmp_path / "work", replace(PLAIN, steps=2, rank=0))
    assert (result.facts["family"], result.facts["rank"]) == ("added", 8)
    assert result.lora is not None
    assert result.kohya_lora is not None
    own, kohya = load_file(result.lora), load_file(result.kohya_lora)
    assert all(name.startswith("transformer.single_transformer_blocks.") for name in own)
    assert all(name.startswith("lora_unet_of_single_transformer_blocks_") for name in kohya)
    learned = [
        pixels(painter, replace(who, lora=file, trigger="sks", base="mine"), "lora", "reference")
        for file in (result.lora, result.kohya_lora)
    ]
    assert drawing.apart(learned[0], learned[1]) < 1e-5
    assert drawing.apart(learned[0], pixels(painter, replace(who, trigger="sks"), "reference")) > 1e-4
    painter.close()

    file = tmp_path / "exported.safetensors"
    convert.to_file(open_base("mine", hub / "mine"), file, torch.float32)
    assert all(name.startswith("added.") for name in load_file(file))
