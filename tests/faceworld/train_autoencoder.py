"""Trains the autoencoder of the face world: about eight minutes on two idle cores."""

from collections.abc import Callable
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor
from torch.nn import functional

from tests.faceworld import networks, world
from tests.faceworld.log import log

PARTS = ((1000, 12, 2e-3), (500, 20, 1.5e-3), (1000, 16, 1.5e-3))
"""Steps, pictures a step and rate, for whole pictures, then for heads, then for the decoder alone."""
KL = 3e-4
"""Enough to keep the latents near zero; they are scaled to unit spread afterwards."""
HEAD = 32
"""Pixels of the square trained on once colours are right: eyes are small, and backgrounds come first."""


def train(random: torch.Generator) -> AutoencoderKL:
    """Train it from random weights; `scaling_factor` is set from its latents."""
    network = networks.autoencoder()
    learn(network, list(network.parameters()), PARTS[0], sample, random)
    learn(network, list(network.parameters()), PARTS[1], heads, random)
    scale(network, random)
    sharpen(network, random)
    return network


def scale(network: AutoencoderKL, random: torch.Generator) -> None:
    """Write down what brings the latents to unit spread."""
    with torch.no_grad():
        spread = posterior(network, sample(256, random)).mean.std()
    network.register_to_config(scaling_factor=round(1 / spread.item(), 5))


def sharpen(network: Any, random: torch.Generator) -> None:
    """The decoder alone: what a picture is encoded to stays."""
    network.encoder.requires_grad_(False)
    network.quant_conv.requires_grad_(False)
    drawn_by = [*network.decoder.parameters(), *network.post_quant_conv.parameters()]
    learn(network, drawn_by, PARTS[2], mixed, random)


def learn(
    network: AutoencoderKL,
    parameters: list[torch.nn.Parameter],
    part: tuple[int, int, float],
    pictures_of: Callable[[int, torch.Generator], Tensor],
    random: torch.Generator,
) -> None:
    """One part of the training."""
    steps, batch, most = part
    optimiser = torch.optim.AdamW(parameters, lr=most, weight_decay=1e-4)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, most, steps, pct_start=0.05)
    for step in range(steps):
        pictures = pictures_of(batch, random)
        latents = posterior(network, pictures)
        drawn = network.decode(latents.sample(random)).sample  # pyrefly: ignore[missing-attribute] -- no tuple
        loss = distance(drawn, pictures) + KL * latents.kl().mean() / latents.mean[0].numel()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        rate.step()
        if step % 50 == 0 or step == steps - 1:
            log(f"autoencoder {step}/{steps} {loss.item():.4f}")


def heads(count: int, random: torch.Generator) -> Tensor:
    """Squares that show the face."""
    left, top = (int(torch.randint(4, 13, (1,), generator=random)) for _ in range(2))
    return sample(count, random)[:, :, top : top + HEAD, left : left + HEAD]


def mixed(count: int, random: torch.Generator) -> Tensor:
    """Heads, and whole pictures every third time."""
    full = int(torch.randint(3, (1,), generator=random)) == 0
    return sample(count // 2, random) if full else heads(count, random)


def sample(count: int, random: torch.Generator) -> Tensor:
    """Strangers in scenes, -1..1."""
    return world.render(world.people(count, random), world.scenes(count, random)) * 2 - 1


def distance(drawn: Tensor, pictures: Tensor) -> Tensor:
    """Colours, and edges: without these eyes and glasses blur away."""
    edges = [functional.l1_loss(drawn.diff(dim=axis), pictures.diff(dim=axis)) for axis in (2, 3)]
    return functional.l1_loss(drawn, pictures) + functional.mse_loss(drawn, pictures) + sum(edges, torch.tensor(0.0))


def posterior(network: AutoencoderKL, pictures: Tensor) -> Any:
    """The latents of pictures (-1..1) as a distribution; not scaled."""
    return network.encode(pictures).latent_dist  # pyrefly: ignore[missing-attribute] -- no tuple
