"""Images of captions by a stock pipeline, and contact sheets of images."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from diffusers.models.attention_processor import AttnProcessor
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline

from portrait.arrays import Image

STEPS, GUIDANCE = 20, 4.0


def pipeline(**parts: Any) -> StableDiffusionPipeline:
    """The pipeline of these networks, without a safety checker and without a progress bar."""
    absent: dict[str, Any] = dict.fromkeys(("safety_checker", "feature_extractor", "image_encoder"))
    pipe = StableDiffusionPipeline(**parts, **absent, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def draw(pipe: StableDiffusionPipeline, prompts: Sequence[str], seeds: Sequence[int], batch: int = 32) -> list[Image]:
    """One image per prompt, each with its own seed, so that it does not depend on the batch."""
    # The plain processor is twice as fast as the fused one on pictures this small.
    if not any("lora" in type(each).__name__.lower() for each in pipe.unet.attn_processors.values()):
        pipe.unet.set_attn_processor(AttnProcessor())
    images: list[Image] = []
    for start in range(0, len(prompts), batch):
        output = pipe(
            list(prompts[start : start + batch]),
            num_inference_steps=STEPS,
            guidance_scale=GUIDANCE,
            generator=[torch.Generator().manual_seed(seed) for seed in seeds[start : start + batch]],
            output_type="np",
        )
        images += [np.asarray((image * 255).round(), np.uint8) for image in output.images]
    return images


def contact_sheet(rows: Sequence[Sequence[Image]], zoom: int = 2, gap: int = 2) -> Image:
    """Rows of images on white, each pixel `zoom` wide."""
    height, width = rows[0][0].shape[:2]
    columns = max(len(row) for row in rows)
    tall, wide = (height * zoom + gap) * len(rows) + gap, (width * zoom + gap) * columns + gap
    page = np.full((tall, wide, 3), 255, np.uint8)
    for down, row in enumerate(rows):
        for across, image in enumerate(row):
            top, left = gap + down * (height * zoom + gap), gap + across * (width * zoom + gap)
            page[top : top + height * zoom, left : left + width * zoom] = image.repeat(zoom, 0).repeat(zoom, 1)
    return page
