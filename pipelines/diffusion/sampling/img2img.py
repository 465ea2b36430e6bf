"""Beginning from a picture instead of from noise: what stock pipelines are told, and the way through the VAE and back."""

from typing import Any

import numpy as np
import PIL.Image
import torch
from numpy.typing import NDArray

from pipelines.diffusion.base.loading import BaseSource
from portrait.arrays import Image, Mask
from portrait.errors import UserError
from portrait.generation.parameters import GenerationParameters

MASK_THRESHOLD = 0.5
"""From here on a pixel of a mask may change; stock pipelines round the same way."""
LATENT_CHANNELS = 4
"""Of the latents that stock pipelines hold fast beside a mask."""


def check_supported(base: BaseSource, drawing: GenerationParameters, controlled: bool) -> None:
    """Raise `UserError` (`bad_technique`) for what no stock pipeline does; `controlled`: control networks take part."""
    perturbed = drawing.options.perturbed > 0
    usual = drawing.task == "text" and not controlled and not perturbed
    if not usual and (drawing.task, controlled, perturbed) not in base.family.pipelines:
        raise UserError(
            "bad_technique",
            "Perturbed attention does not go with controls where a drawing begins from a picture. Leave one of them out.",
        )
    channels = int(base.config("unet")["in_channels"])
    if drawing.task == "inpaint" and channels != LATENT_CHANNELS:
        raise UserError(
            "bad_technique",
            f"{base.name} cannot draw into a part of a picture: it takes {channels} channels, not {LATENT_CHANNELS}. "
            "Choose another base.",
        )


def pipeline_arguments(drawing: GenerationParameters, cell: int) -> dict[str, Any]:
    """What a stock pipeline is told of size, start and mask; a mask is rounded up to cells of so many pixels."""
    size = {"width": drawing.size.width, "height": drawing.size.height}
    if drawing.start is None:
        return size
    told = {"image": PIL.Image.fromarray(drawing.start), "strength": float(drawing.strength)}
    if drawing.mask is None:
        # These take the size from the picture, and most of them know no other way.
        return told
    grown = (round_up_mask(drawing.mask, cell) * 255).astype(np.uint8)
    return {**size, **told, "mask_image": PIL.Image.fromarray(grown)}


def round_up_mask(mask: Mask, side: int) -> Mask:
    """A mask of zeros and ones in whole cells: where any of a cell's pixels is inside, all are."""
    height, width = mask.shape
    tall, wide = -(-height // side), -(-width // side)
    padded = np.zeros((tall * side, wide * side), bool)
    padded[:height, :width] = mask >= MASK_THRESHOLD
    any_inside = padded.reshape(tall, side, wide, side).any(axis=(1, 3))
    return any_inside.repeat(side, 0).repeat(side, 1)[:height, :width].astype(np.float32)


def vae_round_trip(pipe: Any, image: Image) -> NDArray[np.float32]:
    """A picture through the VAE and back, H×W×3 about 0..1: what it is drawn with no step at all."""
    vae = pipe.vae
    dtype = vae.dtype
    if dtype == torch.float16 and vae.config.force_upcast:
        vae.to(torch.float32)  # SDXL's overflows in half precision
    try:
        pixels = pipe.image_processor.preprocess(PIL.Image.fromarray(image))
        latents = vae.encode(pixels.to(pipe._execution_device, vae.dtype)).latent_dist.mode()
        decoded = vae.decode(latents, return_dict=False)[0]
        return np.asarray(pipe.image_processor.postprocess(decoded, output_type="np")[0], np.float32)
    finally:
        vae.to(dtype)
