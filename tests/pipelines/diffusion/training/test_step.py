"""A step equals the straightforward loop on the public API of diffusers and peft: loss and gradients."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as nn
from diffusers import DDPMScheduler
from peft import LoraConfig, get_peft_model_state_dict, set_peft_model_state_dict

from pipelines import prepare
from pipelines.diffusion.base import loading, lora
from pipelines.diffusion.base.family import LORA_TARGETS
from pipelines.diffusion.training import run
from pipelines.diffusion.training import step as ours
from pipelines.diffusion.training.dataset import mirror_caption
from pipelines.diffusion.training.run import TrainingRun
from pipelines.settings import PrepareSettings, PriorSettings
from portrait.arrays import Size
from portrait.types import Pose
from tests import fakes
from tests.pipelines.diffusion import learning_step
from tests.pipelines.engines import tiny_training
from tests.pipelines.engines.tiny_training import PLAIN

pytestmark = pytest.mark.usefixtures("one_thread")
PRIOR = PriorSettings(weight=0.7, images=2, steps=1)
PAIRS = {("sd15", 0.0, "alone"), ("sd15", 5.0, "prior"), ("sdxl", 0.0, "prior"), ("sdxl", 5.0, "alone")}
PAIRS |= {("sd15-v", 0.0, "alone"), ("sd15-v", 5.0, "prior")}
"""Each two values of a step's settings, together once at least; the other steps are taken in `make bench`."""
STEPS = [
    pytest.param(
        name,
        gamma,
        PRIOR if prior == "prior" else PriorSettings(),
        id=f"{name}-{'min-snr' if gamma else 'plain'}-{prior}",
        marks=[] if (name, gamma, prior) in PAIRS else pytest.mark.bench,
    )
    for name in ("sd15", "sdxl", "sd15-v")
    for gamma in (0.0, 5.0)
    for prior in ("alone", "prior")
]


@pytest.mark.parametrize(("name", "gamma", "prior"), STEPS)
def test_the_first_step_equals_a_straightforward_loop(
    hub: Path, tmp_path: Path, name: str, gamma: float, prior: PriorSettings
) -> None:
    knobs = replace(PLAIN, batch=2, min_snr=gamma, prior=prior)
    training_run = tiny_training.training_run(hub, name, knobs, tmp_path)
    learning_step.check_first_step(training_run, straightforward)


def straightforward(
    training_run: TrainingRun, weights: lora.Weights, dataset: ours.Dataset
) -> tuple[float, dict[str, torch.Tensor]]:
    """As diffusers' scripts write it: everything in the loop, one batch of the person and of others."""
    pipeline = loading.load_pipeline(training_run.base, torch.float32)
    pipeline.unet.requires_grad_(False)
    pipeline.unet.add_adapter(LoraConfig(r=4, lora_alpha=4, target_modules=list(LORA_TARGETS)))
    set_peft_model_state_dict(pipeline.unet, {key.removeprefix("unet."): each for key, each in weights.items()})
    schedule: Any = DDPMScheduler.from_config(pipeline.scheduler.config)
    knobs = training_run.settings
    own, images, captions = learning_step.pictures_of(training_run, dataset)
    random = torch.Generator().manual_seed(ours._step_seed(knobs.seed, 0))
    draws = [draw(random, count) for count in (own, len(images) - own) if count]
    spread, noise, times = (torch.cat(each) for each in zip(*draws, strict=True))
    pixels = learning_step.pixels_of(images, Size(64, 64))
    with torch.no_grad():
        posterior = pipeline.vae.encode(pixels).latent_dist
        latents = (posterior.mean + posterior.std * spread) * pipeline.vae.config.scaling_factor
        embeds = pipeline.encode_prompt(
            prompt=captions, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=False
        )
    added = None
    if training_run.base.name == "sdxl":
        sizes = [[image.shape[0], image.shape[1], 0, 0, 64, 64] for image in images]
        added = {"text_embeds": embeds[2], "time_ids": torch.tensor(sizes, dtype=torch.float32)}
    prediction = pipeline.unet(
        schedule.add_noise(latents, noise, times), times, embeds[0], added_cond_kwargs=added
    ).sample
    velocity = schedule.config.prediction_type == "v_prediction"
    target = schedule.get_velocity(latents, noise, times) if velocity else noise
    errors = nn.mse_loss(prediction, target, reduction="none").mean(dim=(1, 2, 3))
    if knobs.min_snr:
        alphas = schedule.alphas_cumprod[times]
        snr = alphas / (1 - alphas)
        errors = errors * torch.minimum(snr, torch.tensor(5.0)) / (snr + 1 if velocity else snr)
    loss = learning_step.weighed(errors, own, training_run)
    loss.backward()
    places = set(get_peft_model_state_dict(pipeline.unet))
    named = {key.replace(".default.", "."): each.grad for key, each in pipeline.unet.named_parameters()}
    return loss.item(), {f"unet.{key}": named[key] for key in places}


