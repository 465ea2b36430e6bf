"""FLUX.1 draws what diffusers' own pipelines draw: words, pictures, parts of them, controls, LoRAs; each of them counts."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from diffusers import (
    FluxControlNetImg2ImgPipeline,
    FluxControlNetInpaintPipeline,
    FluxControlNetModel,
    FluxControlNetPipeline,
    FluxImg2ImgPipeline,
    FluxInpaintPipeline,
    FluxPipeline,
)
from diffusers.models.controlnets.controlnet_flux import FluxMultiControlNetModel

from pipelines.diffusion.base.family import ControlNetUnit
from pipelines.diffusion.base.lease import LoadedBase
from pipelines.diffusion.base.memory import MemoryProfile
from pipelines.diffusion.sampling import schedulers
from pipelines.diffusion.selftest import state
from portrait.arrays import Size
from portrait.errors import UserError
from portrait.generation.abilities import check_options
from portrait.generation.options import GenerationOptions
from tests.pipelines.diffusion.base.families import flux1_drawing as drawing
from tests.pipelines.diffusion.base.families import tiny_flux
from tests.pipelines.diffusion.base.families.flux1_drawing import draw, stock, stock_pipeline
from tests.pipelines.diffusion.base.families.flux2_drawing import apart, picture

NEAR, FAR = 1e-5, 1e-4
"""How far pictures, 0..1, may lie apart that are the same, and how far others do at least."""
START, EDGES, DEPTH = picture(7), picture(8), picture(9)
MASK = np.zeros(START.shape[:2], np.float32)
MASK[20:60, 30:70] = 1.0
WHOLE_CELLS = np.kron(np.pad(np.ones((3, 4)), ((1, 0), (1, 1))), np.ones((16, 16)))
"""The mask rounded up to latents of 16 pixels."""
STARTED = {
    "image": {"image": PIL.Image.fromarray(START), "strength": 0.5, "num_inference_steps": 4},
    "inpaint": {
        "image": PIL.Image.fromarray(START),
        "mask_image": PIL.Image.fromarray((WHOLE_CELLS * 255).astype(np.uint8)),
        "strength": 0.5,
        "num_inference_steps": 4,
    },
}
"""Arguments of the stock pipelines that begin from a picture, by task."""
OURS: Mapping[str, Mapping[str, Any]] = {
    "text": {},
    "image": {"start": START, "strength": 0.7, "steps": 4},
    "inpaint": {"start": START, "mask": MASK, "strength": 0.7, "steps": 4},
}
"""The same for this project: 7 tenths of 4 steps are 2."""
CONTROLLED = {
    "text": FluxControlNetPipeline,
    "image": FluxControlNetImg2ImgPipeline,
    "inpaint": FluxControlNetInpaintPipeline,
}
ROOMS = ("image_encoder", "feature_extractor")
"""Components for which not all of them have room."""


@pytest.fixture(scope="module")
def hub(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hub folders `flux` and `schnell`, and control networks `union` and `plain`."""
    folder = tmp_path_factory.mktemp("flux1")
    tiny_flux.flux(folder / "flux")
    tiny_flux.flux(folder / "schnell", distilled=True)
    tiny_flux.control(folder / "union")
    tiny_flux.control(folder / "plain", modes=None)
    return folder


@pytest.fixture(scope="module")
def loaded(hub: Path) -> Iterator[LoadedBase]:
    """The base, with everything in main memory."""
    loaded = drawing.load(hub / "flux")
    yield loaded
    loaded.close()


@pytest.fixture(scope="module")
def pipe(hub: Path) -> Any:
    """The stock pipeline."""
    return stock_pipeline(FluxPipeline.from_pretrained(hub / "flux", local_files_only=True))


@pytest.fixture(scope="module")
def union(hub: Path) -> Any:
    """A network that follows several controls."""
    return FluxControlNetModel.from_pretrained(hub / "union", local_files_only=True)


@pytest.fixture(scope="module")
def people(loaded: LoadedBase, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, tuple[Path, Path]]:
    """LoRA files of two people, in diffusers' names and in kohya's."""
    folder = tmp_path_factory.mktemp("loras")
    return {name: drawing.person_lora(loaded, seed, folder / name) for seed, name in enumerate(("anna", "ben"))}


def controlled(pipe: Any, task: str, network: Any) -> Any:
    """The stock pipeline of a task with a control network."""
    parts = {name: each for name, each in pipe.components.items() if task == "text" or name not in ROOMS}
    return stock_pipeline(CONTROLLED[task](**parts, controlnet=network))


