"""Z-Image draws what diffusers' own pipelines draw: words, pictures and parts of them; each of them counts."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from diffusers import ZImageImg2ImgPipeline, ZImageInpaintPipeline, ZImagePipeline
from safetensors.torch import load_file, save_file

from pipelines.diffusion.base.lease import LoadedBase
from pipelines.diffusion.base.loading import open_base
from pipelines.diffusion.sampling import generation_options, img2img, schedulers
from portrait.errors import UserError
from portrait.generation.options import GenerationOptions
from tests.pipelines.diffusion.base.families import flux2_drawing as drawing
from tests.pipelines.diffusion.base.families import tiny_zimage
from tests.pipelines.diffusion.base.families.flux2_drawing import apart, draw, picture

NEAR, FAR = 1e-5, 1e-4
"""How far pictures, 0..1, may lie apart that are the same, and how far others do at least."""
START = picture(7)
MASK = np.zeros(START.shape[:2], np.float32)
MASK[20:60, 30:70] = 1.0
INSIDE = np.zeros(START.shape[:2], np.uint8)
INSIDE[16:64, 24:72] = 255
"""The mask rounded up to latents of 8 pixels."""


@pytest.fixture(scope="module")
def hub(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hub folders `zimage` and `zimage-turbo`."""
    folder = tmp_path_factory.mktemp("zimage")
    for name in ("zimage", "zimage-turbo"):
        tiny_zimage.zimage(folder / name, turbo=name == "zimage-turbo")
    return folder


@pytest.fixture(scope="module")
def loaded(hub: Path) -> Iterator[LoadedBase]:
    """The base, with everything in main memory."""
    loaded = drawing.load(hub / "zimage")
    yield loaded
    loaded.close()


@pytest.fixture(scope="module")
def pipe(hub: Path) -> Any:
    """The stock pipeline."""
    return ZImagePipeline.from_pretrained(hub / "zimage", local_files_only=True)


@pytest.fixture(scope="module")
def people(loaded: LoadedBase, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, tuple[Path, Path]]:
    """LoRA files of two people, in diffusers' names and in kohya's."""
    folder = tmp_path_factory.mktemp("loras")
    return {name: drawing.person_lora(loaded, seed, folder / name) for seed, name in enumerate(("anna", "ben"))}


@pytest.fixture
def passes(loaded: LoadedBase) -> Iterator[list[int]]:
    """Pictures in each call of the transformer."""
    counted: list[int] = []
    hook = loaded.denoiser.register_forward_pre_hook(lambda network, args: counted.append(len(args[0])))
    yield counted
    hook.remove()


def stock(pipe: Any, **changes: Any) -> np.ndarray:
    """A picture through a stock pipeline, which encodes the words itself; `changes` are arguments of its call."""
    pipe.set_progress_bar_config(disable=True)
    given: dict[str, Any] = {"prompt": drawing.PROMPT, "negative_prompt": drawing.NEGATIVE, "output_type": "np"}
    given |= {"width": drawing.SIZE.width, "height": drawing.SIZE.height, "num_inference_steps": drawing.STEPS}
    given |= {"guidance_scale": drawing.GUIDANCE, "max_sequence_length": tiny_zimage.LENGTH}
    return pipe(**given | changes, generator=torch.Generator("cpu").manual_seed(drawing.SEED)).images[0]


def test_words_draw_the_stock_pictures(loaded: LoadedBase, pipe: Any, passes: list[int]) -> None:
    seen: list[torch.Tensor] = []
    ours = draw(loaded, preview=seen.append)
    assert passes == [2, 2], "with and without the words"
    assert apart(ours, stock(pipe)) < NEAR
    assert seen[-1].shape == (1, 16, 8, 12)
    with torch.no_grad():
        decoded = loaded.family.latents(loaded.pipeline.vae).decode(loaded.pipeline.vae, seen[-1])
    assert apart(ours, (decoded[0].permute(1, 2, 0).numpy() / 2 + 0.5).clip(0, 1)) < NEAR
    assert apart(ours, draw(loaded, prompt="a photo of a woman")) > FAR
    assert apart(ours, draw(loaded, negative="something else")) > FAR
    long = "a photo of a man, " * 8
    assert apart(draw(loaded, prompt=long), stock(pipe, prompt=long)) < NEAR, "cut at the same word"


