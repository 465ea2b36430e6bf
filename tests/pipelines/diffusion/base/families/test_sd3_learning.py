"""A step of learning on Stable Diffusion 3 is that of a straightforward loop, with T5 and without; plans and estimates hold."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusion3Pipeline

from pipelines.diffusion.base import lora
from pipelines.diffusion.base.loading import load_components, open_base
from pipelines.diffusion.training import step as ours
from pipelines.diffusion.training.run import TrainingRun
from pipelines.settings import PriorSettings
from tests.pipelines.diffusion import learning_step
from tests.pipelines.diffusion.base.families import tiny_sd3 as tiny
from tests.pipelines.diffusion.base.families.tiny_sd3 import FAMILY
from tests.pipelines.engines import tiny_training
from tests.pipelines.engines.tiny_training import PLAIN

NEAR = 1e-5
TARGETS = [
    *("attn.add_k_proj", "attn.add_q_proj", "attn.add_v_proj", "attn.to_add_out"),
    *("attn.to_k", "attn.to_out.0", "attn.to_q", "attn.to_v"),
]
"""As diffusers' script has them."""


@pytest.fixture(scope="module")
def hub(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the hub folder `sd3`."""
    folder = tmp_path_factory.mktemp("sd3")
    tiny.sd3(folder / "sd3")
    return folder


@pytest.mark.parametrize("left_out", [(), FAMILY.optional_components], ids=["with T5", "without T5"])
def test_the_first_step_equals_a_straightforward_loop(hub: Path, tmp_path: Path, left_out: tuple[str, ...]) -> None:
    of = tiny_training.training_run(hub, "sd3", replace(PLAIN, batch=2), tmp_path, tiny_training.training_set(2))
    of = replace(of, base=replace(of.base, left_out=tuple(left_out)))
    learning_step.check_first_step(of, straightforward, 2 * (3 * 8 - 1))


def straightforward(
    of: TrainingRun, weights: lora.Weights, dataset: ours.Dataset
) -> tuple[float, learning_step.Gradients]:
    """As diffusers' script for Stable Diffusion 3 writes it, but for sigmas that are not rounded to a thousandth."""
    missing: dict[str, Any] = dict.fromkeys(of.base.left_out)
    pipe: Any = StableDiffusion3Pipeline.from_pretrained(of.base.path, local_files_only=True, **missing)
    network, vae = pipe.transformer, pipe.vae
    learning_step.wear(network, weights, TARGETS)
    own, images, captions = learning_step.pictures_of(of, dataset)
    random = torch.Generator().manual_seed(ours._step_seed(of.settings.seed, 0))
    for _ in range(own):
        torch.randint(0, 1, (), generator=random)  # mirrored or not
    pixels = learning_step.pixels_of(images, dataset.samples[0].sizes.bucket)
    with torch.no_grad():
        spread = vae.encode(pixels).latent_dist
        clean = spread.mean + spread.std * torch.randn(spread.mean.shape, generator=random)
        clean = (clean - vae.config.shift_factor) * vae.config.scaling_factor
        words, _, pooled, _ = pipe.encode_prompt(captions, captions, captions, do_classifier_free_guidance=False)
    noise = torch.randn(clean.shape, generator=random)
    u = torch.sigmoid(torch.randn((own,), generator=random))
    sigma = (3 * u / (1 + 2 * u)).view(-1, 1, 1, 1)
    noised = sigma * noise + (1 - sigma) * clean
    predicted = network(
        hidden_states=noised,
        timestep=1000 * sigma.flatten(),
        encoder_hidden_states=words,
        pooled_projections=pooled,
        return_dict=False,
    )[0]
    loss = (predicted * (-sigma) + noised - clean).square().mean(dim=(1, 2, 3)).mean()
    loss.backward()
    return loss.item(), learning_step.gradients_of(network)


def test_noise_levels_are_those_of_the_schedule(hub: Path) -> None:
    loss = FAMILY.loss(open_base("sd3", hub / "sd3").config("scheduler"), 5.0)
    many = loss.sample_timesteps(torch.zeros(1).expand(20000, 16, 8, 12), torch.Generator().manual_seed(0))
    assert abs(float(many.median()) - 0.75) < 0.01, "a half, shifted by three"
    wide = loss.sample_timesteps(torch.zeros(1).expand(20000, 16, 64, 64), torch.Generator().manual_seed(0))
    assert torch.allclose(many, wide), "whatever the size"
    sigma = torch.tensor([0.5, 1.0])
    error = torch.stack([torch.ones(1, 2, 2), torch.zeros(1, 2, 2)])
    assert math.isclose(float(loss(error, torch.zeros_like(error), sigma)), 0.125)


def test_what_is_estimated_without_weights_is_what_a_pass_takes(hub: Path) -> None:
    _, _, words = learning_step.check_estimate(hub, "sd3", latents=8)
    base = open_base("sd3", hub / "sd3")
    with torch.no_grad():
        encoded = FAMILY.encode(load_components(base, torch.float32, base_parts(base)), ["a photo"])
    assert words.pooled is not None
    assert encoded.pooled is not None
    assert (words.hidden.shape, words.pooled.shape) == (encoded.hidden.shape, encoded.pooled.shape)


def base_parts(base: Any) -> list[str]:
    """Text encoders with their tokenizers, and the transformer."""
    return ["transformer", *(name for pair in base.text_encoders for name in pair)]


def test_a_training_has_pictures_of_others_drawn_for_it(hub: Path, tmp_path: Path) -> None:
    prior = PriorSettings(weight=0.5, images=1, steps=1)
    result = tiny_training.train(hub, "sd3", tmp_path, replace(PLAIN, steps=2, prior=prior))
    assert result.lora is not None
    learned = lora.load_weights(result.lora)
    assert len(learned) == 2 * (3 * 8 - 1)
    assert any(each.any() for name, each in learned.items() if "lora_B" in name)
    assert list(hub.glob("cache/**/0000.png"))


def test_plans_and_refusals_are_those_of_the_family(hub: Path, tmp_path: Path) -> None:
    learning_step.check_plan(hub, "sd3", "sd3", tmp_path, replace(PLAIN, side=0))


@pytest.mark.bench
def test_blocks_are_compiled_once_for_all_people(one_thread: None, tmp_path: Path) -> None:
    base = open_base("short", tiny.sd3(tmp_path / "short", layers=2))
    learning_step.check_compiling(
        lambda compiled: tiny.load(base, compiled=compiled),
        tiny.person_lora,
        lambda loaded, file: tiny.draw(loaded, file, steps=1),
        tmp_path,
    )
