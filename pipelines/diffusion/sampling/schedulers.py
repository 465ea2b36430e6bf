"""Schedulers by name, and the sampling presets: scheduler, steps, guidance, and what a distilled model makes of them."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import diffusers

from pipelines.diffusion.base.families.shared.unet import PRESETS
from portrait.errors import UserError
from portrait.generation.options import GenerationOptions, Preset
from portrait.generation.sampling_facts import NO_FACTS, SamplingFacts, SamplingPreset

SCHEDULERS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "ddim": ("DDIMScheduler", {"clip_sample": False}),
    "ddpm": ("DDPMScheduler", {"clip_sample": False}),
    "pndm": ("PNDMScheduler", {"skip_prk_steps": True}),
    "lms": ("LMSDiscreteScheduler", {}),
    "lms_karras": ("LMSDiscreteScheduler", {"use_karras_sigmas": True}),
    "euler": ("EulerDiscreteScheduler", {}),
    "euler_a": ("EulerAncestralDiscreteScheduler", {}),
    "heun": ("HeunDiscreteScheduler", {}),
    "dpm2_a": ("KDPM2AncestralDiscreteScheduler", {}),
    "dpm_2m": ("DPMSolverMultistepScheduler", {"use_karras_sigmas": False}),
    "dpm_2m_karras": ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
    "dpm_2s_a": ("DPMSolverSinglestepScheduler", {"algorithm_type": "dpmsolver++", "use_karras_sigmas": False}),
    "dpm_sde": ("DPMSolverSinglestepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    "dpm_sde_karras": (
        "DPMSolverSinglestepScheduler",
        {"algorithm_type": "sde-dpmsolver++", "use_karras_sigmas": True},
    ),
    "deis": ("DEISMultistepScheduler", {"algorithm_type": "deis"}),
    "unipc": ("UniPCMultistepScheduler", {}),
    "lcm": ("LCMScheduler", {}),
}
"""diffusers' class and its settings beyond the base's own configuration, by the name that web interfaces gave it.

