"""FLUX.2 [klein] 4B in its published configurations, without weights: files that say how many there are and hold none."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

COUNTS = {"transformer": 3_875_544_576, "text_encoder": 4_022_468_096, "vae": 84_046_115}
"""Weights of each network, counted in networks of these configurations on the `meta` device."""
TRANSFORMER: Mapping[str, Any] = {
    "_class_name": "Flux2Transformer2DModel",
    "attention_head_dim": 128,
    "axes_dims_rope": [32, 32, 32, 32],
    "eps": 1e-06,
    "guidance_embeds": False,
    "in_channels": 128,
    "joint_attention_dim": 7680,
    "mlp_ratio": 3.0,
    "num_attention_heads": 24,
    "num_layers": 5,
    "num_single_layers": 20,
    "patch_size": 1,
    "rope_theta": 2000,
    "timestep_guidance_channels": 256,
}
TEXT_ENCODER: Mapping[str, Any] = {
    "architectures": ["Qwen3ForCausalLM"],
    "model_type": "qwen3",
    "head_dim": 128,
    "hidden_size": 2560,
    "intermediate_size": 9728,
    "num_attention_heads": 32,
    "num_hidden_layers": 36,
    "num_key_value_heads": 8,
    "tie_word_embeddings": True,
    "vocab_size": 151936,
}
VAE: Mapping[str, Any] = {
    "_class_name": "AutoencoderKLFlux2",
    "block_out_channels": [128, 256, 512, 512],
    "latent_channels": 32,
    "patch_size": [2, 2],
    "sample_size": 1024,
}
SCHEDULER: Mapping[str, Any] = {"_class_name": "FlowMatchEulerDiscreteScheduler", "use_dynamic_shifting": True}
INDEX: Mapping[str, Any] = {
    "_class_name": "Flux2KleinPipeline",
    "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
    "text_encoder": ["transformers", "Qwen3ForCausalLM"],
    "tokenizer": ["transformers", "Qwen2TokenizerFast"],
    "transformer": ["diffusers", "Flux2Transformer2DModel"],
    "vae": ["diffusers", "AutoencoderKLFlux2"],
}


def write(folder: Path, distilled: bool, dtype: str = "BF16") -> Path:
    """Write a hub folder; the text encoder is in two parts, as it is published."""
    configs = {"transformer": TRANSFORMER, "text_encoder": TEXT_ENCODER, "vae": VAE}
    for name, config in configs.items():
        _write(folder / name / "config.json", config)
    _write(folder / "scheduler" / "scheduler_config.json", SCHEDULER)
    _write(folder / "model_index.json", {**INDEX, "is_distilled": distilled})
    half = COUNTS["text_encoder"] // 2
    write_weights(folder / "transformer" / "diffusion_pytorch_model.safetensors", COUNTS["transformer"], dtype)
    write_weights(folder / "text_encoder" / "model-00001-of-00002.safetensors", half, dtype)
    write_weights(folder / "text_encoder" / "model-00002-of-00002.safetensors", COUNTS["text_encoder"] - half, dtype)
    write_weights(folder / "vae" / "diffusion_pytorch_model.safetensors", COUNTS["vae"], "F32")
    return folder


def write_weights(file: Path, count: int, dtype: str) -> None:
    """A file with a header alone, behind which nothing is on the disk."""
    size = count * {"F32": 4, "BF16": 2, "F8_E4M3": 1}[dtype]
    header = json.dumps({"weights": {"dtype": dtype, "shape": [count], "data_offsets": [0, size]}}).encode()
    file.write_bytes(len(header).to_bytes(8, "little") + header)
    with file.open("ab") as stream:
        stream.truncate(8 + len(header) + size)


def _write(file: Path, content: Mapping[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))
