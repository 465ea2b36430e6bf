"""A tiny refiner of SDXL in its published layout: one text encoder, the second, and a score instead of a target size."""

from pathlib import Path
from typing import Any

import torch
from diffusers import EulerDiscreteScheduler, StableDiffusionXLImg2ImgPipeline, UNet2DConditionModel
from transformers import CLIPTextModelWithProjection

from tests import tiny, tiny_hub


def build(folder: Path, seed: int = 50) -> Path:
    """Write it in half-precision names, as the store fetches it."""
    torch.manual_seed(seed)
    shape = {**tiny_hub.XL, "cross_attention_dim": tiny_hub.SECOND}
    shape["projection_class_embeddings_input_dim"] = 5 * 8 + tiny_hub.POOLED
    unet = UNet2DConditionModel(
        sample_size=32, out_channels=4, up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), **shape
    )
    parts: dict[str, Any] = {
        "unet": unet,
        "vae": tiny_hub.autoencoder(),
        "text_encoder": None,
        "text_encoder_2": CLIPTextModelWithProjection(tiny_hub.text_config(tiny_hub.SECOND, tiny_hub.POOLED)),
        "tokenizer": None,
        "tokenizer_2": tiny.tokenizer(folder / "tokenizer_2", pad="!", words=tiny_hub.WORDS),
        "scheduler": EulerDiscreteScheduler(**tiny_hub.NOISE, timestep_spacing="leading"),
    }
    pipeline = StableDiffusionXLImg2ImgPipeline(
        **parts, requires_aesthetics_score=True, force_zeros_for_empty_prompt=False
    )
    pipeline.save_pretrained(folder, variant="fp16")
    tiny.tokenizer(folder / "tokenizer_2", pad="!", words=tiny_hub.WORDS)
    (folder / "tokenizer_2" / "special_tokens_map.json").write_text("{}")
    return folder
