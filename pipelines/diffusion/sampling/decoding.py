"""From latents to pixels: decoded once more in float32 where half precision overflowed, and refused where nothing was drawn."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipelines.diffusion.base.parts.latents import LatentFormat
from portrait.errors import EngineError

LEAST_RANGE = 1 / 255
"""Difference between the darkest and the brightest value of a channel from which a picture shows something."""


def finish_image(pipe: Any, image: Any, latents: torch.Tensor, form: LatentFormat) -> NDArray[np.float32]:
    """The image H×W×3, 0..1, that a stock pipeline decoded of latents 1×channels×h×w.

    Raises `EngineError` (`empty_drawing`).
    """
    if _is_empty(image) and pipe.vae.dtype == torch.float16:
        image = decode_in_float32(pipe, latents, form)
    if _is_empty(image):
        raise _empty_drawing()
    return to_unit_range(image)


def to_unit_range(image: Any) -> NDArray[np.float32]:
    """An image as float32, 0..1; raises `EngineError` (`empty_drawing`) for values that are not finite."""
    pixels = np.asarray(image, np.float32)
    if not np.isfinite(pixels).all():
        raise _empty_drawing()
    return pixels.clip(0, 1)


def decode_in_float32(pipe: Any, latents: torch.Tensor, form: LatentFormat) -> NDArray[np.float32]:
    """Latents decoded by a VAE that overflows in half precision: H×W×3, 0..1."""
    with vae_in_float32(pipe.vae):
        return decode(pipe, latents, form)


def decode(pipe: Any, latents: torch.Tensor, form: LatentFormat) -> NDArray[np.float32]:
    """Latents decoded by the VAE as it is: H×W×3, 0..1."""
    with torch.no_grad():
        decoded = form.decode(pipe.vae, latents.to(pipe._execution_device, pipe.vae.dtype))
    return np.asarray(pipe.image_processor.postprocess(decoded, output_type="np")[0], np.float32)


@contextmanager
def vae_in_float32(vae: Any) -> Iterator[None]:
    """Have a VAE compute in float32."""
    dtype = vae.dtype
    vae.to(torch.float32)
    try:
        yield
    finally:
        vae.to(dtype)


def _is_empty(image: Any) -> bool:
    """Whether an image shows nothing: values that are not finite, or one colour."""
    pixels = np.asarray(image, np.float32)
    return not np.isfinite(pixels).all() or float(np.ptp(pixels, axis=(0, 1)).max()) < LEAST_RANGE


def _empty_drawing() -> EngineError:
    return EngineError(
        "empty_drawing",
        "The drawing shows nothing: it is black, of one colour, or no numbers came out. Draw without LoRAs and adapters to "
        'find the one that is broken; if none is, set draw.precision to "float32" or choose another base.',
    )
