"""LatentFormat: between what a VAE encodes and what the denoiser sees, which is always N×channels×height×width."""

from dataclasses import dataclass
from typing import Any, Protocol

import torch


class LatentFormat(Protocol):
    """The latents of a base."""

    def sample(self, moments: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        """Latents of N×2×channels×h×w means and log-variances, as the denoiser sees them; all chance is of `random`."""
        ...

    def decode(self, vae: Any, latents: torch.Tensor) -> torch.Tensor:
        """The pictures N×3×H×W, -1..1, of latents as the denoiser gives them."""
        ...

    def moments(self, vae: Any, pixels: torch.Tensor) -> torch.Tensor:
        """N×2×channels×h×w means and log-variances of pictures N×3×H×W, -1..1."""
        ...

    def reconstruct(self, vae: Any, pixels: torch.Tensor) -> torch.Tensor:
        """Pictures N×3×H×W, -1..1, encoded and decoded, without noise."""
        ...


class PlainEncoding:
    """Encoding by a VAE that takes pictures as they are."""

    def moments(self, vae: Any, pixels: torch.Tensor) -> torch.Tensor:
        """See `LatentFormat`."""
        distribution = vae.encode(pixels).latent_dist
        return torch.stack([distribution.mean, distribution.logvar], dim=1)

    def reconstruct(self, vae: Any, pixels: torch.Tensor) -> torch.Tensor:
        """See `LatentFormat`."""
        return vae.decode(vae.encode(pixels).latent_dist.mode(), return_dict=False)[0]


@dataclass(frozen=True, slots=True)
class LatentScaling(PlainEncoding):
    """Latents with one scale and shift, or with a mean and a deviation for each channel beside them."""

    scale: float
    shift: float
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()

    def sample(self, moments: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        """One sample of each distribution, scaled for the denoiser."""
        mean, variance = moments.unbind(1)
        noise = torch.randn(mean.shape, generator=random).to(moments.device)
        return (mean + torch.exp(0.5 * variance) * noise - self.shift) * self.scale

    def decode(self, vae: Any, latents: torch.Tensor) -> torch.Tensor:
        """See `LatentFormat`."""
        latents = latents / self.scale + self.shift
        if self.mean and self.deviation:
            mean, deviation = (latents.new_tensor(each)[None, :, None, None] for each in (self.mean, self.deviation))
            latents = latents * deviation + mean
        return vae.decode(latents, return_dict=False)[0]


def latent_scaling(config: Any) -> LatentScaling:
    """Read from a VAE's configuration."""
    of_channels = [tuple(config.get(name) or ()) for name in ("latents_mean", "latents_std")]
    return LatentScaling(float(config["scaling_factor"]), float(config.get("shift_factor") or 0.0), *of_channels)


@dataclass(frozen=True, slots=True)
class FrameLatents:
    """Latents of a VAE for videos, of which a picture is one frame, with a mean and a deviation for each channel."""

    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    def sample(self, moments: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        """One sample of each distribution, normalised for the denoiser."""
        middle, variance = moments.unbind(1)
        noise = torch.randn(middle.shape, generator=random).to(moments.device)
        mean, deviation = self._of_channels(moments)
        return (middle + torch.exp(0.5 * variance) * noise - mean) / deviation

    def decode(self, vae: Any, latents: torch.Tensor) -> torch.Tensor:
        """See `LatentFormat`."""
        mean, deviation = self._of_channels(latents)
        return vae.decode((latents * deviation + mean)[:, :, None], return_dict=False)[0][:, :, 0]

    def moments(self, vae: Any, pixels: torch.Tensor) -> torch.Tensor:
        """See `LatentFormat`."""
        distribution = vae.encode(pixels[:, :, None]).latent_dist
        return torch.stack([distribution.mean, distribution.logvar], dim=1)[:, :, :, 0]

    def reconstruct(self, vae: Any, pixels: torch.Tensor) -> torch.Tensor:
        """See `LatentFormat`."""
        latents = vae.encode(pixels[:, :, None]).latent_dist.mode()
        return vae.decode(latents, return_dict=False)[0][:, :, 0]

    def _of_channels(self, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mean, deviation = (like.new_tensor(each).view(1, -1, 1, 1) for each in (self.mean, self.deviation))
        return mean, deviation


def frame_latents(config: Any) -> FrameLatents:
    """Read from the configuration of a VAE for videos."""
    return FrameLatents(tuple(config["latents_mean"]), tuple(config["latents_std"]))


@dataclass(frozen=True, slots=True)
class ScaledPatches:
    """Latents of another format of which 2×2 become the channels of one, in the order in which FLUX.1's are packed."""

    scaling: LatentFormat

    def sample(self, moments: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        """N×4·channels×h/2×w/2; raises RuntimeError for odd sides."""
        return patchify(self.scaling.sample(moments, random))

    def decode(self, vae: Any, latents: torch.Tensor) -> torch.Tensor:
        """See `LatentFormat`."""
        return self.scaling.decode(vae, unpatchify(latents))

    def moments(self, vae: Any, pixels: torch.Tensor) -> torch.Tensor:
        """Of the latents before they are packed; see `LatentFormat`."""
        return self.scaling.moments(vae, pixels)

    def reconstruct(self, vae: Any, pixels: torch.Tensor) -> torch.Tensor:
        """See `LatentFormat`."""
        return self.scaling.reconstruct(vae, pixels)


@dataclass(frozen=True, slots=True, eq=False)
class PatchedLatents(PlainEncoding):
    """Latents of which 2×2 become the channels of one, normalised by the statistics that a VAE carries, as FLUX.2's does."""

    mean: torch.Tensor
    """1×channels×1×1."""
    deviation: torch.Tensor

    def sample(self, moments: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        """The middles of the distributions: so diffusers' script for FLUX.2 trains."""
        return (patchify(moments[:, 0]) - self.mean.to(moments)) / self.deviation.to(moments)

    def decode(self, vae: Any, latents: torch.Tensor) -> torch.Tensor:
        """See `LatentFormat`."""
        return vae.decode(unpatchify(latents * self.deviation.to(latents) + self.mean.to(latents)), return_dict=False)[
            0
        ]


def patched_latents(vae: Any) -> PatchedLatents:
    """Read from a VAE with a batch normalisation of its latents."""
    variance = vae.bn.running_var.detach().float().cpu()
    deviation = torch.sqrt(variance + float(vae.config["batch_norm_eps"]))
    return PatchedLatents(*(each.view(1, -1, 1, 1) for each in (vae.bn.running_mean.detach().float().cpu(), deviation)))


def patchify(latents: torch.Tensor) -> torch.Tensor:
    """N×C×2h×2w as N×4C×h×w: the four latents of a patch follow each other within a channel."""
    count, channels, height, width = latents.shape
    patches = latents.reshape(count, channels, height // 2, 2, width // 2, 2).permute(0, 1, 3, 5, 2, 4)
    return patches.reshape(count, 4 * channels, height // 2, width // 2)


def unpatchify(latents: torch.Tensor) -> torch.Tensor:
    """The inverse of `patchify`."""
    count, channels, height, width = latents.shape
    patches = latents.reshape(count, channels // 4, 2, 2, height, width).permute(0, 1, 4, 2, 5, 3)
    return patches.reshape(count, channels // 4, 2 * height, 2 * width)
