"""A step of learning on Z-Image is that of a straightforward loop; checkpointing, compiling and estimates hold for it too."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import ZImagePipeline

from pipelines.diffusion.base import lora
from pipelines.diffusion.base.families.zimage import ZImage
from pipelines.diffusion.training import step as ours
from pipelines.diffusion.training.run import TrainingRun
from pipelines.settings import PriorSettings, TrainSettings
from portrait.arrays import Size
from portrait.types import Crop
from tests.pipelines.diffusion import learning_step
from tests.pipelines.diffusion.base.families import flux2_drawing as drawing
from tests.pipelines.diffusion.base.families import tiny_zimage
from tests.pipelines.engines import tiny_training
from tests.pipelines.engines.tiny_training import PLAIN

PRIOR = PriorSettings(weight=0.7, images=2, steps=1)
TARGETS = r"layers\.\d+\.attention\.(to_[qkv]|to_out\.0)"
"""PEFT takes a text for a pattern of whole names."""
NEAR = 1e-5


@pytest.fixture(scope="module")
def hub(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hub folder `zimage`."""
    folder = tmp_path_factory.mktemp("zimage")
    tiny_zimage.zimage(folder / "zimage")
    return folder


def training_run(hub: Path, settings: TrainSettings, work_dir: Path, wide: bool = False) -> TrainingRun:
    """A run on the tiny base, with pictures that are square or wide, whose captions are of different lengths."""
    training, size = tiny_training.training_set(2), Size(64, 48) if wide else Size(64, 64)
    captions = ("a photo of sks person", "a photo of sks person in the studio")
    crops = (Crop(drawing.picture(at, size), caption, f"{at}.png") for at, caption in enumerate(captions))
    return tiny_training.training_run(hub, "zimage", settings, work_dir, replace(training, crops=tuple(crops)))


@pytest.mark.parametrize(("prior", "wide"), [(PriorSettings(), True), (PRIOR, False)], ids=["alone", "prior"])
def test_the_first_step_equals_a_straightforward_loop(
    hub: Path, tmp_path: Path, prior: PriorSettings, wide: bool
) -> None:
    of = training_run(hub, replace(PLAIN, batch=2, prior=prior), tmp_path, wide)
    # Of two blocks, and not of the refiners.
    learning_step.check_first_step(of, straightforward, 2 * 4 * 2)


def straightforward(
    of: TrainingRun, weights: lora.Weights, dataset: ours.Dataset
) -> tuple[float, learning_step.Gradients]:
    """As diffusers' script for Z-Image writes it: everything in the loop, one batch of the person and of others."""
    pipe: Any = ZImagePipeline.from_pretrained(of.base.path, local_files_only=True)
    network, vae = pipe.transformer, pipe.vae
    learning_step.wear(network, weights, TARGETS)
    own, images, captions = learning_step.pictures_of(of, dataset)
    assert len(set(captions[:own])) == 2
    bucket = dataset.samples[0].sizes.bucket
    random = torch.Generator().manual_seed(ours._step_seed(of.settings.seed, 0))
    drawn = [draw(random, count, bucket) for count in (own, len(images) - own) if count]
    spread, noise, sigma = (torch.cat(each) for each in zip(*drawn, strict=True))
    pixels = learning_step.pixels_of(images, bucket)
    with torch.no_grad():
        found = vae.encode(pixels).latent_dist
        clean = (found.mean + found.std * spread - vae.config.shift_factor) * vae.config.scaling_factor
        given = {"max_sequence_length": tiny_zimage.LENGTH, "do_classifier_free_guidance": False}
        words, _ = pipe.encode_prompt(captions, **given)
    noised = (1 - sigma) * clean + sigma * noise
    predicted = network(list(noised.unsqueeze(2).unbind(0)), 1 - sigma.flatten(), words, return_dict=False)[0]
    predicted = -torch.stack(predicted, dim=0).squeeze(2)
    errors = (predicted - (noise - clean)).square().mean(dim=(1, 2, 3))
    loss = learning_step.weighed(errors, own, of)
    loss.backward()
    return loss.item(), learning_step.gradients_of(network)


def draw(random: torch.Generator, count: int, bucket: Size) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Noise of the VAE's distribution, noise and sigmas by the random numbers of the learner, in their order."""
    for _ in range(count):
        torch.randint(0, 1, (), generator=random)  # mirrored or not
    shape = (count, 16, bucket.height // 8, bucket.width // 8)
    spread, noise = (torch.randn(shape, generator=random) for _ in range(2))
    uniform = torch.sigmoid(torch.randn((count,), generator=random))
    torch.rand(count, generator=random)  # caption or not
    return spread, noise, (2 * uniform / (1 + uniform)).view(-1, 1, 1, 1)


def test_checkpointing_leaves_gradients_as_they_are(hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ZImage, "stored_products", 64)  # of products with 32 and 85 numbers
    ways = {each: training_run(hub, replace(PLAIN, checkpointing=each), tmp_path) for each in ("off", "light", "full")}
    learning_step.check_checkpointing(ways, 16)


def test_what_is_estimated_without_weights_is_what_a_pass_takes(hub: Path) -> None:
    learning_step.check_estimate(hub, "zimage", latents=8)


def test_plans_and_refusals_are_those_of_the_family(hub: Path, tmp_path: Path) -> None:
    learning_step.check_plan(hub, "zimage", "zimage", tmp_path, replace(PLAIN, side=0))


@pytest.mark.bench
def test_blocks_are_compiled_once_for_all_people(hub: Path, tmp_path: Path) -> None:
    learning_step.check_compiling(
        lambda compiled: drawing.load(hub / "zimage", compiled=compiled),
        drawing.person_lora,
        lambda loaded, file: drawing.draw(loaded, lora_file=file, steps=1, guidance=0.0),
        tmp_path,
    )
