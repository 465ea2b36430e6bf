"""Qwen-Image draws what diffusers' own pipelines draw: words, pictures, parts of them, controls, LoRAs; each of them counts."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from diffusers import (
    QwenImageControlNetPipeline,
    QwenImageImg2ImgPipeline,
    QwenImageInpaintPipeline,
    QwenImageMultiControlNetModel,
    QwenImagePipeline,
)
from safetensors.torch import load_file

from pipelines.diffusion.base.family import ControlNetUnit
from pipelines.diffusion.base.lease import LoadedBase
from pipelines.diffusion.base.memory import MemoryProfile
from pipelines.diffusion.sampling import controlnet, generation_options, img2img
from pipelines.diffusion.selftest import state
from pipelines.model_store.store import ModelStore
from pipelines.settings import ModelStoreSettings
from portrait.arrays import Size
from portrait.errors import UserError
from portrait.generation.options import ControlInput, GenerationOptions
from portrait.generation.parameters import GenerationParameters
from tests.pipelines.diffusion.base.families import qwen_drawing as drawing
from tests.pipelines.diffusion.base.families import tiny_qwen
from tests.pipelines.diffusion.base.families.qwen_drawing import apart, draw, draw_controlled, picture, quiet, stock

pytestmark = pytest.mark.usefixtures("one_thread")
NEAR, FAR = 1e-5, 1e-4
"""How far pictures, 0..1, may lie apart that are the same, and how far others do at least."""
START = picture(7)
MASK = np.zeros(START.shape[:2], np.float32)
MASK[20:60, 30:70] = 1.0
WHOLE_CELLS = np.kron(np.pad(np.ones((3, 4)), ((1, 0), (1, 1))), np.ones((16, 16)))
"""The mask rounded up to latents of 16 pixels."""
EDGES, DEPTH = picture(4), picture(5)
SQUARE = Size(64, 64)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the base `qwen`."""
    folder = tmp_path_factory.mktemp("qwen")
    tiny_qwen.write(folder / "qwen")
    return folder


@pytest.fixture(scope="module")
def loaded(hub: Path) -> Iterator[LoadedBase]:
    """The base, with everything in main memory."""
    loaded = drawing.load(hub / "qwen")
    yield loaded
    loaded.close()


@pytest.fixture(scope="module")
def pipe(hub: Path) -> Any:
    """The stock pipeline."""
    return quiet(QwenImagePipeline.from_pretrained(hub / "qwen", local_files_only=True))


@pytest.fixture(scope="module")
def people(loaded: LoadedBase, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, tuple[Path, Path]]:
    """LoRA files of two people, in diffusers' names and in kohya's."""
    folder = tmp_path_factory.mktemp("loras")
    return {name: drawing.person_lora(loaded, seed, folder / name) for seed, name in enumerate(("anna", "ben"))}


def test_words_draw_the_stock_picture(loaded: LoadedBase, pipe: Any) -> None:
    seen: list[torch.Tensor] = []
    ours = draw(loaded, preview=seen.append)
    assert apart(ours, stock(pipe)) < NEAR
    others: list[dict[str, Any]] = [{"prompt": "a photo of a woman"}, {"negative": "blurred"}]
    others += [{"guidance": 2.0}, {"guidance": 1.0}]
    for changes in others:
        assert apart(ours, draw(loaded, **changes)) > FAR, changes
    assert apart(draw(loaded, negative=""), stock(pipe, negative_prompt=" ")) < NEAR
    assert apart(draw(loaded, guidance=1.0), stock(pipe, negative_prompt=None, true_cfg_scale=1.0)) < NEAR
    long = "a photo of a man " * 50
    assert apart(draw(loaded, prompt=long), draw(loaded, prompt=long[:750])) > FAR, "more than the 512 tokens of a call"
    assert seen[-1].shape == (1, 16, 4, 6)
    with torch.no_grad():
        decoded = loaded.family.latents(loaded.pipeline.vae).decode(loaded.pipeline.vae, seen[-1])
    assert apart(ours, (decoded[0].permute(1, 2, 0).numpy() / 2 + 0.5).clip(0, 1)) < NEAR