def draw(random: torch.Generator, count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Random numbers in the order in which the learner draws them."""
    for _ in range(count):
        torch.randint(0, 1, (), generator=random)  # mirrored or not
    spread = torch.randn((count, 4, 8, 8), generator=random)
    noise = torch.randn((count, 4, 8, 8), generator=random)
    times = torch.randint(0, 1000, (count,), generator=random)
    torch.rand(count, generator=random)  # caption or not
    return spread, noise, times


def test_gradient_checkpointing_changes_nothing(hub: Path, tmp_path: Path) -> None:
    losses = {}
    for mode in ("off", "light", "full"):
        training_run = tiny_training.training_run(hub, "sd15", replace(PLAIN, checkpointing=mode), tmp_path)
        assert training_run.plan.checkpointing == mode
        learner, dataset = run.build_learner(training_run, None), run.build_dataset(training_run)
        learner.denoiser.train()
        losses[mode] = [learner.train_step(dataset, step) for step in range(2)]
    assert losses["light"] == losses["off"]
    assert losses["full"] == losses["off"]


def test_samples_of_another_shape_than_the_class_images_are_trained_together(hub: Path, tmp_path: Path) -> None:
    knobs = replace(PLAIN, prior=PRIOR)
    training_run = tiny_training.training_run(hub, "sd15", knobs, tmp_path)
    dataset = run.build_dataset(training_run)
    wide = replace(dataset.samples[0], moments=dataset.samples[0].moments[..., :4, :])
    learner = run.build_learner(training_run, None)
    both = learner.loss(replace(dataset, samples=[wide]), 0).item()
    alone = learner.loss(replace(dataset, samples=[wide], class_samples=[]), 0).item()
    assert both > alone


def test_dropped_captions_mirrors_and_offset_noise_are_drawn_for_each_picture(hub: Path, tmp_path: Path) -> None:
    knobs = replace(PLAIN, flips=True, caption_drop=0.5, noise_offset=0.1)
    turned = tiny_training.training_set(1)
    crop = replace(turned.crops[0], caption="a photo of sks person, head turned to the Right")
    training_run = tiny_training.training_run(hub, "sd15", knobs, tmp_path, replace(turned, crops=(crop,)))
    learner, dataset = run.build_learner(training_run, None), run.build_dataset(training_run)
    assert dataset.samples[0].moments.shape == (2, 2, 4, 8, 8)
    random = torch.Generator().manual_seed(1)
    many = learner._noise_samples(dataset, [dataset.samples[0]] * 200, random)
    assert 0.3 < many.captions.count("") / 200 < 0.7
    assert many.noise.mean(dim=(2, 3)).std() > 0.15, "an offset moves whole channels; without it this is 0.125"
    # The caption goes with the picture: what is seen mirrored is told mirrored.
    sample = dataset.samples[0]
    sure = sample.moments.index_fill(1, torch.tensor(1), -60.0)
    picked = learner._noise_samples(dataset, [replace(sample, moments=sure)] * 20, random)
    sides = {"Right": 0, "Left": 1, "": None}
    for latents, text in zip(picked.latents, picked.captions, strict=True):
        view = sides[text.rpartition(" ")[2]]
        means = dataset.latents.sample(sure, random)
        assert view is None or torch.allclose(latents, means[view], atol=1e-5), text
    assert {text.rpartition(" ")[2] for text in picked.captions} == set(sides)
    assert learner.batch_loss(picked).isfinite(), "the mirrored captions were encoded beforehand too"


def test_a_mirrored_picture_is_described_as_the_mirrored_face_would_be() -> None:
    picture = fakes.picture(1, 0)
    for yaw in (-30, -5, 5, 30):
        face, mirrored = (fakes.face(picture, pose=Pose(turn, 0, 0)) for turn in (yaw, -yaw))
        knobs = PrepareSettings()
        assert mirror_caption(prepare.caption(face, knobs)) == prepare.caption(mirrored, knobs)
    assert mirror_caption("LEFT, Right, bright, leftover") == "RIGHT, Left, bright, leftover"


def test_the_rate_warms_up_and_falls(hub: Path) -> None:
    knobs = replace(PLAIN, warmup=4, schedule="cosine")
    shares = [ours.learning_rate_share(knobs, step, 12) for step in range(12)]
    assert shares[:4] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert shares[4] == 1
    assert shares[4:] == sorted(shares[4:], reverse=True)
    assert shares[-1] < 0.1
    assert {ours.learning_rate_share(PLAIN, step, 12) for step in range(12)} == {1.0}
