"""Parameters of one picture that a diffusion model draws, after all choices are made."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from portrait.arrays import Image, Mask, Size
from portrait.generation.options import GenerationOptions
from portrait.generation.sampling_facts import NO_FACTS, SamplingFacts

Task: TypeAlias = Literal["text", "image", "inpaint"]
"""Text-to-image, img2img, or inpainting."""

LONGEST = 1.34
"""Longest side that is generated, over the base's own: SDXL knows up to 1344 pixels; beyond, bodies double."""


def native_size(shape: Size, side: int, multiple: int, rounded: Callable[[float], int] = round) -> Size:
    """The size at which a base generates a picture of this shape.

    About `side`² pixels, the area the base was trained at; sides are multiples of `multiple`, none above `LONGEST` · `side`.
    `rounded` says where a side in the middle of two goes: recipes of text styles and of inpainting differ there.
    """
    scale = (side**2 / (shape.width * shape.height)) ** 0.5
    longest = int(side * LONGEST)
    sides = (min(longest, rounded(each * scale / multiple) * multiple) for each in (shape.width, shape.height))
    return Size(*(max(multiple, each) // multiple * multiple for each in sides))


def steps_of(steps: int, strength: float) -> int:
    """Steps that img2img runs of those asked for, as diffusers' pipelines count them."""
    return min(steps, int(steps * strength))


def no_step(steps: int, strength: float) -> str:
    """The sentence for a strength above 0 that does no step."""
    least = math.ceil(100 / steps) / 100
    return (
        f"With {steps} steps a strength of {strength:g} does none of them. "
        f"Ask for a strength of at least {least if steps_of(steps, least) else least + 0.01:g}, "
        f"or for at least {math.ceil(1 / strength)} steps."
    )


@dataclass(frozen=True, slots=True, eq=False)
class GenerationParameters:
    """All that a diffusion pipeline is called with for one picture."""

    prompt: str
    negative: str
    size: Size
    seed: int
    steps: int
    guidance: float
    options: GenerationOptions
    start: Image | None = None
    """The picture of img2img and inpainting, as large as `size`."""
    mask: Mask | None = None
    """Where the picture may change, from 0.5 on, rounded up to whole latents; as large as `size`. The rest goes through
    the VAE and back: a caller that needs the very pixels of `start` copies them into the result."""
    strength: float = 1.0
    """img2img strength 0..1: the share of the steps that is run; 0 only encodes and decodes `start`."""

    until: float = 1.0
    """Share of the steps that the base runs (`denoising_end`); a refiner runs the rest."""
    facts: SamplingFacts = NO_FACTS
    """How the base, or the LoRA of few steps on it, wants to be sampled."""
    embeds_guidance: bool = False
    """Whether the denoiser is told the guidance scale, so that batches have no unconditional half."""
    guided_above: float = 1.0
    """The guidance scale from which on there is guidance."""
    edited: Image | None = None
    """The picture that an instruction changes: the first reference picture, before those of the person."""
    pictures: tuple[Image, ...] = ()
    """Reference pictures after those of the person: a garment or an object."""

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
        """What kind of pipeline draws it."""
        if self.start is None:
            return "text"
        return "image" if self.mask is None else "inpaint"

    @property
    def references(self) -> int:
        """Reference pictures beside those of the person."""
        return len(self.pictures) + (self.edited is not None)

    @property
    def steps_done(self) -> int:
        """Steps that are run, as diffusers' pipelines count them."""
        return self.steps if self.start is None else steps_of(self.steps, self.strength)
