"""Bases of the families in their published shapes, without weights: files that say how many there are and hold none."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests import klein

T5, CLIP_L, CLIP_G = 4_762_310_656, 123_060_480, 694_659_840
QWEN3, QWEN_VL = 4_022_468_096, 8_292_166_656
"""Weights of text encoders: T5-XXL's half that encodes, CLIP's two, Qwen3 4B, Qwen2.5-VL 7B."""
VAE: Mapping[str, Any] = {
    "_class_name": "AutoencoderKL",
    "block_out_channels": [128, 256, 512, 512],
    "latent_channels": 16,
    "sample_size": 1024,
    "scaling_factor": 0.3611,
    "shift_factor": 0.1159,
}
QWEN_VAE: Mapping[str, Any] = {
    "_class_name": "AutoencoderKLQwenImage",
    "z_dim": 16,
    "temperal_downsample": [False, True, True],
}
SD3: Mapping[str, Any] = {
    "attention_head_dim": 64,
    "in_channels": 16,
    "joint_attention_dim": 4096,
    "out_channels": 16,
    "patch_size": 2,
    "pooled_projection_dim": 2048,
    "qk_norm": "rms_norm",
    "sample_size": 128,
}
FLUX: Mapping[str, Any] = {"in_channels": 64, "joint_attention_dim": 4096, "pooled_projection_dim": 768}
FLUX_OTHERS = {"text_encoder": CLIP_L, "text_encoder_2": T5, "vae": 83_819_683}
QWEN: Mapping[str, Any] = {"in_channels": 64, "joint_attention_dim": 3584}
ENCODER = {"max_position_embeddings": 77}
CLIPS = {"text_encoder": CLIP_L, "text_encoder_2": CLIP_G, "text_encoder_3": T5}


@dataclass(frozen=True, slots=True)
class Published:
    """A base: its pipeline, its transformer, and how many weights its networks have."""

    pipeline: str
    transformer: str
    config: Mapping[str, Any]
    """Of the transformer, beside the defaults of its class."""
    counts: Mapping[str, int]
    vae: Mapping[str, Any]


BASES = {
    "zimage": Published(
        "ZImagePipeline",
        "ZImageTransformer2DModel",
        {"in_channels": 16, "cap_feat_dim": 2560},
        {"transformer": 6_154_908_736, "text_encoder": QWEN3, "vae": 83_819_683},
        VAE,
    ),
    "sd35_medium": Published(
        "StableDiffusion3Pipeline",
        "SD3Transformer2DModel",
        {
            **SD3,
            "caption_projection_dim": 1536,
            "dual_attention_layers": list(range(13)),
            "num_attention_heads": 24,
            "num_layers": 24,
            "pos_embed_max_size": 384,
        },
        {"transformer": 2_243_171_520, **CLIPS, "vae": 83_819_683},
        VAE,
    ),
    "sd35_large": Published(
        "StableDiffusion3Pipeline",
        "SD3Transformer2DModel",
        {
            **SD3,
            "caption_projection_dim": 2432,
            "num_attention_heads": 38,
            "num_layers": 38,
            "pos_embed_max_size": 192,
        },
        {"transformer": 8_056_627_520, **CLIPS, "vae": 83_819_683},
        VAE,
    ),
    "flux_dev": Published(
        "FluxPipeline",
        "FluxTransformer2DModel",
        {**FLUX, "guidance_embeds": True},
        {"transformer": 11_901_408_320, **FLUX_OTHERS},
        VAE,
    ),
    "flux_schnell": Published(
        "FluxPipeline", "FluxTransformer2DModel", FLUX, {"transformer": 11_891_178_560, **FLUX_OTHERS}, VAE
    ),
    "qwenimage": Published(
        "QwenImagePipeline",
        "QwenImageTransformer2DModel",
        QWEN,
        {"transformer": 20_430_401_088, "text_encoder": QWEN_VL, "vae": 126_892_531},
        QWEN_VAE,
    ),
}
BASES |= {
    "sd35_large_turbo": BASES["sd35_large"],
    "flux_kontext": replace(BASES["flux_dev"], pipeline="FluxKontextPipeline"),
    "qwenimage_edit": replace(
        BASES["qwenimage"], pipeline="QwenImageEditPlusPipeline", config={**QWEN, "zero_cond_t": True}
    ),
}


def write(name: str, folder: Path) -> Path:
    """Write a base's hub folder; its transformer is one file, whatever number it is published in."""
    base = BASES[name]
    index = {"_class_name": base.pipeline, "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"]}
    configs = {
        "transformer": {"_class_name": base.transformer, **base.config},
        "vae": base.vae,
        "scheduler": {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0},
    }
    for part, count in base.counts.items():
        index |= {
            part: ["diffusers" if part in configs else "transformers", configs.get(part, {}).get("_class_name", "")]
        }
        (folder / part).mkdir(parents=True)
        stem = "diffusion_pytorch_model" if part in configs else "model"
        klein.write_weights(folder / part / f"{stem}.safetensors", count, "BF16")
    (folder / "scheduler").mkdir()
    for part in {*base.counts, "scheduler"}:
        file = "scheduler_config.json" if part == "scheduler" else "config.json"
        (folder / part / file).write_text(json.dumps(configs.get(part, ENCODER)))
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder
