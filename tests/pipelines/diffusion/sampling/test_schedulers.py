"""Sampling as stock diffusers does it: each scheduler, guidance that is rescaled, distilled bases, another end of the noise."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel

from pipelines.diffusion.base import loading
from pipelines.diffusion.base.lease import LoadedBase
from pipelines.diffusion.base.source import BaseSource
from pipelines.diffusion.sampling import generation_options, pipeline_call, schedulers
from portrait.arrays import Size
from portrait.errors import UserError
from portrait.generation.options import GenerationOptions
from portrait.generation.parameters import GenerationParameters
from portrait.generation.sampling_facts import NO_FACTS, SamplingFacts, read_facts

pytestmark = pytest.mark.usefixtures("one_thread")
NEAR, VISIBLE = 1e-4, 1e-3
WORDS, LOW, STEPS = "a photo of a man", "low", 4
TURBO = SamplingFacts(steps=4, guidance=0, max_guidance=1, scheduler="euler_a", timestep_spacing="trailing")
LIGHTNING = replace(TURBO, steps=3, scheduler="euler")
HYPER = replace(TURBO, scheduler="ddim")
LCM = SamplingFacts(steps=4, guidance=8, max_guidance=14, scheduler="lcm")


@pytest.fixture(scope="module")
def plain(hub: Path) -> LoadedBase:
    """The tiny SD 1.5, loaded once for all of these."""
    return LoadedBase(loading.open_base("sd15", hub / "sd15"), torch.float32, torch.device("cpu"))


def drawn(loaded: LoadedBase, facts: SamplingFacts = NO_FACTS, **options: Any) -> np.ndarray:
    """A picture as the painter would have it sampled."""
    asked: dict[str, Any] = {"cutoff": 1.0, **options}
    given = GenerationOptions(**asked)
    sampling = schedulers.resolve_preset(given, facts)
    parameters = GenerationParameters(
        WORDS,
        LOW,
        Size(64, 64),
        1,
        sampling.steps,
        sampling.guidance,
        given,
        facts=facts,
        embeds_guidance=loaded.source.embeds_guidance,
    )
    generation_options.check(parameters, sampling)
    schedulers.check_schedule(sampling.scheduler, loaded.source.config("scheduler"), facts)
    generation_options.check_supported(loaded.source, parameters, controlled=False)
    with loaded.lease() as lease:
        return pipeline_call.generate_image(lease, parameters, [], lambda done: None)


def stock(folder: Path, scheduler: str, guidance: float, config: dict[str, Any], **call: Any) -> np.ndarray:
    """A picture of diffusers' own pipeline, with a scheduler of its own and what its guides say beside it."""
    pipe: Any = StableDiffusionPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = getattr(diffusers, scheduler).from_config(pipe.scheduler.config, **config)
    arguments = {"num_inference_steps": STEPS, "width": 64, "height": 64, **call}
    generator = torch.Generator().manual_seed(1)
    return pipe(
        WORDS, negative_prompt=LOW, guidance_scale=guidance, generator=generator, output_type="np", **arguments
    ).images[0]


SAMPLERS: dict[str, tuple[str, dict[str, Any]]] = {
    "ddpm": ("DDPMScheduler", {"clip_sample": False}),
    "dpm2_a": ("KDPM2AncestralDiscreteScheduler", {}),
    "dpm_2m": ("DPMSolverMultistepScheduler", {}),
    "dpm_2s_a": ("DPMSolverSinglestepScheduler", {}),
    "dpm_sde_karras": (
        "DPMSolverSinglestepScheduler",
        {"algorithm_type": "sde-dpmsolver++", "use_karras_sigmas": True},
    ),
    "deis": ("DEISMultistepScheduler", {}),
}


@pytest.fixture(scope="module")
def by_euler(plain: LoadedBase) -> np.ndarray:
    return drawn(plain, scheduler="euler", steps=STEPS, guidance=4.0)


@pytest.mark.parametrize("name", SAMPLERS)
def test_each_sampler_draws_what_diffusers_draws(plain: LoadedBase, hub: Path, by_euler: np.ndarray, name: str) -> None:
    image = drawn(plain, scheduler=name, steps=STEPS, guidance=4.0)
    assert np.abs(image - stock(hub / "sd15", SAMPLERS[name][0], 4.0, SAMPLERS[name][1])).max() < NEAR
    assert np.abs(image - by_euler).max() > VISIBLE


@pytest.mark.parametrize(
    ("facts", "scheduler"),
    [
        (TURBO, "EulerAncestralDiscreteScheduler"),
        (LIGHTNING, "EulerDiscreteScheduler"),
        (HYPER, "DDIMScheduler"),
    ],
)
def test_a_distilled_model_draws_in_its_own_steps_whatever_the_preset(
    plain: LoadedBase, hub: Path, facts: SamplingFacts, scheduler: str
) -> None:
    image = drawn(plain, facts, preset="fast")
    spacing = {"timestep_spacing": "trailing"}
    wanted = stock(hub / "sd15", scheduler, 0.0, spacing, num_inference_steps=facts.steps)
    assert np.abs(image - wanted).max() < NEAR
    sampled = {schedulers.resolve_preset(GenerationOptions(preset=each), facts) for each in schedulers.PRESETS}
    assert len(sampled) == 1
    for other in (
        replace(facts, steps=5),
        replace(facts, scheduler="heun"),
        replace(facts, timestep_spacing="leading"),
    ):
        assert np.abs(drawn(plain, other) - image).max() > VISIBLE, other


@pytest.fixture(scope="module")
def told_guidance(hub: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole LCM in a hub folder: its U-Net is told the guidance scale, and its index names LCM's own pipeline."""
    folder = tmp_path_factory.mktemp("lcm") / "base"
    shutil.copytree(hub / "sd15", folder)
    torch.manual_seed(5)
    config = json.loads((folder / "unet" / "config.json").read_text())
    unet: Any = UNet2DConditionModel.from_config(config, time_cond_proj_dim=32)
    unet.save_pretrained(folder / "unet")
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, "_class_name": "LatentConsistencyModelPipeline"}))
    return folder


def test_a_whole_lcm_is_told_its_guidance(told_guidance: Path) -> None:
    base = loading.open_base("lcm", told_guidance)
    assert (base.family.name, base.embeds_guidance) == ("sd15", True)
    loaded = LoadedBase(base, torch.float32, torch.device("cpu"))
    image = drawn(loaded, LCM)
    assert np.abs(image - stock(told_guidance, "LCMScheduler", 8.0, {})).max() < NEAR
    assert np.abs(image - drawn(loaded, LCM, guidance=3.0)).max() > VISIBLE
    parameters = GenerationParameters("", "", Size(64, 64), 0, 4, 8.0, GenerationOptions(), embeds_guidance=True)
    assert not pipeline_call.uses_guidance(parameters)
    edit = replace(parameters, start=np.zeros((64, 64, 3), np.uint8), strength=0.5)
    with pytest.raises(UserError, match="leave the controls out"):
        generation_options.check_supported(base, edit, controlled=True)


def test_guidance_is_rescaled_as_diffusers_does_it(plain: LoadedBase, hub: Path) -> None:
    asked: dict[str, Any] = {"scheduler": "own", "steps": STEPS, "guidance": 7.0}
    image = drawn(plain, guidance_rescale=0.7, **asked)
    assert np.abs(image - stock(hub / "sd15", "DDIMScheduler", 7.0, {}, guidance_rescale=0.7)).max() < NEAR
    assert np.abs(image - drawn(plain, **asked)).max() > VISIBLE


ZERO = SamplingFacts(rescale_betas_zero_snr=True, timestep_spacing="trailing", prediction_type="v_prediction")


