"""Schedulers by name, and the sampling presets: scheduler, steps, guidance."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import diffusers

from portrait.errors import UserError
from portrait.generation.options import GenerationOptions, Preset

SCHEDULERS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "ddim": ("DDIMScheduler", {}),
    "pndm": ("PNDMScheduler", {"skip_prk_steps": True}),
    "lms": ("LMSDiscreteScheduler", {}),
    "lms_karras": ("LMSDiscreteScheduler", {"use_karras_sigmas": True}),
    "euler": ("EulerDiscreteScheduler", {}),
    "euler_a": ("EulerAncestralDiscreteScheduler", {}),
    "heun": ("HeunDiscreteScheduler", {}),
    "dpm_2m_karras": ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
    "dpm_sde": ("DPMSolverSinglestepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    "unipc": ("UniPCMultistepScheduler", {}),
    "lcm": ("LCMScheduler", {}),
}
"""diffusers' class and its settings beyond the base's own configuration."""


@dataclass(frozen=True, slots=True)
class SamplingPreset:
    """The sampling settings of a preset, or of a request when resolved."""

    scheduler: str
    """Empty: the base's own."""
    steps: int
    guidance: float
    cutoff: float
    """Share of the steps after which guidance ends: late steps only sharpen, and cost half without it."""
    lcm: bool = False
    """Whether the family's LCM LoRA is loaded (Luo and others, 2023: 4 to 8 steps without guidance)."""


MOST_LCM_STEPS, MOST_LCM_GUIDANCE = 50, 2.0
"""LCM was distilled from 50 steps and skips among them; with its LoRA more guidance burns out (diffusers' guide to LCM)."""
PRESETS: Mapping[Preset, SamplingPreset] = {
    "fast": SamplingPreset("lcm", 6, 1.0, 1.0, lcm=True),
    "balanced": SamplingPreset("dpm_2m_karras", 25, 5.0, 0.8),
    "best": SamplingPreset("euler", 40, 5.0, 1.0),
}


def resolve_preset(options: GenerationOptions) -> SamplingPreset:
    """The preset of the options with what they override; raises `UserError` (`bad_technique`)."""
    preset = PRESETS[options.preset]
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
    )


def check_guidance(sampling: SamplingPreset) -> None:
    """Raise `UserError` (`bad_technique`) for more guidance than the LCM LoRA takes."""
    if sampling.lcm and sampling.guidance > MOST_LCM_GUIDANCE:
        raise UserError(
            "bad_technique",
            f"The preset fast takes a guidance of 0 to {MOST_LCM_GUIDANCE:g}: give less, or choose balanced.",
        )


def make_scheduler(name: str, base: Mapping[str, Any]) -> Any:
    """A new scheduler with the noise schedule of the base; `base` is the configuration of the base's own scheduler."""
    if not name:
        return getattr(diffusers, str(base["_class_name"])).from_config(base)
    class_name, settings = SCHEDULERS[name]
    inherited = {key: value for key, value in base.items() if not key.startswith("_")}
    return getattr(diffusers, class_name).from_config({**inherited, **settings})
