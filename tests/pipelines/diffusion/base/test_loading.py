"""Bases load from folders and files alike, and convert without a changed pixel."""

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file

from pipelines.diffusion.base import convert, families, loading
from pipelines.diffusion.base.parts import single_file
from pipelines.diffusion.base.registry import all_families, families_built_alike
from pipelines.diffusion.base.source import BaseSource
from pipelines.model_store.store import ModelStore
from pipelines.settings import BaseLocation, ModelStoreSettings, Settings
from portrait.errors import OperatorError, UserError

pytestmark = pytest.mark.usefixtures("one_thread")


def drawn(base: BaseSource) -> torch.Tensor:
    """One picture from a seed."""
    pipeline: Any = loading.load_pipeline(base, torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(0)
    return pipeline("a photo of sks person", num_inference_steps=2, generator=generator, output_type="pt").images[0]


def test_sizes_are_read_from_the_base_itself(base: BaseSource) -> None:
    assert (base.family.name, base.native_side, base.geometry.cell, base.size_multiple) == (base.name, 64, 8, 16)


def test_a_folder_a_file_a_pickle_and_back_draw_the_same(base: BaseSource, tmp_path: Path) -> None:
    file, pickled, folder = tmp_path / "one.safetensors", tmp_path / "one.ckpt", tmp_path / "back"
    convert.to_file(base, file, torch.float32)
    torch.save({"state_dict": load_file(file), "global_step": 7}, pickled)
    single = loading.open_base("file", file, base.path)
    convert.to_folder(single, folder, torch.float32)
    before = drawn(base)
    assert before.std() > 0.05
    for other in (single, loading.open_base("pickle", pickled, base.path), loading.open_base("back", folder)):
        assert other.family is base.family
        assert torch.equal(drawn(other), before), other.name


def test_a_single_file_that_was_trained_to_inpaint_is_built_with_nine_channels(hub: Path, tmp_path: Path) -> None:
    base = loading.open_base("sd15", hub / "sd15")
    convert.to_file(base, tmp_path / "four.safetensors", torch.float32)
    weights = load_file(tmp_path / "four.safetensors")
    weights[single_file.CONV_IN] = torch.cat([weights[single_file.CONV_IN], torch.ones(32, 5, 3, 3)], dim=1)
    save_file(weights, tmp_path / "nine.safetensors")
    torch.save({"state_dict": weights}, tmp_path / "nine.ckpt")
    assert loading.open_base("four", tmp_path / "four.safetensors", base.path).config("unet")["in_channels"] == 4
    for name in ("nine.safetensors", "nine.ckpt"):
        nine = loading.open_base("nine", tmp_path / name, base.path)
        assert nine.config("unet")["in_channels"] == 9
        unet = loading.load_components(nine, torch.float16, ["unet"])["unet"]
        assert (unet.config.in_channels, unet.dtype) == (9, torch.float16)
        assert torch.equal(unet.conv_in.weight, weights[single_file.CONV_IN].half())


def test_a_vae_that_does_not_overflow_takes_the_place_of_its_own_in_float16(base: BaseSource, tmp_path: Path) -> None:
    shutil.copytree(base.path, tmp_path / "base")
    config = tmp_path / "base" / "vae" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "force_upcast": True}))
    other: Any = AutoencoderKL.from_config(base.config("vae"), force_upcast=False)
    other.save_pretrained(tmp_path / "models" / "sdxl_vae")
    settings = Settings(models=ModelStoreSettings(folder=tmp_path / "models"))
    found = loading.find_base(str(tmp_path / "base"), settings, ModelStore(settings.models))
    own = loading.load_components(found, torch.float32, ["vae"])["vae"]
    half = loading.load_components(found, torch.float16, ["vae"])["vae"]
    weight = "decoder.conv_in.weight"
    replaced = torch.equal(half.state_dict()[weight], other.state_dict()[weight].half())
    assert torch.equal(own.state_dict()[weight], own_vae(base)[weight])
    assert replaced == (base.family.name == "sdxl"), "the VAE of SD 1.5 does not overflow"
    assert half.config.force_upcast == (not replaced)
    files = {dtype: found.companion_files(dtype) for dtype in (torch.float32, torch.float16)}
    folders = {dtype: each["vae/diffusion_pytorch_model.safetensors"].parent for dtype, each in files.items()}
    assert folders[torch.float32] == tmp_path / "base" / "vae"
    assert folders[torch.float16] == (tmp_path / "models" / "sdxl_vae" if replaced else folders[torch.float32])
    convert.to_file(found, tmp_path / "one.safetensors", torch.float16)
    key = "first_stage_model.decoder.conv_in.weight"
    assert torch.equal(load_file(tmp_path / "one.safetensors")[key], own.state_dict()[weight].half())


