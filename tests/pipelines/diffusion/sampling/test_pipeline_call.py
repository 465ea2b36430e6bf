"""A pipeline call: nothing is given twice, and steps are those that were asked for, whatever the scheduler calls."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers import HeunDiscreteScheduler, PNDMScheduler, StableDiffusionPipeline

from pipelines.diffusion.sampling import pipeline_call
from pipelines.engines.painters.diffusion import Diffusion, GenerationPlan
from pipelines.settings import Settings
from portrait.arrays import Size
from portrait.generation.options import GenerationOptions, PromptSpec
from portrait.generation.parameters import GenerationParameters
from tests import hub_store

STEPS, GUIDANCE, CUTOFF, GUIDED = 5, 6.0, 0.6, 3
SEED = 3


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    torch.set_num_threads(1)
    return hub_store.fill(tmp_path_factory.mktemp("hub"))


def plan(painter: Diffusion, *identities: str, **more: Any) -> GenerationPlan:
    options = replace(
        GenerationOptions(
            identities=identities, steps=STEPS, guidance=GUIDANCE, strengths=dict.fromkeys(identities, 0.0)
        ),
        **more,
    )
    made = painter.plan(
        hub_store.request(hub_store.stranger(1), PromptSpec("a photo of a {who}", "low"), options, SEED)
    )
    return replace(made, parameters=replace(made.parameters, size=Size(64, 64)))


def test_what_is_given_twice_is_an_error() -> None:
    assert pipeline_call.merge({"a": 1}, {}, {"b": 2}) == {"a": 1, "b": 2}
    with pytest.raises(RuntimeError, match="ip_adapter_image_embeds is given twice"):
        pipeline_call.merge({"ip_adapter_image_embeds": [1]}, {"b": 2, "ip_adapter_image_embeds": [2]})


def stock_picture(pipe: Any, scheduler: Any, is_guided: Callable[[int], bool]) -> np.ndarray:
    """The picture of a plain loop over a stock scheduler, with guidance at the calls of the U-Net where it is to be."""
    scheduler.set_timesteps(STEPS)
    positive, negative = pipe.encode_prompt("a photo of a man", "cpu", 1, True, "low")
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator("cpu").manual_seed(SEED))
    latents = noise * scheduler.init_noise_sigma
    with torch.no_grad():
        for call, time in enumerate(scheduler.timesteps):
            given = scheduler.scale_model_input(latents, time)
            noise = pipe.unet(given, time, positive).sample
            if is_guided(call):
                without = pipe.unet(given, time, negative).sample
                noise = without + GUIDANCE * (noise - without)
            latents = scheduler.step(noise, time, latents).prev_sample
        pixels = pipe.vae.decode(latents / pipe.vae.config.scaling_factor).sample
    return ((pixels[0].permute(1, 2, 0) + 1) / 2).clamp(0, 1).numpy()


@pytest.mark.parametrize(
    ("name", "scheduler", "calls"),
    [("heun", HeunDiscreteScheduler, 2 * GUIDED), ("pndm", PNDMScheduler, GUIDED + 1)],
)
def test_guidance_ends_after_its_share_of_the_steps(
    painter: Diffusion, settings: Settings, name: str, scheduler: Any, calls: int
) -> None:
    made = plan(painter, "faceid", base="sd", scheduler=name, cutoff=CUTOFF)
    told: list[int] = []
    pixels, _ = painter.draw(made, told.append)
    pipe = StableDiffusionPipeline.from_pretrained(settings.bases["sd"].path)
    kept = {"skip_prk_steps": True} if name == "pndm" else {}
    stock = scheduler.from_config(dict(pipe.scheduler.config) | kept)
    expected = stock_picture(pipe, stock, lambda call: call < calls)
    assert np.abs(pixels - expected).max() < 1e-4
    assert np.abs(pixels - stock_picture(pipe, stock, lambda call: call < calls - 1)).max() > 1e-3
    assert told == sorted(told)
    assert sorted(set(told)) in ([*range(STEPS + 1)], [*range(1, STEPS + 1)])


@pytest.mark.parametrize(
    ("scheduler", "more"),
    [
        ("HeunDiscreteScheduler", {}),
        ("KDPM2DiscreteScheduler", {}),
        ("PNDMScheduler", {"skip_prk_steps": True}),
        ("PNDMScheduler", {}),
        ("EulerDiscreteScheduler", {}),
        ("DPMSolverSinglestepScheduler", {}),
    ],
)
@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_steps_are_counted_up_to_those_that_were_asked_for(
    scheduler: str, more: dict[str, Any], strength: float
) -> None:
    made = getattr(diffusers, scheduler)(**more)
    made.set_timesteps(10)
    start = None if strength == 1 else np.zeros((64, 64, 3), np.uint8)
    parameters = GenerationParameters("", "", Size(64, 64), 0, 10, 5.0, GenerationOptions(), start, strength=strength)
    calls = len(made.timesteps) - (10 - parameters.steps_done) * made.order
    counted = [pipeline_call.steps_after(made, parameters, call) for call in range(1, calls + 1)]
    assert set(counted) - {0} == set(range(1, parameters.steps_done + 1))
    assert counted == sorted(counted)
