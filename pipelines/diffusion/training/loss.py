"""What learning minimises: the error of the predicted noise or velocity, weighed by noise level."""

from dataclasses import dataclass
from typing import Any

import torch
from diffusers.training_utils import compute_snr

from portrait.errors import OperatorError


@dataclass(frozen=True, slots=True, eq=False)
class Objective:
    """The loss of a base, by how it was trained."""

    schedule: Any
    """A `DDPMScheduler`: how noise was added when the base was trained."""
    gamma: float = 0.0
    """Of Min-SNR (Hang and others, 2023); 0 weighs every noise level alike."""

    def target(self, latents: torch.Tensor, noise: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        """What the network ought to say."""
        kind = str(self.schedule.config["prediction_type"])
        if kind == "epsilon":
            return noise
        if kind == "v_prediction":
            return self.schedule.get_velocity(latents, noise, times)
        raise OperatorError("bad_base", f"The base predicts {kind}, which cannot be learned here.")

    def weights(self, times: torch.Tensor) -> torch.Tensor:
        """Of each picture: min(SNR, γ) / SNR for noise, min(SNR, γ) / (SNR + 1) for velocity."""
        if not self.gamma:
            return torch.ones(len(times), device=times.device)
        snr = compute_snr(self.schedule, times)
        if self.schedule.config["prediction_type"] == "v_prediction":
            return snr.clamp(max=self.gamma) / (snr + 1)
        return (self.gamma / snr).clamp(max=1)

    def __call__(self, said: torch.Tensor, target: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        """The mean squared error of each picture, weighed, and its mean over the batch; float32."""
        error = (said.float() - target.float()).square().flatten(1).mean(dim=1)
        return (error * self.weights(times)).mean()
