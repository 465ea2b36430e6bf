"""Files of FLUX.1 for other programs: LoRAs in kohya's names, and transformers alone in one file, there and back."""

import types
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import FluxPipeline, FluxTransformer2DModel
from diffusers.loaders import single_file_model
from safetensors.torch import load_file, save_file

from pipelines.diffusion.base import convert, lora
from pipelines.diffusion.base.lease import LoadedBase
from pipelines.diffusion.base.loading import open_base
from pipelines.diffusion.base.loras.layers import layers_of
from pipelines.diffusion.base.loras.reader import read_lora
from pipelines.diffusion.base.registry import PREFIX, family_by_name
from tests.pipelines.diffusion.base.families import flux1_drawing as drawing
from tests.pipelines.diffusion.base.families import tiny_flux
from tests.pipelines.diffusion.base.families.flux2_drawing import apart

FAMILY = family_by_name("flux")
QUERY, LAST = "single_transformer_blocks.1.attn.to_q", "single_transformer_blocks.1.proj_mlp"
PUBLISHED_WIDTH, TINY_WIDTH = 3072, 32


@pytest.fixture(scope="module")
def hub(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hub folders `flux`, `schnell` and `kontext`."""
    folder = tmp_path_factory.mktemp("flux1")
    tiny_flux.flux(folder / "flux")
    tiny_flux.flux(folder / "schnell", distilled=True)
    tiny_flux.kontext(folder / "kontext")
    return folder


@pytest.fixture
def tiny_width(monkeypatch: pytest.MonkeyPatch) -> None:
    """diffusers' reader of single files has the width of the published transformers in its code."""
    kind = single_file_model.SINGLE_FILE_LOADABLE_CLASSES["FluxTransformer2DModel"]
    read: Any = kind["checkpoint_mapping_fn"]
    assert PUBLISHED_WIDTH in read.__code__.co_consts
    constants = tuple(TINY_WIDTH if each == PUBLISHED_WIDTH else each for each in read.__code__.co_consts)
    narrow = types.FunctionType(read.__code__.replace(co_consts=constants), read.__globals__)
    monkeypatch.setitem(kind, "checkpoint_mapping_fn", narrow)


def update(down: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    """What a LoRA adds to a weight."""
    return up.double() @ down.double()


def test_kohyas_file_is_read_by_diffusers_as_what_was_learned() -> None:
    with torch.device("meta"):  # as wide as it is published, which is in the code of diffusers' reader
        network = FluxTransformer2DModel(num_layers=1, num_single_layers=1)
    own = drawing.person_weights(network, FAMILY, 1, rank=1)
    kohya = lora.to_kohya(own, FAMILY, {})
    named = {name.removeprefix("lora_unet_").split(".")[0] for name in kohya}
    double = {f"double_blocks_0_{side}_attn_{layer}" for side in ("img", "txt") for layer in ("qkv", "proj")}
    assert named == double | {"single_blocks_0_linear1", "single_blocks_0_linear2"}
    back: Any = FluxPipeline.lora_state_dict(dict(kohya))
    assert back.keys() == own.keys()
    for name, each in own.items():
        assert torch.equal(back[name], each), name


def test_of_layers_that_are_one_in_kohyas_file_a_lora_may_leave_some(hub: Path, tmp_path: Path) -> None:
    loaded = drawing.load(hub / "flux")
    own = drawing.person_weights(loaded.denoiser, FAMILY, 1)
    for left, kept in ((LAST, QUERY), (QUERY, LAST)):
        some = {name: each for name, each in own.items() if f"{kept}." in name}
        file = lora.save_weights(lora.to_kohya(some, FAMILY, {}), tmp_path / "some.safetensors")
        pairs = layers_of(loaded.source).fit(read_lora(file))["transformer"].pairs
        expected = update(*(own[f"transformer.{kept}.lora_{each}.weight"] for each in "AB"))
        assert torch.equal(update(*pairs[kept]), expected)
        assert not update(*pairs[left]).any()
    whole = lora.save_weights(lora.to_kohya(own, FAMILY, {}), tmp_path / "whole.safetensors")
    pairs = layers_of(loaded.source).fit(read_lora(whole))["transformer"].pairs
    for name, pair in pairs.items():
        expected = update(*(own[f"transformer.{name}.lora_{each}.weight"] for each in "AB"))
        assert (update(*pair) - expected).abs().max() < 1e-12, name
    assert len(pairs) == len(own) // 2 == 8 + 2 * 5
    loaded.close()


@pytest.mark.parametrize(("name", "prefix"), [("flux", ""), ("schnell", PREFIX), ("kontext", PREFIX)])
def test_a_transformer_in_one_file_is_read_again(
    tiny_width: None, hub: Path, tmp_path: Path, name: str, prefix: str
) -> None:
    loaded = drawing.load(hub / name)
    file = tmp_path / "transformer.safetensors"
    convert.to_file(loaded.source, tmp_path / "written.safetensors", torch.float32)
    written = load_file(tmp_path / "written.safetensors")
    save_file({prefix + key: each for key, each in written.items()}, file)
    own, expected = loaded.denoiser.state_dict(), drawing.draw(loaded)
    back = FluxTransformer2DModel.from_single_file(
        str(file), config=str(hub / name), subfolder="transformer", local_files_only=True
    ).state_dict()
    assert back.keys() == own.keys()
    assert all(torch.equal(each, own[key]) for key, each in back.items())

    single = open_base("single", file, hub / name)
    assert (single.family.name, single.facts) == (loaded.family.name, loaded.source.facts)
    alone = LoadedBase(single, torch.float32, torch.device("cpu"))
    assert apart(drawing.draw(alone), expected) < 1e-5
    alone.close()
    save_file({prefix + key: each * (1 + (key == "img_in.weight")) for key, each in written.items()}, file)
    other = LoadedBase(single, torch.float32, torch.device("cpu"))
    assert apart(drawing.draw(other), expected) > 1e-4, "the transformer is that of the file"
    other.close()
    loaded.close()


def test_a_file_of_either_family_is_of_the_folder_that_goes_with_it(hub: Path, tmp_path: Path) -> None:
    file = tmp_path / "flux1.safetensors"
    convert.to_file(open_base("kontext", hub / "kontext"), file, torch.float32)
    assert [open_base("file", file, hub / name).family.name for name in ("flux", "kontext")] == ["flux", "flux_kontext"]