`dpm_2s_a` is the nearest that diffusers has: the solver of second order in single steps, without its ancestral noise.
`dpm_sde` is DPM++ SDE as diffusers' table of names has it. Latents are never clipped, as the pictures of DDPM's paper were.
"""


MOST_LCM_STEPS, MOST_LCM_GUIDANCE = 50, 2.0
"""LCM was distilled from 50 steps and skips among them; with its LoRA more guidance burns out (diffusers' guide to LCM)."""
MOST_DISTILLED_GUIDANCE = 2.0
"""Of a model that was distilled to draw without guidance and whose facts say no more: a little sharpens, more burns out."""
ZERO_SNR_SCHEDULER = "euler"
"""For bases whose noise schedule ends in pure noise: Karras' spacing spends most of its steps beyond what they know."""
SCHEDULE_FACTS = ("timestep_spacing", "rescale_betas_zero_snr")
"""Settings of a noise schedule that not every scheduler of diffusers takes, and silently leaves out."""


def resolve_preset(
    options: GenerationOptions, facts: SamplingFacts = NO_FACTS, presets: Mapping[Preset, SamplingPreset] = PRESETS
) -> SamplingPreset:
    """The preset of the options on a model of these facts, with what the options override; `presets` are its family's.

    A distilled model draws in its own steps, whatever the preset. Raises `UserError` (`bad_technique`).
    """
    preset = _preset_on(presets[options.preset], facts)
    name = options.scheduler or preset.scheduler
    if name not in (*SCHEDULERS, "own"):
        inherited = ", ".join(SCHEDULERS)
        raise UserError("bad_technique", f"There is no scheduler {name!r}. Choose one of: {inherited}.")
    steps, guidance, cutoff = options.steps or preset.steps, options.guidance, options.cutoff
    if not 1 <= steps <= 150 or not (guidance is None or 0 <= guidance <= 30) or not 0 <= (cutoff or 0) <= 1:
        raise UserError("bad_technique", "Give 1 to 150 steps, a guidance of 0 to 30, and a cut-off of 0 to 1.")
    if name == "lcm" and steps > MOST_LCM_STEPS:
        raise UserError(
            "bad_technique", f"LCM draws in 1 to {MOST_LCM_STEPS} steps: ask for fewer, or choose balanced."
        )
    return SamplingPreset(
        "" if name == "own" else name,
        steps,
        preset.guidance if guidance is None else guidance,
        preset.cutoff if cutoff is None else cutoff,
        preset.lcm and name == "lcm",
        preset.max_guidance,
    )


def _preset_on(preset: SamplingPreset, facts: SamplingFacts) -> SamplingPreset:
    """What a preset is on a model of these facts."""
    if facts.steps:
        guidance = 1.0 if facts.guidance is None else facts.guidance
        most = MOST_DISTILLED_GUIDANCE if facts.max_guidance is None and guidance <= 1 else facts.max_guidance
        return SamplingPreset(facts.scheduler or "own", facts.steps, guidance, 1.0, max_guidance=most)
    if preset.lcm:
        return preset
    usual = ZERO_SNR_SCHEDULER if facts.rescale_betas_zero_snr else preset.scheduler
    guidance = preset.guidance if facts.guidance is None else facts.guidance
    return replace(preset, scheduler=facts.scheduler or usual, guidance=guidance, max_guidance=facts.max_guidance)


def check_guidance(sampling: SamplingPreset, model: str) -> None:
    """Raise `UserError` (`bad_technique`) for more guidance than a distilled model, or the LCM LoRA, takes."""
    if sampling.max_guidance is not None and sampling.guidance > sampling.max_guidance:
        raise UserError(
            "bad_technique",
            f"{model} draws with a guidance of 0 to {sampling.max_guidance:g}, not {sampling.guidance:g}: give less.",
        )
    if sampling.lcm and sampling.guidance > MOST_LCM_GUIDANCE:
        raise UserError(
            "bad_technique",
            f"The preset fast takes a guidance of 0 to {MOST_LCM_GUIDANCE:g}: give less, or choose balanced.",
        )


def check_schedule(name: str, base: Mapping[str, Any], facts: SamplingFacts) -> None:
    """Raise `UserError` (`bad_technique`) for a scheduler that would leave out how a model was trained to be sampled.

    The arguments are those of `make_scheduler`.
    """
    config = {**base, **facts.scheduler_config}
    needed = [each for each in SCHEDULE_FACTS if config.get(each) in (True, "trailing")]
    own = str(base["_class_name"])
    if _lacks(SCHEDULERS[name][0] if name else own, needed):
        able = [each for each, (class_name, _) in SCHEDULERS.items() if not _lacks(class_name, needed)]
        raise UserError(
            "bad_technique",
            f"The scheduler {name or own} cannot sample as this model was trained ({', '.join(needed)}). "
            f"Choose one of: {', '.join(able)}.",
        )


def _lacks(class_name: str, settings: Sequence[str]) -> bool:
    """Whether a class of diffusers does not take all of these settings."""
    known = inspect.signature(getattr(diffusers, class_name).__init__).parameters
    return any(each not in known for each in settings)


def make_scheduler(name: str, base: Mapping[str, Any], facts: SamplingFacts = NO_FACTS) -> Any:
    """A new scheduler with the noise schedule of the base; `base` is the configuration of the base's own scheduler.

    `facts` are those of a LoRA of few steps, which go before the base's.
    """
    config = {**base, **facts.scheduler_config}
    if not name:
        return getattr(diffusers, str(base["_class_name"])).from_config(config)
    class_name, settings = SCHEDULERS[name]
    inherited = {key: value for key, value in config.items() if not key.startswith("_")}
    return getattr(diffusers, class_name).from_config({**inherited, **settings})
