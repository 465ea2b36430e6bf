"""Tiny FLUX.1 and FLUX.1 Kontext in hub folders, and a network that follows several controls."""

import string
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    FluxControlNetModel,
    FluxKontextPipeline,
    FluxPipeline,
    FluxTransformer2DModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel, T5Tokenizer

from tests import tiny

LENGTH = 48
"""Tokens that T5 takes."""
SHAPE: dict[str, Any] = {
    "patch_size": 1,
    "in_channels": 16,
    "num_layers": 1,
    "num_single_layers": 2,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "joint_attention_dim": 32,
    "pooled_projection_dim": 32,
    "axes_dims_rope": (4, 4, 8),
}


def flux(folder: Path, distilled: bool = False, seed: int = 5) -> Path:
    """A FLUX.1 [dev] in a hub folder, or a [schnell]."""
    parts = _parts(folder, guided=not distilled, seed=seed)
    FluxPipeline(**parts).save_pretrained(folder)
    tiny.tokenizer(folder / "tokenizer")
    return folder


def kontext(folder: Path, seed: int = 6) -> Path:
    """A FLUX.1 Kontext in a hub folder."""
    FluxKontextPipeline(**_parts(folder, guided=True, seed=seed)).save_pretrained(folder)
    tiny.tokenizer(folder / "tokenizer")
    return folder


def control(folder: Path, modes: int | None = 5, seed: int = 7) -> Path:
    """A control network; without `modes` it is one that is not told which control it follows."""
    torch.manual_seed(seed)
    shape = {**SHAPE, "num_single_layers": 1, "axes_dims_rope": list(SHAPE["axes_dims_rope"])}
    network: Any = FluxControlNetModel(**shape, guidance_embeds=True, num_mode=modes)
    # What joins it to the transformer begins at zero.
    for layer in (network.controlnet_x_embedder, *network.controlnet_blocks, *network.controlnet_single_blocks):
        torch.nn.init.normal_(layer.weight, std=0.3)
    network.save_pretrained(folder)
    return folder


def _parts(folder: Path, guided: bool, seed: int) -> dict[str, Any]:
    torch.manual_seed(seed)
    words = CLIPTextConfig(
        vocab_size=1000,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        projection_dim=32,
        bos_token_id=0,
        eos_token_id=2,
        pad_token_id=1,
    )
    sentences = T5Config(vocab_size=64, d_model=32, d_ff=32, d_kv=8, num_heads=4, num_layers=2)
    return {
        "transformer": FluxTransformer2DModel(**SHAPE, guidance_embeds=guided),
        "vae": vae(),
        "text_encoder": CLIPTextModel(words),
        "tokenizer": tiny.tokenizer(folder / "tokenizer"),
        "text_encoder_2": T5EncoderModel(sentences),
        "tokenizer_2": t5_tokenizer(LENGTH),
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=3.0 if guided else 1.0, use_dynamic_shifting=guided),
    }


def vae() -> AutoencoderKL:
    """Four levels, for the real factor of 8, without the layers beside the latents that FLUX.1 does without."""
    shape: dict[str, Any] = {
        "block_out_channels": (8, 8, 16, 16),
        "latent_channels": 4,
        "norm_num_groups": 4,
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "sample_size": tiny.SIDE,
        "scaling_factor": 0.3611,
        "shift_factor": 0.1159,
        "use_quant_conv": False,
        "use_post_quant_conv": False,
        "force_upcast": True,
    }
    return AutoencoderKL(**shape)


def t5_tokenizer(length: int) -> T5Tokenizer:
    """T5's layout with single letters as tokens; `length` is the longest prompt, in tokens."""
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    letters = [(letter, -3.0) for letter in string.ascii_lowercase + string.digits + ".,'"]
    made: Any = T5Tokenizer(vocab=[*special, *letters], extra_ids=0)
    made.model_max_length = length
    return made