def test_words_and_guidance_draw_the_stock_pictures(loaded: LoadedBase, pipe: Any) -> None:
    ours = draw(loaded)
    assert apart(ours, stock(pipe)) < NEAR
    others: list[dict[str, Any]] = [{"prompt": "a photo of a woman"}, {"guidance": 8.0}, {"seed": 4}]
    for changes in others:
        assert apart(ours, draw(loaded, **changes)) > FAR, changes
    assert apart(draw(loaded, guidance=8.0), stock(pipe, guidance_scale=8.0)) < NEAR
    assert np.array_equal(ours, draw(loaded, negative="something else")), (
        "it is told the guidance, and draws once a step"
    )


def test_a_picture_and_a_part_of_it_are_drawn_as_the_stock_pipelines_draw_them(loaded: LoadedBase, pipe: Any) -> None:
    parts = pipe.components
    made = {"image": FluxImg2ImgPipeline, "inpaint": FluxInpaintPipeline}
    for task, kind in made.items():
        steps: list[int] = []
        expected = stock_pipeline(kind(**parts))
        given = dict(OURS[task])
        ours = draw(loaded, on_step=steps.append, **given)
        assert steps == [1, 2]
        assert apart(ours, stock(expected, **STARTED[task])) < NEAR, task
        stronger = draw(loaded, **(given | {"strength": 1.0}))
        assert apart(stronger, stock(expected, **STARTED[task] | {"strength": 1.0})) < NEAR, task
        assert apart(ours, stronger) > FAR
        assert apart(ours, draw(loaded, **(given | {"start": EDGES}))) > FAR


@pytest.mark.parametrize("task", ["text", "image", "inpaint"])
def test_controls_act_as_in_the_stock_pipelines(loaded: LoadedBase, pipe: Any, union: Any, task: str) -> None:
    canny = ControlNetUnit(union, EDGES, 0.8, kind="canny")
    depth = ControlNetUnit(union, DEPTH, 0.5, 0.5, 1.0, "depth")
    given = OURS[task]
    alone = draw(loaded, controls=[canny], **given)
    one = {"control_image": PIL.Image.fromarray(EDGES), "control_mode": 0, "controlnet_conditioning_scale": 0.8}
    assert apart(alone, stock(controlled(pipe, task, union), **one, **STARTED.get(task, {}))) < NEAR
    both = draw(loaded, controls=[canny, depth], **given)
    two = {
        "control_image": [PIL.Image.fromarray(each) for each in (EDGES, DEPTH)],
        "control_mode": [0, 2],
        "controlnet_conditioning_scale": [0.8, 0.5],
        "control_guidance_start": [0.0, 0.5],
        "control_guidance_end": [1.0, 1.0],
    }
    together = controlled(pipe, task, FluxMultiControlNetModel([union]))
    assert apart(both, stock(together, **two, **STARTED.get(task, {}))) < NEAR
    bare = draw(loaded, **given)
    others = {
        "none": bare,
        "one": alone,
        "another picture": draw(loaded, controls=[replace(canny, image=DEPTH), depth], **given),
        "another kind": draw(loaded, controls=[replace(canny, kind="pose"), depth], **given),
        "another scale": draw(loaded, controls=[replace(canny, scale=0.4), depth], **given),
        "all steps": draw(loaded, controls=[canny, replace(depth, start=0.0)], **given),
    }
    for name, other in others.items():
        assert apart(both, other) > FAR, name


def test_a_network_of_one_kind_is_told_none(loaded: LoadedBase, pipe: Any, hub: Path) -> None:
    plain = FluxControlNetModel.from_pretrained(hub / "plain", local_files_only=True)
    ours = draw(loaded, controls=[ControlNetUnit(plain, EDGES, 0.8, kind="canny")])
    expected = controlled(pipe, "text", plain)
    given = {"control_image": PIL.Image.fromarray(EDGES), "controlnet_conditioning_scale": 0.8}
    assert apart(ours, stock(expected, **given)) < NEAR
    assert apart(ours, draw(loaded)) > FAR


def test_the_latents_of_a_preview_are_those_of_the_picture(loaded: LoadedBase) -> None:
    seen: list[torch.Tensor] = []
    for changes in ({}, OURS["inpaint"]):
        drawn = draw(loaded, preview=seen.append, **changes)
        assert seen[-1].shape == (1, 16, 4, 6)
        with torch.no_grad():
            decoded = loaded.family.latents(loaded.pipeline.vae).decode(loaded.pipeline.vae, seen[-1])
        assert apart(drawn, (decoded[0].permute(1, 2, 0).numpy() / 2 + 0.5).clip(0, 1)) < NEAR


