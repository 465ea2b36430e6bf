"""Files of Qwen-Image for other programs: LoRAs in kohya's names, and transformers alone in one file, there and back."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import QwenImagePipeline, QwenImageTransformer2DModel
from safetensors.torch import load_file, save_file

from pipelines.diffusion.base import convert, families, registry
from pipelines.diffusion.base.lease import LoadedBase
from pipelines.diffusion.base.loading import find_base, open_base
from pipelines.diffusion.base.loras.layers import layers_of
from pipelines.diffusion.base.loras.reader import read_lora
from pipelines.model_store.store import ModelStore
from pipelines.settings import BaseLocation, ModelStoreSettings, Settings
from tests.pipelines.diffusion.base.families import qwen_drawing as drawing
from tests.pipelines.diffusion.base.families import tiny_qwen

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the bases `qwen` and `edit`."""
    folder = tmp_path_factory.mktemp("qwen")
    for name in ("qwen", "edit"):
        tiny_qwen.write(folder / name, edit=name == "edit")
    return folder


@pytest.fixture(scope="module")
def loaded(hub: Path) -> Iterator[LoadedBase]:
    """The base for words."""
    loaded = drawing.load(hub / "qwen")
    yield loaded
    loaded.close()


def test_lora_files_are_read_by_diffusers_and_by_us_as_what_was_learned(
    loaded: LoadedBase, hub: Path, tmp_path: Path
) -> None:
    files = drawing.person_lora(loaded, 1, tmp_path)
    own, kohya = (load_file(each) for each in files)
    assert len(own) == 2 * 2 * 4, "factors of four layers of two blocks"
    assert {name.partition(".")[0] for name in kohya} == {
        f"lora_unet_transformer_blocks_{block}_attn_{layer}"
        for block in range(2)
        for layer in ("to_q", "to_k", "to_v", "to_out_0")
    }
    for weights in (own, kohya):
        back: Any = QwenImagePipeline.lora_state_dict(dict(weights))
        assert back.keys() == own.keys()
        assert all(torch.equal(each, own[name]) for name, each in back.items())
    for base in (loaded.source, open_base("edit", hub / "edit")):  # who was learned on the one is drawn on the other
        for file in files:
            pairs = layers_of(base).fit(read_lora(file))["transformer"].pairs
            assert len(pairs) == 8
            for layer, (down, up) in pairs.items():
                names = (f"transformer.{layer}.lora_{factor}.weight" for factor in "AB")
                expected = own[next(names)].double(), own[next(names)].double()
                assert torch.equal(up.double() @ down.double(), expected[1] @ expected[0])


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."], ids=["as published", "as ComfyUI writes it"])
def test_a_transformer_in_one_file_is_read_again(loaded: LoadedBase, hub: Path, tmp_path: Path, prefix: str) -> None:
    base, file = loaded.source, tmp_path / "transformer.safetensors"
    convert.to_file(base, tmp_path / "written.safetensors", torch.float32)
    written = load_file(tmp_path / "written.safetensors")
    save_file({prefix + name: each for name, each in written.items()}, file)
    own = loaded.denoiser.state_dict()
    if not prefix:
        back = QwenImageTransformer2DModel.from_single_file(
            str(file), config=str(base.path), subfolder="transformer", local_files_only=True
        ).state_dict()
        assert back.keys() == own.keys()
        assert all(torch.equal(each, own[name]) for name, each in back.items())
    single = open_base("single", file, hub / "qwen")
    assert (single.family.name, single.weights_files) == ("qwenimage", [file])
    alone = LoadedBase(single, torch.float32, torch.device("cpu"))
    assert drawing.apart(drawing.draw(alone), drawing.draw(loaded)) < 1e-5
    alone.close()
    save_file({prefix + name: each * (1 + (name == "img_in.weight")) for name, each in written.items()}, file)
    other = LoadedBase(single, torch.float32, torch.device("cpu"))
    assert drawing.apart(drawing.draw(other), drawing.draw(loaded)) > 1e-4, "the transformer is that of the file"
    other.close()


def test_of_two_families_built_alike_a_file_is_of_the_one_whose_folder_goes_with_it(hub: Path, tmp_path: Path) -> None:
    alike = registry.families_built_alike(registry.family_by_name("qwenimage"))
    assert alike == ["qwenimage", "qwenimage_edit"]
    for name, family in (("qwen", "qwenimage"), ("edit", "qwenimage_edit")):
        file = tmp_path / f"{name}.safetensors"
        convert.to_file(open_base(name, hub / name), file, torch.float32)
        assert families.family_of_folder(hub / name) == family
        assert open_base("it", file, hub / name).family.name == family
        settings = Settings(
            models=ModelStoreSettings(folder=tmp_path / "models"),
            bases={"it": BaseLocation(file, configs=hub / name)},
        )
        assert find_base("it", settings, ModelStore(settings.models)).family.name == family
