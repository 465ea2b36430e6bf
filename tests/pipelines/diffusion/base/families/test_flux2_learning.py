"""A step of learning on FLUX.2 is that of a straightforward loop; checkpointing, compiling and estimates hold for it too."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import Flux2KleinPipeline

from pipelines.diffusion.base import lora
from pipelines.diffusion.training import estimate
from pipelines.diffusion.training import step as ours
from pipelines.diffusion.training.run import TrainingRun
from pipelines.settings import PriorSettings, TrainSettings
from portrait.arrays import Size
from portrait.types import Crop
from tests.pipelines.diffusion import learning_step
from tests.pipelines.diffusion.base.families import flux2_drawing as drawing
from tests.pipelines.diffusion.base.families.flux2_drawing import FAMILY
from tests.pipelines.engines import tiny_training
from tests.pipelines.engines.tiny_training import PLAIN

pytestmark = pytest.mark.usefixtures("one_thread")
PRIOR = PriorSettings(weight=0.7, images=2, steps=1)
TARGETS = (
    r"transformer_blocks\.\d+\.attn\.(to_[qkv]|to_out\.0|add_[qkv]_proj|to_add_out)"
    r"|single_transformer_blocks\.\d+\.attn\.(to_qkv_mlp_proj|to_out)"
)
"""PEFT takes a text for a pattern of whole names."""
NEAR = 1e-5


def training_run(hub: Path, settings: TrainSettings, work_dir: Path, wide: bool = False) -> TrainingRun:
    """A run on the tiny base, with pictures that are square or wide."""
    training = tiny_training.training_set(2)
    if wide:
        crops = (Crop(drawing.picture(at, Size(64, 48)), "a photo of sks person", f"{at}.png") for at in (1, 2))
        training = replace(training, crops=tuple(crops))
    return tiny_training.training_run(hub, "flux2", settings, work_dir, training)


@pytest.mark.parametrize(("prior", "wide"), [(PriorSettings(), True), (PRIOR, False)], ids=["alone", "prior"])
def test_the_first_step_equals_a_straightforward_loop(
    flux2_hub: Path, tmp_path: Path, prior: PriorSettings, wide: bool
) -> None:
    of = training_run(flux2_hub, replace(PLAIN, batch=2, prior=prior), tmp_path, wide)
    # Of one double block and two single ones.
    learning_step.check_first_step(of, straightforward, 2 * (8 + 2 * 2))


def straightforward(
    of: TrainingRun, weights: lora.Weights, dataset: ours.Dataset
) -> tuple[float, learning_step.Gradients]:
    """As diffusers' script for FLUX.2 [klein] writes it: everything in the loop, one batch of the person and of others."""
    pipe: Any = Flux2KleinPipeline.from_pretrained(of.base.path, local_files_only=True)
    network, vae = pipe.transformer, pipe.vae
    learning_step.wear(network, weights, TARGETS)
    own, images, captions = learning_step.pictures_of(of, dataset)
    bucket = dataset.samples[0].sizes.bucket
    random = torch.Generator().manual_seed(ours._step_seed(of.settings.seed, 0))
    drawn = [draw(random, count, bucket) for count in (own, len(images) - own) if count]
    noise, sigma = (torch.cat(each) for each in zip(*drawn, strict=True))
    pixels = learning_step.pixels_of(images, bucket)
    with torch.no_grad():
        clean = pipe._patchify_latents(vae.encode(pixels).latent_dist.mode())
        mean = vae.bn.running_mean.view(1, -1, 1, 1)
        clean = (clean - mean) / torch.sqrt(vae.bn.running_var.view(1, -1, 1, 1) + vae.config.batch_norm_eps)
        given = {"max_sequence_length": drawing.LENGTH, "text_encoder_out_layers": drawing.LAYERS}
        words, text_ids = pipe.encode_prompt(captions, **given)
    noised = (1 - sigma) * clean + sigma * noise
    image_ids = pipe._prepare_latent_ids(noised)
    predicted = network(
        hidden_states=pipe._pack_latents(noised),
        timestep=sigma.flatten(),
        guidance=None,
        encoder_hidden_states=words,
        txt_ids=text_ids,
        img_ids=image_ids,
        return_dict=False,
    )[0]
    predicted = pipe._unpack_latents_with_ids(predicted, image_ids)
    errors = (predicted - (noise - clean)).square().mean(dim=(1, 2, 3))
    loss = learning_step.weighed(errors, own, of)
    loss.backward()
    return loss.item(), learning_step.gradients_of(network)


def draw(random: torch.Generator, count: int, bucket: Size) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise and sigmas by the random numbers of the learner, in their order."""
    for _ in range(count):
        torch.randint(0, 1, (), generator=random)  # mirrored or not
    noise = torch.randn((count, 16, bucket.height // 16, bucket.width // 16), generator=random)
    uniform = torch.sigmoid(torch.randn((count,), generator=random))
    torch.rand(count, generator=random)  # caption or not
    tokens = noise.shape[-1] * noise.shape[-2]
    mu = 0.5 + (1.15 - 0.5) * (tokens - 256) / (4096 - 256)
    sigma = math.exp(mu) / (math.exp(mu) + 1 / uniform - 1)
    return noise, sigma.view(-1, 1, 1, 1)


def test_checkpointing_leaves_gradients_and_light_computes_less_again(
    flux2_hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(FAMILY), "stored_products", 64)  # of products with 32, 48 and 128 numbers
    ways = {
        each: training_run(flux2_hub, replace(PLAIN, checkpointing=each), tmp_path) for each in ("off", "light", "full")
    }
    learning_step.check_checkpointing(ways, 24)


def test_what_is_estimated_without_weights_is_what_a_pass_takes(flux2_hub: Path) -> None:
    cost, network, _ = learning_step.check_estimate(flux2_hub, "flux2", latents=4)
    weights = sum(each.numel() for each in network.parameters())
    assert cost.fixed_bytes - estimate.CONTEXT_BYTES["cpu"] < 4 * weights + 16 * weights


def test_plans_and_refusals_are_those_of_the_family(flux2_hub: Path, tmp_path: Path) -> None:
    learning_step.check_plan(flux2_hub, "flux2", "flux2", tmp_path, replace(PLAIN, side=0))


def test_blocks_are_compiled_once_for_all_people(flux2_hub: Path, tmp_path: Path) -> None:
    learning_step.check_compiling(
        lambda compiled: drawing.load(flux2_hub / "flux2", compiled=compiled),
        drawing.person_lora,
        lambda loaded, file: drawing.draw(loaded, [], file),
        tmp_path,
    )
