"""Loss: how noise is added in training, what the denoiser should make of it, and how far it is from that."""

import math
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from diffusers.training_utils import compute_snr

from portrait.errors import OperatorError


class Loss(Protocol):
    """The objective of a base, by what it was trained to predict."""

    def sample_timesteps(self, latents: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        """The noise level of each of the latents N×channels×h×w: timesteps, or sigmas 0..1 of flow matching."""
        ...

    def add_noise(self, latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """Latents with noise, N×channels×h×w."""
        ...

    def target(self, latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """What the denoiser should predict; raises `OperatorError` (`bad_base`) where that is not known."""
        ...

    def __call__(self, prediction: torch.Tensor, target: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """The mean error over the batch, float32."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class DiffusionLoss:
    """The loss of a base that predicts the noise or the velocity, weighted by noise level with Min-SNR."""

    scheduler: Any
    """A `DDPMScheduler`: how noise was added when the base was trained."""
    min_snr_gamma: float = 0.0
    """Gamma of Min-SNR (Hang and others, 2023); 0 weights every noise level alike."""

    def sample_timesteps(self, latents: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        """Timesteps of the schedule, each as likely."""
        return torch.randint(0, int(self.scheduler.config["num_train_timesteps"]), (len(latents),), generator=random)

    def add_noise(self, latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """See `Loss`."""
        return self.scheduler.add_noise(latents, noise, timesteps)

    def target(self, latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """The noise or the velocity; raises `OperatorError` (`bad_base`) for other types."""
        kind = str(self.scheduler.config["prediction_type"])
        if kind == "epsilon":
            return noise
        if kind == "v_prediction":
            return self.scheduler.get_velocity(latents, noise, timesteps)
        raise OperatorError("bad_base", f"The base predicts {kind}, which cannot be learned here.")

    def snr_weights(self, timesteps: torch.Tensor) -> torch.Tensor:
        """The weight of each sample: min(SNR, γ) / SNR for noise, min(SNR, γ) / (SNR + 1) for velocity."""
        if not self.min_snr_gamma:
            return torch.ones(len(timesteps), device=timesteps.device)
        snr = compute_snr(self.scheduler, timesteps)
        if self.scheduler.config["prediction_type"] == "v_prediction":
            return snr.clamp(max=self.min_snr_gamma) / (snr + 1)
        return (self.min_snr_gamma / snr).clamp(max=1)

    def __call__(self, prediction: torch.Tensor, target: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """The weighted mean squared error, averaged over the batch; float32."""
        error = (prediction.float() - target.float()).square().flatten(1).mean(dim=1)
        return (error * self.snr_weights(timesteps)).mean()


@dataclass(frozen=True, slots=True)
class FlowMatchingLoss:
    """The loss of a base that predicts the way from the picture to the noise (rectified flow)."""

    base_shift: float = 0.5
    """Logarithm of the shift of sigmas at 256 tokens, and at `max_tokens`; even in between, as with kohya's FLUX.2."""
    max_shift: float = 1.15
    max_tokens: int = 4096
    patch: int = 1
    """Latents along a side that are one token to the denoiser."""

    def sample_timesteps(self, latents: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        """Sigmas of a logit-normal distribution, shifted towards noise the more, the larger the picture is."""
        sigmas = torch.sigmoid(torch.randn((len(latents),), generator=random))
        shift = math.exp(self.log_shift(latents.shape[-2] * latents.shape[-1] // self.patch**2))
        return shift * sigmas / (1 + (shift - 1) * sigmas)

    def log_shift(self, count: int) -> float:
        """The logarithm of the shift for pictures of so many tokens."""
        return self.base_shift + (self.max_shift - self.base_shift) * (count - 256) / (self.max_tokens - 256)

    def add_noise(self, latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """On the straight line between picture and noise."""
        sigmas = timesteps.view(-1, 1, 1, 1).to(latents)
        return (1 - sigmas) * latents + sigmas * noise

    def target(self, latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """The way from the picture to the noise."""
        return noise - latents

    def __call__(self, prediction: torch.Tensor, target: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """The mean squared error over the batch; every sigma counts alike."""
        return (prediction.float() - target.float()).square().mean()
