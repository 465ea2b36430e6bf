"""Quantised files of a FLUX.2 that is small, and wide enough for quantisations that put 256 numbers together."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, Flux2KleinPipeline, Flux2Transformer2DModel
from gguf import GGMLQuantizationType as Kind
from gguf import GGUFWriter
from transformers import Qwen3Config, Qwen3ForCausalLM

from pipelines.diffusion.base.registry import family_by_name
from pipelines.diffusion.selftest import tiny

WIDTH = 256


def write_base(folder: Path, seed: int = 4) -> Path:
    """The base in a hub folder."""
    torch.manual_seed(seed)
    words = tiny.qwen_tokenizer(96)
    config = Qwen3Config(
        vocab_size=len(words),
        hidden_size=WIDTH,
        intermediate_size=WIDTH,
        num_hidden_layers=4,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
    )
    parts: dict[str, Any] = {
        "transformer": Flux2Transformer2DModel(
            patch_size=1,
            in_channels=16,
            num_layers=1,
            num_single_layers=2,
            attention_head_dim=WIDTH // 2,
            num_attention_heads=2,
            joint_attention_dim=3 * WIDTH,
            timestep_guidance_channels=WIDTH,
            axes_dims_rope=(32, 32, 32, 32),
            guidance_embeds=False,
        ),
        "vae": tiny.flux2_vae(),
        "text_encoder": Qwen3ForCausalLM(config),
        "tokenizer": words,
        "scheduler": FlowMatchEulerDiscreteScheduler(
            shift=3.0, use_dynamic_shifting=True, time_shift_type="exponential"
        ),
    }
    Flux2KleinPipeline(**parts).save_pretrained(folder)
    return folder


def write_gguf(transformer: Any, file: Path, kind: Kind, prefix: str = "") -> Path:
    """A transformer in its makers' names, as those who quantise write it: matrices alone, where their rows can be."""
    weights = family_by_name("flux2").single_file_weights({"transformer": transformer})
    return write_tensors({prefix + name: each.float().numpy() for name, each in weights.items()}, file, kind)


def write_tensors(weights: Mapping[str, np.ndarray], file: Path, kind: Kind, architecture: str = "flux") -> Path:
    """Tensors in a GGUF file."""
    writer = GGUFWriter(file, architecture)
    for name, weight in weights.items():
        whole = weight.ndim < 2 or weight.shape[-1] % gguf.GGML_QUANT_SIZES[kind][0] > 0
        writer.add_tensor(name, weight if whole else quantise(weight, kind), raw_dtype=None if whole else kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def quantise(weight: np.ndarray, kind: Kind) -> np.ndarray:
    """The bytes of a matrix, row by row."""
    pack = K_PACKINGS.get(kind)
    if pack is None:
        return gguf.quants.quantize(weight, kind)
    return pack(weight.reshape(-1, 8, 32)).reshape(weight.shape[0], -1)


def dequantised(transformer: Any) -> dict[str, torch.Tensor]:
    """The weights that a transformer of a GGUF file computes with, by the reader of those who made the format."""
    found = {}
    for name, weight in transformer.state_dict(keep_vars=True).items():
        kind = getattr(weight, "quant_type", None)
        stored = weight.detach().as_subclass(torch.Tensor)
        found[name] = stored if kind is None else torch.from_numpy(gguf.quants.dequantize(stored.numpy(), kind))
    return found


def _steps(blocks: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Head, scales and minima of superblocks N×8×32, and the numbers 0..`most` of their elements.

    gguf's own Python code reads these quantisations and does not write them: this is the plain rounding of their definition.
    """
    least = np.minimum(blocks.min(axis=2), 0)
    scale = (blocks.max(axis=2).clip(0) - least) / most
    d, dmin = ((each.max(axis=1, keepdims=True) / 63).astype(np.float16) for each in (scale, -least))
    wide, low = (np.where(each > 0, each, 1).astype(np.float32) for each in (d, dmin))
    sc, mn = (np.round(each).clip(0, 63).astype(np.uint8) for each in (scale / wide, -least / low))
    factor = (d.astype(np.float32) * sc)[..., None]
    shifted = blocks + (dmin.astype(np.float32) * mn)[..., None]
    numbers = np.round(shifted / np.where(factor > 0, factor, 1)).clip(0, most).astype(np.uint8)
    low_bits = np.concatenate(
        [
            sc[:, :4] | (sc[:, 4:] >> 4 << 6),
            mn[:, :4] | (mn[:, 4:] >> 4 << 6),
            (sc[:, 4:] & 15) | ((mn[:, 4:] & 15) << 4),
        ],
        axis=1,
    )
    head = np.concatenate([d.view(np.uint8), dmin.view(np.uint8), low_bits], axis=1)
    return head, numbers, numbers & 15


def _pack_q4_k(blocks: np.ndarray) -> np.ndarray:
    head, _, four = _steps(blocks, 15)
    return np.concatenate([head, (four[:, ::2] | (four[:, 1::2] << 4)).reshape(len(blocks), -1)], axis=1)


def _pack_q5_k(blocks: np.ndarray) -> np.ndarray:
    head, numbers, four = _steps(blocks, 31)
    fifth = np.zeros((len(blocks), 32), np.uint8)
    for at in range(8):
        fifth |= numbers[:, at] >> 4 << at
    return np.concatenate([head, fifth, (four[:, ::2] | (four[:, 1::2] << 4)).reshape(len(blocks), -1)], axis=1)


K_PACKINGS: Mapping[Kind, Callable[[np.ndarray], np.ndarray]] = {Kind.Q4_K: _pack_q4_k, Kind.Q5_K: _pack_q5_k}
