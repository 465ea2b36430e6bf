"""Changing the person on a shared base: a copy into the slot against unloading one LoRA and loading the next.

The U-Net has SDXL's real shape in bfloat16 (5 GB), each LoRA rank 16 on all attention: what takes
time is neither the drawing nor the content of the weights.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel
from safetensors.torch import save_file

from pipelines.diffusion.base.family import LORA_TARGETS
from pipelines.diffusion.base.loras.layers import BaseLayers
from pipelines.diffusion.base.loras.slot import AdapterCache, LoraSlot
from pipelines.diffusion.base.registry import family_by_name
from tests.benchmarks.plugin import Record

pytestmark = pytest.mark.bench

XL: dict[str, Any] = {
    "sample_size": 128,
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
RANK = 16
LEAST = 20
"""How many times faster the slot must be, in one run."""


class Bare(StableDiffusionXLPipeline):
    """The stock loader of LoRAs without the rest of a pipeline."""

    def __init__(self, unet: UNet2DConditionModel) -> None:
        self.unet, self.text_encoder, self.text_encoder_2 = unet, None, None

    @property
    def components(self) -> dict[str, Any]:
        return {"unet": self.unet}


def lora(unet: UNet2DConditionModel, file: Path, seed: int) -> Path:
    torch.manual_seed(seed)
    weights = {}
    for name, module in unet.named_modules():
        if isinstance(module, torch.nn.Linear) and name.endswith(LORA_TARGETS):
            weights[f"unet.{name}.lora_A.weight"] = torch.randn(RANK, module.in_features, dtype=torch.bfloat16) * 0.02
            weights[f"unet.{name}.lora_B.weight"] = torch.randn(module.out_features, RANK, dtype=torch.bfloat16) * 0.02
    save_file(weights, file)
    return file


def timed(act: Callable[[int], object], turns: int) -> float:
    """Milliseconds of a turn, the median; the first is not counted."""
    found = []
    for turn in range(turns + 1):
        began = time.perf_counter()
        act(turn)
        found.append(1000 * (time.perf_counter() - began))
    return median(found[1:])


def layers_out(unet: UNet2DConditionModel) -> list[torch.Tensor]:
    """The output of every layer that has a LoRA: all that loading one changes."""
    layers: list[Any] = [module for name, module in unet.named_modules() if name.endswith(LORA_TARGETS)]
    torch.manual_seed(0)
    with torch.no_grad():
        return [layer(torch.randn(1, 4, layer.in_features, dtype=torch.bfloat16)) for layer in layers]


def cache(layers: BaseLayers) -> AdapterCache:
    """An empty one, for a base in bfloat16 on the CPU."""
    return AdapterCache(lambda: layers, torch.bfloat16, torch.device("cpu"))


def test_the_slot_is_faster_than_unloading_and_loading(tmp_path: Path, figure: Record) -> None:
    with torch.device("meta"):
        bare = UNet2DConditionModel(**XL)
        unet: Any = UNet2DConditionModel(**XL)
        unet = unet.to(torch.bfloat16)
    unet = unet.to_empty(device="cpu").requires_grad_(False).eval()
    with torch.no_grad():
        for weight in unet.parameters():
            weight.fill_(0.01)
    files = [lora(unet, tmp_path / f"{seed}.safetensors", seed) for seed in (1, 2)]
    pipeline = Bare(unet)

    def load(turn: int) -> None:
        if getattr(unet, "peft_config", None):
            pipeline.unload_lora_weights()
        pipeline.load_lora_weights(str(files[turn % 2]), adapter_name="person")

    stock, wanted = timed(load, 4), layers_out(unet)
    pipeline.unload_lora_weights()
    slot = LoraSlot(unet, RANK, LORA_TARGETS)
    layers = BaseLayers("xl", family_by_name("sdxl"), {"unet": bare}, {**XL, "layers_per_block": 2})
    memory = cache(layers)
    cached = timed(lambda turn: slot.load(memory.get(files[turn % 2])["unet"]), 10)
    fresh = timed(lambda turn: slot.load(cache(layers).get(files[turn % 2])["unet"]), 4)
    slot.load(memory.get(files[0])["unet"])
    given = layers_out(unet)
    assert len(given) == len(wanted) > 500
    assert all(torch.equal(one, other) for one, other in zip(given, wanted, strict=True))
    lines = [
        "| changing the person, SDXL, rank 16 | ms | times faster |",
        "|---|---|---|",
        f"| unload and load | {stock:.0f} | 1 |",
        f"| into the slot, from file | {fresh:.0f} | {stock / fresh:.0f} |",
        f"| into the slot, from memory | {cached:.1f} | {stock / cached:.0f} |",
    ]
    sys.stdout.write("\n" + "\n".join(lines) + "\n")
    figure("Changing the person, from memory: times faster than diffusers", stock / cached, "×", at_least=LEAST)
    figure("Changing the person, from file: times faster than diffusers", stock / fresh, "×", at_least=LEAST)
