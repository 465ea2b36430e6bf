"""Stable Diffusion 2 draws and learns what diffusers' own pipelines and scripts do, and its files go there and back."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from diffusers import (
    StableDiffusionControlNetImg2ImgPipeline,
    StableDiffusionControlNetInpaintPipeline,
    StableDiffusionControlNetPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
)
from safetensors.torch import load_file

from pipelines import model_requirements
from pipelines.diffusion.base import convert, lora
from pipelines.diffusion.base.family import LORA_TARGETS, TEXT_LORA_TARGETS, ControlNetUnit
from pipelines.diffusion.base.lease import LoadedBase
from pipelines.diffusion.base.loading import load_pipeline, open_base
from pipelines.diffusion.base.memory import MemoryProfile
from pipelines.diffusion.base.registry import family_by_name, family_of_weights
from pipelines.diffusion.sampling import pipeline_call
from pipelines.diffusion.sampling.pipeline_call import Conditioning
from pipelines.diffusion.selftest import state
from pipelines.diffusion.training import estimate
from pipelines.model_store.store import ModelStore
from pipelines.settings import ModelStoreSettings, PriorSettings
from portrait.arrays import Image, Size
from portrait.errors import OperatorError, UserError
from portrait.generation.options import GenerationOptions
from portrait.generation.parameters import GenerationParameters
from tests.pipelines.diffusion import learning_step
from tests.pipelines.diffusion.base.families import tiny_sd2
from tests.pipelines.diffusion.training import test_step
from tests.pipelines.engines import tiny_training
from tests.pipelines.engines.tiny_training import PLAIN

pytestmark = pytest.mark.usefixtures("one_thread")
FAMILY = family_by_name("sd2")
CPU = torch.device("cpu")
NEAR, FAR = 1e-5, 1e-4
PROMPT, NEGATIVE = "a photo of a man", "light"
STEPS, GUIDANCE, SEED = 4, 5.0, 3
OWN = GenerationOptions(scheduler="own", cutoff=1.0)


def picture(seed: int) -> Image:
    coarse = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    return np.ascontiguousarray(coarse.repeat(8, axis=0).repeat(8, axis=1))


START, CONTROL = picture(7), picture(8)
MASK = np.kron(np.pad(np.ones((4, 4), np.float32), 2), np.ones((8, 8), np.float32))


@pytest.fixture(scope="module")
def hub(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_sd2.write(tmp_path_factory.mktemp("sd2") / "sd2").parent


@pytest.fixture(scope="module")
def loaded(hub: Path) -> Iterator[LoadedBase]:
    loaded = load(hub / "sd2")
    yield loaded
    loaded.close()


@pytest.fixture(scope="module")
def people(loaded: LoadedBase, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """LoRA files of two people, in diffusers' names and in kohya's."""
    written = {}
    for seed, name in enumerate(("anna", "ben")):
        random, weights = torch.Generator().manual_seed(seed), dict[str, torch.Tensor]()
        for part, ends in (("unet", LORA_TARGETS), ("text_encoder", TEXT_LORA_TARGETS)):
            layers = loaded.pipeline.components[part].named_modules()
            for layer, module in ((layer, each) for layer, each in layers if layer.endswith(ends)):
                inner = "text_model." if part == "text_encoder" else ""
                down, up = (4, module.in_features), (module.out_features, 4)
                weights[f"{part}.{inner}{layer}.lora_A.weight"] = torch.randn(*down, generator=random) / 20
                weights[f"{part}.{inner}{layer}.lora_B.weight"] = torch.randn(*up, generator=random) / 4
        folder = tmp_path_factory.mktemp(name)
        written[name] = lora.write_both(
            weights, FAMILY, FAMILY.kohya_config(loaded.source.denoiser_config), "sks", folder
        )
    return written


def load(folder: Path, profile: MemoryProfile = "full", configs: Path | None = None) -> LoadedBase:
    return LoadedBase(open_base("sd2", folder, configs), torch.float32, CPU, profile)


def draw(loaded: LoadedBase, file: Path | None = None, control: Image | None = None, **changes: Any) -> np.ndarray:
    """A picture through this project; `changes` are fields of the parameters."""
    given: dict[str, Any] = {"prompt": PROMPT, "negative": NEGATIVE, "size": Size(64, 64), "seed": SEED, "steps": STEPS}
    given |= {"guidance": GUIDANCE, "options": OWN, **changes}
    with loaded.lease() as lease:
        if file is not None:
            lease.load_person_lora(file, 1.0)
        units = []
        if control is not None:
            units.append(ControlNetUnit(lease.get_or_load("control", tiny_sd2.controlnet), control, 1.5))
        conditionings = [Conditioning(controlnets=units)]
        return pipeline_call.generate_image(lease, GenerationParameters(**given), conditionings, lambda done: None)


def stock(pipe: Any, **changes: Any) -> np.ndarray:
    """The same through a stock pipeline, which encodes the words itself."""
    pipe.set_progress_bar_config(disable=True)
    given = {"prompt": PROMPT, "negative_prompt": NEGATIVE, "num_inference_steps": STEPS, "guidance_scale": GUIDANCE}
    generator = torch.Generator("cpu").manual_seed(SEED)
    return pipe(**given | changes, output_type="np", generator=generator).images[0]


def apart(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).max())


def as_pillow(image: np.ndarray) -> PIL.Image.Image:
    return PIL.Image.fromarray(image.astype(np.uint8))


@pytest.mark.parametrize("controlled", [False, True], ids=["alone", "with a control"])
def test_every_way_of_drawing_is_the_stock_pipelines(loaded: LoadedBase, hub: Path, controlled: bool) -> None:
    assert (loaded.source.family, loaded.source.native_side) == (FAMILY, 64)
    pipe: Any = StableDiffusionPipeline.from_pretrained(hub / "sd2", local_files_only=True)
    parts: dict[str, Any] = {**pipe.components, "requires_safety_checker": False}
    classes: tuple[Any, ...] = (StableDiffusionPipeline, StableDiffusionImg2ImgPipeline, StableDiffusionInpaintPipeline)
    text, inside, scaled = {}, {"control_image": as_pillow(CONTROL)}, {"controlnet_conditioning_scale": 1.5}
    if controlled:
        parts["controlnet"] = tiny_sd2.controlnet()
        text, inside = {"image": as_pillow(CONTROL)} | scaled, inside | scaled
        classes = (
            StableDiffusionControlNetPipeline,
            StableDiffusionControlNetImg2ImgPipeline,
            StableDiffusionControlNetInpaintPipeline,
        )
    else:
        inside = {}
    from_words, from_picture, into_part = (each(**parts) for each in classes)
    control = CONTROL if controlled else None
    ours = draw(loaded, control=control)
    assert apart(ours, stock(from_words, **text)) < NEAR
    for strength in (0.5, 1.0):
        given = {"image": as_pillow(START), "strength": strength, **inside}
        assert apart(draw(loaded, control=control, start=START, strength=strength), stock(from_picture, **given)) < NEAR
    given = {"image": as_pillow(START), "mask_image": as_pillow(MASK * 255), "strength": 0.75, **inside}
    part = draw(loaded, control=control, start=START, mask=MASK, strength=0.75)
    assert apart(part, stock(into_part, height=64, width=64, **given)) < NEAR
    changed: list[dict[str, Any]] = [{"prompt": "a woman in a red suit"}, {"negative": "blue"}, {"guidance": 1.0}]
    assert all(apart(ours, draw(loaded, control=control, **each)) > FAR for each in changed)
    assert apart(ours, draw(loaded, control=None if controlled else CONTROL)) > FAR


def test_a_lora_is_worn_as_the_stock_pipeline_wears_it_and_its_files_are_read_by_it(
    loaded: LoadedBase, hub: Path, people: dict[str, tuple[Path, Path]]
) -> None:
    own, kohya = (load_file(each) for each in people["anna"])
    assert {name.split("_")[1] for name in kohya} == {"unet", "te"}
    read: Any = StableDiffusionPipeline.lora_state_dict(dict(kohya))
    back, alphas = read
    assert set(alphas.values()) == {4}, "the rank, so that nothing is scaled"
    renamed = {name.replace("lora.down", "lora_A").replace("lora.up", "lora_B"): each for name, each in back.items()}
    renamed = {name.replace("lora_linear_layer.down", "lora_A"): each for name, each in renamed.items()}
    assert all(torch.equal(renamed[name], each) for name, each in own.items() if name in renamed)
    ours = draw(loaded, people["anna"][0])
    for weights in (own, kohya):
        pipe: Any = StableDiffusionPipeline.from_pretrained(hub / "sd2", local_files_only=True)
        pipe.load_lora_weights(dict(weights))
        assert apart(ours, stock(pipe)) < NEAR
    assert apart(ours, draw(loaded, people["anna"][1])) < NEAR
    assert apart(ours, draw(loaded)) > FAR
    assert apart(ours, draw(loaded, people["ben"][0])) > FAR


def test_two_people_in_turns_are_drawn_as_in_fresh_processes(
    loaded: LoadedBase, hub: Path, people: dict[str, tuple[Path, Path]]
) -> None:
    fresh = {}
    for name, files in people.items():
        alone = load(hub / "sd2")
        fresh[name] = draw(alone, files[0], control=CONTROL)
        alone.close()
    draw(loaded, people["ben"][1])
    before = state.capture(loaded)
    bare = draw(loaded)
    for name in ("anna", "ben", "ben", "anna"):
        assert np.array_equal(draw(loaded, people[name][0], control=CONTROL), fresh[name])
        assert np.array_equal(draw(loaded), bare)
    assert not state.lost_hook(before, state.capture(loaded))
    assert not state.moved_tensor(before, state.capture(loaded))


@pytest.mark.parametrize("profile", ["offload", "sequential"])
def test_smaller_memory_profiles_draw_the_same(
    loaded: LoadedBase, hub: Path, people: dict[str, tuple[Path, Path]], profile: MemoryProfile
) -> None:
    smaller = load(hub / "sd2", profile)
    drawn = draw(smaller, people["ben"][0], control=CONTROL)
    assert apart(drawn, draw(loaded, people["ben"][0], control=CONTROL)) < NEAR
    smaller.close()


@pytest.mark.parametrize("gamma", [0.0, 5.0], ids=["plain", "min-snr"])
def test_the_first_step_of_learning_equals_a_straightforward_loop(hub: Path, tmp_path: Path, gamma: float) -> None:
    settings = replace(PLAIN, batch=2, min_snr=gamma, prior=PriorSettings())
    of = tiny_training.training_run(hub, "sd2", settings, tmp_path)
    learning_step.check_first_step(of, test_step.straightforward)


def test_a_single_file_is_read_again_by_diffusers_and_here(loaded: LoadedBase, hub: Path, tmp_path: Path) -> None:
    file = tmp_path / "one.safetensors"
    convert.to_file(loaded.source, file, torch.float32)
    names = list(load_file(file))
    assert family_of_weights(names) is FAMILY
    assert not any("text_model" in name for name in names), "OpenCLIP's names"
    pipe: Any = StableDiffusionPipeline.from_single_file(
        str(file), config=str(hub / "sd2"), local_files_only=True, safety_checker=None
    )
    fresh = load_pipeline(loaded.source, torch.float32)
    for component in ("unet", "text_encoder", "vae"):
        own, read = (each.components[component].state_dict() for each in (fresh, pipe))
        assert own.keys() == read.keys()
        assert all(torch.equal(each, own[name]) for name, each in read.items()), component
    alone = load(file, configs=hub / "sd2")
    assert np.array_equal(draw(alone), draw(loaded))
    alone.close()


def test_what_a_step_costs_is_estimated_without_weights(hub: Path) -> None:
    cost = estimate.estimate_cost(open_base("sd2", hub / "sd2"), 4, 64, torch.float32, "cpu")
    assert cost.activation_bytes > cost.checkpointed_bytes > 0


def test_adapters_controls_and_loras_of_stable_diffusion_15_are_refused(
    loaded: LoadedBase, hub: Path, tmp_path: Path
) -> None:
    models = ModelStore(ModelStoreSettings(folder=tmp_path))
    for name in ("faceid", "instantid", "photomaker"):
        [sentence] = model_requirements.missing_models(name, "sd2", models)
        assert "was not made for the family sd2" in sentence
    assert model_requirements.controls("sd2", models) == []
    assert model_requirements.missing_models("fast", "sd2", models) == []
    key = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"
    weights = {f"{key}.lora_A.weight": torch.ones(4, 768), f"{key}.lora_B.weight": torch.ones(32, 4)}
    lora.save_weights(weights, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="learned on another base") as refused:
        draw(loaded, tmp_path / "other.safetensors")
    assert refused.value.code == "wrong_base"
    convert.to_file(loaded.source, tmp_path / "one.safetensors", torch.float16)
    with pytest.raises(OperatorError, match="hub folder of the family sd2") as alone:
        open_base("one", tmp_path / "one.safetensors")
    assert alone.value.code == "bad_base"
