"""FLUX.2 draws what diffusers' own pipelines draw: words, references, parts of pictures, LoRAs; each of them counts."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from diffusers import Flux2KleinInpaintPipeline, Flux2KleinPipeline
from safetensors.torch import load_file, save_file

from pipelines.diffusion.base.lease import LoadedBase
from pipelines.diffusion.base.memory import MemoryProfile
from pipelines.diffusion.sampling import img2img, schedulers
from pipelines.diffusion.selftest import state
from portrait.arrays import Image, Size
from portrait.errors import UserError
from portrait.generation.options import GenerationOptions
from tests.pipelines.diffusion.base.families import flux2_drawing as drawing
from tests.pipelines.diffusion.base.families.flux2_drawing import apart, draw, picture, stock

NEAR, FAR = 1e-5, 1e-4
"""How far pictures, 0..1, may lie apart that are the same, and how far others do at least: random networks hear little."""
ANNA, BEN, COAT = picture(1), picture(2, Size(64, 80)), picture(3)
REFERENCES = {"none": [], "one": [ANNA], "another": [BEN], "three": [ANNA, BEN, COAT], "swapped": [BEN, ANNA, COAT]}
START = picture(7)
MASK = np.zeros(START.shape[:2], np.float32)
MASK[20:60, 30:70] = 1.0
WHOLE_CELLS = np.kron(np.pad(np.ones((3, 4)), ((1, 0), (1, 1))), np.ones((16, 16)))
"""The mask rounded up to latents of 16 pixels."""


@pytest.fixture(scope="module")
def pipe(flux2_hub: Path) -> Any:
    """The stock pipeline."""
    pipe = Flux2KleinPipeline.from_pretrained(flux2_hub / "flux2", local_files_only=True)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="module")
def inpainting(pipe: Any) -> Any:
    """The stock pipeline that draws into a part of a picture."""
    made = Flux2KleinInpaintPipeline(**pipe.components)
    made.set_progress_bar_config(disable=True)
    return made


@pytest.fixture(scope="module")
def people(loaded: LoadedBase, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, tuple[Path, Path]]:
    """LoRA files of two people, in diffusers' names and in kohya's."""
    folder = tmp_path_factory.mktemp("loras")
    return {name: drawing.person_lora(loaded, seed, folder / name) for seed, name in enumerate(("anna", "ben"))}


@pytest.fixture
def passes(loaded: LoadedBase) -> Iterator[list[int]]:
    """Tokens of pictures in each call of the transformer."""
    counted: list[int] = []
    hook = loaded.denoiser.register_forward_pre_hook(
        lambda network, args, given: counted.append(given["hidden_states"].shape[1]), with_kwargs=True
    )
    yield counted
    hook.remove()


def test_words_and_references_draw_the_stock_pictures(loaded: LoadedBase, pipe: Any, passes: list[int]) -> None:
    ours = {name: draw(loaded, each) for name, each in REFERENCES.items()}
    assert passes[:: 2 * drawing.STEPS] == [24, 48, 44, 92, 92], "the picture's tokens, then those of references"
    for name in ("none", "one", "three"):
        assert apart(ours[name], stock(pipe, REFERENCES[name])) < NEAR, name
    names = list(ours)
    for at, name in enumerate(names):
        assert all(apart(ours[name], ours[other]) > FAR for other in names[at + 1 :]), name
    assert apart(ours["none"], draw(loaded, negative="something else")) > FAR
    assert apart(ours["none"], draw(loaded, prompt="a photo of a woman")) > FAR


@pytest.mark.parametrize("reference", [None, ANNA], ids=["alone", "with a reference"])
def test_a_part_of_a_picture_is_drawn_as_the_stock_pipeline_draws_it(
    loaded: LoadedBase, inpainting: Any, passes: list[int], reference: Image | None
) -> None:
    references = [] if reference is None else [reference]
    steps: list[int] = []
    ours = draw(loaded, references, on_step=steps.append, start=START, mask=MASK, strength=0.7, steps=4)
    assert steps == [1, 2], "7 tenths of 4 steps are 2"
    assert passes == [48 + 24 * len(references)] * 4
    given = {"image": PIL.Image.fromarray(START), "strength": 0.5, "num_inference_steps": 4}
    given["mask_image"] = PIL.Image.fromarray((WHOLE_CELLS * 255).astype(np.uint8))
    assert apart(ours, stock(inpainting, references, **given)) < NEAR
    again = stock(inpainting, references, **given | {"strength": 0.7})
    assert apart(ours, again) > FAR, "where the stock pipeline rounds up"
    other = [picture(4)] if references else [ANNA]
    assert apart(ours, draw(loaded, other, start=START, mask=MASK, strength=0.7, steps=4)) > FAR


def test_a_whole_picture_is_drawn_by_a_white_mask(loaded: LoadedBase, inpainting: Any, passes: list[int]) -> None:
    white = PIL.Image.new("L", (drawing.SIZE.width, drawing.SIZE.height), 255)
    for strength, done in ((0.5, 2), (0.25, 1), (1.0, 4)):
        steps: list[int] = []
        passes.clear()
        ours = draw(loaded, on_step=steps.append, start=START, strength=strength, steps=4)
        assert steps == [*range(1, done + 1)]
        assert len(passes) == 2 * done
        given = {"image": PIL.Image.fromarray(START), "mask_image": white, "num_inference_steps": 4}
        assert apart(ours, stock(inpainting, **given, strength=strength)) < NEAR
    round_trip = draw(loaded, start=START, strength=0.0)
    with torch.no_grad():
        assert (
            apart(round_trip, img2img.vae_round_trip(inpainting, START, loaded.family.latents(inpainting.vae))) < NEAR
        )
    assert apart(round_trip, ours) > FAR


def test_guidance_ends_after_its_share_of_the_steps(loaded: LoadedBase, pipe: Any, passes: list[int]) -> None:
    ours = draw(loaded, steps=4, options=GenerationOptions(cutoff=0.5))
    assert len(passes) == 2 * 2 + 2
    assert apart(ours, draw(loaded, steps=4)) > FAR

    def end(of: Any, step: int, time: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        of._guidance_scale = 1.0 if step == 1 else of._guidance_scale
        return tensors

    assert apart(ours, stock(pipe, num_inference_steps=4, callback_on_step_end=end)) < NEAR


def test_the_latents_of_a_preview_are_those_of_the_picture(loaded: LoadedBase) -> None:
    seen: list[torch.Tensor] = []
    begun: dict[str, Any] = {"start": START, "strength": 1.0}
    for changes in ({}, begun):
        drawn = draw(loaded, [BEN], preview=seen.append, **changes)
        assert seen[-1].shape == (1, 16, 4, 6)
        with torch.no_grad():
            decoded = loaded.family.latents(loaded.pipeline.vae).decode(loaded.pipeline.vae, seen[-1])
        assert apart(drawn, (decoded[0].permute(1, 2, 0).numpy() / 2 + 0.5).clip(0, 1)) < NEAR


def renamed(file: Path, prefix: str) -> dict[str, torch.Tensor]:
    """A LoRA in diffusers' names under another prefix."""
    return {prefix + name.removeprefix("transformer."): each for name, each in load_file(file).items()}


