"""Stable Diffusion 3 draws what diffusers' own pipelines draw, with T5 and without: words, pictures, parts of them, controls,
perturbed attention, skip-layer guidance; each of them counts."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from diffusers import (
    SD3MultiControlNetModel,
    StableDiffusion3ControlNetPipeline,
    StableDiffusion3Img2ImgPipeline,
    StableDiffusion3InpaintPipeline,
    StableDiffusion3PAGImg2ImgPipeline,
    StableDiffusion3PAGPipeline,
    StableDiffusion3Pipeline,
)

from pipelines.diffusion.base import memory
from pipelines.diffusion.base.family import ControlNetUnit
from pipelines.diffusion.base.lease import LoadedBase
from pipelines.diffusion.base.loading import open_base
from pipelines.diffusion.sampling import img2img
from pipelines.diffusion.selftest import state
from portrait.generation.options import GenerationOptions
from tests.pipelines.diffusion.base.families import tiny_sd3 as tiny
from tests.pipelines.diffusion.base.families.tiny_sd3 import apart, as_pictures, draw, picture, stock

NEAR, FAR = 1e-5, 1e-4
"""How far pictures, 0..1, may lie apart that are the same, and how far others do at least."""
START, EDGES, POSE = picture(7), picture(8), picture(9)
MASK = np.zeros(START.shape[:2], np.float32)
MASK[20:60, 30:70] = 1.0
OPTIONS = GenerationOptions(cutoff=1.0)


@pytest.fixture(scope="module")
def hub(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hub folder."""
    return tiny.sd3(tmp_path_factory.mktemp("sd3") / "sd3")


@pytest.fixture(scope="module")
def loaded(hub: Path) -> Iterator[LoadedBase]:
    """The base, with everything in main memory."""
    loaded = tiny.load(open_base("sd3", hub))
    yield loaded
    loaded.close()


@pytest.fixture(scope="module")
def pipe(hub: Path) -> Any:
    """The stock pipeline."""
    return tiny.quiet(StableDiffusion3Pipeline.from_pretrained(hub, local_files_only=True))


def units(loaded: LoadedBase, *given: tuple[Any, Any, dict[str, Any]]) -> list[ControlNetUnit]:
    """Controls of networks, control images and what else they are told, prepared as they are when they are loaded."""
    made = []
    for network, image, more in given:
        ready = tiny.FAMILY.prepare_control("mine", network, loaded.denoiser)
        told: dict[str, Any] = {"scale": 0.8, **more}
        made.append(ControlNetUnit(ready, image, **told))
    return made


def perturbing(pipeline_class: Any, pipe: Any) -> Any:
    """A stock pipeline with perturbed attention in the joint attention of the second of three blocks."""
    parts = {name: part for name, part in pipe.components.items() if name not in ("image_encoder", "feature_extractor")}
    return tiny.quiet(pipeline_class(**parts, pag_applied_layers=r"transformer_blocks\.1\.attn$"))


def test_words_draw_the_stock_pictures(loaded: LoadedBase, pipe: Any) -> None:
    ours = draw(loaded)
    assert apart(ours, stock(pipe)) < NEAR
    assert apart(ours, draw(loaded, negative="something else")) > FAR
    assert apart(ours, draw(loaded, prompt="a photo of a woman")) > FAR
    unguided = draw(loaded, guidance=1.0)
    assert apart(unguided, stock(pipe, guidance_scale=1.0)) < NEAR
    assert apart(unguided, ours) > FAR


def test_t5_may_be_left_out_as_in_the_stock_pipeline(loaded: LoadedBase, hub: Path) -> None:
    base = replace(loaded.source, left_out=tuple(tiny.FAMILY.optional_components))
    without = tiny.load(base)
    assert without.pipeline.text_encoder_3 is without.pipeline.tokenizer_3 is None
    given: dict[str, Any] = {"text_encoder_3": None, "tokenizer_3": None, "local_files_only": True}
    alone = tiny.quiet(StableDiffusion3Pipeline.from_pretrained(hub, **given))
    ours = draw(without)
    assert apart(ours, stock(alone)) < NEAR
    assert apart(ours, draw(loaded)) > FAR, "T5 counts"
    files = [set(memory.component_bytes(each, torch.float32)) for each in (loaded.source, base)]
    assert files[0] - files[1] == {"text_encoder_3"}
    recorded = [{name.split("/")[0] for name in each.companion_files(torch.float32)} for each in (loaded.source, base)]
    assert recorded[0] - recorded[1] == {"text_encoder_3"}
    without.close()


