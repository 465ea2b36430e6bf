"""Files of Z-Image for other programs: LoRAs in kohya's names, and transformers alone in one file, there and back."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import ZImagePipeline, ZImageTransformer2DModel
from safetensors.torch import load_file, save_file

from pipelines.diffusion.base import convert, lora
from pipelines.diffusion.base.lease import LoadedBase
from pipelines.diffusion.base.loading import load_components, open_base
from pipelines.diffusion.base.loras.layers import layers_of
from pipelines.diffusion.base.loras.reader import read_lora
from portrait.errors import UserError
from tests.pipelines.diffusion.base.families import flux2_drawing as drawing
from tests.pipelines.diffusion.base.families import tiny_zimage


@pytest.fixture(scope="module")
def hub(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hub folder `zimage`."""
    folder = tmp_path_factory.mktemp("zimage")
    tiny_zimage.zimage(folder / "zimage")
    return folder


@pytest.fixture(scope="module")
def loaded(hub: Path) -> LoadedBase:
    """The base, with everything in main memory."""
    return drawing.load(hub / "zimage")


def test_both_files_of_a_lora_are_read_as_what_was_learned(loaded: LoadedBase, tmp_path: Path) -> None:
    files = drawing.person_lora(loaded, 1, tmp_path)
    own, kohya = (load_file(each) for each in files)
    layers = {name.split(".lora_")[0].removeprefix("transformer.") for name in own}
    inner = [f"attention.{each}" for each in ("to_q", "to_k", "to_v", "to_out.0")]
    assert layers == {f"layers.{at}.{each}" for at in range(2) for each in inner}, "and none of the refiners"
    names = {f"lora_unet_{each.replace('.', '_')}" for each in layers}
    assert kohya.keys() == {
        f"{each}.{end}" for each in names for end in ("lora_down.weight", "lora_up.weight", "alpha")
    }
    for stored in (own, kohya):
        back: Any = ZImagePipeline.lora_state_dict(dict(stored))
        assert back.keys() == own.keys()
        assert all(torch.equal(each, own[name]) for name, each in back.items())
    for file in files:
        pairs = layers_of(loaded.source).fit(read_lora(file))["transformer"].pairs
        assert pairs.keys() == layers
        for name, (down, up) in pairs.items():
            assert torch.equal(down, own[f"transformer.{name}.lora_A.weight"])
            assert torch.equal(up, own[f"transformer.{name}.lora_B.weight"])


def test_layers_in_one_are_taken_apart_as_diffusers_takes_them_apart(loaded: LoadedBase, tmp_path: Path) -> None:
    random, block = torch.Generator().manual_seed(4), "lora_unet_noise_refiner_0_attention"
    shapes = {"qkv": (tiny_zimage.DIM, 3 * tiny_zimage.DIM), "out": (tiny_zimage.DIM, tiny_zimage.DIM)}
    named: dict[str, torch.Tensor] = {}
    for layer, (width, height) in shapes.items():
        named[f"{block}_{layer}.lora_down.weight"] = torch.randn(4, width, generator=random)
        named[f"{block}_{layer}.lora_up.weight"] = torch.randn(height, 4, generator=random)
    save_file(named, tmp_path / "fused.safetensors")
    theirs: Any = ZImagePipeline.lora_state_dict(dict(named))
    pairs = layers_of(loaded.source).fit(read_lora(tmp_path / "fused.safetensors"))["transformer"].pairs
    assert len(pairs) == 4
    for name, (down, up) in pairs.items():
        back = [theirs[f"transformer.{name}.lora_{each}.weight"] for each in "AB"]
        assert torch.equal(down, back[0])
        assert torch.equal(up, back[1])


def test_a_lora_of_another_base_is_refused(loaded: LoadedBase, tmp_path: Path) -> None:
    wrong = {"transformer.layers.7.attention.to_q.lora_A.weight": torch.ones(4, tiny_zimage.DIM)}
    wrong["transformer.layers.7.attention.to_q.lora_B.weight"] = torch.ones(tiny_zimage.DIM, 4)
    lora.save_weights(wrong, tmp_path / "wrong.safetensors")
    with pytest.raises(UserError, match="learned on another base") as caught, loaded.lease() as lease:
        lease.load_person_lora(tmp_path / "wrong.safetensors", 1.0)
    assert caught.value.code == "wrong_base"


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."], ids=["alone", "as ComfyUI writes it"])
def test_a_transformer_in_one_file_is_read_again(loaded: LoadedBase, hub: Path, tmp_path: Path, prefix: str) -> None:
    base, file = loaded.source, tmp_path / "transformer.safetensors"
    convert.to_file(base, tmp_path / "written.safetensors", torch.float32)
    written = load_file(tmp_path / "written.safetensors")
    assert {"x_embedder.weight", "layers.1.attention.qkv.weight", "layers.1.attention.q_norm.weight"} < written.keys()
    save_file({prefix + name: each for name, each in written.items()}, file)
    own = loaded.denoiser.state_dict()
    back = ZImageTransformer2DModel.from_single_file(
        str(file), config=str(base.path), subfolder="transformer", local_files_only=True
    ).state_dict()
    single = open_base("single", file, hub / "zimage")
    assert (single.family.name, single.weights_files) == ("zimage", [file])
    ours = load_components(single, torch.float32, ["transformer"])["transformer"].state_dict()
    for weights in (back, ours):
        assert weights.keys() == own.keys()
        assert all(torch.equal(each, own[name]) for name, each in weights.items())
    if prefix:
        alone = LoadedBase(single, torch.float32, torch.device("cpu"))
        assert drawing.apart(drawing.draw(alone), drawing.draw(loaded)) < 1e-5
        alone.close()


def test_a_file_in_diffusers_names_is_read_too(loaded: LoadedBase, hub: Path) -> None:
    [file] = (hub / "zimage" / "transformer").glob("*.safetensors")
    single = open_base("single", file, hub / "zimage")
    read = load_components(single, torch.float32, ["transformer"])["transformer"].state_dict()
    assert all(torch.equal(each, read[name]) for name, each in loaded.denoiser.state_dict().items())
