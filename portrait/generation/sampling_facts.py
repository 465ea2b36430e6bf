"""SamplingFacts: how a base, or a LoRA of few steps, is to be sampled; and SamplingPreset, what a preset makes of it."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypeAlias

TimestepSpacing: TypeAlias = Literal["", "leading", "linspace", "trailing"]
"""diffusers' name for which of the training's timesteps are sampled; empty for the base's own."""
MOST = 1_000
"""The most that a number of steps or a scale of guidance may be: diffusion trains with as many steps."""
PredictionType: TypeAlias = Literal["", "epsilon", "v_prediction"]


@dataclass(frozen=True, slots=True)
class SamplingFacts:
    """What a model was distilled or trained for; an empty fact says nothing."""

    steps: int = 0
    """The steps that a distilled model draws in: every preset draws in as many. 0: it is not distilled."""
    guidance: float | None = None
    """Its scale of classifier-free guidance; 0 and 1 go without."""
    max_guidance: float | None = None
    """The largest scale that it takes; more is refused."""
    scheduler: str = ""
    """Name of a scheduler, `own` for the base's; empty leaves it to the preset."""
    timestep_spacing: TimestepSpacing = ""
    prediction_type: PredictionType = ""
    """What a base predicts, where its configuration does not say it (a single file has none)."""
    rescale_betas_zero_snr: bool = False
    """Whether a base was trained with a noise schedule that ends in pure noise (Lin and others, 2023)."""

    def updated(self, others: "SamplingFacts") -> "SamplingFacts":
        """These facts with those of the others that say something."""
        said = {each.name: getattr(others, each.name) for each in fields(others)}
        silent = {each.name: each.default for each in fields(others)}
        return replace(self, **{name: value for name, value in said.items() if value != silent[name]})

    @property
    def scheduler_config(self) -> dict[str, object]:
        """What of it belongs into a scheduler's configuration."""
        given = {
            "timestep_spacing": self.timestep_spacing,
            "prediction_type": self.prediction_type,
            "rescale_betas_zero_snr": self.rescale_betas_zero_snr,
        }
        return {name: value for name, value in given.items() if value}


NO_FACTS = SamplingFacts()


@dataclass(frozen=True, slots=True)
class SamplingPreset:
    """The sampling settings of a preset, or of a request when resolved."""

    scheduler: str
    """`own`, or when resolved empty: the base's own."""
    steps: int
    guidance: float
    cutoff: float
    """Share of the steps after which guidance ends: late steps only sharpen, and cost half without it."""
    lcm: bool = False
    """Whether the family's LCM LoRA is loaded (Luo and others, 2023: 4 to 8 steps without guidance)."""
    max_guidance: float | None = None
    """The most that a distilled model takes; None where it is for the request alone to say."""


def read_facts(facts: Mapping[str, object]) -> SamplingFacts:
    """Facts as a manifest has them; those that do not concern sampling are left out. Raises ValueError for a wrong one."""
    known: dict[str, Any] = {name: facts[name] for name in SamplingFacts.__dataclass_fields__ if name in facts}
    for name in ("guidance", "max_guidance"):
        if name in known:
            known[name] = _number(name, known[name])
    if "steps" in known:
        known["steps"] = int(_number("steps", known["steps"]))
    if "rescale_betas_zero_snr" in known:
        known["rescale_betas_zero_snr"] = bool(known["rescale_betas_zero_snr"])
    for name, choices in (
        ("timestep_spacing", ("", "leading", "linspace", "trailing")),
        ("prediction_type", ("", "epsilon", "v_prediction")),
    ):
        if known.get(name, "") not in choices:
            raise ValueError(f"{name} is one of {', '.join(choices[1:])}, not {known[name]!r}")
    return SamplingFacts(**known)


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MOST:
        raise ValueError(f"{name} is a number from 0 to {MOST:,}, not {value!r}")
    return float(value)
