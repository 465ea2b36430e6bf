"""A tiny Z-Image in a hub folder, and a control network in one file, as they are published."""

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    ZImageControlNetModel,
    ZImagePipeline,
    ZImageTransformer2DModel,
)
from safetensors.torch import save_file
from transformers import Qwen3Config, Qwen3Model

from pipelines.diffusion.selftest import tiny

LENGTH, WIDTH, DIM = 96, 16, 32
BLOCKS: dict[str, Any] = {"dim": DIM, "n_refiner_layers": 2, "n_heads": 2, "n_kv_heads": 2}


def zimage(folder: Path, turbo: bool = False, seed: int = 5) -> Path:
    """A base with a transformer of two blocks; a distilled one has another schedule and nothing else that tells it."""
    torch.manual_seed(seed)
    transformer = ZImageTransformer2DModel(
        **BLOCKS, n_layers=2, cap_feat_dim=WIDTH, axes_dims=[8, 4, 4], axes_lens=[1024, 32, 32]
    )
    _stir(transformer)
    words = tiny.qwen_tokenizer(LENGTH)
    config = Qwen3Config(
        vocab_size=len(words),
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=1024,
    )
    parts: dict[str, Any] = {
        "transformer": transformer,
        "vae": vae(),
        "text_encoder": Qwen3Model(config),
        "tokenizer": words,
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=3.0 if turbo else 6.0),
    }
    ZImagePipeline(**parts).save_pretrained(folder)
    return folder


def vae() -> AutoencoderKL:
    """FLUX.1's, for the real factor of 8, with its scale and shift."""
    shape: dict[str, Any] = {
        "block_out_channels": (8, 8, 16, 16),
        "latent_channels": 16,
        "norm_num_groups": 4,
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "sample_size": tiny.SIDE,
        "scaling_factor": 0.3611,
        "shift_factor": 0.1159,
        "use_quant_conv": False,
        "use_post_quant_conv": False,
        "force_upcast": False,
    }
    return AutoencoderKL(**shape).eval()


def control(places: tuple[int, ...] = (0,), seed: int = 6) -> ZImageControlNetModel:
    """The network of version 2.1, with layers of its own beside the refiner; it acts after the blocks of these numbers."""
    torch.manual_seed(seed)
    network = ZImageControlNetModel(
        **BLOCKS,
        control_layers_places=list(places),
        control_refiner_layers_places=[0, 1],
        control_in_dim=33,
        add_control_noise_refiner="control_noise_refiner",
    )
    _stir(network)
    return network.eval()


def union(folder: Path) -> Path:
    """A folder with that network as its makers publish it: one file of weights, and no configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(control().state_dict(), folder / "Z-Image-Turbo-Fun-Controlnet-Union-2.1.safetensors")
    return folder


def _stir(network: torch.nn.Module) -> None:
    """Fill what begins as zeros, or near it: tokens of padding, projections of the control, modulation."""
    with torch.no_grad():
        for name, each in network.named_parameters():
            if name.endswith("_pad_token") or "_proj." in name:
                each.normal_(std=0.5)
            elif "adaLN_modulation" in name:
                each.mul_(3)
