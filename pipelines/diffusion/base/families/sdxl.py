"""Stable Diffusion XL: penultimate layers of two text encoders, concatenated; conditioned on sizes and crops; 1024 pixels."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from diffusers import (
    StableDiffusionXLControlNetImg2ImgPipeline,
    StableDiffusionXLControlNetInpaintPipeline,
    StableDiffusionXLControlNetPAGImg2ImgPipeline,
    StableDiffusionXLControlNetPAGPipeline,
    StableDiffusionXLControlNetPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInpaintPipeline,
    StableDiffusionXLPAGImg2ImgPipeline,
    StableDiffusionXLPAGInpaintPipeline,
    StableDiffusionXLPAGPipeline,
    StableDiffusionXLPipeline,
)

from pipelines.diffusion.base.device import execution_device
from pipelines.diffusion.base.families.shared.unet import UNetFamily
from pipelines.diffusion.base.family import SizeConditioning, TextEmbeddings, tokenize
from pipelines.diffusion.base.parts import single_file

LORA_PREFIXES = {"unet": "lora_unet_", "text_encoder": "lora_te1_", "text_encoder_2": "lora_te2_"}


LATENT_RGB_FACTORS = (
    tuple(tuple(part / 255 for part in row) for row in ((60, 60, 60), (-60, -5, 10), (25, 15, -5), (-70, -50, -35))),
    (150 / 255, 140 / 255, 130 / 255),
)
"""After T. A. Vass, "Explaining the SDXL latent space" (2023), as diffusers' guide to callbacks has them, for 0..255."""


class StableDiffusionXL(UNetFamily):
    """The family of SDXL 1.0."""

    name = "sdxl"
    pipeline = StableDiffusionXLPipeline
    pipeline_names = ("StableDiffusionXLPipeline", "StableDiffusionXLInpaintPipeline")
    pipelines = MappingProxyType(
        {
            ("text", True, False): StableDiffusionXLControlNetPipeline,
            ("text", False, True): StableDiffusionXLPAGPipeline,
            ("text", True, True): StableDiffusionXLControlNetPAGPipeline,
            ("image", False, False): StableDiffusionXLImg2ImgPipeline,
            ("image", True, False): StableDiffusionXLControlNetImg2ImgPipeline,
            ("image", False, True): StableDiffusionXLPAGImg2ImgPipeline,
            ("image", True, True): StableDiffusionXLControlNetPAGImg2ImgPipeline,
            ("inpaint", False, False): StableDiffusionXLInpaintPipeline,
            ("inpaint", True, False): StableDiffusionXLControlNetInpaintPipeline,
            ("inpaint", False, True): StableDiffusionXLPAGInpaintPipeline,
        }
    )
    latent_rgb_factors = LATENT_RGB_FACTORS
    freeu_scales: Mapping[str, float] = MappingProxyType({"s1": 0.9, "s2": 0.2, "b1": 1.3, "b2": 1.4})
    detection_key = "conditioner.embedders.1.model.positional_embedding"
    architecture = "stable-diffusion-xl-v1-base"
    kohya_version = "sdxl_base_v1-0"
    text_encoders = (("tokenizer", "text_encoder"), ("tokenizer_2", "text_encoder_2"))
    half_vae = "sdxl_vae"
    rank = 16

    def encode(self, components: Mapping[str, Any], captions: Sequence[str], clip_skip: int = 0) -> TextEmbeddings:
        """Both penultimate hidden states; pooled is the projection of the second encoder."""
        hidden, pooled = [], None
        for tokenizer, name in self.text_encoders:
            encoder = components[name]
            output = encoder(
                tokenize(components[tokenizer], captions, execution_device(encoder)), output_hidden_states=True
            )
            hidden.append(output.hidden_states[-2 - clip_skip])
            pooled = output[0]
        return TextEmbeddings(torch.cat(hidden, dim=-1), pooled)

    def added_cond_kwargs(
        self, embeddings: TextEmbeddings, sizes: Sequence[SizeConditioning]
    ) -> dict[str, torch.Tensor] | None:
        """Time ids: original height and width, top and left of the crop, target height and width (SDXL's paper, 2.2)."""
        time_ids = [
            (each.original.height, each.original.width, 0, 0, each.bucket.height, each.bucket.width) for each in sizes
        ]
        if embeddings.pooled is None:
            return None
        stacked = torch.tensor(time_ids, device=embeddings.pooled.device, dtype=embeddings.pooled.dtype)
        return {"text_embeds": embeddings.pooled, "time_ids": stacked}

    def prompt_arguments(self, embeddings: TextEmbeddings, negative: TextEmbeddings | None) -> dict[str, Any]:
        """The stock pipeline's arguments for encoded prompts."""
        arguments: dict[str, Any] = {"prompt_embeds": embeddings.hidden, "pooled_prompt_embeds": embeddings.pooled}
        if negative is None:
            return arguments
        without = {"negative_prompt_embeds": negative.hidden, "negative_pooled_prompt_embeds": negative.pooled}
        return arguments | without

    def single_file_text_encoders(self, components: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """CLIP under transformers' key names, and OpenCLIP under its own."""
        first = single_file.clip_weights(components["text_encoder"], "conditioner.embedders.0.transformer.")
        return first | single_file.open_clip_weights(components["text_encoder_2"], "conditioner.embedders.1.model.")

    def kohya_module_name(self, module: str, config: Mapping[str, Any]) -> str:
        """`lora_unet_input_blocks_4_1_…`: kohya's trainers name SDXL's blocks as its single files do."""
        part, _, path = module.partition(".")
        if part == "unet":
            path = single_file.unet_name(path, config)
        return LORA_PREFIXES[part] + path.replace(".", "_")


FAMILY = StableDiffusionXL()
