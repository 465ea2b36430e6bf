"""Counts what a person's LoRA and a step cost on each base: its published shape, without weights, on PyTorch's `meta` device.

`python -m tests.benchmarks.network_costs` prints the numbers that stand in `scaling.py`.
"""

import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel

from pipelines.diffusion.base.loading import empty_denoiser, open_base
from pipelines.diffusion.base.source import BaseSource
from pipelines.diffusion.training import estimate
from tests import klein
from tests.benchmarks.test_slot_speed import XL
from tests.pipelines.diffusion.base.families import published_shapes

SD15: Mapping[str, Any] = {
    "sample_size": 64,
    "block_out_channels": [320, 640, 1280, 1280],
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
}
UNETS: Mapping[str, tuple[str, Mapping[str, Any], int]] = {
    "sd15": ("StableDiffusionPipeline", SD15, 1),
    "sdxl": ("StableDiffusionXLPipeline", XL, 2),
}
"""By base its pipeline, the configuration of its U-Net beside diffusers' defaults, and how many text encoders it has."""
VAE: Mapping[str, Any] = {"_class_name": "AutoencoderKL", "block_out_channels": [128, 256, 512, 512]}


def base(name: str, folder: Path) -> BaseSource:
    """A base in its published shape, its files written to a folder."""
    if name in UNETS:
        return open_base(name, _write_unet(name, folder))
    place = klein.write(folder, distilled=False) if name == "flux2_klein" else published_shapes.write(name, folder)
    return open_base(name, place)


def lora_factors(name: str, folder: Path) -> int:
    """Numbers of a person's LoRA for each rank: rows and columns of all layers that it changes."""
    found = base(name, folder)
    denoiser = empty_denoiser(found)
    targets = tuple(found.family.lora_targets(denoiser))
    layers = [
        module
        for path, module in denoiser.named_modules()
        if isinstance(module, torch.nn.Linear) and any(path == each or path.endswith(f".{each}") for each in targets)
    ]
    return sum(layer.in_features + layer.out_features for layer in layers)


def forward_flops(name: str, folder: Path) -> float:
    """Floating point operations of one pass through the denoiser for one picture of the base's own size."""
    found = base(name, folder)
    return estimate.estimate_cost(found, found.family.rank, found.native_side, torch.bfloat16, "cuda").forward_flops


def _write_unet(name: str, folder: Path) -> Path:
    """Write the configurations of a base with a U-Net."""
    pipeline, unet, encoders = UNETS[name]
    with torch.device("meta"):
        config = dict(UNet2DConditionModel(**unet).config)
    texts = [f"text_encoder{'' if at == 0 else f'_{at + 1}'}" for at in range(encoders)]
    index: dict[str, Any] = {"_class_name": pipeline, "unet": ["diffusers", "UNet2DConditionModel"]}
    index |= {"vae": ["diffusers", "AutoencoderKL"], "scheduler": ["diffusers", "EulerDiscreteScheduler"]}
    index |= {each: ["transformers", "CLIPTextModel"] for each in texts}
    configs = {
        "unet": {"_class_name": "UNet2DConditionModel", **config},
        "vae": VAE,
        "scheduler": {"_class_name": "EulerDiscreteScheduler"},
        **{each: {"max_position_embeddings": 77} for each in texts},
    }
    for part, config in configs.items():
        (folder / part).mkdir(parents=True)
        file = "scheduler_config.json" if part == "scheduler" else "config.json"
        (folder / part / file).write_text(json.dumps(config))
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def main() -> None:
    for name in ("sd15", "sdxl", "flux2_klein", "sd35_medium", "zimage", "flux_dev", "qwenimage"):
        with tempfile.TemporaryDirectory() as folder:
            found = base(name, Path(folder) / "base")
            factors = lora_factors(name, Path(folder) / "again")
            flops = forward_flops(name, Path(folder) / "third")
            presets = found.family.presets["balanced"]
            line = {"rank": found.family.rank, "factors": factors, "teraflop": flops / 1e12, "steps": presets.steps}
            sys.stdout.write(f"{name} {json.dumps(line)} side {found.native_side} facts {found.facts}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
