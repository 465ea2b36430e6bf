"""What a picture takes at least on a GPU: the seconds that its data sheet's arithmetic and memory allow, without weights.

A drawing cannot be faster than the denoiser's arithmetic at the GPU's best speed, nor than its weights can be read once in
each pass (Williams, Waterman and Patterson 2009). Text encoders and the VAE are left out: below a twentieth of a drawing of 20
steps. What is measured later is told as a share of this.
"""

from dataclasses import dataclass

import torch

from pipelines.diffusion.base.loading import empty_denoiser
from pipelines.diffusion.base.source import BaseSource
from pipelines.diffusion.sampling import schedulers
from pipelines.diffusion.training.estimate import forward_flops
from portrait.generation.options import GenerationOptions

WEIGHT_BYTES = 2
"""Bytes of a weight in float16 and bfloat16."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """What a data sheet says of a GPU."""

    name: str
    flops: float
    """Operations a second of dense matrix products in bfloat16, summed in float32."""
    bandwidth: float
    """Bytes of memory read a second."""
    memory: float
    """Bytes."""


GPUS = (
    Gpu("A10", 125e12, 600e9, 24e9),
    Gpu("RTX 4090", 165.2e12, 1008e9, 24e9),
    Gpu("H100 SXM", 989.4e12, 3350e9, 80e9),
)
"""By NVIDIA's data sheets of 2021, 2022 and 2023."""


@dataclass(frozen=True, slots=True)
class DrawingPlan:
    """What one picture takes on a base."""

    base: str
    side: int
    """Pixels of each side."""
    steps: int
    passes: int
    """Passes through the denoiser in a step: two with classifier-free guidance."""
    flops: float
    """Operations of a pass."""
    weights: float
    """Bytes of the denoiser's weights."""

    def least_seconds(self, gpu: Gpu) -> float:
        """Seconds below which no drawing can be; the passes of a step read the weights once, as one batch."""
        step = max(self.passes * self.flops / gpu.flops, self.weights / gpu.bandwidth)
        return self.steps * step

    def fits(self, gpu: Gpu) -> bool:
        """Whether the denoiser's weights lie in the GPU's memory at once."""
        return self.weights < gpu.memory


def least_text(plan: DrawingPlan, gpu: Gpu) -> str:
    """The least seconds as tables have them; in brackets where the weights do not lie in the GPU's memory at once."""
    seconds = plan.least_seconds(gpu)
    written = f"{seconds:.2f}" if seconds < 10 else f"{seconds:.0f}"
    return written if plan.fits(gpu) else f"({written})"


def plan_drawing(base: BaseSource) -> DrawingPlan:
    """The plan of a picture of the base's own size in its preset `balanced`; nothing is loaded."""
    sampling = schedulers.resolve_preset(GenerationOptions(preset="balanced"), base.facts, base.family.presets)
    denoiser = empty_denoiser(base)
    weights = sum(parameter.numel() for parameter in denoiser.parameters())
    guided = sampling.guidance > base.family.guided_above and not base.family.embeds_guidance(denoiser.config)
    flops = forward_flops(base, denoiser, base.native_side, torch.bfloat16)
    return DrawingPlan(base.name, base.native_side, sampling.steps, 1 + guided, flops, float(WEIGHT_BYTES * weights))
