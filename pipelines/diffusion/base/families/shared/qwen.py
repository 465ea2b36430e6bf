"""QwenFamily: what the families of Qwen-Image have in common: transformer, VAE for videos, Qwen2.5-VL as a text encoder."""

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from diffusers import QwenImageTransformer2DModel

from pipelines.diffusion.base.families.shared.flow import FlowFamily
from pipelines.diffusion.base.family import Config, Geometry, SizeConditioning, TextEmbeddings
from pipelines.diffusion.base.parts import qwen_vl
from pipelines.diffusion.base.parts.latents import LatentFormat, ScaledPatches, frame_latents
from pipelines.diffusion.base.parts.loss import FlowMatchingLoss
from portrait.generation.options import Preset
from portrait.generation.sampling_facts import SamplingPreset

ATTENTION = re.compile(r"transformer_blocks\.\d+\.attn\.(to_[qkv]|to_out\.0)")
"""Layers that LoRAs of people change: those that diffusers' script trains."""
NATIVE_LATENTS = 128
"""Along a side of the VAE's latents, where nothing else is asked for (`default_sample_size` of the stock pipelines)."""
PRESETS: Mapping[Preset, SamplingPreset] = MappingProxyType(
    {
        "fast": SamplingPreset("own", 20, 4.0, 1.0),
        "balanced": SamplingPreset("own", 30, 4.0, 1.0),
        "best": SamplingPreset("own", 50, 4.0, 1.0),
    }
)
"""Its makers draw in 50 steps at a guidance of 4."""


class QwenFamily(FlowFamily):
    """A family with Qwen-Image's transformer."""

    text_encoders = (("tokenizer", "text_encoder"),)
    denoiser_class = QwenImageTransformer2DModel
    presets = PRESETS
    rank = 16
    stored_products = 4000
    """Of Qwen-Image's products those of 3072 numbers are recomputed, and those of 12288 are stored."""

    def geometry(self, config: Config) -> Geometry:
        """Patches of 2×2 of the VAE's latents; 64 pixels are a multiple that keeps buckets few."""
        factor = 2 ** len(config("vae")["temperal_downsample"])
        side = NATIVE_LATENTS * factor
        return Geometry(side, 2 * factor, max(2 * factor, 64), int(config("transformer")["in_channels"]))

    def lora_targets(self, denoiser: Any) -> Sequence[str]:
        """Full names of the layers that the picture attends by; those of the words are left alone."""
        names = (name.removesuffix(".base_layer") for name, _ in denoiser.named_modules())
        return [name for name in dict.fromkeys(names) if ATTENTION.fullmatch(name)]

    def loss(self, scheduler: Mapping[str, Any], min_snr_gamma: float) -> FlowMatchingLoss:
        """Flow matching with the shift that its scheduler is published with."""
        return FlowMatchingLoss(0.5, 0.9, max_tokens=8192)

    def latents(self, vae: Any) -> LatentFormat:
        """One frame of a video, in patches."""
        return ScaledPatches(frame_latents(vae.config))

    def encode(self, components: Mapping[str, Any], captions: Sequence[str], clip_skip: int = 0) -> TextEmbeddings:
        """Last states of Qwen2.5-VL, as many as the longest caption has; shorter ones have a mask."""
        tokens = qwen_vl.tokenize(components["tokenizer"], captions)
        hidden, mask = qwen_vl.hidden_states(components["text_encoder"], tokens)
        return TextEmbeddings(hidden, mask=mask)

    def blank_embeddings(self, config: Config, dtype: torch.dtype) -> TextEmbeddings:
        """As many tokens as a long prompt has."""
        width = int(config("transformer")["joint_attention_dim"])
        return TextEmbeddings(torch.zeros(1, qwen_vl.MOST_TOKENS // 2, width, dtype=dtype))

    def predict(
        self,
        denoiser: Any,
        noised: torch.Tensor,
        timesteps: torch.Tensor,
        embeddings: TextEmbeddings,
        sizes: Sequence[SizeConditioning],
    ) -> torch.Tensor:
        """The way from picture to noise; latents are tokens, whose places follow from the size."""
        count, _, height, width = noised.shape
        predicted = denoiser(
            hidden_states=noised.flatten(2).transpose(1, 2),
            timestep=timesteps,
            encoder_hidden_states=embeddings.hidden,
            encoder_hidden_states_mask=embeddings.mask,
            img_shapes=[[(1, height, width)]] * count,
            return_dict=False,
        )[0]
        return predicted.transpose(1, 2).reshape(noised.shape)

    def prompt_arguments(self, embeddings: TextEmbeddings, negative: TextEmbeddings | None) -> dict[str, Any]:
        """States and masks, and that none of the words is left out."""
        given = {"prompt_embeds": embeddings.hidden, "max_sequence_length": qwen_vl.MOST_TOKENS}
        if embeddings.mask is not None:
            given["prompt_embeds_mask"] = embeddings.mask
        if negative is not None:
            given["negative_prompt_embeds"] = negative.hidden
            if negative.mask is not None:
                given["negative_prompt_embeds_mask"] = negative.mask
        return given

    def guidance_arguments(self, guidance: float) -> dict[str, Any]:
        """The scale; what stock pipelines call `guidance_scale` is for distilled ones, of which there are none."""
        return {"true_cfg_scale": guidance}

    def single_file_weights(self, components: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """The transformer alone, whose names are everywhere those of diffusers."""
        return dict(components["transformer"].state_dict())
