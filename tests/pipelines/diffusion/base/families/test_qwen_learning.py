"""A step of learning on Qwen-Image is that of diffusers' script; checkpointing, compiling and estimates hold for it too."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import QwenImagePipeline

from pipelines.diffusion.base import lora
from pipelines.diffusion.base.loading import open_base
from pipelines.diffusion.training import step as ours
from pipelines.diffusion.training.run import TrainingRun
from pipelines.settings import PriorSettings, TrainSettings
from portrait.arrays import Size
from portrait.types import Crop
from tests.pipelines.diffusion import learning_step
from tests.pipelines.diffusion.base.families import qwen_drawing as drawing
from tests.pipelines.diffusion.base.families import tiny_qwen
from tests.pipelines.engines import tiny_training
from tests.pipelines.engines.tiny_training import PLAIN

pytestmark = pytest.mark.usefixtures("one_thread")
PRIOR = PriorSettings(weight=0.7, images=2, steps=2)
SMALL = replace(PLAIN, batch=2, side=64)
NEAR = 1e-5


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the base `qwen`."""
    folder = tmp_path_factory.mktemp("qwen")
    tiny_qwen.write(folder / "qwen")
    return folder


def training_run(hub: Path, settings: TrainSettings, work_dir: Path, wide: bool = False) -> TrainingRun:
    """A run on the tiny base, with pictures that are square or wide, and captions of unequal lengths."""
    training = tiny_training.training_set(2)
    shape = Size(128, 64) if wide else Size(64, 64)
    captions = ("a photo of sks person", "sks person outdoors")
    crops = (Crop(drawing.picture(at, shape), each, f"{at}.png") for at, each in enumerate(captions))
    return tiny_training.training_run(hub, "qwen", settings, work_dir, replace(training, crops=tuple(crops)))


@pytest.mark.parametrize(
    ("settings", "wide"),
    [(replace(SMALL, side=128), True), (replace(SMALL, prior=PRIOR), False)],
    ids=["alone", "prior"],
)
def test_the_first_step_equals_that_of_diffusers_script(
    hub: Path, tmp_path: Path, settings: TrainSettings, wide: bool
) -> None:
    of = training_run(hub, settings, tmp_path, wide)
    learning_step.check_first_step(of, straightforward, 2 * 2 * 4)


def straightforward(
    of: TrainingRun, weights: lora.Weights, dataset: ours.Dataset
) -> tuple[float, learning_step.Gradients]:
    """As diffusers' script for Qwen-Image writes it: everything in the loop, one batch of the person and of others."""
    pipe: Any = QwenImagePipeline.from_pretrained(of.base.path, local_files_only=True)
    network = pipe.transformer
    learning_step.wear(network, weights, ["to_k", "to_q", "to_v", "to_out.0"])
    own, images, captions = learning_step.pictures_of(of, dataset)
    bucket = dataset.samples[0].sizes.bucket
    assert bucket == Size(*images[0].shape[1::-1])
    random = torch.Generator().manual_seed(ours._step_seed(of.settings.seed, 0))
    drawn = [draw(random, count, bucket) for count in (own, len(images) - own) if count]
    spread, noise, sigmas = (torch.cat(each) for each in zip(*drawn, strict=True))
    pixels = learning_step.pixels_of(images, bucket)[:, :, None]
    with torch.no_grad():
        distribution = pipe.vae.encode(pixels).latent_dist
        mean, std = (
            torch.tensor(pipe.vae.config[name]).view(1, -1, 1, 1, 1) for name in ("latents_mean", "latents_std")
        )
        clean = (distribution.mean + distribution.std * spread - mean) / std
        words, mask = pipe.encode_prompt(captions, max_sequence_length=1024)
    noised = ((1.0 - sigmas) * clean + sigmas * noise).permute(0, 2, 1, 3, 4)
    count, _, channels, height, width = noised.shape
    predicted = network(
        hidden_states=pipe._pack_latents(noised, count, channels, height, width),
        encoder_hidden_states=words,
        encoder_hidden_states_mask=mask,
        timestep=sigmas.flatten(),
        img_shapes=[(1, height // 2, width // 2)] * count,
        return_dict=False,
    )[0]
    predicted = pipe._unpack_latents(predicted, bucket.height, bucket.width, pipe.vae_scale_factor)
    errors = (predicted.float() - (noise - clean).float()).square().flatten(1).mean(dim=1)
    loss = learning_step.weighed(errors, own, of)
    loss.backward()
    return loss.item(), learning_step.gradients_of(network)


def draw(random: torch.Generator, count: int, bucket: Size) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What the latents are sampled by, noise and sigmas, by the random numbers of the learner in their order."""
    for _ in range(count):
        torch.randint(0, 1, (), generator=random)  # mirrored or not
    height, width = bucket.height // 8, bucket.width // 8
    spread = torch.randn((count, 4, height, width), generator=random)[:, :, None]
    tokens = torch.randn((count, 16, height // 2, width // 2), generator=random)
    noise = QwenImagePipeline._unpack_latents(tokens.flatten(2).transpose(1, 2), bucket.height, bucket.width, 8)
    uniform = torch.sigmoid(torch.randn((count,), generator=random))
    torch.rand(count, generator=random)  # caption or not
    mu = 0.5 + (0.9 - 0.5) * (height * width / 4 - 256) / (8192 - 256)
    return spread, noise, (math.exp(mu) / (math.exp(mu) + 1 / uniform - 1)).view(-1, 1, 1, 1, 1)


def test_checkpointing_leaves_gradients_as_they_are(hub: Path, tmp_path: Path) -> None:
    ways = {each: training_run(hub, replace(SMALL, checkpointing=each), tmp_path) for each in ("off", "full")}
    learning_step.check_checkpointing(ways, 16)


def test_what_is_estimated_without_weights_is_what_a_pass_takes(hub: Path) -> None:
    learning_step.check_estimate(hub, "qwen", latents=4)


def test_plans_and_refusals_are_those_of_the_family(hub: Path, tmp_path: Path) -> None:
    learning_step.check_plan(hub, "qwen", "qwenimage", tmp_path, SMALL)
    assert open_base("qwen", hub / "qwen").native_side == 1024


@pytest.mark.bench
def test_blocks_are_compiled_once_for_all_people(hub: Path, tmp_path: Path) -> None:
    learning_step.check_compiling(
        lambda compiled: drawing.load(hub / "qwen", compiled=compiled),
        drawing.person_lora,
        lambda loaded, file: drawing.draw(loaded, [], file, guidance=1.0),
        tmp_path,
        learning_step.NEAR,
    )