def test_guidance_is_on_above_zero_and_ends_after_its_share_of_the_steps(
    loaded: LoadedBase, pipe: Any, passes: list[int]
) -> None:
    a_little = draw(loaded, guidance=0.5)
    assert passes == [2, 2]
    assert apart(a_little, stock(pipe, guidance_scale=0.5)) < NEAR
    passes.clear()
    without = draw(loaded, guidance=0.0)
    assert passes == [1, 1]
    assert apart(without, stock(pipe, guidance_scale=0.0)) < NEAR
    assert apart(without, a_little) > FAR
    passes.clear()
    ours = draw(loaded, steps=4, options=GenerationOptions(cutoff=0.5))
    assert passes == [2, 2, 1, 1]

    def end(of: Any, step: int, time: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        of._guidance_scale = 0.0 if step == 1 else of._guidance_scale
        return tensors

    assert apart(ours, stock(pipe, num_inference_steps=4, callback_on_step_end=end)) < NEAR
    assert apart(ours, draw(loaded, steps=4)) > FAR


def test_pictures_and_parts_of_them_are_drawn_as_the_stock_pipelines_draw_them(
    loaded: LoadedBase, pipe: Any, passes: list[int]
) -> None:
    whole, part = ZImageImg2ImgPipeline(**pipe.components), ZImageInpaintPipeline(**pipe.components)
    drawn = {}
    for strength, done in ((0.5, 2), (0.25, 1)):
        given = {"image": PIL.Image.fromarray(START), "strength": strength, "num_inference_steps": 4}
        masked = given | {"mask_image": PIL.Image.fromarray(INSIDE)}
        steps: list[int] = []
        passes.clear()
        ours = draw(loaded, on_step=steps.append, start=START, strength=strength, steps=4)
        assert steps == [*range(1, done + 1)]
        assert len(passes) == done
        assert apart(ours, stock(whole, **given)) < NEAR
        inside = draw(loaded, start=START, mask=MASK, strength=strength, steps=4)
        assert apart(inside, stock(part, **masked)) < NEAR
        assert apart(ours, inside) > FAR
        drawn[strength] = ours
    assert apart(drawn[0.5], drawn[0.25]) > FAR
    assert apart(drawn[0.5], draw(loaded, start=picture(8), strength=0.5, steps=4)) > FAR
    round_trip = draw(loaded, start=START, strength=0.0)
    with torch.no_grad():
        assert apart(round_trip, img2img.vae_round_trip(pipe, START, loaded.family.latents(pipe.vae))) < NEAR


def fused(file: Path) -> dict[str, torch.Tensor]:
    """A LoRA under the names of programs that have query, key and value in one layer, with its factors stacked."""
    stored, named = load_file(file), dict[str, torch.Tensor]()
    for at in range(2):
        block = f"layers.{at}.attention"
        pairs = [[stored[f"transformer.{block}.to_{each}.lora_{factor}.weight"] for factor in "AB"] for each in "qkv"]
        named[f"diffusion_model.{block}.qkv.lora_A.weight"] = torch.cat([down for down, _ in pairs])
        named[f"diffusion_model.{block}.qkv.lora_B.weight"] = torch.block_diag(*(up for _, up in pairs))
        for factor in "AB":
            own = stored[f"transformer.{block}.to_out.0.lora_{factor}.weight"]
            named[f"diffusion_model.{block}.out.lora_{factor}.weight"] = own
    return named


def test_a_lora_is_worn_from_any_names_as_the_stock_pipeline_wears_it(
    loaded: LoadedBase, hub: Path, people: Mapping[str, tuple[Path, Path]], tmp_path: Path
) -> None:
    save_file(fused(people["anna"][0]), tmp_path / "fused.safetensors")
    drawn = bare = draw(loaded)
    for number, file in enumerate((*people["anna"], tmp_path / "fused.safetensors")):
        drawn = draw(loaded, lora_file=file)
        pipe: Any = ZImagePipeline.from_pretrained(hub / "zimage", local_files_only=True)
        pipe.load_lora_weights(load_file(people["anna"][number % 2]))
        assert apart(drawn, stock(pipe)) < NEAR, file.name
        assert apart(drawn, bare) > FAR
    assert apart(draw(loaded, lora_file=people["ben"][0]), drawn) > FAR


def test_two_people_in_turns_are_drawn_as_in_fresh_processes(
    loaded: LoadedBase, hub: Path, people: Mapping[str, tuple[Path, Path]]
) -> None:
    fresh = {}
    for name, files in people.items():
        alone = drawing.load(hub / "zimage")
        fresh[name] = draw(alone, lora_file=files[0])
        alone.close()
    assert apart(fresh["anna"], fresh["ben"]) > FAR
    bare = draw(loaded)
    for name in ("anna", "ben", "ben", "anna"):
        assert np.array_equal(draw(loaded, lora_file=people[name][0]), fresh[name])
        assert np.array_equal(draw(loaded), bare)


def test_turbo_draws_in_nine_steps_without_guidance(hub: Path, pipe: Any) -> None:
    base, turbo = open_base("zimage", hub / "zimage"), drawing.load(hub / "zimage-turbo")
    assert schedulers.resolve_preset(GenerationOptions(), base.facts, base.family.presets).steps == 28
    preset = schedulers.resolve_preset(GenerationOptions(), turbo.source.facts, base.family.presets)
    assert (preset.steps, preset.guidance) == (9, 0.0)
    asked = schedulers.resolve_preset(GenerationOptions(guidance=1.0), turbo.source.facts, base.family.presets)
    with pytest.raises(UserError, match="guidance of 0 to 0"):
        schedulers.check_guidance(asked, "zimage_turbo")
    read: list[int] = []
    turbo.pipeline.text_encoder.register_forward_pre_hook(
        lambda network, args, given: read.append(len(given["input_ids"])), with_kwargs=True
    )
    ours = draw(turbo, steps=preset.steps, guidance=preset.guidance)
    assert read == [1], "the prompt alone"
    given = {"num_inference_steps": 9, "guidance_scale": 0.0}
    stock_turbo = ZImagePipeline.from_pretrained(hub / "zimage-turbo", local_files_only=True)
    assert apart(ours, stock(stock_turbo, **given)) < NEAR
    assert apart(ours, stock(pipe, **given)) > FAR, "by another schedule"
    turbo.close()


@pytest.mark.parametrize(
    ("options", "prompt", "match"),
    [
        (GenerationOptions(clip_skip=1), "a man", "CLIP skip"),
        (GenerationOptions(scheduler="euler"), "a man", "another scheduler"),
        (GenerationOptions(freeu=True), "a man", "FreeU"),
        (GenerationOptions(), "a (man:1.3)", "emphasis in prompts"),
    ],
)
def test_what_it_does_not_know_is_refused(hub: Path, options: GenerationOptions, prompt: str, match: str) -> None:
    base = open_base("zimage", hub / "zimage")
    with pytest.raises(UserError, match=match) as caught:
        generation_options.check_abilities(base, options, (prompt, ""))
    assert caught.value.code == "bad_technique"
