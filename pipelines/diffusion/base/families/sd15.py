"""Stable Diffusion 1.x: one text encoder, of which the last layer is used; 512 pixels."""

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

from pipelines.diffusion.base.device import execution_device
from pipelines.diffusion.base.families.shared.unet import UNetFamily
from pipelines.diffusion.base.family import TextEmbeddings, tokenize
from pipelines.diffusion.base.parts import single_file

LATENT_RGB_FACTORS = (
    ((0.149, 0.1035, 0.104), (0.0935, 0.143, 0.0865), (-0.079, 0.0945, 0.132), (-0.092, -0.1355, -0.2365)),
    (0.5, 0.5, 0.5),
)
"""Fitted to the decoder by keturn on Hugging Face's forum ("Decoding latents to RGB without upscaling", 2022), for -1..1;
here for 0..1."""


class StableDiffusion15(UNetFamily):
    """The family of Stable Diffusion 1.5."""

    name = "sd15"
    pipeline = StableDiffusionPipeline
    pipeline_names = (
        "StableDiffusionPipeline",
        "StableDiffusionInpaintPipeline",
        "LatentConsistencyModelPipeline",
    )
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
    freeu_scales: Mapping[str, float] = MappingProxyType({"s1": 0.9, "s2": 0.2, "b1": 1.5, "b2": 1.6})
    half_vae = ""
    rank = 32

    def encode(self, components: Mapping[str, Any], captions: Sequence[str], clip_skip: int = 0) -> TextEmbeddings:
        """The last hidden state, or one before it, after the final norm."""
        encoder = components["text_encoder"]
        tokens = tokenize(components["tokenizer"], captions, execution_device(encoder))
        output = encoder(tokens, output_hidden_states=clip_skip > 0)
        if not clip_skip:
            return TextEmbeddings(output[0])
        # transformers no longer wraps CLIP in `text_model`; older versions do.
        text_model = getattr(encoder, "text_model", encoder)
        return TextEmbeddings(text_model.final_layer_norm(output.hidden_states[-1 - clip_skip]))

    def prompt_arguments(self, embeddings: TextEmbeddings, negative: TextEmbeddings | None) -> dict[str, Any]:
        """The stock pipeline's arguments for encoded prompts."""
        without = {} if negative is None else {"negative_prompt_embeds": negative.hidden}
        return {"prompt_embeds": embeddings.hidden, **without}

    def single_file_text_encoders(self, components: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """CLIP under transformers' key names, as in the single files of this family."""
        return single_file.clip_weights(components["text_encoder"], "cond_stage_model.transformer.")

    def kohya_module_name(self, module: str, config: Mapping[str, Any]) -> str:
        """`lora_unet_down_blocks_0_…`, `lora_te_text_model_…`."""
        part, _, path = module.partition(".")
        return {"unet": "lora_unet_", "text_encoder": "lora_te_"}[part] + path.replace(".", "_")


FAMILY = StableDiffusion15()
