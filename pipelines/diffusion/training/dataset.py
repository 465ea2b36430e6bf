"""The training dataset: pictures as VAE latents, encoded once; each step samples from their mean and log-variance."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch

from pipelines.diffusion.base.family import SizeConditioning
from pipelines.diffusion.base.parts.latents import LatentFormat
from portrait.arrays import Image, Size, random_generator
from portrait.images.resize import crop_to_fill
from portrait.photos import buckets


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """A picture to train on, encoded, with its captions."""

    moments: torch.Tensor
    """1×2×channels×h×w, or 2×… with the mirrored picture: mean and log-variance."""
    captions: Sequence[str]
    """Of the picture, and of the mirrored one where there is one."""
    sizes: SizeConditioning


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """The encoded samples of a run, and which of them each step trains on."""

    samples: Sequence[Sample]
    """Of the person."""
    class_samples: Sequence[Sample]
    """Of anybody, for prior preservation; may be empty."""
    latents: LatentFormat
    batch: int
    """Samples per step."""
    seed: int

    def sample_indices(self, step: int) -> list[int]:
        """Samples of the person in the batch of a step: all of one bucket."""
        sizes = [each.sizes.bucket for each in self.samples]
        first = buckets.epoch_batches(sizes, self.batch, self.seed, 0)
        epoch, batch = divmod(step, len(first))
        return (first if epoch == 0 else buckets.epoch_batches(sizes, self.batch, self.seed, epoch))[batch]

    def class_indices(self, step: int) -> list[int]:
        """Class samples in the batch of a step; none without prior preservation."""
        if not self.class_samples:
            return []
        random = random_generator((self.seed, step, 1))
        return [int(each) for each in random.integers(len(self.class_samples), size=self.batch)]


def encode_samples(
    vae: Any,
    form: LatentFormat,
    pictures: Sequence[tuple[Image, str]],
    sizes: Sequence[Size],
    flips: bool,
    report: Callable[[int, int], None],
) -> list[Sample]:
    """Crop each picture to its bucket and encode it, one at a time so that memory peaks at one picture; moments in float32.

    `flips` adds the mirrored picture, with its caption mirrored; `report` gets pictures done and in all.
    """
    samples = []
    for done, ((image, caption), size) in enumerate(zip(pictures, sizes, strict=True)):
        report(done, len(pictures))
        cropped = crop_to_fill(image, size, cv2.INTER_CUBIC)
        views = [cropped, np.ascontiguousarray(cropped[:, ::-1])] if flips else [cropped]
        with torch.no_grad():
            moments = torch.stack([_latent_moments(vae, form, view) for view in views])
        height, width = image.shape[:2]
        captions = [caption, mirror_caption(caption)][: len(views)]
        samples.append(Sample(moments, captions, SizeConditioning(Size(width, height), size)))
    return samples


def mirror_caption(caption: str) -> str:
    """The caption of a mirrored picture: the words left and right are exchanged, however they are written."""
    return re.sub(r"\b(left|right)\b", _other_side, caption, flags=re.IGNORECASE)


def _other_side(word: re.Match[str]) -> str:
    side = word[0]
    other = "right" if side.lower() == "left" else "left"
    return other.upper() if side.isupper() else other.capitalize() if side[0].isupper() else other


def bucket_sizes(images: Sequence[Image], side: int, step: int, batch: int) -> list[Size]:
    """The bucket size of each picture; see `portrait.photos.buckets`."""
    return buckets.assign_buckets([Size(image.shape[1], image.shape[0]) for image in images], side, step, batch)


def _latent_moments(vae: Any, form: LatentFormat, image: Image) -> torch.Tensor:
    pixels = torch.tensor(image).permute(2, 0, 1)[None].to(vae.device).float() / 127.5 - 1
    return form.moments(vae, pixels.to(vae.dtype))[0].float()
