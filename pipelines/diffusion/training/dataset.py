"""Pictures as latents, encoded once: mean and log-variance are kept, and a sample is drawn from them at each step."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch

from pipelines.diffusion.base.family import Frame
from portrait.arrays import Image, Size
from portrait.photos import buckets


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """A picture to learn from, as the base sees it."""

    moments: torch.Tensor
    """1×2×channels×h×w, or 2×… with the mirrored picture: mean and log-variance."""
    caption: str
    frame: Frame


@dataclass(frozen=True, slots=True)
class Latents:
    """How the base's latents are scaled."""

    scale: float
    shift: float

    def sample(self, moments: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """N×2×channels×h×w to N×channels×h×w: a draw from each, as the U-Net knows them."""
        mean, variance = moments.unbind(1)
        return (mean + torch.exp(0.5 * variance) * noise - self.shift) * self.scale


def scaling(config: Any) -> Latents:
    """From a VAE's configuration."""
    return Latents(float(config["scaling_factor"]), float(config.get("shift_factor") or 0.0))


def encode(
    vae: Any,
    pictures: Sequence[tuple[Image, str]],
    sizes: Sequence[Size],
    flips: bool,
    tell: Callable[[int, int], None],
) -> list[Example]:
    """Each picture cut to its bucket and encoded, one at a time: the peak is one picture's. Kept in float32."""
    examples = []
    for done, ((image, caption), size) in enumerate(zip(pictures, sizes, strict=True)):
        tell(done, len(pictures))
        cut = fitted(image, size)
        views = [cut, np.ascontiguousarray(cut[:, ::-1])] if flips else [cut]
        with torch.no_grad():
            moments = torch.stack([_moments(vae, view) for view in views])
        height, width = image.shape[:2]
        examples.append(Example(moments, caption, Frame(Size(width, height), size)))
    return examples


def fitted(image: Image, size: Size) -> Image:
    """The middle of a picture in the shape of a bucket."""
    height, width = image.shape[:2]
    scale = max(size.width / width, size.height / height)
    whole = (max(size.width, round(width * scale)), max(size.height, round(height * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    scaled = image if whole == (width, height) else np.asarray(cv2.resize(image, whole, interpolation=how), np.uint8)
    left, top = (whole[0] - size.width) // 2, (whole[1] - size.height) // 2
    return np.ascontiguousarray(scaled[top : top + size.height, left : left + size.width])


def sort(images: Sequence[Image], side: int, step: int, batch: int) -> list[Size]:
    """The bucket of each picture."""
    return buckets.sort([Size(image.shape[1], image.shape[0]) for image in images], side, step, batch)


def _moments(vae: Any, image: Image) -> torch.Tensor:
    pixels = torch.tensor(image).permute(2, 0, 1)[None].to(vae.device).float() / 127.5 - 1
    found = vae.encode(pixels.to(vae.dtype)).latent_dist
    return torch.stack([found.mean[0], found.logvar[0]]).float()