def test_pictures_are_drawn_as_the_stock_pipeline_draws_them(loaded: LoadedBase, pipe: Any) -> None:
    starting = tiny.quiet(StableDiffusion3Img2ImgPipeline(**pipe.components))
    [start] = as_pictures(START)
    for strength, done in ((0.7, 2), (1.0, 4)):
        steps: list[int] = []
        ours = draw(loaded, on_step=steps.append, start=START, strength=strength, steps=4)
        assert steps == [*range(1, done + 1)]
        expected = stock(starting, image=start, strength=done / 4, num_inference_steps=4)
        assert apart(ours, expected) < NEAR
    assert (
        apart(draw(loaded, start=EDGES, strength=0.7, steps=4), draw(loaded, start=START, strength=0.7, steps=4)) > FAR
    )
    round_trip = draw(loaded, start=START, strength=0.0)
    with torch.no_grad():
        assert apart(round_trip, img2img.vae_round_trip(pipe, START, loaded.family.latents(pipe.vae))) < NEAR


def test_a_part_of_a_picture_is_drawn_in_its_own_colours(loaded: LoadedBase, pipe: Any) -> None:
    inside = tiny.quiet(StableDiffusion3InpaintPipeline(**pipe.components))
    mask = PIL.Image.fromarray((img2img.round_up_mask(MASK, 8) * 255).astype(np.uint8))
    given = {"image": as_pictures(START)[0], "mask_image": mask, "num_inference_steps": 4, "strength": 0.5}
    ours = draw(loaded, start=START, mask=MASK, strength=0.5, steps=4)
    latents = torch.as_tensor(stock(inside, **given, output_type="latent"))[None]
    with torch.no_grad():
        shifted = latents / pipe.vae.config.scaling_factor + pipe.vae.config.shift_factor
        decoded = pipe.image_processor.postprocess(pipe.vae.decode(shifted, return_dict=False)[0], output_type="np")
    assert apart(ours, decoded[0]) < NEAR
    assert apart(ours, stock(inside, **given)) > 1e-3, "which leaves the shift of the latents out"
    assert apart(ours, draw(loaded, start=START, mask=MASK, strength=0.5, steps=4, prompt="a woman")) > FAR
    ended = draw(loaded, start=START, mask=MASK, strength=0.5, steps=4, options=GenerationOptions(cutoff=0.5))
    assert apart(ours, ended) > FAR


def test_controls_are_followed_as_in_the_stock_pipeline(loaded: LoadedBase, pipe: Any) -> None:
    canny, other = tiny.control(1), tiny.control(2)
    torch.rand(3)  # chance of before does not count
    ours = draw(loaded, controls=units(loaded, (canny, EDGES, {})))
    given: dict[str, Any] = {"controlnet_conditioning_scale": 0.8}
    following = tiny.quiet(StableDiffusion3ControlNetPipeline(**pipe.components, controlnet=canny))
    [edges, pose] = as_pictures(EDGES, POSE)
    assert apart(ours, stock(following, control_image=edges, **given)) < NEAR
    assert apart(ours, draw(loaded)) > FAR
    assert apart(ours, draw(loaded, controls=units(loaded, (canny, POSE, {})))) > FAR
    two = units(loaded, (canny, EDGES, {"end": 0.5}), (other, POSE, {"scale": 0.5}))
    both = tiny.quiet(
        StableDiffusion3ControlNetPipeline(**pipe.components, controlnet=SD3MultiControlNetModel([canny, other]))
    )
    given = {"control_guidance_start": [0.0, 0.0], "control_guidance_end": [0.5, 1.0]}
    given["controlnet_conditioning_scale"] = [0.8, 0.5]
    expected = stock(both, control_image=[edges, pose], **given)
    drawn = draw(loaded, controls=two)
    assert apart(drawn, expected) < NEAR
    assert apart(drawn, ours) > FAR
    assert apart(drawn, draw(loaded, controls=[replace(two[0], end=1.0), two[1]])) > FAR