def test_a_picture_and_a_part_of_it_are_drawn_as_the_stock_pipelines_draw_them(loaded: LoadedBase, pipe: Any) -> None:
    whole, part = (quiet(each(**pipe.components)) for each in (QwenImageImg2ImgPipeline, QwenImageInpaintPipeline))
    given: dict[str, Any] = {"image": PIL.Image.fromarray(START), "num_inference_steps": 4}
    for strength, done in ((0.5, 2), (0.25, 1)):
        steps: list[int] = []
        ours = draw(loaded, on_step=steps.append, start=START, strength=strength, steps=4)
        assert steps == [*range(1, done + 1)]
        assert apart(ours, stock(whole, **given, strength=strength)) < NEAR
    assert apart(ours, draw(loaded, start=picture(8), strength=0.25, steps=4)) > FAR
    mask = PIL.Image.fromarray((WHOLE_CELLS * 255).astype(np.uint8))
    inside = draw(loaded, start=START, mask=MASK, strength=0.7, steps=4)
    assert apart(inside, stock(part, **given, mask_image=mask, strength=0.5)) < NEAR
    assert apart(inside, draw(loaded, start=START, mask=1 - MASK, strength=0.7, steps=4)) > FAR
    round_trip = draw(loaded, start=START, strength=0.0)
    with torch.no_grad():
        expected = img2img.vae_round_trip(pipe, START, loaded.family.latents(pipe.vae))
        pixels = pipe.image_processor.preprocess(PIL.Image.fromarray(START))[:, :, None]
        decoded = pipe.vae.decode(pipe.vae.encode(pixels).latent_dist.mode()).sample[0, :, 0]
    assert apart(round_trip, expected) < NEAR
    assert apart(round_trip, (decoded.permute(1, 2, 0).numpy() / 2 + 0.5).clip(0, 1)) < NEAR


def test_controls_draw_the_stock_pictures_one_or_two_by_one_network(loaded: LoadedBase, pipe: Any) -> None:
    network = tiny_qwen.control()
    edges = ControlNetUnit(network, EDGES, 0.8, 0.0, 0.5, "canny")
    depth = ControlNetUnit(network, DEPTH, 0.6, kind="depth")
    one = draw_controlled(loaded, [edges], steps=4)
    pictures = [PIL.Image.fromarray(each) for each in (EDGES, DEPTH)]
    single = quiet(QwenImageControlNetPipeline(**pipe.components, controlnet=network))
    given: dict[str, Any] = {"num_inference_steps": 4, "control_guidance_end": 0.5}
    assert apart(one, stock(single, control_image=pictures[0], controlnet_conditioning_scale=0.8, **given)) < NEAR
    both = draw_controlled(loaded, [edges, depth], steps=4)
    several = quiet(QwenImageControlNetPipeline(**pipe.components, controlnet=QwenImageMultiControlNetModel([network])))
    given |= {"control_guidance_start": [0.0, 0.0], "control_guidance_end": [0.5, 1.0]}
    assert apart(both, stock(several, control_image=pictures, controlnet_conditioning_scale=[0.8, 0.6], **given)) < NEAR
    others = [
        [ControlNetUnit(network, DEPTH, 0.8, 0.0, 0.5)],
        [ControlNetUnit(network, EDGES, 0.4, 0.0, 0.5)],
        [ControlNetUnit(network, EDGES, 0.8)],
        [],
    ]
    for at, units in enumerate(others):
        assert apart(one, draw_controlled(loaded, units, steps=4)) > FAR, at
    assert apart(one, both) > FAR


def test_one_network_is_loaded_for_all_kinds(loaded: LoadedBase, tmp_path: Path) -> None:
    tiny_qwen.control().save_pretrained(tmp_path / "controlnet_union_qwenimage")
    kinds = ("canny", "pose", "depth", "softedge")
    inputs = [ControlInput(kind, EDGES, 1.0, preprocessed=True) for kind in kinds]
    with loaded.lease() as lease:
        models = ModelStore(ModelStoreSettings(folder=tmp_path))
        made = controlnet.load_controlnets(lease, inputs, drawing.SIZE, models, pytest.fail)
    assert [unit.kind for unit in made.controlnets] == list(kinds)
    assert len({id(unit.network) for unit in made.controlnets}) == 1


