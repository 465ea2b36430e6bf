"""Qwen-Image-Edit draws from one to three pictures what diffusers' own pipeline draws, without torchvision."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diffusers import QwenImageEditPlusPipeline
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus as edit_plus
from safetensors.torch import load_file

from pipelines.diffusion.base import convert
from pipelines.diffusion.base.lease import LoadedBase
from pipelines.diffusion.base.loading import open_base
from pipelines.diffusion.base.memory import MemoryProfile
from pipelines.diffusion.base.parts import qwen_vl
from pipelines.diffusion.sampling import generation_options
from pipelines.diffusion.selftest import state
from pipelines.engines import Engines
from pipelines.engines.painters.diffusion import Diffusion
from pipelines.model_store.store import ModelStore
from pipelines.settings import DrawSettings, ModelStoreSettings, Settings
from portrait.arrays import Size
from portrait.errors import UserError
from portrait.generation.options import GenerationOptions, PromptSpec
from portrait.generation.parameters import GenerationParameters
from portrait.training import TrainingJob
from tests import hub_store
from tests.pipelines.diffusion.base.families import qwen_drawing as drawing
from tests.pipelines.diffusion.base.families import tiny_qwen
from tests.pipelines.diffusion.base.families.qwen_drawing import apart, draw, picture, quiet, stock
from tests.pipelines.engines import tiny_training

pytestmark = pytest.mark.usefixtures("one_thread")
NEAR, FAR = 1e-5, 1e-4
"""How far pictures, 0..1, may lie apart that are the same, and how far others do at least."""
ANNA, BEN, COAT = picture(1), picture(2, Size(64, 80)), picture(3)
SQUARE = Size(64, 64)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the base `edit`, which brings all pictures to 64² pixels in place of 1024²."""
    folder = tmp_path_factory.mktemp("edit")
    tiny_qwen.write(folder / "edit", edit=True)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("VAE_IMAGE_SIZE", "CONDITION_IMAGE_SIZE"):
            patch.setattr(edit_plus, name, 64 * 64)
        yield folder


@pytest.fixture(scope="module")
def loaded(hub: Path) -> Iterator[LoadedBase]:
    """The base, with everything in main memory."""
    loaded = drawing.load(hub / "edit")
    yield loaded
    loaded.close()


def stock_pipeline(hub: Path) -> Any:
    """The stock pipeline, which without torchvision must be given its processor."""
    processor = qwen_vl.load_processor(hub / "edit" / "processor")
    return quiet(QwenImageEditPlusPipeline.from_pretrained(hub / "edit", processor=processor, local_files_only=True))


