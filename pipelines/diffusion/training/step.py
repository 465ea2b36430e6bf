"""One learning step: draw noise, predict, compare, correct; every draw depends on seed and step alone.

So the number of the step is all there is to know of sampler and random numbers, and a run that was broken off goes on as if
nothing had happened: on a CPU to the last bit.
"""

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from pipelines.diffusion.base import lora
from pipelines.diffusion.base.family import Family, Frame
from pipelines.diffusion.base.textual_inversion import LearnedToken
from pipelines.diffusion.training.dataset import Example, Latents
from pipelines.diffusion.training.loss import Objective
from pipelines.diffusion.training.text_embeddings import Wording
from pipelines.settings import Train
from portrait.errors import EngineError
from portrait.photos import buckets

LARGEST_GRADIENT = 1.0
"""Norm that gradients are cut to, as diffusers' scripts do."""


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """What is learned from."""

    own: Sequence[Example]
    """The person."""
    others: Sequence[Example]
    """Anybody, for prior preservation; may be empty."""
    latents: Latents
    batch: int
    seed: int

    def places(self, step: int) -> list[int]:
        """Which pictures of the person a step sees."""
        sizes = [each.frame.bucket for each in self.own]
        first = buckets.epoch(sizes, self.batch, self.seed, 0)
        passed, turn = divmod(step, len(first))
        return (first if passed == 0 else buckets.epoch(sizes, self.batch, self.seed, passed))[turn]

    def strangers(self, step: int) -> list[int]:
        """Which pictures of others it sees."""
        if not self.others:
            return []
        random = np.random.default_rng((self.seed, step, 1))
        return [int(each) for each in random.integers(len(self.others), size=self.batch)]


@dataclass(frozen=True, slots=True, eq=False)
class Draw:
    """Pictures of one size with all that chance decides for them."""

    latents: torch.Tensor
    noise: torch.Tensor
    times: torch.Tensor
    captions: Sequence[str]
    frames: Sequence[Frame]