def test_a_lora_is_worn_from_both_files_as_the_stock_pipeline_wears_it(
    loaded: LoadedBase, hub: Path, people: Mapping[str, tuple[Path, Path]]
) -> None:
    drawn = [draw(loaded, [], file) for file in people["anna"]]
    for file in people["anna"]:
        pipe = quiet(QwenImagePipeline.from_pretrained(hub / "qwen", local_files_only=True))
        pipe.load_lora_weights(load_file(file))
        expected = stock(pipe)
        assert all(apart(each, expected) < NEAR for each in drawn)
    assert apart(draw(loaded), drawn[0]) > FAR
    assert apart(draw(loaded, [], people["ben"][0]), drawn[0]) > FAR


def test_two_people_in_turns_are_drawn_as_in_fresh_processes(
    loaded: LoadedBase, hub: Path, people: Mapping[str, tuple[Path, Path]]
) -> None:
    fresh = {}
    for name, files in people.items():
        alone = drawing.load(hub / "qwen")
        fresh[name] = draw(alone, [], files[0])
        alone.close()
    bare = draw(loaded)
    for name in ("anna", "ben", "ben", "anna"):
        assert np.array_equal(draw(loaded, [], people[name][0]), fresh[name])
        assert np.array_equal(draw(loaded), bare)


@pytest.mark.parametrize("profile", ["sliced", "offload", "sequential"])
def test_every_memory_profile_draws_the_same(
    loaded: LoadedBase, hub: Path, people: Mapping[str, tuple[Path, Path]], profile: MemoryProfile
) -> None:
    smaller = drawing.load(hub / "qwen", profile)
    inside: dict[str, Any] = {"start": picture(7, SQUARE), "mask": MASK[:, :64], "strength": 0.7}
    for file, changes in ((people["ben"][0], {}), (people["anna"][1], inside), (None, {})):
        before = state.capture(smaller)
        drawn = draw(smaller, [], file, size=SQUARE, **changes)
        assert apart(drawn, draw(loaded, [], file, size=SQUARE, **changes)) < NEAR
        if file is None:  # the slots are there by then
            assert not state.lost_hook(before, state.capture(smaller))
            assert not state.moved_tensor(before, state.capture(smaller))
    network = tiny_qwen.control()
    smaller.add_network("control", network)
    units = [ControlNetUnit(network, picture(4, SQUARE), 0.8), ControlNetUnit(network, picture(5, SQUARE), 0.6)]
    drawn = draw_controlled(smaller, units, size=SQUARE)
    smaller.close()
    plain = tiny_qwen.control()
    units = [ControlNetUnit(plain, unit.image, unit.scale) for unit in units]
    assert apart(drawn, draw_controlled(loaded, units, size=SQUARE)) < NEAR


def test_what_it_cannot_is_refused_in_a_sentence(loaded: LoadedBase) -> None:
    base = loaded.source
    given = GenerationParameters("", "", drawing.SIZE, 0, 4, 4.0, GenerationOptions(), start=START, strength=0.5)
    generation_options.check_supported(base, given, False)
    with pytest.raises(UserError, match=r"qwen \(qwenimage\) does not draw with controls here: leave it out"):
        generation_options.check_supported(base, given, True)
    for options, what in (
        (GenerationOptions(cutoff=0.8), "an early end of guidance"),
        (GenerationOptions(freeu=True), "FreeU"),
        (GenerationOptions(clip_skip=1), "CLIP skip"),
        (GenerationOptions(scheduler="euler"), "another scheduler"),
    ):
        with pytest.raises(UserError, match=what):
            generation_options.check_abilities(base, options, ())
    with pytest.raises(UserError, match="emphasis in prompts"):
        generation_options.check_abilities(base, GenerationOptions(), ("a (red:1.2) coat",))
    windows = tuple(ControlInput("canny", EDGES, 1.0, end=0.5) for _ in range(5))
    generation_options.check_abilities(base, GenerationOptions(control_inputs=windows[:4]), ())
    with pytest.raises(UserError, match="follows 4 controls at once"):
        generation_options.check_abilities(base, GenerationOptions(control_inputs=windows), ())