def toolkit(file: Path) -> dict[str, torch.Tensor]:
    """A LoRA in kohya's names under those of trainers that keep the makers' names of layers."""
    named: dict[str, torch.Tensor] = {}
    for key, each in load_file(file).items():
        module, _, factor = key.removeprefix("lora_unet_").partition(".")
        for ours, theirs in (("_blocks_", "_blocks."), ("_img_", ".img_"), ("_txt_", ".txt_"), ("_qkv", ".qkv")):
            module = module.replace(ours, theirs)
        module = module.replace("_proj", ".proj").replace("_linear", ".linear")
        ends = {"lora_down.weight": "lora_A.weight", "lora_up.weight": "lora_B.weight"}
        if factor in ends:
            named[f"diffusion_model.{module}.{ends[factor]}"] = each
    return named


def test_a_lora_is_worn_from_any_names_as_the_stock_pipeline_wears_it(
    loaded: LoadedBase, flux2_hub: Path, people: Mapping[str, tuple[Path, Path]], tmp_path: Path
) -> None:
    own, kohya = people["anna"]
    save_file(renamed(own, "base_model.model."), tmp_path / "peft.safetensors")
    save_file(toolkit(kohya), tmp_path / "toolkit.safetensors")
    files = [own, kohya, tmp_path / "peft.safetensors", tmp_path / "toolkit.safetensors"]
    drawn = [draw(loaded, [ANNA], file) for file in files]
    for file in files[:2]:
        pipe: Any = Flux2KleinPipeline.from_pretrained(flux2_hub / "flux2", local_files_only=True)
        pipe.set_progress_bar_config(disable=True)
        pipe.load_lora_weights(load_file(file))
        expected = stock(pipe, [ANNA])
        assert all(apart(each, expected) < NEAR for each in drawn)
    bare = draw(loaded, [ANNA])
    assert apart(bare, drawn[0]) > FAR
    assert apart(draw(loaded, [ANNA], people["ben"][0]), drawn[0]) > FAR