def test_a_lora_is_worn_as_the_stock_pipeline_wears_it(
    loaded: LoadedBase, hub: Path, people: Mapping[str, tuple[Path, Path]]
) -> None:
    own, kohya = people["anna"]
    drawn = [draw(loaded, lora_file=each) for each in (own, kohya)]
    worn: Any = stock_pipeline(FluxPipeline.from_pretrained(hub / "flux", local_files_only=True))
    worn.load_lora_weights(own.parent, weight_name=own.name)
    assert all(apart(each, stock(worn)) < NEAR for each in drawn)
    assert apart(drawn[0], draw(loaded)) > FAR
    assert apart(drawn[0], draw(loaded, lora_file=people["ben"][0])) > FAR


def test_two_people_in_turns_are_drawn_as_in_fresh_processes(
    loaded: LoadedBase, hub: Path, people: Mapping[str, tuple[Path, Path]]
) -> None:
    fresh = {}
    for name, (file, _) in people.items():
        alone = drawing.load(hub / "flux")
        fresh[name] = draw(alone, lora_file=file)
        alone.close()
    assert apart(fresh["anna"], fresh["ben"]) > FAR
    bare = draw(loaded)
    for name in ("anna", "ben", "ben", "anna"):
        assert np.array_equal(draw(loaded, lora_file=people[name][0]), fresh[name])
        assert np.array_equal(draw(loaded), bare)


@pytest.mark.parametrize("profile", ["offload", "sequential"])
def test_every_memory_profile_draws_the_same(
    loaded: LoadedBase, hub: Path, people: Mapping[str, tuple[Path, Path]], profile: MemoryProfile
) -> None:
    smaller = drawing.load(hub / "flux", profile)
    square = Size(64, 64)  # larger ones this VAE would encode in tiles
    inside: dict[str, Any] = {"start": picture(7, square), "mask": MASK[:, :64], "strength": 0.7}
    for file, changes in ((people["ben"][0], inside), (None, inside), (None, {})):
        drawn, before = [], state.capture(smaller)
        for base in (smaller, loaded):
            with base.lease() as lease:
                network = lease.load_network("control union", FluxControlNetModel, hub / "union")
            unit = ControlNetUnit(network, picture(8, square), 0.8, kind="canny")
            drawn.append(draw(base, lora_file=file, controls=[unit] if changes else [], size=square, **changes))
        assert apart(*drawn) < NEAR
        if file is None:  # the slots are there by then
            assert not state.lost_hook(before, state.capture(smaller))
            assert not state.moved_tensor(before, state.capture(smaller))
    smaller.close()


def test_schnell_draws_in_four_steps_and_is_told_no_guidance(hub: Path) -> None:
    schnell = drawing.load(hub / "schnell")
    base = schnell.source
    preset = schedulers.resolve_preset(GenerationOptions(), base.facts, base.family.presets)
    assert (base.family.name, preset.steps, preset.guidance) == ("flux", 4, 1.0)
    with pytest.raises(UserError, match="guidance of 0 to 1"):
        schedulers.check_guidance(replace(preset, guidance=3.5), base.name)
    ours = draw(schnell, steps=4, guidance=1.0)
    pipe = stock_pipeline(FluxPipeline.from_pretrained(hub / "schnell", local_files_only=True))
    assert apart(ours, stock(pipe, num_inference_steps=4, guidance_scale=0.0)) < NEAR
    schnell.close()


def test_a_long_prompt_to_schnell_ends_after_256_tokens(hub: Path, tmp_path: Path) -> None:
    for name, longest in (("schnell", 256), ("flux", 512)):
        folder = tmp_path / name
        folder.mkdir()
        for part in (hub / name).iterdir():
            if part.name != "tokenizer_2":
                (folder / part.name).symlink_to(part)
        tiny_flux.t5_tokenizer(1024).save_pretrained(folder / "tokenizer_2")
        loaded = drawing.load(folder)
        with torch.no_grad():
            encoded = loaded.family.encode(loaded.pipeline.components, ["a photo " * 200])
        assert encoded.hidden.shape[1] == longest
        blank = loaded.family.blank_embeddings(loaded.source.config, torch.float32)
        assert blank.hidden.shape == encoded.hidden.shape
        loaded.close()


def test_what_flux_1_does_not_know_is_refused(loaded: LoadedBase) -> None:
    wishes = {
        "CLIP skip": GenerationOptions(clip_skip=1),
        "cutoff": GenerationOptions(cutoff=0.5),
        "another scheduler": GenerationOptions(scheduler="euler"),
    }
    for words, wish in wishes.items():
        with pytest.raises(UserError, match=words):
            check_options("flux", loaded.family.abilities, wish, ["a man"])
    check_options("flux", loaded.family.abilities, GenerationOptions(), ["a man"], [(0.0, 0.5), (0.0, 1.0)])
