"""img2img and inpainting: arguments of the stock pipelines for a start image and a mask, and the VAE round trip."""

from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import PIL.Image
import torch
from numpy.typing import NDArray

from pipelines.diffusion.base.family import DrawingStart, Family
from pipelines.diffusion.base.parts.latents import LatentFormat
from pipelines.diffusion.base.source import BaseSource
from pipelines.diffusion.sampling import decoding
from portrait.arrays import Image, Mask
from portrait.errors import UserError
from portrait.generation.parameters import GenerationParameters, Task

MASK_THRESHOLD = 0.5
"""From here on a pixel of a mask may change; stock pipelines round the same way."""
LATENT_CHANNELS = 4
"""Channels of U-Nets whose latents outside a mask the stock pipelines restore."""
INPAINT_CHANNELS = 9
"""Channels of U-Nets that were trained to inpaint: the latents, the mask, and the latents of what is outside of it."""


def check_supported(base: BaseSource, parameters: GenerationParameters, controlled: bool) -> None:
    """Raise `UserError` (`bad_technique`) for what no stock pipeline does; `controlled`: with control networks."""
    perturbed = parameters.options.perturbed > 0
    is_stock = parameters.task == "text" and not controlled and not perturbed
    if not is_stock and (parameters.task, controlled, perturbed) not in base.family.pipelines:
        raise UserError("bad_technique", _unsupported(base, parameters.task, controlled, perturbed))
    if parameters.start is not None and not parameters.steps_done:
        return  # through the VAE and back, without the U-Net
    if base.family.denoiser != "unet":
        return
    channels = int(base.denoiser_config["in_channels"])
    if channels == INPAINT_CHANNELS and parameters.task != "inpaint":
        raise UserError(
            "bad_technique",
            f"{base.name} was made to draw into a part of a picture, and draws nothing else: choose another base for words "
            "and for whole pictures.",
        )
    if parameters.task == "inpaint" and channels not in (LATENT_CHANNELS, INPAINT_CHANNELS):
        raise UserError(
            "bad_technique",
            f"{base.name} cannot draw into a part of a picture: it takes {channels} channels, not {LATENT_CHANNELS}. "
            "Choose another base.",
        )


def with_blank_start(parameters: GenerationParameters) -> GenerationParameters:
    """Parameters that inpaint a blank picture: those of a template's passes before their pictures are known."""
    side = (parameters.size.height, parameters.size.width)
    return replace(parameters, start=np.zeros((*side, 3), np.uint8), mask=np.ones(side, np.float32))


def _unsupported(base: BaseSource, task: Task, controlled: bool, perturbed: bool) -> str:
    """The sentence for what no stock pipeline of a family does together, or at all."""
    pipelines = base.family.pipelines
    wished = {"controls": (controlled, (True, False)), "perturbed attention": (perturbed, (False, True))}
    alone = [name for name, (wish, kind) in wished.items() if wish and not any(each[1:] == kind for each in pipelines)]
    if alone:
        return f"{base.name} ({base.family.name}) does not know {' and '.join(alone)}: leave it out, or choose another base."
    if controlled and perturbed:
        return "Perturbed attention does not go with controls where a drawing begins from a picture. Leave one of them out."
    one = "perturbed attention" if perturbed else "controls" if controlled else "a picture to begin from"
    return f"{base.name} ({base.family.name}) does not draw with {one} here: leave it out, or choose another base."


def pipeline_arguments(parameters: GenerationParameters, family: Family, cell: int) -> dict[str, Any]:
    """A stock pipeline's arguments for size, start image and mask; the mask is rounded up to cells of `cell` pixels."""
    if parameters.start is None:
        return family.size_arguments(parameters.size)
    mask = None
    if parameters.mask is not None:
        mask = PIL.Image.fromarray((round_up_mask(parameters.mask, cell) * 255).astype(np.uint8))
    return family.start_arguments(
        DrawingStart(
            parameters.size,
            PIL.Image.fromarray(parameters.start),
            mask,
            float(parameters.strength),
            parameters.steps,
            parameters.steps_done,
        )
    )


def round_up_mask(mask: Mask, side: int) -> Mask:
    """A mask of zeros and ones in cells of `side` pixels: a cell with any pixel inside is all inside."""
    height, width = mask.shape
    tall, wide = -(-height // side), -(-width // side)
    padded = np.zeros((tall * side, wide * side), bool)
    padded[:height, :width] = mask >= MASK_THRESHOLD
    any_inside = padded.reshape(tall, side, wide, side).any(axis=(1, 3))
    return any_inside.repeat(side, 0).repeat(side, 1)[:height, :width].astype(np.float32)


def vae_round_trip(pipe: Any, image: Image, form: LatentFormat) -> NDArray[np.float32]:
    """A picture encoded and decoded by the VAE, H×W×3 about 0..1: what img2img gives at strength 0.

    In float32 instead of half precision, in which VAEs overflow; SDXL's says so of itself.
    """
    with decoding.vae_in_float32(pipe.vae) if pipe.vae.dtype == torch.float16 else nullcontext():
        pixels = pipe.image_processor.preprocess(PIL.Image.fromarray(image))
        decoded = form.reconstruct(pipe.vae, pixels.to(pipe._execution_device, pipe.vae.dtype))
    return np.asarray(pipe.image_processor.postprocess(decoded, output_type="np")[0], np.float32)
