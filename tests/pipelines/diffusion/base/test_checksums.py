"""What a recipe knows of the files that drew: of a base all that is loaded, and no file that is not."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from pipelines.diffusion.base.checksums import BASE, COMPANION_PREFIX, MODELS, WeightChecksums
from pipelines.diffusion.base.registry import family_by_name
from pipelines.diffusion.base.source import BaseSource
from portrait.errors import OperatorError

PARTS = {
    "unet": ("diffusion_pytorch_model.safetensors",),
    "text_encoder": ("model.safetensors", "model.fp16.safetensors", "pytorch_model.bin"),
    "text_encoder_2": ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"),
    "vae": ("diffusion_pytorch_model.bin",),
    "safety_checker": ("model.safetensors",),
}


@pytest.fixture
def folder(tmp_path: Path) -> BaseSource:
    """A hub folder whose files say no more than their names."""
    for part, names in PARTS.items():
        (tmp_path / part).mkdir()
        for name in names:
            (tmp_path / part / name).write_text(f"{part}/{name}")
    return BaseSource("mine", tmp_path, family_by_name("sdxl"), tmp_path)


def files(base: BaseSource) -> dict[str, Path | Sequence[Path]]:
    return {
        BASE: base.weights_files,
        **{f"{COMPANION_PREFIX}{name}": file for name, file in base.companion_files(torch.float32).items()},
    }


def test_of_text_encoders_and_vae_the_files_that_are_loaded_are_named(folder: BaseSource) -> None:
    assert list(folder.companion_files(torch.float32)) == [
        "text_encoder/model.safetensors",
        "text_encoder_2/model-00001-of-00002.safetensors",
        "text_encoder_2/model-00002-of-00002.safetensors",
        "vae/diffusion_pytorch_model.bin",
    ]
    file = folder.path / "unet" / "diffusion_pytorch_model.safetensors"
    file.rename(file.with_name("diffusion_pytorch_model.fp16.safetensors"))
    assert next(iter(folder.companion_files(torch.float32))) == "text_encoder/model.fp16.safetensors", (
        "the base is in half precision"
    )
    single = BaseSource(
        "one", folder.companion_files(torch.float32)["vae/diffusion_pytorch_model.bin"], folder.family, folder.path
    )
    assert single.companion_files(torch.float32) == {}, "the file holds them itself"


@pytest.mark.parametrize("changed", ["text_encoder/model.safetensors", "vae/diffusion_pytorch_model.bin"])
def test_another_text_encoder_or_vae_is_refused_before_drawing(folder: BaseSource, changed: str) -> None:
    checksums = WeightChecksums()
    drawn = {"base": "mine", **checksums.for_recipe(files(folder))}
    checksums.require_unchanged(files(folder), drawn)
    (folder.path / changed).write_text("another one, of another size")
    with pytest.raises(OperatorError, match=f"{changed} of the base mine is another file") as caught:
        checksums.require_unchanged(files(folder), drawn)
    assert caught.value.code == "model_differs"


def test_files_that_are_not_loaded_may_come_and_go(folder: BaseSource) -> None:
    checksums = WeightChecksums()
    drawn = {"base": "mine", **checksums.for_recipe(files(folder))}
    (folder.path / "text_encoder" / "pytorch_model.bin").unlink()
    (folder.path / "vae" / "diffusion_pytorch_model.fp16.bin").write_text("half")
    checksums.require_unchanged(files(folder), drawn)


def test_a_recipe_without_those_hashes_is_still_accepted(folder: BaseSource) -> None:
    checksums = WeightChecksums()
    now = checksums.for_recipe(files(folder))
    old = {"base": "mine", BASE: now[BASE]}
    (folder.path / "vae" / "diffusion_pytorch_model.bin").write_text("another one, of another size")
    checksums.require_unchanged(files(folder), old)
    checksums.require_unchanged(files(folder), {**old, MODELS: {}})


def test_the_hash_of_a_base_is_that_of_the_file_which_is_loaded(folder: BaseSource) -> None:
    unet = folder.path / "unet"
    file = unet / "diffusion_pytorch_model.safetensors"
    alone = hashlib.sha256(file.read_bytes()).hexdigest()
    assert folder.sha256() == WeightChecksums().for_recipe(files(folder))[BASE] == alone
    (unet / "diffusion_pytorch_model.fp16.safetensors").write_text("half")
    (unet / "diffusion_pytorch_model.bin").write_text("a pickle")
    assert folder.sha256() == alone, "neither is loaded"
    file.unlink()
    assert folder.sha256() == hashlib.sha256(b"half").hexdigest()


@pytest.mark.parametrize("half", ["", ".fp16"])
def test_every_part_of_a_base_counts_in_its_hash(folder: BaseSource, half: str) -> None:
    unet = folder.path / "unet"
    (unet / "diffusion_pytorch_model.safetensors").unlink()
    parts = [unet / f"diffusion_pytorch_model{half}-{number:05}-of-00002.safetensors" for number in (1, 2)]
    for part in parts:
        part.write_text(part.name)
    assert folder.weights_files == parts
    before = folder.sha256()
    parts[1].write_text("another second part")
    assert folder.sha256() != before
    checksums = WeightChecksums()
    assert checksums.for_recipe(files(folder))[BASE] == folder.sha256()
    parts[1].write_text("yet another second part")
    assert checksums.for_recipe(files(folder))[BASE] == folder.sha256(), "what changed is hashed again"
