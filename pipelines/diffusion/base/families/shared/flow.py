"""FlowFamily: what the families that draw with a transformer, trained by flow matching, have in common."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

import PIL.Image
import torch

from pipelines.diffusion.base.families.shared.plain import PlainFamily
from pipelines.diffusion.base.family import ControlNetUnit, DrawingStart, LatentRgbFactors, LoraName
from pipelines.diffusion.base.parts import kohya
from pipelines.diffusion.base.parts.loss import FlowMatchingLoss
from portrait.arrays import Size
from portrait.generation.parameters import Task


class FlowFamily(PlainFamily):
    """A family with a transformer, one scale of latents for its own scheduler, and text encoders that LoRAs leave alone."""

    denoiser = "transformer"
    single_file: Literal["whole", "denoiser"] = "denoiser"
    latent_rgb_factors: LatentRgbFactors = ((), ())
    freeu_scales: Mapping[str, float] = MappingProxyType({})
    half_vae = ""
    guides_in_batches = False

    def embeds_guidance(self, denoiser: Mapping[str, Any]) -> bool:
        """As those do that were distilled from guided pictures."""
        return bool(denoiser.get("guidance_embeds"))

    def loss(self, scheduler: Mapping[str, Any], min_snr_gamma: float) -> FlowMatchingLoss:
        """Flow matching, in which Min-SNR has no part."""
        return FlowMatchingLoss()

    def join_controls(self, networks: Sequence[Any]) -> Any:
        """One as it is: the stock pipelines of the family take no more, unless it says otherwise."""
        return networks[0]

    def control_arguments(self, task: Task, units: Sequence[ControlNetUnit]) -> dict[str, Any]:
        """Image and scale of the one control."""
        return {
            "control_image": PIL.Image.fromarray(units[0].image),
            "controlnet_conditioning_scale": float(units[0].scale),
        }

    def start_arguments(self, start: DrawingStart) -> dict[str, Any]:
        """Picture, mask where there is one, size and strength.

        These pipelines count the steps that they leave out, rounded down; a little less strength has them do those asked for.
        """
        mask = {} if start.mask is None else {"mask_image": start.mask}
        return {
            "width": start.size.width,
            "height": start.size.height,
            "image": start.picture,
            "strength": (start.steps_done - 1e-4) / start.steps,
            **mask,
        }

    def unpack(self, latents: torch.Tensor, size: Size) -> torch.Tensor:
        """Tokens N×h·w×channels back in rows; latents in rows as they are."""
        if latents.dim() == 4:
            return latents
        count, tokens, channels = latents.shape
        width = round((tokens * size.width / size.height) ** 0.5)
        return latents.transpose(1, 2).reshape(count, channels, tokens // width, width)

    def kohya_weights(self, weights: Mapping[str, torch.Tensor], config: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """Every layer has a name of its own: its path with underscores."""
        return kohya.rename(
            weights, lambda module: f"lora_unet_{module.removeprefix('transformer.')}".replace(".", "_")
        )

    def kohya_config(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Nothing."""
        return {}

    def lora_names(self, layer: str, config: Mapping[str, Any]) -> Sequence[LoraName]:
        """None beside its own."""
        return []
