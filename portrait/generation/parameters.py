"""What a diffusion model is asked for, after all choices are made."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from portrait.arrays import Image, Mask, Size
from portrait.generation.options import GenerationOptions

Task: TypeAlias = Literal["text", "image", "inpaint"]
"""What a drawing begins from: nothing, a picture, or a picture of which a part stays."""


@dataclass(frozen=True, slots=True, eq=False)
class GenerationParameters:
    """One picture that a diffusion model is asked for, all choices made."""

    prompt: str
    negative: str
    size: Size
    seed: int
    steps: int
    guidance: float
    options: GenerationOptions
    start: Image | None = None
    """What it begins from, as large as `size`."""
    mask: Mask | None = None
    """Where it may change, from 0.5 on, rounded up to whole latents; as large as `size`. What is drawn beside it has been
    through the VAE and back: whoever needs the very pixels of `start` puts them back."""
    strength: float = 1.0
    """How far from `start` it goes, 0..1: the share of the steps that is done; 0 is through the VAE and back."""

    until: float = 1.0
    """Share of the steps that the base draws; another one draws the rest."""

    def __post_init__(self) -> None:
        here = (self.size.height, self.size.width)
        if self.start is not None and self.start.shape != (*here, 3):
            raise ValueError(f"a drawing of {here} begins from {self.start.shape}")
        if self.mask is not None and (self.start is None or self.mask.shape != here):
            raise ValueError(f"a mask of {self.mask.shape} for a drawing of {here}")
        if not 0 <= self.strength <= 1:
            raise ValueError(f"a strength of {self.strength}")

    @property
    def task(self) -> Task:
        """What it begins from."""
        if self.start is None:
            return "text"
        return "image" if self.mask is None else "inpaint"

    @property
    def steps_done(self) -> int:
        """Steps that are really done, as stock pipelines count them."""
        return self.steps if self.start is None else min(self.steps, int(self.steps * self.strength))
