"""One training step: add noise, predict it, compute the loss, update; all randomness depends on seed and step alone.

So the number of the step is the whole state of sampler and random numbers, and a resumed run continues as if it had not been
interrupted: on a CPU to the last bit.
"""

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from pipelines.diffusion.base import lora
from pipelines.diffusion.base.family import Family, SizeConditioning
from pipelines.diffusion.base.parts.loss import Loss
from pipelines.diffusion.base.textual_inversion import TokenEmbedding
from pipelines.diffusion.training.dataset import Dataset, Sample
from pipelines.diffusion.training.text_embeddings import TextEmbedder
from pipelines.settings import TrainSettings
from portrait.errors import EngineError

MAX_GRADIENT_NORM = 1.0
"""Norm that gradients are clipped to, as in diffusers' scripts."""


@dataclass(frozen=True, slots=True, eq=False)
class NoisedBatch:
    """Samples of one size with everything random drawn: noise, timesteps, dropped captions."""

    latents: torch.Tensor
    noise: torch.Tensor
    timesteps: torch.Tensor
    captions: Sequence[str]
    sizes: Sequence[SizeConditioning]


@dataclass(slots=True, eq=False)
class Learner:
    """The networks that are trained, and their optimizer."""

    family: Family
    denoiser: Any
    encoders: Mapping[str, Any]
    """Text encoders with a LoRA, by name; empty where they are not trained."""
    token_embeddings: Mapping[str, TokenEmbedding]
    """Of the new token, by encoder; empty without one."""
    text_embedder: TextEmbedder
    loss_function: Loss
    settings: TrainSettings
    steps: int
    device: torch.device
    dtype: torch.dtype
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    """Scales the loss where the networks compute in float16, in which small gradients would be zero; else it does nothing."""

    def train_step(self, dataset: Dataset, step: int) -> float:
        """Train one step and return its loss; raises `EngineError` (`diverged`) when that is not finite."""
        for group in self.optimizer.param_groups:
            group["lr"] = group["full_rate"] * learning_rate_share(self.settings, step, self.steps)
        loss = self.loss(dataset, step)
        self.scaler.scale(loss).backward()
        value = float(loss.detach())
        # Checked before anything is updated, so that the last checkpoint stays good.
        if not math.isfinite(value):
            raise EngineError(
                "diverged", f"The loss is not a number any more at step {step + 1}. Learn at a lower rate (train.rate)."
            )
        parameters = [each for group in self.optimizer.param_groups for each in group["params"]]
        self.scaler.unscale_(self.optimizer)
        torch.nn.utils.clip_grad_norm_(parameters, MAX_GRADIENT_NORM)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        return value

    def loss(self, dataset: Dataset, step: int) -> torch.Tensor:
        """The loss of a step with its graph: of the person, plus that of class samples by the weight of prior preservation."""
        random = torch.Generator("cpu").manual_seed(_step_seed(dataset.seed, step))
        batch = self._noise_samples(dataset, [dataset.samples[at] for at in dataset.sample_indices(step)], random)
        class_samples = [dataset.class_samples[at] for at in dataset.class_indices(step)]
        if not class_samples:
            return self.batch_loss(batch)
        class_batch = self._noise_samples(dataset, class_samples, random)
        weight = self.settings.prior.weight
        if batch.latents.shape == class_batch.latents.shape:
            predictions = self._predict(_concatenate(batch, class_batch))
            first = len(batch.captions)
            return self._error(batch, predictions[:first]) + weight * self._error(class_batch, predictions[first:])
        return self.batch_loss(batch) + weight * self.batch_loss(class_batch)

    def batch_loss(self, batch: NoisedBatch) -> torch.Tensor:
        """The mean loss of a batch, with its graph."""
        return self._error(batch, self._predict(batch))

    def networks(self) -> dict[str, Any]:
        """Networks with a LoRA, by component name."""
        return ({self.family.denoiser: self.denoiser} if self.settings.lora else {}) | dict(self.encoders)

    def get_weights(self) -> lora.Weights:
        """Copies of all trained weights on the CPU: LoRA factors, and token embeddings as `token.ENCODER`."""
        rows = {f"token.{name}": token.row.detach().cpu().clone() for name, token in self.token_embeddings.items()}
        return lora.get_weights(self.networks()) | rows

    def load_weights(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Load weights in the form of `get_weights`; raises `UserError` (`wrong_base`)."""
        factors = {name: each for name, each in weights.items() if not name.startswith("token.")}
        lora.set_weights(self.networks(), factors)
        with torch.no_grad():
            for name, token in self.token_embeddings.items():
                if f"token.{name}" in weights:
                    token.row.copy_(weights[f"token.{name}"])

    def state(self) -> dict[str, Any]:
        """What training goes on from: weights, optimizer and scale of the loss."""
        return {
            "weights": self.get_weights(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state`; one of an earlier version has no scale."""
        self.load_weights(state["weights"])
        self.optimizer.load_state_dict(state["optimizer"])
        if state.get("scaler"):
            self.scaler.load_state_dict(state["scaler"])

    def autocast(self) -> AbstractContextManager[Any]:
        """A context that computes in the dtype of the frozen networks."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def _noise_samples(self, dataset: Dataset, samples: Sequence[Sample], random: torch.Generator) -> NoisedBatch:
        """Draw everything random in a fixed order on the CPU, so that a seed means the same on every device."""
        views = [_pick_view(each, random) for each in samples]
        moments = torch.stack([each.moments[view] for each, view in zip(samples, views, strict=True)])
        latents = dataset.latents.sample(moments, random)
        noise = torch.randn(latents.shape, generator=random)
        if self.settings.noise_offset:
            noise += self.settings.noise_offset * torch.randn((*latents.shape[:2], 1, 1), generator=random)
        timesteps = self.loss_function.sample_timesteps(latents, random)
        dropped = torch.rand(len(samples), generator=random) < self.settings.caption_drop
        return NoisedBatch(
            latents.to(self.device),
            noise.to(self.device),
            timesteps.to(self.device),
            [
                "" if drop else each.captions[view]
                for each, view, drop in zip(samples, views, dropped.tolist(), strict=True)
            ],
            [each.sizes for each in samples],
        )

    def _predict(self, batch: NoisedBatch) -> torch.Tensor:
        noised = self.loss_function.add_noise(batch.latents, batch.noise, batch.timesteps)
        with self.autocast():
            embeddings = self.text_embedder(batch.captions)
            embeddings = embeddings.to(self.device, embeddings.hidden.dtype)
            return self.family.predict(self.denoiser, noised, batch.timesteps, embeddings, batch.sizes)

    def _error(self, batch: NoisedBatch, prediction: torch.Tensor) -> torch.Tensor:
        target = self.loss_function.target(batch.latents, batch.noise, batch.timesteps)
        return self.loss_function(prediction, target, batch.timesteps)


def make_optimizer(
    networks: Mapping[str, Any], token_embeddings: Mapping[str, TokenEmbedding], settings: TrainSettings
) -> torch.optim.AdamW:
    """AdamW with a rate for each part: half of it for text encoders, `token_rate` and no decay for a token."""
    groups: list[dict[str, Any]] = []
    for part, network in networks.items():
        parameters = [parameter for _, parameter in lora.trainable_parameters(network, part)]
        groups.append(
            {"params": parameters, "full_rate": settings.rate * (0.5 if part.startswith("text_encoder") else 1.0)}
        )
    if token_embeddings:
        rows = [token.row for token in token_embeddings.values()]
        groups.append({"params": rows, "full_rate": settings.token_rate, "weight_decay": 0.0})
    return torch.optim.AdamW(groups, lr=settings.rate, weight_decay=0.01)


def learning_rate_share(settings: TrainSettings, step: int, steps: int) -> float:
    """The share 0..1 of the full rate at a step: a linear warm-up, then constant, or a cosine to 0."""
    if step < settings.warmup:
        return (step + 1) / (settings.warmup + 1)
    if settings.schedule == "constant":
        return 1.0
    done = (step - settings.warmup) / max(1, steps - settings.warmup)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def _concatenate(one: NoisedBatch, other: NoisedBatch) -> NoisedBatch:
    return NoisedBatch(
        torch.cat([one.latents, other.latents]),
        torch.cat([one.noise, other.noise]),
        torch.cat([one.timesteps, other.timesteps]),
        [*one.captions, *other.captions],
        [*one.sizes, *other.sizes],
    )


def _pick_view(sample: Sample, random: torch.Generator) -> int:
    return int(torch.randint(0, len(sample.moments), (), generator=random))


def _step_seed(seed: int, step: int) -> int:
    """A 64-bit seed for each step, so that neighbouring seeds have nothing in common."""
    return int(np.random.SeedSequence((seed, step)).generate_state(1, np.uint64)[0])
