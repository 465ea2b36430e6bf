"""Trains the meters of the face world on renders that are as soft, noisy and dim as generated images."""

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor
from torch.nn import functional

from tests.faceworld import world
from tests.faceworld.log import log
from tests.faceworld.meters import NUMBERS, PARTS, Encoder, Meters

PEOPLE, EACH = 4000, 3
STEPS, BATCH, RATE = 1500, 64, 2e-3
TEMPERATURE = 0.1


def train(autoencoder: AutoencoderKL, random: torch.Generator, steps: int = STEPS) -> Meters:
    """Train identity contrastively against sixty-three other people, and the scene by classification."""
    pictures, scenes = training_pictures(autoencoder, random)
    identity, scene = Encoder(NUMBERS), Encoder(sum(PARTS.values()))
    optimiser = torch.optim.AdamW([*identity.parameters(), *scene.parameters()], lr=RATE, weight_decay=1e-2)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, steps, pct_start=0.1)
    for step in range(steps):
        chosen = torch.randint(PEOPLE, (BATCH,), generator=random)
        shift = torch.randint(EACH, (BATCH,), generator=random)
        views = [(shift + turn) % EACH * PEOPLE + chosen for turn in (0, 1)]
        one, other = (degrade(pictures[view].float() / 255, random) for view in views)
        embeddings = [functional.normalize(identity(view), dim=1) for view in (one, other)]
        table = embeddings[0] @ embeddings[1].T / TEMPERATURE
        who = torch.arange(BATCH)
        loss_who = (functional.cross_entropy(table, who) + functional.cross_entropy(table.T, who)) / 2
        predictions = scene(one).split(list(PARTS.values()), dim=1)
        loss_where = sum(
            (
                functional.cross_entropy(prediction, getattr(scenes, name)[views[0]])
                for name, prediction in zip(PARTS, predictions, strict=True)
            ),
            torch.tensor(0.0),
        )
        optimiser.zero_grad()
        (loss_who + loss_where).backward()
        optimiser.step()
        rate.step()
        if step % 100 == 0 or step == steps - 1:
            log(f"meters {step}/{steps} who {loss_who.item():.3f} where {loss_where.item():.3f}")
    return Meters(identity.eval().requires_grad_(False), scene.eval().requires_grad_(False))


def training_pictures(autoencoder: AutoencoderKL, random: torch.Generator) -> tuple[Tensor, world.Scenes]:
    """`EACH` pictures of everybody as bytes, two of three softened by the autoencoder; all first ones stand first."""
    people = world.people(PEOPLE, random).repeat(EACH, 1)
    scenes = world.scenes(len(people), random)
    parts = []
    for start in range(0, len(people), 100):
        picture = world.render(people[start : start + 100], scenes[start : start + 100])
        if start >= PEOPLE:
            with torch.inference_mode():
                picture = autoencoder(picture * 2 - 1, sample_posterior=True, generator=random).sample / 2 + 0.5
        parts.append((picture.clamp(0, 1) * 255).round().byte())
    return torch.cat(parts), scenes


def degrade(pictures: Tensor, random: torch.Generator) -> Tensor:
    """Some blurred, all a little noisy, tinted and shifted, as a drawing is."""
    count = len(pictures)

    def amount(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=random)

    soft = functional.avg_pool2d(functional.pad(pictures, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    pictures = torch.lerp(pictures, soft, amount(count, 1, 1, 1) * 0.8)
    pictures = pictures * (1 + (amount(count, 3, 1, 1) - 0.5) * 0.12) + (amount(count, 1, 1, 1) - 0.5) * 0.06
    pictures = pictures + torch.randn(pictures.shape, generator=random) * 0.05 * amount(count, 1, 1, 1)
    across, down = (int(torch.randint(-1, 2, (1,), generator=random)) for _ in range(2))
    return pictures.roll((across, down), dims=(3, 2)).clamp(0, 1)