@pytest.mark.parametrize("scheduler", ["", "own", "ddpm"])
def test_a_base_whose_noise_ends_in_nothing_else_is_sampled_so(
    plain: LoadedBase, hub: Path, monkeypatch: pytest.MonkeyPatch, scheduler: str
) -> None:
    # The base's configuration says what it was not trained for, as that of a single file's family does.
    monkeypatch.setattr(plain, "source", replace(plain.source, facts=ZERO))
    classes = {"": "EulerDiscreteScheduler", "own": "DDIMScheduler", "ddpm": "DDPMScheduler"}
    asked: dict[str, Any] = {"scheduler": scheduler, "steps": STEPS, "guidance": 4.0}
    image = drawn(plain, ZERO, **asked)
    config = {**ZERO.scheduler_config, "clip_sample": False}
    assert np.abs(image - stock(hub / "sd15", classes[scheduler], 4.0, config)).max() < NEAR
    if not scheduler:
        for name in ("rescale_betas_zero_snr", "timestep_spacing", "prediction_type"):
            less = replace(ZERO, **{name: getattr(NO_FACTS, name)})
            monkeypatch.setattr(plain, "source", replace(plain.source, facts=less))
            assert np.abs(drawn(plain, less, **asked | {"scheduler": "euler"}) - image).max() > VISIBLE, name


@pytest.mark.parametrize(
    ("facts", "options", "says"),
    [
        (TURBO, {"guidance": 2.0}, "mine draws with a guidance of 0 to 1, not 2: give less"),
        (SamplingFacts(steps=4), {"guidance": 2.5}, "0 to 2, not 2.5"),
        (TURBO, {"few_steps": "lightning", "guidance": 2.0}, "lightning draws with a guidance"),
        (TURBO, {"scheduler": "dpm_sde"}, r"dpm_sde cannot sample .* \(timestep_spacing\)\. Choose one of: ddim, ddpm"),
        (ZERO, {"scheduler": "heun"}, r"heun cannot sample .*rescale_betas_zero_snr"),
        (TURBO, {"refiner": 0.2}, "leave one out"),
        (NO_FACTS, {"guidance_rescale": 1.5}, "guidance_rescale is a share"),
        (NO_FACTS, {"scheduler": "dpm"}, "There is no scheduler 'dpm'"),
    ],
)
def test_what_a_model_does_not_take_is_refused(
    plain: LoadedBase, facts: SamplingFacts, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(UserError, match=says):
        drawn(plain, facts, base="mine", **options)


def test_rescaled_guidance_is_refused_where_no_stock_pipeline_knows_it(plain: LoadedBase) -> None:
    options = GenerationOptions(guidance_rescale=0.5)
    parameters = GenerationParameters("", "", Size(64, 64), 0, 4, 4.0, options)
    generation_options.check_supported(plain.source, parameters, controlled=False)
    with pytest.raises(UserError, match=r"controls and a drawing from words on \w+ \(sd15\)"):
        generation_options.check_supported(plain.source, parameters, controlled=True)


def test_facts_are_read_from_a_manifest_and_the_nearer_ones_go_first() -> None:
    facts = read_facts({"steps": 4, "guidance": 0, "rescale_betas_zero_snr": 1, "something": "else"})
    assert facts == SamplingFacts(steps=4, guidance=0.0, rescale_betas_zero_snr=True)
    assert ZERO.updated(LIGHTNING) == replace(ZERO, steps=3, guidance=0, max_guidance=1, scheduler="euler")
    assert ZERO.updated(SamplingFacts(guidance=0.0)).guidance == 0.0
    for wrong in ({"steps": -1}, {"guidance": "much"}, {"timestep_spacing": "odd"}, {"prediction_type": "sample"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            read_facts(wrong)


def test_presets_are_what_they_were_on_bases_that_were_not_distilled() -> None:
    found = {name: schedulers.resolve_preset(GenerationOptions(preset=name)) for name in schedulers.PRESETS}
    assert found == dict(schedulers.PRESETS)
    # A base that wants another scheduler or guidance has it by every preset but the one that an LCM LoRA decides.
    wants = SamplingFacts(guidance=3.5, scheduler="ddim")
    on_it = {name: schedulers.resolve_preset(GenerationOptions(preset=name), wants) for name in schedulers.PRESETS}
    assert on_it["fast"] == schedulers.PRESETS["fast"]
    assert (on_it["best"].scheduler, on_it["best"].guidance, on_it["best"].steps) == ("ddim", 3.5, 40)


def test_single_files_say_by_two_keys_how_they_were_trained(base: BaseSource) -> None:
    assert base.facts == NO_FACTS
    assert loading._facts_of_keys(["v_pred", "ztsnr"]) == ZERO
    assert loading._facts_of_keys(["v_pred"]) == SamplingFacts(prediction_type="v_prediction")
