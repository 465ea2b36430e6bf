"""A tiny Stable Diffusion 2 in the published layout: its text is as wide as that of the real one, by which it is told."""

from pathlib import Path
from typing import Any

import torch
from diffusers import ControlNetModel, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from tests import tiny

WIDTH = 1024
UNET: dict[str, Any] = {
    "block_out_channels": (32, 64),
    "layers_per_block": 1,
    "cross_attention_dim": WIDTH,
    "attention_head_dim": (2, 4),
    "use_linear_projection": True,
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
}


def write(folder: Path, prediction: str = "v_prediction", seed: int = 5) -> Path:
    """The base in a hub folder."""
    torch.manual_seed(seed)
    words = tiny.tokenizer(folder / "tokenizer", pad="!")
    shape = tiny.text_config(WIDTH, WIDTH).to_dict() | {"intermediate_size": 64, "hidden_act": "gelu"}
    noise = {**tiny.BETAS, "steps_offset": 1, "prediction_type": prediction}
    parts: dict[str, Any] = {
        "unet": UNet2DConditionModel(
            **UNET, sample_size=tiny.SIDE // 8, up_block_types=("UpBlock2D", "CrossAttnUpBlock2D")
        ),
        "vae": tiny.vae(),
        "text_encoder": CLIPTextModel(CLIPTextConfig.from_dict(shape)),
        "tokenizer": words,
        "scheduler": DDIMScheduler(**noise, clip_sample=False, set_alpha_to_one=False),
        "safety_checker": None,
        "feature_extractor": None,
    }
    StableDiffusionPipeline(**parts, requires_safety_checker=False).save_pretrained(folder)
    tiny.tokenizer(folder / "tokenizer", pad="!")
    return folder


def controlnet() -> ControlNetModel:
    """A control network of it, whose results are not zero."""
    torch.manual_seed(9)
    network = ControlNetModel(**UNET, conditioning_embedding_out_channels=(8, 8, 16, 32))
    silent = ("controlnet_down_blocks", "controlnet_mid_block", "controlnet_cond_embedding.conv_out")
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if name.startswith(silent):
                weight.normal_(0, 0.1)
    return network.eval()