@dataclass(slots=True, eq=False)
class Learner:
    """Networks that learn, and their optimiser."""

    family: Family
    unet: Any
    encoders: Mapping[str, Any]
    """Text encoders with a LoRA, by name; empty where they learn nothing."""
    rows: Mapping[str, LearnedToken]
    """Of a new token, by encoder; empty without one."""
    wording: Wording
    objective: Objective
    knobs: Train
    steps: int
    device: torch.device
    precision: torch.dtype
    optimiser: torch.optim.Optimizer

    def learn(self, material: Material, step: int) -> float:
        """One step; returns its loss. Raises `EngineError` (`diverged`) when that is no number."""
        for group in self.optimiser.param_groups:
            group["lr"] = group["full"] * rate(self.knobs, step, self.steps)
        loss = self.loss(material, step)
        loss.backward()
        value = float(loss.detach())
        # Looked at before anything is changed, so that the last checkpoint stays good.
        if not math.isfinite(value):
            raise EngineError(
                "diverged", f"The loss is not a number any more at step {step + 1}. Learn at a lower rate (train.rate)."
            )
        torch.nn.utils.clip_grad_norm_(self._parameters(), LARGEST_GRADIENT)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        return value

    def loss(self, material: Material, step: int) -> torch.Tensor:
        """The loss of a step with its graph: of the person, and of others by the weight of prior preservation."""
        random = torch.Generator("cpu").manual_seed(_seed(material.seed, step))
        own = self._draw(material, [material.own[at] for at in material.places(step)], random)
        picked = [material.others[at] for at in material.strangers(step)]
        if not picked:
            return self.error(own)
        others = self._draw(material, picked, random)
        weight = self.knobs.prior.weight
        if own.latents.shape == others.latents.shape:
            said = self._predict(_together(own, others))
            first = len(own.captions)
            return self._compare(own, said[:first]) + weight * self._compare(others, said[first:])
        return self.error(own) + weight * self.error(others)

    def error(self, draw: Draw) -> torch.Tensor:
        """The loss of pictures for which chance has decided everything."""
        return self._compare(draw, self._predict(draw))

    def networks(self) -> dict[str, Any]:
        """Everything with a LoRA, by part."""
        return ({"unet": self.unet} if self.knobs.lora else {}) | dict(self.encoders)

    def worn(self) -> lora.Weights:
        """Copies of all that is learned: LoRA factors, and rows of a token as `token.ENCODER`."""
        rows = {f"token.{name}": token.row.detach().cpu().clone() for name, token in self.rows.items()}
        return lora.taken(self.networks()) | rows

    def wear(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Put such a copy on; raises `UserError` (`wrong_base`)."""
        lora.fill(self.networks(), {name: each for name, each in weights.items() if not name.startswith("token.")})
        with torch.no_grad():
            for name, token in self.rows.items():
                if f"token.{name}" in weights:
                    token.row.copy_(weights[f"token.{name}"])

    def computing(self) -> AbstractContextManager[Any]:
        """In the precision of the frozen networks."""
        return torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32)

    def _parameters(self) -> list[torch.nn.Parameter]:
        return [each for group in self.optimiser.param_groups for each in group["params"]]

    def _draw(self, material: Material, examples: Sequence[Example], random: torch.Generator) -> Draw:
        """Chance in a fixed order on the CPU, so that a seed means the same on every device."""
        moments = torch.stack([each.moments[_mirrored(each, random)] for each in examples])
        shape = (len(examples), *moments.shape[2:])
        latents = material.latents.sample(moments, torch.randn(shape, generator=random).to(moments.device))
        noise = torch.randn(shape, generator=random)
        if self.knobs.noise_offset:
            noise += self.knobs.noise_offset * torch.randn((*shape[:2], 1, 1), generator=random)
        most = int(self.objective.schedule.config["num_train_timesteps"])
        times = torch.randint(0, most, (len(examples),), generator=random)
        dropped = torch.rand(len(examples), generator=random) < self.knobs.caption_drop
        return Draw(
            latents.to(self.device),
            noise.to(self.device),
            times.to(self.device),
            ["" if drop else each.caption for each, drop in zip(examples, dropped.tolist(), strict=True)],
            [each.frame for each in examples],
        )

    def _predict(self, draw: Draw) -> torch.Tensor:
        noised = self.objective.schedule.add_noise(draw.latents, draw.noise, draw.times)
        with self.computing():
            words = self.wording(draw.captions)
            words = words.to(self.device, words.hidden.dtype)
            added = self.family.added(words, draw.frames)
            return self.unet(noised, draw.times, words.hidden, added_cond_kwargs=added, return_dict=False)[0]

    def _compare(self, draw: Draw, said: torch.Tensor) -> torch.Tensor:
        return self.objective(said, self.objective.target(draw.latents, draw.noise, draw.times), draw.times)


def optimiser(networks: Mapping[str, Any], rows: Mapping[str, LearnedToken], knobs: Train) -> torch.optim.AdamW:
    """AdamW with a rate for each part: half of it for text encoders, one of its own and no decay for a token."""
    groups: list[dict[str, Any]] = []
    for part, network in networks.items():
        own = [parameter for _, parameter in lora.learned(network, part)]
        groups.append({"params": own, "full": knobs.rate * (1.0 if part == "unet" else 0.5)})
    if rows:
        rows_of = [token.row for token in rows.values()]
        groups.append({"params": rows_of, "full": knobs.token_rate, "weight_decay": 0.0})
    return torch.optim.AdamW(groups, lr=knobs.rate, weight_decay=0.01)


def rate(knobs: Train, step: int, steps: int) -> float:
    """The share of the full rate at a step: rising while warming up, then constant, or falling as a cosine to 0."""
    if step < knobs.warmup:
        return (step + 1) / (knobs.warmup + 1)
    if knobs.schedule == "constant":
        return 1.0
    done = (step - knobs.warmup) / max(1, steps - knobs.warmup)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def _together(one: Draw, other: Draw) -> Draw:
    return Draw(
        torch.cat([one.latents, other.latents]),
        torch.cat([one.noise, other.noise]),
        torch.cat([one.times, other.times]),
        [*one.captions, *other.captions],
        [*one.frames, *other.frames],
    )


def _mirrored(example: Example, random: torch.Generator) -> int:
    return int(torch.randint(0, len(example.moments), (), generator=random))


def _seed(seed: int, step: int) -> int:
    """64 bits of a step's own, so that neighbouring seeds have nothing in common."""
    return int(np.random.SeedSequence((seed, step)).generate_state(1, np.uint64)[0])
