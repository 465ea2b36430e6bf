"""FaceChain's styles, imported with the LoRAs that they name, are drawn: every one, and each by its own LoRA."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file

from pipelines.model_store.add import NewModel
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.arrays import Size
from portrait.generation.options import GenerationOptions
from portrait.types import PortraitRequest
from templates import importers
from templates.catalog import Catalog
from templates.style import to_style
from tests import hub_store

STYLES, LORAS = 75, 6


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    torch.set_num_threads(1)
    return hub_store.fill(tmp_path_factory.mktemp("facechain"))


def write_lora(unet: UNet2DConditionModel, seed: int, file: Path) -> None:
    """A LoRA of cross-attention in kohya's names, as FaceChain's are."""
    random, tensors = torch.Generator().manual_seed(seed), {}
    for name, module in unet.named_modules():
        if name.endswith(("attn2.to_q", "attn2.to_k")) and isinstance(module, torch.nn.Linear):
            key = f"lora_unet_{name.replace('.', '_')}"
            tensors[f"{key}.lora_down.weight"] = torch.randn(2, module.in_features, generator=random)
            tensors[f"{key}.lora_up.weight"] = torch.randn(module.out_features, 2, generator=random)
            tensors[f"{key}.alpha"] = torch.tensor(2.0)
    save_file(tensors, file)


def test_every_style_of_facechains_folder_is_drawn(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    for number in range(STYLES):
        content: dict[str, str | None] = {"name": f"Style {number}", "add_prompt_style": "warm light", "model_id": None}
        if number % 11:
            content |= {"model_id": f"maker/look{number % LORAS}", "revision": "v1.0", "bin_file": "look.safetensors"}
        (tmp_path / "given" / f"{number:02}.json").write_text(json.dumps(content))
    importers.import_styles(tmp_path / "given", tmp_path / "styles")
    styles = [to_style(entry.style) for entry in Catalog((tmp_path / "styles",)).entries()]
    unet = UNet2DConditionModel.from_pretrained(settings.bases["sd"].path / "unet")
    models = ModelStore(settings.models)
    names = sorted({lora.model for style in styles if style.prompt_spec for lora in style.prompt_spec.loras})
    assert (len(styles), len(names)) == (STYLES, LORAS)
    for seed, name in enumerate(names):
        write_lora(unet, seed, tmp_path / "look.safetensors")
        models.add(NewModel(name, "lora", str(tmp_path / "look.safetensors"), "MIT", "yes", family="sd15"))
    painter, drawn = hub_store.painter(settings), dict[str, np.ndarray]()
    options = GenerationOptions(base="sd", identities=("faceid",), scheduler="own", steps=1, guidance=1.0)
    for style in styles:
        plan = painter.plan(PortraitRequest({1: hub_store.stranger(1)}, style, 0, 1, options=options))
        plan = replace(plan, parameters=replace(plan.parameters, size=Size(64, 64)))
        (lora,) = [each.name for each in plan.loras] or [""]
        pixels = hub_store.pixels(painter, plan)
        assert np.array_equal(drawn.setdefault(lora, pixels), pixels), "the same words and LoRA"
    painter.close()
    assert len({pixels.tobytes() for pixels in drawn.values()}) == LORAS + 1, "each LoRA draws another picture"
