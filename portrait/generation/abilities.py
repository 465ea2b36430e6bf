"""Abilities: what the bases of a family do beyond drawing words."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from portrait.errors import UserError
from portrait.generation.prompts import strip_weights


@dataclass(frozen=True, slots=True)
class Abilities:
    """What bases of a family do beyond drawing words; the rest is refused where a drawing or a training is planned."""

    references: int = 0
    """Reference pictures that they draw from at once."""
    instructions: bool = False
    """Whether they change a picture by words alone, without a mask."""
    sentences: bool = False
    """Whether their prompts are sentences for a language model, rather than words for CLIP."""
    prompt_weights: bool = False
    """Emphasis in prompts: `(words:1.2)`."""
    clip_skip: bool = False
    freeu: bool = False
    schedulers: bool = False
    """Whether they are sampled by other schedulers than their own."""
    tokens: bool = False
    """New tokens: textual inversion."""
    text_encoders: bool = False
    """Whether LoRAs change their text encoders."""
    block_weights: bool = False
    """Whether LoRAs have weights by block of the denoiser."""
    noise_offset: bool = False
    """Whether an offset of the noise may be trained with."""
    cutoff: bool = False
    """Whether guidance may end before the last step."""
    max_controls: int = 0
    """Controls that act at once, where there are networks for them."""
    control_windows: bool = False
    """Whether a control may act in a part of the steps."""
    skip_layer_guidance: bool = False
    """Whether they may be guided away from what they draw without some of their layers."""


class _Options(Protocol):
    @property
    def clip_skip(self) -> int: ...
    @property
    def freeu(self) -> bool: ...
    @property
    def scheduler(self) -> str: ...
    @property
    def cutoff(self) -> float | None: ...
    @property
    def skip_layer_guidance(self) -> float: ...


def check_options(
    named: str,
    able: Abilities,
    options: _Options,
    prompts: Sequence[str],
    windows: Sequence[tuple[float, float]] = (),
) -> None:
    """Raise `UserError` (`bad_technique`) for options, or weights in prompts, that a base does not know.

    `named` is what the sentence calls the base; `options` are those of `portrait.generation.options` or of the API; `windows`
    are start and end of each control.
    """
    if 0 < able.max_controls < len(windows):
        most = "one control" if able.max_controls == 1 else f"{able.max_controls} controls"
        raise UserError("bad_technique", f"{named} follows {most} at once: leave the others out.")
    wishes = {
        "emphasis in prompts": not able.prompt_weights and any(strip_weights(each) != each for each in prompts),
        "CLIP skip": options.clip_skip > 0 and not able.clip_skip,
        "controls for a part of the steps": not able.control_windows and any(each != (0, 1) for each in windows),
        "FreeU": options.freeu and not able.freeu,
        "an early end of guidance (cutoff)": (options.cutoff or 1) < 1 and not able.cutoff,
        "skip-layer guidance": options.skip_layer_guidance > 0 and not able.skip_layer_guidance,
        "another scheduler than its own": options.scheduler not in ("", "own") and not able.schedulers,
    }
    unknown = [name for name, wished in wishes.items() if wished]
    if unknown:
        raise UserError(
            "bad_technique", f"{named} does not know {' and '.join(unknown)}: leave it out, or choose another base."
        )