def own_vae(base: BaseSource) -> dict[str, torch.Tensor]:
    """The weights of a base's own VAE."""
    return loading.load_components(base, torch.float32, ["vae"])["vae"].state_dict()


def test_weights_keep_the_dtype_they_are_served_in(base: BaseSource, tmp_path: Path) -> None:
    convert.to_folder(base, tmp_path / "half", torch.float16)
    half = loading.open_base("half", tmp_path / "half")
    found = loading.load_components(half, torch.float16, ["unet", "vae"])
    assert {weight.dtype for part in found.values() for weight in part.parameters()} == {torch.float16}
    assert not any(weight.requires_grad for part in found.values() for weight in part.parameters())
    assert found.keys() == {"unet", "vae"}
    size = (tmp_path / "half/unet/diffusion_pytorch_model.safetensors").stat().st_size
    assert size < 0.55 * (base.path / "unet/diffusion_pytorch_model.safetensors").stat().st_size


def test_a_pickle_runs_no_program(tmp_path: Path) -> None:
    class Program:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "ran",))  # what an attacker would write

    evil = tmp_path / "evil.ckpt"
    evil.write_bytes(pickle.dumps({"state_dict": Program()}))
    with pytest.raises(OperatorError) as caught:
        loading.open_base("evil", evil)
    assert caught.value.code == "bad_base"
    assert not (tmp_path / "ran").exists()


def test_a_base_is_found_by_name_and_by_place(hub: Path, tmp_path: Path) -> None:
    settings = Settings(models=ModelStoreSettings(folder=tmp_path), bases={"mine": BaseLocation(hub / "sdxl")})
    models = ModelStore(settings.models)
    assert loading.find_base("mine", settings, models).family.name == "sdxl"
    assert loading.find_base(str(hub / "sd15"), settings, models).name == "sd15"
    for name, code in (("sdxl", "missing_model"), ("nothing", "unknown_base")):
        with pytest.raises(OperatorError) as caught:
            loading.find_base(name, settings, models)
        assert caught.value.code == code


def test_for_commercial_use_a_base_says_that_it_may_be_sold(hub: Path, tmp_path: Path) -> None:
    bases = {"mine": BaseLocation(hub / "sdxl", licence="CreativeML-OpenRAIL++-M"), "bare": BaseLocation(hub / "sdxl")}
    settings = Settings(profile="commercial", models=ModelStoreSettings(folder=tmp_path), bases=bases)
    models = ModelStore(settings.models)
    assert loading.find_base("mine", settings, models).name == "mine"
    for name, sentence in (
        ("bare", r"state its licence in bases\.bare\.licence"),
        (str(hub / "sd15"), "not stated"),
        ("flux_dev", "take flux_schnell, flux2_klein instead"),
    ):
        with pytest.raises(OperatorError, match=sentence) as caught:
            loading.find_base(name, settings, models)
        assert caught.value.code == "licence_refused"
    for name, code in (("sdxl", "missing_model"), ("nothing", "unknown_base")):
        with pytest.raises(OperatorError) as caught:
            loading.find_base(name, settings, models)
        assert caught.value.code == code


def test_what_is_no_base_says_so(hub: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other/model_index.json").write_text(json.dumps({"_class_name": "KolorsPipeline"}))
    (tmp_path / "junk.safetensors").write_bytes(b"junk")
    for place, code in (("other", "unknown_family"), ("junk.safetensors", "bad_base"), ("none", "bad_base")):
        with pytest.raises(OperatorError) as caught:
            loading.open_base("it", tmp_path / place)
        assert caught.value.code == code
    file = tmp_path / "one.safetensors"
    convert.to_file(loading.open_base("sd15", hub / "sd15"), file, torch.float16)
    with pytest.raises(OperatorError, match="portrait models pull sd15"):
        loading.open_base("it", file)
    with pytest.raises(UserError, match="there already"):
        convert.to_file(loading.open_base("sd15", hub / "sd15"), file, torch.float16)


def test_each_family_is_a_file_of_its_name() -> None:
    known = all_families()
    assert [family.name for family in known] == families.family_names()
    assert {"sd15", "sdxl", "flux2"} <= {family.name for family in known}


def test_files_of_families_that_are_built_alike_are_told_by_their_folders() -> None:
    alike = {tuple(families_built_alike(family)) for family in all_families()}
    assert {each for each in alike if len(each) > 1} == {("flux", "flux_kontext"), ("qwenimage", "qwenimage_edit")}
