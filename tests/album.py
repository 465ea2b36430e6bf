"""Tiny bases that know an album, each picture by its own caption. Random ones cannot be trained; these can.

On random weights the attention of a tiny U-Net reaches next to nothing of what is drawn: learning all of it gains a tenth. What
tells two dozen pictures apart by their words has room for one more.

`python -m tests.album` teaches both families anew, in three minutes on one core; `golden/album-FAMILY.safetensors` is what came
of it. The pictures are crops of scikit-image's coffee, cat and rocket.
"""

import itertools
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import skimage.data
import torch
from diffusers import DDPMScheduler
from safetensors.torch import load_file, save_file
from torch.nn import functional

from pipelines.diffusion.base import loading
from pipelines.diffusion.base.parts.latents import latent_scaling
from pipelines.diffusion.training import dataset, text_embeddings
from pipelines.diffusion.training.dataset import Sample
from portrait.arrays import Image, Size
from portrait.types import Crop, TrainingSet
from tests import photo_vae, selfies, tiny

GOLDEN = Path(__file__).parent / "golden"
WRITE = {"sd15": tiny.sd15, "sdxl": tiny.sdxl}
PICTURES = 24
NAMES = ("man", "woman", "red", "blue", "suit", "light")
STEPS, BATCH, RATE = 1000, 8, 2e-3


def write(folder: Path, family: str) -> Path:
    """The base in a hub folder."""
    _unknowing(folder, family)
    weights = {name: weight.float() for name, weight in load_file(GOLDEN / f"album-{family}.safetensors").items()}
    save_file(weights, folder / "unet" / "diffusion_pytorch_model.safetensors")
    return folder


def learn(folder: Path, family: str) -> dict[str, torch.Tensor]:
    """Weights of a U-Net that was trained on the whole album; `folder` is filled on the way."""
    base = loading.open_base(family, _unknowing(folder, family))
    pipeline: Any = loading.load_pipeline(base, torch.float32)
    unet = pipeline.unet
    schedule: Any = DDPMScheduler.from_config(pipeline.scheduler.config)
    album = pictures(pipeline.vae)
    captions = [each.captions[0] for each in album]
    words = text_embeddings.cache_text_embeddings(base.family, pipeline.components, captions)
    moments = torch.cat([each.moments for each in album]).index_fill(1, torch.tensor(1), -60.0)  # without their spread
    batch = base.family.latents(pipeline.vae).sample(moments, torch.Generator())
    optimiser = torch.optim.AdamW(unet.parameters(), lr=RATE, weight_decay=0)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, STEPS, pct_start=0.05)
    random = torch.Generator().manual_seed(0)
    for _ in range(STEPS):
        picked = torch.randint(len(album), (BATCH,), generator=random)
        noise = torch.randn(BATCH, *batch.shape[1:], generator=random)
        times = torch.randint(schedule.config["num_train_timesteps"], (BATCH,), generator=random)
        prediction = words([captions[place] for place in picked])
        noised = schedule.add_noise(batch[picked], noise, times)
        guess = base.family.predict(unet, noised, times, prediction, [album[place].sizes for place in picked])
        functional.mse_loss(guess, noise).backward()
        torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        rate.step()
    return unet.state_dict()


def pictures(vae: Any) -> list[Sample]:
    """The album, encoded."""
    captions = [f"a photo of {one} {other}" for one, other in itertools.permutations(NAMES, 2)]
    embeddings = list(zip(crops(), captions, strict=False))
    side = Size(tiny.SIDE, tiny.SIDE)
    return dataset.encode_samples(
        vae, latent_scaling(vae.config), embeddings, [side] * PICTURES, flips=False, report=lambda done, of: None
    )


def crops() -> list[Image]:
    """Pictures of the album before they are encoded."""
    random = np.random.default_rng(0)
    photos = (skimage.data.coffee(), skimage.data.cat(), skimage.data.rocket())
    return [_crop(photos[number % len(photos)], random) for number in range(PICTURES)]


def _crop(photo: Image, random: np.random.Generator) -> Image:
    side = int(random.integers(96, 300))
    top, left = (int(random.integers(weights - side + 1)) for weights in photo.shape[:2])
    size = (tiny.SIDE, tiny.SIDE)
    return np.asarray(
        cv2.resize(photo[top : top + side, left : left + side], size, interpolation=cv2.INTER_AREA), np.uint8
    )


def newcomer() -> TrainingSet:
    """Somebody who is not in it, on one photo: the astronaut."""
    photo = cv2.resize(selfies.astronaut()[20:220, 130:330], (tiny.SIDE, tiny.SIDE), interpolation=cv2.INTER_AREA)
    crop = Crop(np.asarray(photo, np.uint8), "a photo of sks person", "astronaut.png")
    return TrainingSet((crop,), (), {}, (), "sks", "person")


def _unknowing(folder: Path, family: str) -> Path:
    WRITE[family](folder)
    photo_vae.put(folder)
    return folder


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in WRITE:
        with tempfile.TemporaryDirectory() as place:
            learned = {key: weight.half() for key, weight in learn(Path(place), name).items()}
        save_file(learned, GOLDEN / f"album-{name}.safetensors")
