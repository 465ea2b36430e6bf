"""UNetFamily: what the families that draw with a U-Net, Stable Diffusion 1.5 and SDXL, have in common."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

import torch
from diffusers import ControlNetModel, DDPMScheduler, MultiControlNetModel, UNet2DConditionModel

from pipelines.diffusion.base.families.shared.plain import PlainFamily, windowed_controls
from pipelines.diffusion.base.family import (
    LORA_TARGETS,
    Abilities,
    Config,
    ControlNetUnit,
    DrawingStart,
    Geometry,
    LoraName,
    SizeConditioning,
    TextEmbeddings,
)
from pipelines.diffusion.base.parts import kohya, single_file
from pipelines.diffusion.base.parts.latents import LatentScaling, latent_scaling
from pipelines.diffusion.base.parts.loss import DiffusionLoss
from portrait.arrays import Size
from portrait.generation.options import Preset
from portrait.generation.parameters import Task
from portrait.generation.sampling_facts import SamplingPreset

PRESETS: Mapping[Preset, SamplingPreset] = MappingProxyType(
    {
        "fast": SamplingPreset("lcm", 6, 1.0, 1.0, lcm=True),
        "balanced": SamplingPreset("dpm_2m_karras", 25, 5.0, 0.8),
        "best": SamplingPreset("euler", 40, 5.0, 1.0),
    }
)
TOKENS = 77
"""Of a caption in CLIP."""


class UNetFamily(PlainFamily):
    """A family with a U-Net, CLIP's text encoders and one scale of latents."""

    denoiser = "unet"
    denoiser_class = UNet2DConditionModel
    single_file: Literal["whole", "denoiser"] = "whole"
    abilities = Abilities(
        prompt_weights=True,
        clip_skip=True,
        freeu=True,
        schedulers=True,
        tokens=True,
        text_encoders=True,
        block_weights=True,
        noise_offset=True,
        cutoff=True,
        max_controls=8,
        control_windows=True,
    )
    presets = PRESETS
    stored_products = 700
    """Projections of SD 1.5's deepest level and SDXL's deeper one are stored; those of levels with 320 or 640 channels are not,
    and they make up most of the activations."""
    guides_in_batches = True
    control_class: type[Any] | None = ControlNetModel

    def embeds_guidance(self, denoiser: Mapping[str, Any]) -> bool:
        """As those do that were distilled to latent consistency."""
        return bool(denoiser.get("time_cond_proj_dim"))

    def geometry(self, config: Config) -> Geometry:
        """By the levels of VAE and U-Net; 64 pixels are a multiple that bases from 512 on draw best in."""
        unet = config("unet")
        cell = 2 ** (len(config("vae")["block_out_channels"]) - 1)
        side = int(unet["sample_size"]) * cell
        least = cell * 2 ** (len(unet["block_out_channels"]) - 1)
        return Geometry(side, cell, max(least, 64) if side >= 512 else least, int(unet["in_channels"]))

    def lora_targets(self, denoiser: Any) -> Sequence[str]:
        """What the names of its attention layers end with."""
        return LORA_TARGETS

    def loss(self, scheduler: Mapping[str, Any], min_snr_gamma: float) -> DiffusionLoss:
        """That of the noise schedule and prediction type which the base was trained with."""
        return DiffusionLoss(DDPMScheduler.from_config(dict(scheduler)), min_snr_gamma)

    def latents(self, vae: Any) -> LatentScaling:
        """One scale."""
        return latent_scaling(vae.config)

    def added_cond_kwargs(
        self, embeddings: TextEmbeddings, sizes: Sequence[SizeConditioning]
    ) -> dict[str, torch.Tensor] | None:
        """The U-Net's `added_cond_kwargs`; None where it takes none."""
        return None

    def blank_embeddings(self, config: Config, dtype: torch.dtype) -> TextEmbeddings:
        """77 tokens as wide as the U-Net attends to; pooled ones as wide as is left beside six sizes."""
        unet = config("unet")
        pooled = None
        if unet.get("addition_embed_type") == "text_time":
            sizes = 6 * int(unet["addition_time_embed_dim"])
            pooled = torch.zeros(1, int(unet["projection_class_embeddings_input_dim"]) - sizes, dtype=dtype)
        return TextEmbeddings(torch.zeros(1, TOKENS, int(unet["cross_attention_dim"]), dtype=dtype), pooled)

    def predict(
        self,
        denoiser: Any,
        noised: torch.Tensor,
        timesteps: torch.Tensor,
        embeddings: TextEmbeddings,
        sizes: Sequence[SizeConditioning],
    ) -> torch.Tensor:
        """The noise or the velocity."""
        added = self.added_cond_kwargs(embeddings, sizes)
        return denoiser(noised, timesteps, embeddings.hidden, added_cond_kwargs=added, return_dict=False)[0]

    def join_controls(self, networks: Sequence[Any]) -> Any:
        """One as it is."""
        return networks[0] if len(networks) == 1 else MultiControlNetModel(list(networks))

    def control_arguments(self, task: Task, units: Sequence[ControlNetUnit]) -> dict[str, Any]:
        """Images, scales and windows; of a single network without lists, as stock pipelines expect."""
        return windowed_controls(units, "image" if task == "text" else "control_image")

    def start_arguments(self, start: DrawingStart) -> dict[str, Any]:
        """Picture, strength, and mask with the size; without a mask the size is the picture's, and most know no other way."""
        arguments: dict[str, Any] = {"image": start.picture, "strength": start.strength}
        if start.mask is None:
            return arguments
        return {"width": start.size.width, "height": start.size.height, **arguments, "mask_image": start.mask}

    def unpack(self, latents: torch.Tensor, size: Size) -> torch.Tensor:
        """They are as they are."""
        return latents

    def single_file_weights(self, components: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """U-Net, VAE and text encoders, as the published checkpoints have them."""
        weights = single_file.unet_weights(components["unet"].state_dict(), components["unet"].config)
        weights |= single_file.vae_weights(components["vae"].state_dict(), components["vae"].config)
        return weights | self.single_file_text_encoders(components)

    def single_file_text_encoders(self, components: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """The text encoders' weights under the key names of single files."""
        raise NotImplementedError

    def kohya_weights(self, weights: Mapping[str, torch.Tensor], config: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """Every module has a name of its own."""
        return kohya.rename(weights, lambda module: self.kohya_module_name(module, config))

    def kohya_module_name(self, module: str, config: Mapping[str, Any]) -> str:
        """A module's name in kohya's files, from that in diffusers (`unet.…`, `text_encoder.…`); `config` is the U-Net's."""
        raise NotImplementedError

    def kohya_config(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """What numbers the blocks."""
        return {name: config[name] for name in ("layers_per_block", "up_block_types")}

    def lora_names(self, layer: str, config: Mapping[str, Any]) -> Sequence[LoraName]:
        """Those of earlier attention processors, and of single files, which kohya's trainers use for SDXL."""
        names = [LoraName(layer.removesuffix(".0"))] if layer.endswith(".to_out.0") else []
        try:
            return [*names, LoraName(single_file.unet_name(layer, config))]
        except ValueError:
            return names  # of a part that single files of this kind do not have
