"""What a recipe knows of the files that drew: of a base all that is loaded, and no file that is not."""

from pathlib import Path

import pytest

from pipelines.diffusion.base.checksums import BASE, COMPANION_PREFIX, MODELS, WeightChecksums
from pipelines.diffusion.base.loading import BaseSource
from pipelines.diffusion.base.registry import all_families
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
    return BaseSource("mine", tmp_path, all_families()[0], tmp_path)


def files(base: BaseSource) -> dict[str, Path]:
    return {
        BASE: base.weights_file,
        **{f"{COMPANION_PREFIX}{name}": file for name, file in base.companion_files().items()},
    }


def test_of_text_encoders_and_vae_the_files_that_are_loaded_are_named(folder: BaseSource) -> None:
    assert list(folder.companion_files()) == [
        "text_encoder/model.safetensors",
        "text_encoder_2/model-00001-of-00002.safetensors",
        "text_encoder_2/model-00002-of-00002.safetensors",
        "vae/diffusion_pytorch_model.bin",
    ]
    file = folder.path / "unet" / "diffusion_pytorch_model.safetensors"
    file.rename(file.with_name("diffusion_pytorch_model.fp16.safetensors"))
    assert next(iter(folder.companion_files())) == "text_encoder/model.fp16.safetensors", (
        "the base is in half precision"
    )
    single = BaseSource("one", folder.companion_files()["vae/diffusion_pytorch_model.bin"], folder.family, folder.path)
    assert single.companion_files() == {}, "the file holds them itself"


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
