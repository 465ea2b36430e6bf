"""The base of the fixtures: Stable Diffusion 1.5's layout, 200,000 weights in half precision, and a VAE that knows photos."""

from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel

from tests import photo_vae, tiny

UNET: dict[str, Any] = {
    "sample_size": 8,
    "block_out_channels": (16, 32),
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "cross_attention_dim": 16,
    "attention_head_dim": 4,
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
}


def write(folder: Path) -> None:
    """Write it, about a megabyte."""
    torch.manual_seed(7)
    parts: dict[str, Any] = {
        "unet": UNet2DConditionModel(**UNET),
        "vae": tiny.vae(),
        "text_encoder": CLIPTextModel(tiny.text_config(16, 16)),
        "tokenizer": tiny.tokenizer(folder / "tokenizer"),
        "scheduler": DDIMScheduler(**tiny.BETAS, steps_offset=1, clip_sample=False, set_alpha_to_one=False),
        "safety_checker": None,
        "feature_extractor": None,
    }
    StableDiffusionPipeline(**parts, requires_safety_checker=False).save_pretrained(folder)
    tiny.tokenizer(folder / "tokenizer")
    photo_vae.put(folder)
    for file in folder.rglob("*.safetensors"):
        save_file({name: each.half().contiguous() for name, each in load_file(file).items()}, file)