@pytest.fixture(scope="module")
def person(loaded: LoadedBase, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """LoRA files of a person, in diffusers' names and in kohya's."""
    return drawing.person_lora(loaded, 1, tmp_path_factory.mktemp("lora"))


def test_words_and_pictures_draw_the_stock_pictures(loaded: LoadedBase, hub: Path) -> None:
    pipe = stock_pipeline(hub)
    cases = {"one": [ANNA], "another": [BEN], "two": [ANNA, BEN], "three": [ANNA, BEN, COAT], "swapped": [BEN, ANNA]}
    tokens: list[int] = []
    hook = loaded.denoiser.register_forward_pre_hook(
        lambda network, args, given: tokens.append(given["hidden_states"].shape[1]), with_kwargs=True
    )
    ours = {name: draw(loaded, each) for name, each in cases.items()}
    hook.remove()
    assert tokens[:: 2 * drawing.STEPS] == [24 + 16 * len(each) for each in cases.values()], "16 of each picture"
    for name in ("one", "two", "three"):
        assert apart(ours[name], stock(pipe, cases[name])) < NEAR, name
    names = list(ours)
    for at, name in enumerate(names):
        assert all(apart(ours[name], ours[other]) > FAR for other in names[at + 1 :]), name
    others: list[dict[str, Any]] = [{"prompt": "a photo of a woman"}, {"negative": "blurred"}, {"guidance": 1.0}]
    for changes in others:
        assert apart(ours["one"], draw(loaded, [ANNA], **changes)) > FAR, changes
    assert apart(draw(loaded, [ANNA], negative=""), stock(pipe, [ANNA], negative_prompt=" ")) < NEAR
    assert "torchvision" not in sys.modules


def test_words_and_pictures_are_read_together(loaded: LoadedBase) -> None:
    read: list[tuple[int, ...]] = []
    hook = loaded.pipeline.text_encoder.register_forward_pre_hook(
        lambda network, args, given: read.append(tuple(given["pixel_values"].shape)), with_kwargs=True
    )
    draw(loaded, [ANNA, COAT])
    draw(loaded, [ANNA], guidance=1.0)
    hook.remove()
    assert [each[0] for each in read] == [2 * 16, 2 * 16, 16], "patches, for the prompt and its negative; or the prompt"


def test_a_lora_and_its_person_leave_nothing_behind(loaded: LoadedBase, hub: Path, person: tuple[Path, Path]) -> None:
    own, kohya = person
    bare = draw(loaded, [ANNA])
    worn = draw(loaded, [ANNA], own)
    pipe = stock_pipeline(hub)
    pipe.load_lora_weights(load_file(own))
    assert apart(worn, stock(pipe, [ANNA])) < NEAR
    assert apart(worn, draw(loaded, [ANNA], kohya)) < NEAR
    assert apart(worn, bare) > FAR
    alone = drawing.load(hub / "edit")
    other = draw(alone, [BEN])
    alone.close()
    assert np.array_equal(draw(loaded, [BEN]), other)
    assert np.array_equal(draw(loaded, [ANNA], own), worn)
    assert np.array_equal(draw(loaded, [ANNA]), bare)


@pytest.mark.parametrize("profile", ["offload", "sequential"])
def test_every_memory_profile_draws_the_same(
    loaded: LoadedBase, hub: Path, person: tuple[Path, Path], profile: MemoryProfile
) -> None:
    smaller = drawing.load(hub / "edit", profile)
    for file in (person[0], None):
        before = state.capture(smaller)
        drawn = draw(smaller, [ANNA, BEN], file, size=SQUARE)
        assert apart(drawn, draw(loaded, [ANNA, BEN], file, size=SQUARE)) < NEAR
    assert not state.lost_hook(before, state.capture(smaller))
    assert not state.moved_tensor(before, state.capture(smaller))
    smaller.close()


def test_a_written_folder_names_the_published_classes_and_draws_the_same(
    loaded: LoadedBase, hub: Path, tmp_path: Path
) -> None:
    convert.to_folder(loaded.source, tmp_path / "again", loaded.dtype)
    assert '"transformers",\n    "Qwen2VLProcessor"' in (tmp_path / "again" / "model_index.json").read_text()
    again = drawing.load(tmp_path / "again")
    assert np.array_equal(draw(again, [ANNA]), draw(loaded, [ANNA]))
    again.close()


def test_what_it_cannot_is_refused_in_a_sentence(loaded: LoadedBase, hub: Path, tmp_path: Path) -> None:
    base = loaded.source
    words = GenerationParameters("", "", drawing.SIZE, 0, 4, 4.0, GenerationOptions(identities=("lora",)))
    with pytest.raises(UserError, match=r"edit \(qwenimage_edit\) draws from pictures: show who by reference photos"):
        generation_options.check_supported(base, words, False)
    with pytest.raises(UserError, match="draws from pictures"):
        draw(loaded)
    started = GenerationParameters("", "", drawing.SIZE, 0, 4, 4.0, GenerationOptions(), start=ANNA, strength=0.5)
    with pytest.raises(UserError, match="does not draw with a picture to begin from here"):
        generation_options.check_supported(base, started, False)
    with pytest.raises(UserError, match="reads words together with pictures, and is not learned on") as caught:
        tiny_training.trainer(hub, tiny_training.PLAIN).plan(
            TrainingJob(tiny_training.training_set(), "edit", tmp_path)
        )
    assert caught.value.code == "bad_lesson"


def test_people_are_shown_by_their_photos_or_not_drawn(hub: Path, person: tuple[Path, Path], tmp_path: Path) -> None:
    settings = Settings(models=ModelStoreSettings(folder=tmp_path / "models"), draw=DrawSettings(device="cpu"))
    store = ModelStore(settings.models)
    engines = Engines(settings, store)
    painter = Diffusion(
        lambda name: open_base(name, hub / name), engines.identity_adapter, engines.control, store, settings.draw
    )
    who, scene = hub_store.stranger(1), PromptSpec("a photo of a {who}", "low quality")
    made = painter.plan(hub_store.request(who, scene, GenerationOptions(base="edit"), 3, Size(64, 64)))
    assert made.parameters.options.identities == ("reference",)
    assert (made.parameters.steps, made.parameters.guidance, made.parameters.size) == (30, 4.0, Size(1024, 1024))
    alone, learned = GenerationOptions(base="edit", identities=("lora",)), replace(who, lora=person[0], trigger="sks")
    with pytest.raises(UserError, match="draws from pictures: show who by reference photos"):
        painter.plan(hub_store.request(learned, scene, alone, 3, Size(64, 64)))
