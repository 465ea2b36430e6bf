"""Merged bases: either end is one of the two, blocks have alphas of their own, and little is in memory at once."""

import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from pipelines.diffusion.base import convert, loading, merge_bases
from pipelines.diffusion.base.loras import blocks
from pipelines.diffusion.base.merge_bases import MergeOptions
from pipelines.diffusion.base.source import BaseSource
from pipelines.model_store.store import ModelStore
from pipelines.settings import BaseLocation, ModelStoreSettings, Settings
from portrait.errors import UserError
from tests import tiny

pytestmark = pytest.mark.usefixtures("one_thread")
UNET = "model.diffusion_model."


@pytest.fixture(scope="module")
def files(hub: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two SD 1.5 with other weights, as single files in two precisions."""
    folder = tmp_path_factory.mktemp("files")
    other = tiny.sd15(folder / "other", seed=5)
    made = {"a": folder / "a.safetensors", "b": folder / "b.safetensors"}
    convert.to_file(loading.open_base("a", hub / "sd15"), made["a"], torch.float32)
    convert.to_file(loading.open_base("b", other), made["b"], torch.float16)
    return {**made, "folder": hub / "sd15", "other": other}


@pytest.fixture
def settings(files: dict[str, Path], hub: Path, tmp_path: Path) -> Settings:
    bases = {name: BaseLocation(files[name], hub / "sd15") for name in ("a", "b")}
    return Settings(models=ModelStoreSettings(folder=tmp_path / "models"), bases=bases)


def merged(settings: Settings, place: Path, *names: str, **options: Any) -> list[str]:
    given = MergeOptions(**options)
    first, second = names or ("a", "b")
    return merge_bases.merge(first, second, place, given, settings, ModelStore(settings.models)).kept


def test_either_end_is_one_of_the_two_bit_for_bit(files: dict[str, Path], settings: Settings, tmp_path: Path) -> None:
    for how in ("lerp", "slerp"):
        for alpha, name in ((0.0, "a"), (1.0, "b")):
            place = tmp_path / f"{how}-{name}.safetensors"
            assert merged(settings, place, how=how, alpha=alpha) == []
            read, expected = load_file(place), load_file(files[name])
            assert read.keys() == expected.keys()
            assert all(torch.equal(read[key], expected[key].to(read[key].dtype)) for key in expected)


def test_blends_are_those_of_a_plain_computation(files: dict[str, Path], settings: Settings, tmp_path: Path) -> None:
    a, b = (load_file(files[name]) for name in ("a", "b"))
    for how in ("lerp", "slerp"):
        merged(settings, tmp_path / how, how=how, alpha=0.3)
        for key, blended in load_file(tmp_path / how).items():
            if not blended.is_floating_point():
                continue
            one, other = a[key].double(), b[key].double()
            cosine = float((one * other).sum() / (one.norm() * other.norm()).clamp(min=1e-30))
            expected = 0.7 * one + 0.3 * other
            if how == "slerp" and abs(cosine) < 0.9995:
                angle = math.acos(cosine)
                expected = (math.sin(0.7 * angle) * one + math.sin(0.3 * angle) * other) / math.sin(angle)
            assert (blended.double() - expected).abs().max() <= 1e-5, (how, key)
    lerp, slerp = load_file(tmp_path / "lerp"), load_file(tmp_path / "slerp")
    assert max(float((lerp[key] - slerp[key]).abs().max()) for key in lerp) > 1e-3


def test_blocks_have_alphas_of_their_own(files: dict[str, Path], settings: Settings, tmp_path: Path) -> None:
    config = loading.open_base("a", files["folder"]).config("unet")
    names = blocks.all_blocks(config)
    chosen = "OUT02"
    merged(settings, tmp_path / "merged", blocks=tuple(float(name == chosen) for name in names))
    a, b, read = load_file(files["a"]), load_file(files["b"]), load_file(tmp_path / "merged")
    changed = {key for key, each in read.items() if not torch.equal(each, a[key])}
    assert changed
    assert all(torch.equal(read[key], b[key].float()) for key in changed)
    assert all(key.startswith(f"{UNET}output_blocks.2.") for key in changed)
    with pytest.raises(UserError, match="block weights were given"):
        merged(settings, tmp_path / "short", blocks=(0.5, 0.5))
    with pytest.raises(UserError, match="alphas from 0"):
        merged(settings, tmp_path / "large", blocks=(2.0,) * len(names))


def test_folders_become_a_folder_that_loads(
    hub: Path, files: dict[str, Path], settings: Settings, tmp_path: Path
) -> None:
    place = tmp_path / "merged"
    merged(settings, place, str(files["folder"]), str(files["other"]), alpha=0.25)
    one, other, both = (
        loading.load_components(loading.open_base("it", folder), torch.float32, ["unet", "text_encoder", "vae"])
        for folder in (files["folder"], files["other"], place)
    )
    for part, network in both.items():
        for name, weight in network.state_dict().items():
            if weight.is_floating_point():
                first, second = (each[part].state_dict()[name] for each in (one, other))
                assert torch.allclose(weight, 0.75 * first + 0.25 * second, atol=1e-6), name


def test_what_cannot_be_merged_says_why(hub: Path, files: dict[str, Path], settings: Settings, tmp_path: Path) -> None:
    inpaint = tmp_path / "inpaint.safetensors"
    weights = load_file(files["b"])
    key = f"{UNET}input_blocks.0.0.weight"
    save_file({**weights, key: torch.zeros(32, 9, 3, 3)}, inpaint)
    less = tmp_path / "less.safetensors"
    save_file({name: each for name, each in weights.items() if name != key}, less)
    bases = {**settings.bases, **{each.stem: BaseLocation(each, hub / "sd15") for each in (inpaint, less)}}
    known = Settings(models=settings.models, bases=bases)
    cases = [
        ((str(files["folder"]), str(hub / "sdxl")), "cannot_merge", "sd15 and sdxl is sdxl"),
        ((str(files["folder"]), "a"), "cannot_merge", "one is a folder and one a file"),
        (("a", "inpaint"), "cannot_merge", "32×4×3×3 and 32×9×3×3"),
        (("a", "less"), "cannot_merge", "the second has no"),
    ]
    for names, code, says in cases:
        with pytest.raises(UserError, match=says) as caught:
            merged(known, tmp_path / "out", *names)
        assert caught.value.code == code
        assert not (tmp_path / "out").exists()
    shutil.copyfile(files["a"], tmp_path / "out")
    with pytest.raises(UserError, match="there already"):
        merged(settings, tmp_path / "out")


def test_a_base_of_its_own_family_is_read_again(base: BaseSource, settings: Settings, tmp_path: Path) -> None:
    merged(settings, tmp_path / "same", str(base.path), str(base.path), alpha=0.5)
    assert loading.open_base("same", tmp_path / "same").family.name == base.family.name
