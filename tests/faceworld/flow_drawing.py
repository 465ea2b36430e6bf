"""Images of captions and references by the stock pipeline of the flow world."""

from collections.abc import Sequence

import cv2
import numpy as np
import PIL.Image
import torch
from diffusers.pipelines.flux2.pipeline_flux2_klein import Flux2KleinPipeline

from portrait.arrays import Image
from tests.faceworld import flow_words, world

STEPS, GUIDANCE = 20, 2.0
REFERENCE_SIDE = 64
"""Pixels of a reference: the least that FLUX.2's pipeline takes."""


def enlarge(image: Image) -> Image:
    """A picture of the world as large as a reference is at least."""
    return np.asarray(cv2.resize(image, (REFERENCE_SIDE, REFERENCE_SIDE), interpolation=cv2.INTER_CUBIC), np.uint8)


def draw(
    pipe: Flux2KleinPipeline, prompts: Sequence[str], seeds: Sequence[int], reference: Image | None = None
) -> list[Image]:
    """One image per prompt, each with its own seed, and all of them with the same reference."""
    drawn = pipe(
        prompt=list(prompts),
        image=None if reference is None else [PIL.Image.fromarray(reference)],
        height=world.SIDE,
        width=world.SIDE,
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        generator=[torch.Generator().manual_seed(seed) for seed in seeds],
        output_type="np",
        max_sequence_length=flow_words.LENGTH,
        text_encoder_out_layers=(1, 2, 3),
    )
    return [np.asarray((image * 255).round(), np.uint8) for image in drawn.images]
