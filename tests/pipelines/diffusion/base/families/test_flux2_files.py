"""Files of FLUX.2 for other programs: LoRAs in kohya's names, and transformers alone in one file, there and back."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import Flux2KleinPipeline, Flux2Transformer2DModel
from safetensors.torch import load_file, save_file

from pipelines.diffusion.base import convert, lora
from pipelines.diffusion.base.lease import LoadedBase
from pipelines.diffusion.base.loading import open_base
from pipelines.diffusion.base.loras.layers import layers_of
from pipelines.diffusion.base.loras.reader import read_lora
from tests.pipelines.diffusion.base.families import flux2_drawing as drawing

QUERY, KEY = "transformer_blocks.0.attn.to_q", "transformer_blocks.0.attn.to_k"


def update(down: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    """What a LoRA adds to a weight."""
    return up.double() @ down.double()


def test_kohyas_file_is_read_by_diffusers_as_what_was_learned(loaded: LoadedBase, tmp_path: Path) -> None:
    own, kohya = (load_file(each) for each in drawing.person_lora(loaded, 1, tmp_path))
    assert {name.split("_blocks_")[0] for name in kohya} == {"lora_unet_double", "lora_unet_single"}
    back: Any = Flux2KleinPipeline.lora_state_dict(dict(kohya))
    assert back.keys() == own.keys()
    for down in (name for name in own if "lora_A" in name):
        up = down.replace("lora_A", "lora_B")
        difference = update(back[down], back[up]) - update(own[down], own[up])
        assert difference.abs().max() < 1e-12, down


def test_of_layers_that_are_one_in_kohyas_file_a_lora_may_leave_some(loaded: LoadedBase, tmp_path: Path) -> None:
    own = load_file(drawing.person_lora(loaded, 1, tmp_path)[0])
    alone = {name: each for name, each in own.items() if f"{QUERY}." in name}
    lora.save_weights(lora.to_kohya(alone, drawing.FAMILY, {}), tmp_path / "alone.safetensors")
    pairs = layers_of(loaded.source).fit(read_lora(tmp_path / "alone.safetensors"))["transformer"].pairs
    expected = update(*(own[f"transformer.{QUERY}.lora_{each}.weight"] for each in "AB"))
    assert (update(*pairs[QUERY]) - expected).abs().max() < 1e-12
    assert not update(*pairs[KEY]).any()


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."], ids=["as published", "as ComfyUI writes it"])
def test_a_transformer_in_one_file_is_read_again(
    loaded: LoadedBase, flux2_hub: Path, tmp_path: Path, prefix: str
) -> None:
    base, file = loaded.source, tmp_path / "transformer.safetensors"
    convert.to_file(base, tmp_path / "written.safetensors", torch.float32)
    written = load_file(tmp_path / "written.safetensors")
    save_file({prefix + name: each for name, each in written.items()}, file)
    own = loaded.denoiser.state_dict()
    if not prefix:  # which diffusers itself does not know in files of FLUX.2
        back = Flux2Transformer2DModel.from_single_file(
            str(file), config=str(base.path), subfolder="transformer", local_files_only=True
        ).state_dict()
        assert back.keys() == own.keys()
        assert all(torch.equal(each, own[name]) for name, each in back.items())

    expected = drawing.draw(loaded)
    single = open_base("single", file, flux2_hub / "flux2")
    assert (single.family.name, single.weights_files) == ("flux2", [file])
    alone = LoadedBase(single, torch.float32, torch.device("cpu"))
    weights = alone.denoiser.state_dict()
    assert weights.keys() == own.keys()
    assert all(torch.equal(each, own[name]) for name, each in weights.items())
    assert drawing.apart(drawing.draw(alone), expected) < 1e-5
    alone.close()
    save_file({prefix + name: each * (1 + (name == "img_in.weight")) for name, each in written.items()}, file)
    other = LoadedBase(single, torch.float32, torch.device("cpu"))
    assert drawing.apart(drawing.draw(other), expected) > 1e-4, "the transformer is that of the file"
    other.close()
