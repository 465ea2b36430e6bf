"""Stable Diffusion 1.x: one text encoder, its last layer; 512 pixels."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from diffusers import (
    StableDiffusionControlNetImg2ImgPipeline,
    StableDiffusionControlNetInpaintPipeline,
    StableDiffusionControlNetPAGInpaintPipeline,
    StableDiffusionControlNetPAGPipeline,
    StableDiffusionControlNetPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPAGImg2ImgPipeline,
    StableDiffusionPAGInpaintPipeline,
    StableDiffusionPAGPipeline,
    StableDiffusionPipeline,
)

from pipelines.diffusion.base import single_file
from pipelines.diffusion.base.family import SizeConditioning, TextEmbeddings, tokenize

LATENT_RGB_FACTORS = (
    ((0.149, 0.1035, 0.104), (0.0935, 0.143, 0.0865), (-0.079, 0.0945, 0.132), (-0.092, -0.1355, -0.2365)),
    (0.5, 0.5, 0.5),
)
"""Fitted to the decoder by keturn on Hugging Face's forum ("Decoding latents to RGB without upscaling", 2022), for -1..1;
here for 0..1."""


class StableDiffusion15:
    """The family of Stable Diffusion 1.5."""

    name = "sd15"
    pipeline = StableDiffusionPipeline
    pipelines = MappingProxyType(
        {
            ("text", True, False): StableDiffusionControlNetPipeline,
            ("text", False, True): StableDiffusionPAGPipeline,
            ("text", True, True): StableDiffusionControlNetPAGPipeline,
            ("image", False, False): StableDiffusionImg2ImgPipeline,
            ("image", True, False): StableDiffusionControlNetImg2ImgPipeline,
            ("image", False, True): StableDiffusionPAGImg2ImgPipeline,
            ("inpaint", False, False): StableDiffusionInpaintPipeline,
            ("inpaint", True, False): StableDiffusionControlNetInpaintPipeline,
            ("inpaint", False, True): StableDiffusionPAGInpaintPipeline,
            ("inpaint", True, True): StableDiffusionControlNetPAGInpaintPipeline,
        }
    )
    detection_key = "cond_stage_model.transformer.text_model.embeddings.position_embedding.weight"
    architecture = "stable-diffusion-v1"
    kohya_version = "sd_v1"
    text_encoders = (("tokenizer", "text_encoder"),)
    latent_rgb_factors = LATENT_RGB_FACTORS
    rank = 32

    def encode(self, parts: Mapping[str, Any], captions: Sequence[str], skip: int = 0) -> TextEmbeddings:
        """The last hidden state, or one before it, after the final norm."""
        encoder = parts["text_encoder"]
        said = encoder(tokenize(parts["tokenizer"], captions, encoder.device), output_hidden_states=skip > 0)
        if not skip:
            return TextEmbeddings(said[0])
        # transformers no longer wraps CLIP in `text_model`; older versions do.
        inner = getattr(encoder, "text_model", encoder)
        return TextEmbeddings(inner.final_layer_norm(said.hidden_states[-1 - skip]))

    def added_cond_kwargs(self, words: TextEmbeddings, frames: Sequence[SizeConditioning]) -> None:
        """Its U-Net is told nothing but words."""

    def prompt_arguments(self, words: TextEmbeddings, negative: TextEmbeddings) -> dict[str, torch.Tensor]:
        """Arguments of the pipeline for encoded prompts."""
        return {"prompt_embeds": words.hidden, "negative_prompt_embeds": negative.hidden}

    def single_file_text_encoders(self, parts: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """CLIP in transformers' names, as the single files of this family have it."""
        return single_file.clip_weights(parts["text_encoder"], "cond_stage_model.transformer.")

    def kohya_module_name(self, module: str, config: Mapping[str, Any]) -> str:
        """`lora_unet_down_blocks_0_…`, `lora_te_text_model_…`."""
        part, _, path = module.partition(".")
        return {"unet": "lora_unet_", "text_encoder": "lora_te_"}[part] + path.replace(".", "_")


FAMILY = StableDiffusion15()
