"""What a diffusion model is asked for, after all choices are made."""

from dataclasses import dataclass

from portrait.techniques import Technique
from portrait.types import Size


@dataclass(frozen=True, slots=True, eq=False)
class Drawing:
    """One picture that a diffusion model is asked for, all choices made."""

    prompt: str
    negative: str
    size: Size
    seed: int
    steps: int
    guidance: float
    technique: Technique
