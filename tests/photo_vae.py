"""An autoencoder of 260,000 weights that knows two photos: tiny bases that have it give pictures back, a little soft.

`python -m tests.photo_vae` teaches it anew, in about fifteen minutes on one core; `golden/vae.safetensors` is what came of it.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file
from torch.nn import functional

from pipelines.diffusion.selftest import tiny
from pipelines.settings import Settings
from portrait.arrays import Image
from tests import selfies

FILE = Path(__file__).parent / "golden" / "vae.safetensors"
SCALE = 0.4662
"""What brings its latents to unit spread."""
SIDE, BATCH, STEPS, RATE = 96, 8, 850, 3e-3


def give(settings: Settings) -> None:
    """Put it into every base of the settings, in place of one that draws noise."""
    for base in settings.bases.values():
        put(base.path)


def put(base: Path) -> None:
    """Put it into one base, a hub folder."""
    folder = base / "vae"
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "scaling_factor": SCALE}))
    weights = {name: weight.float() for name, weight in load_file(FILE).items()}
    save_file(weights, folder / "diffusion_pytorch_model.safetensors")


def learn(seed: int = 0) -> AutoencoderKL:
    """From nothing, on crops of the astronaut and of the group photo."""
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    network = tiny.vae()
    quant: Any = network.quant_conv
    with torch.no_grad():  # nothing is left to chance between a picture and its latents
        quant.weight[4:], quant.bias[4:] = 0, -30
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, STEPS, pct_start=0.06)
    photos = (selfies.astronaut(), selfies.group())
    for _ in range(STEPS):
        pictures = torch.stack([_crop(photos[random.integers(2)], random) for _ in range(BATCH)])
        latents: Any = network.encode(pictures, return_dict=False)[0].mean
        loss = _far(network.decode(latents, return_dict=False)[0], pictures) + 1e-4 * latents.square().mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        quant.weight.grad[4:], quant.bias.grad[4:] = 0, 0
        optimiser.step()
        rate.step()
    return network


def _crop(photo: Image, random: np.random.Generator) -> torch.Tensor:
    side = min(int(SIDE / random.uniform(0.5, 2.2)), *photo.shape[:2])
    top, left = (int(random.integers(whole - side + 1)) for whole in photo.shape[:2])
    part = np.ascontiguousarray(photo[top : top + side, left : left + side][:, :: random.choice((-1, 1))])
    pixels = torch.from_numpy(part).permute(2, 0, 1)[None].float() / 127.5 - 1
    return functional.interpolate(pixels, (SIDE, SIDE), mode="bilinear", antialias=True)[0]


def _far(drawn: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    apart = drawn - wanted
    edges = apart.diff(dim=2).abs().mean() + apart.diff(dim=3).abs().mean()
    return apart.abs().mean() + 2 * apart.square().mean() + 0.5 * edges


if __name__ == "__main__":
    save_file({name: weight.half().contiguous() for name, weight in learn().state_dict().items()}, FILE)
