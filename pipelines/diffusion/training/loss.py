"""DiffusionLoss: the error of the predicted noise or velocity, weighted by noise level with Min-SNR."""

from dataclasses import dataclass
from typing import Any

import torch
from diffusers.training_utils import compute_snr

from portrait.errors import OperatorError


@dataclass(frozen=True, slots=True, eq=False)
class DiffusionLoss:
    """The loss of a base, by the prediction type it was trained with."""

    scheduler: Any
    """A `DDPMScheduler`: how noise was added when the base was trained."""
    min_snr_gamma: float = 0.0
    """Gamma of Min-SNR (Hang and others, 2023); 0 weights every noise level alike."""

    def target(self, latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """What the network should predict: the noise or the velocity; raises `OperatorError` (`bad_base`) for other types."""
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
