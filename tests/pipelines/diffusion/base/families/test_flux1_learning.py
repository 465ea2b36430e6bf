"""A step of learning on FLUX.1 is that of a straightforward loop; compiling and estimates hold for it too."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import FluxPipeline

from pipelines.diffusion.base import lora
from pipelines.diffusion.base.registry import family_by_name
from pipelines.diffusion.training import step as ours
from pipelines.diffusion.training.run import TrainingRun
from portrait.arrays import Size
from portrait.types import Crop
from tests.pipelines.diffusion import learning_step
from tests.pipelines.diffusion.base.families import flux1_drawing as drawing
from tests.pipelines.diffusion.base.families import tiny_flux
from tests.pipelines.diffusion.base.families.flux2_drawing import picture
from tests.pipelines.engines import tiny_training
from tests.pipelines.engines.tiny_training import PLAIN

pytestmark = pytest.mark.usefixtures("one_thread")
FAMILY = family_by_name("flux")
TARGETS = (
    r"transformer_blocks\.\d+\.attn\.(to_[qkv]|to_out\.0|add_[qkv]_proj|to_add_out)"
    r"|single_transformer_blocks\.\d+\.(attn\.to_[qkv]|proj_mlp|proj_out)"
)
"""PEFT takes a text for a pattern of whole names."""
NEAR = 1e-5
WIDE = Size(64, 48)


@pytest.fixture(scope="module")
def hub(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hub folders `flux` and `schnell`."""
    folder = tmp_path_factory.mktemp("flux1")
    tiny_flux.flux(folder / "flux")
    tiny_flux.flux(folder / "schnell", distilled=True)
    return folder


def training_run(hub: Path, name: str, work_dir: Path) -> TrainingRun:
    """A run on a tiny base, with two wide pictures."""
    crops = tuple(Crop(picture(at, WIDE), f"a photo of sks person {at}", f"{at}.png") for at in (1, 2))
    training = replace(tiny_training.training_set(2), crops=crops)
    return tiny_training.training_run(hub, name, replace(PLAIN, batch=2), work_dir, training)


@pytest.mark.parametrize("name", ["flux", "schnell"])
def test_the_first_step_equals_a_straightforward_loop(hub: Path, tmp_path: Path, name: str) -> None:
    of = training_run(hub, name, tmp_path)
    # Of one double block and two single ones.
    learning_step.check_first_step(of, straightforward, 2 * (8 + 2 * 5))


def straightforward(
    of: TrainingRun, weights: lora.Weights, dataset: ours.Dataset
) -> tuple[float, learning_step.Gradients]:
    """As diffusers' script for FLUX.1 writes it: everything in the loop, one batch."""
    pipe: Any = FluxPipeline.from_pretrained(of.base.path, local_files_only=True)
    network, vae = pipe.transformer, pipe.vae
    learning_step.wear(network, weights, TARGETS)
    crops = [of.job.training.crops[at] for at in dataset.sample_indices(0)]
    random = torch.Generator().manual_seed(ours._step_seed(of.settings.seed, 0))
    pixels = torch.stack([torch.tensor(crop.image).permute(2, 0, 1) for crop in crops])
    with torch.no_grad():
        found = vae.encode(pixels / 127.5 - 1).latent_dist
        spread, noise, sigma = chance(random, found.mean.shape)
        clean = (found.mean + found.std * spread - vae.config.shift_factor) * vae.config.scaling_factor
        words, pooled, text_ids = pipe.encode_prompt(
            [crop.caption for crop in crops], None, max_sequence_length=tiny_flux.LENGTH
        )
    height, width = clean.shape[2:]
    sizes = (len(crops), clean.shape[1], height, width)
    noised = (1 - sigma) * pipe._pack_latents(clean, *sizes) + sigma * noise
    predicted = network(
        hidden_states=noised,
        timestep=sigma.flatten(),
        guidance=torch.tensor([1.0]).expand(len(crops)) if network.config.guidance_embeds else None,
        pooled_projections=pooled,
        encoder_hidden_states=words,
        txt_ids=text_ids,
        img_ids=pipe._prepare_latent_image_ids(1, height // 2, width // 2, "cpu", torch.float32),
        return_dict=False,
    )[0]
    loss = (predicted - (noise - pipe._pack_latents(clean, *sizes))).square().mean()
    loss.backward()
    return loss.item(), learning_step.gradients_of(network)


def chance(random: torch.Generator, shape: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The spread of latents, noise as tokens, and sigmas by the random numbers of the learner, in their order."""
    count, channels, height, width = shape
    for _ in range(count):
        torch.randint(0, 1, (), generator=random)  # mirrored or not
    spread = torch.randn(shape, generator=random)
    noise = torch.randn((count, 4 * channels, height // 2, width // 2), generator=random)
    uniform = torch.sigmoid(torch.randn((count,), generator=random))
    torch.rand(count, generator=random)  # caption or not
    mu = 0.5 + (1.15 - 0.5) * (height * width // 4 - 256) / (4096 - 256)
    sigma = math.exp(mu) / (math.exp(mu) + 1 / uniform - 1)
    return spread, noise.flatten(2).transpose(1, 2), sigma.view(-1, 1, 1)


def test_what_is_estimated_without_weights_is_what_a_pass_takes(hub: Path) -> None:
    learning_step.check_estimate(hub, "flux", latents=4)


def test_plans_and_refusals_are_those_of_the_family(hub: Path, tmp_path: Path) -> None:
    learning_step.check_plan(hub, "flux", "flux", tmp_path, replace(PLAIN, side=0))


@pytest.mark.bench
def test_blocks_are_compiled_once_for_all_people(hub: Path, tmp_path: Path) -> None:
    learning_step.check_compiling(
        lambda compiled: drawing.load(hub / "flux", compiled=compiled),
        drawing.person_lora,
        lambda loaded, file: drawing.draw(loaded, lora_file=file),
        tmp_path,
    )