def test_a_network_without_places_has_those_of_the_base(loaded: LoadedBase, pipe: Any) -> None:
    depth = tiny.control(3, published=True)
    following = tiny.quiet(StableDiffusion3ControlNetPipeline(**pipe.components, controlnet=tiny.control(3, True)))
    ours = draw(loaded, controls=units(loaded, (depth, EDGES, {})))
    assert apart(ours, stock(following, control_image=as_pictures(EDGES)[0], controlnet_conditioning_scale=0.8)) < NEAR
    assert apart(ours, draw(loaded)) > FAR


def test_attention_is_perturbed_as_in_the_stock_pipelines(loaded: LoadedBase, pipe: Any) -> None:
    before, processors = state.capture(loaded), dict(loaded.denoiser.attn_processors)
    options = replace(OPTIONS, perturbed=3.0)
    ours = draw(loaded, options=options)
    assert apart(ours, stock(perturbing(StableDiffusion3PAGPipeline, pipe), pag_scale=3.0)) < NEAR
    assert apart(ours, draw(loaded)) > FAR
    ours = draw(loaded, options=options, start=START, strength=0.5, steps=4)
    given = {"image": as_pictures(START)[0], "strength": 0.5, "num_inference_steps": 4}
    # Its own size is that of the base, whatever the picture's is.
    assert apart(ours, stock(perturbing(StableDiffusion3PAGImg2ImgPipeline, pipe), pag_scale=3.0, **given)) < NEAR
    assert loaded.denoiser.attn_processors == processors
    assert not state.lost_hook(before, state.capture(loaded))


def test_layers_are_skipped_as_in_the_stock_pipeline(loaded: LoadedBase, pipe: Any) -> None:
    options = replace(OPTIONS, skip_layer_guidance=2.8)
    ours = draw(loaded, options=options, steps=6)
    given = {"num_inference_steps": 6, "skip_guidance_layers": [0, 1]}
    assert apart(ours, stock(pipe, **given)) < NEAR
    assert apart(ours, draw(loaded, steps=6)) > FAR
    assert apart(ours, draw(loaded, steps=6, options=replace(options, skip_layer_guidance=1.0))) > FAR
    published = tiny.FAMILY.skip_layer_arguments(2.8, {"num_layers": 24})
    assert published["skip_guidance_layers"] == [7, 8, 9]
    assert (published["skip_layer_guidance_start"], published["skip_layer_guidance_stop"]) == (0.01, 0.2)


def test_guidance_ends_after_its_share_of_the_steps(loaded: LoadedBase, pipe: Any) -> None:
    batches: list[int] = []
    hook = loaded.denoiser.register_forward_pre_hook(
        lambda network, args, given: batches.append(len(given["hidden_states"])), with_kwargs=True
    )
    half = GenerationOptions(cutoff=0.5)
    ours = draw(loaded, steps=4, options=half)
    assert batches == [2, 2, 1, 1]
    hook.remove()
    assert apart(ours, draw(loaded, steps=4)) > FAR

    def end(of: Any, step: int, time: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        of._guidance_scale = 1.0 if step == 1 else of._guidance_scale
        return {name: each[-1:] for name, each in tensors.items()} if step == 1 else tensors

    tensors = ["latents", "prompt_embeds", "pooled_prompt_embeds"]
    given = {"callback_on_step_end": end, "callback_on_step_end_tensor_inputs": tensors}
    assert apart(ours, stock(pipe, num_inference_steps=4, **given)) < NEAR
    control = units(loaded, (tiny.control(1), EDGES, {}))
    followed = draw(loaded, steps=4, options=half, controls=control)
    assert apart(followed, ours) > FAR
    assert apart(followed, draw(loaded, steps=4, controls=control)) > FAR