def test_two_people_in_turns_are_drawn_as_in_fresh_processes(
    loaded: LoadedBase, flux2_hub: Path, people: Mapping[str, tuple[Path, Path]]
) -> None:
    who = {name: ([each], people[name][0]) for name, each in (("anna", ANNA), ("ben", BEN))}
    fresh = {}
    for name, given in who.items():
        alone = drawing.load(flux2_hub / "flux2")
        fresh[name] = draw(alone, *given)
        alone.close()
    assert apart(fresh["anna"], fresh["ben"]) > FAR
    bare = draw(loaded)
    for name in ("anna", "ben", "ben", "anna"):
        assert np.array_equal(draw(loaded, *who[name]), fresh[name])
        assert np.array_equal(draw(loaded), bare)


@pytest.mark.parametrize("profile", ["sliced", "offload", "sequential"])
def test_every_memory_profile_draws_the_same(
    loaded: LoadedBase, flux2_hub: Path, people: Mapping[str, tuple[Path, Path]], profile: MemoryProfile
) -> None:
    smaller = drawing.load(flux2_hub / "flux2", profile)
    square = Size(64, 64)  # larger ones this VAE would encode in tiles
    one, other = picture(1, square), picture(2, square)
    inside: dict[str, Any] = {"start": picture(7, square), "mask": MASK[:, :64], "strength": 0.7}
    ways = [([one, other], people["ben"][0], {}), ([one], people["anna"][1], inside), ([], None, {})]
    for references, file, changes in ways:
        before = state.capture(smaller)
        drawn = draw(smaller, references, file, size=square, **changes)
        assert apart(drawn, draw(loaded, references, file, size=square, **changes)) < NEAR
        if file is None:  # the slots are there by then
            assert not state.lost_hook(before, state.capture(smaller))
            assert not state.moved_tensor(before, state.capture(smaller))
    smaller.close()


def test_a_distilled_base_draws_in_four_steps_without_guidance(flux2_hub: Path, pipe: Any) -> None:
    distilled = drawing.load(flux2_hub / "flux2-distilled")
    base = distilled.source
    preset = schedulers.resolve_preset(GenerationOptions(), base.facts, base.family.presets)
    assert (preset.steps, preset.guidance) == (4, 1.0)
    with pytest.raises(UserError, match="guidance of 0 to 1"):
        schedulers.check_guidance(replace(preset, guidance=2.0), base.name)
    read: list[int] = []
    hook = distilled.pipeline.text_encoder.register_forward_pre_hook(
        lambda network, args, given: read.append(len(given["input_ids"])), with_kwargs=True
    )
    for task in ("text", "inpaint", "image"):
        with distilled.lease() as lease:
            assert lease.get_pipeline([], False, task).config.is_distilled
    stock_pipe: Any = Flux2KleinPipeline.from_pretrained(flux2_hub / "flux2-distilled", local_files_only=True)
    stock_pipe.set_progress_bar_config(disable=True)
    read.clear()
    ours = draw(distilled, [ANNA], steps=preset.steps, guidance=preset.guidance)
    assert read == [1], "the prompt alone"
    hook.remove()
    assert apart(ours, stock(stock_pipe, [ANNA], num_inference_steps=4, guidance_scale=8.0)) < NEAR
    assert apart(ours, stock(pipe, [ANNA], num_inference_steps=4, guidance_scale=8.0)) > FAR
    distilled.close()
