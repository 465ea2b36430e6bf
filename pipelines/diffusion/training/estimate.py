"""What training will take, found without weights: networks of the same shape count their own memory and arithmetic.

Tensors on PyTorch's `meta` device have shapes and no content, so a forward pass of SDXL takes a second and no memory.
"""

import time
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from pipelines.diffusion.base import lora
from pipelines.diffusion.base.family import TARGETS, Frame, Words
from pipelines.diffusion.base.loading import Source, empty_unet
from portrait.arrays import Size
from portrait.training import Checkpointing

OPTIMISER = 16
"""Bytes a learned number takes in float32: itself, its gradient, two moments."""
CONTEXT = {"cuda": 0.7e9, "cpu": 0.5e9}
"""Bytes that PyTorch itself takes."""
SLACK = 1.15
"""For what the allocator cannot use, and the workspaces of convolutions."""
SHARE = {"cuda": 0.35, "cpu": 0.5}
"""Of the speed of one large product that a whole network reaches."""
RECOMPUTED = 0.15
"""Share of all activations that one recomputed block needs at once, under gradient checkpointing."""
LIGHT = 0.5
"""Share of all activations that light checkpointing leaves; 0.43 on SD 1.5 at 512 px."""
WORK: dict[Checkpointing, float] = {"off": 2.1, "light": 2.3, "full": 3.0}
"""Of a step, in forward passes: there, back through all layers, and what is computed again."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one picture, at one size."""

    fixed: float
    """Bytes whatever the batch: weights, optimiser, PyTorch."""
    kept: float
    """Bytes that wait for the backward pass, a picture."""
    checkpointed: float
    """The same under full gradient checkpointing."""
    operations: float
    """Of a forward pass, a picture."""

    def memory(self, batch: int, checkpointing: Checkpointing) -> float:
        """Bytes at the peak."""
        kept = {"off": self.kept, "light": LIGHT * self.kept, "full": self.checkpointed}[checkpointing]
        return (self.fixed + batch * kept) * SLACK

    def work(self, batch: int, checkpointing: Checkpointing) -> float:
        """Operations of a step."""
        return self.operations * batch * WORK[checkpointing]


def cost(base: Source, rank: int, side: int, dtype: torch.dtype, device: str) -> Cost:
    """Of teaching a LoRA at a square size."""
    unet = empty_unet(base)
    weights = sum(parameter.numel() for parameter in unet.parameters()) * dtype.itemsize
    unet.to(dtype)
    unet.requires_grad_(False)
    lora.attach(unet, rank, TARGETS, 0)
    learned = sum(parameter.numel() for parameter in unet.parameters() if parameter.requires_grad)
    kept, operations = _pass(base, unet, side, dtype)
    unet.enable_gradient_checkpointing()
    outside, _ = _pass(base, unet, side, dtype)
    fixed = weights + OPTIMISER * learned + CONTEXT[device]
    return Cost(fixed, kept, outside + RECOMPUTED * kept, operations)


def speed(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second of one large product here, measured in a moment."""
    size = 4096 if device.type == "cuda" else 768
    one = torch.ones(size, size, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(3):
        began = time.perf_counter()
        product = one @ one
        product[0, 0].item()  # waits for the device
        best = min(best, time.perf_counter() - began)
    return SHARE[device.type] * 2 * size**3 / best


def _pass(base: Source, unet: Any, side: int, dtype: torch.dtype) -> tuple[float, float]:
    """Bytes kept for the backward pass, and operations, of one picture."""
    seen: dict[int, int] = {}
    own = {parameter.untyped_storage()._cdata for parameter in unet.parameters()}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            seen[storage._cdata] = storage.nbytes()
            held.append(tensor)  # or another one would get its number
        return tensor

    held: list[torch.Tensor] = []
    config = base.config("unet")
    latent = side // base.factor
    with torch.device("meta"):
        noised = torch.zeros(1, int(config["in_channels"]), latent, latent, dtype=dtype)
        width = int(config["cross_attention_dim"])
        words = Words(torch.zeros(1, 77, width, dtype=dtype), _pooled(config, dtype))
        times = torch.zeros(1, dtype=torch.long)
        added = base.family.added(words, [Frame(Size(side, side), Size(side, side))])
        added = added and {name: each.to("meta") for name, each in added.items()}
        unet.train()
        with FlopCounterMode(display=False) as counter, torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            unet(noised, times, words.hidden, added_cond_kwargs=added, return_dict=False)
    return float(sum(seen.values())), float(counter.get_total_flops())


def _pooled(config: dict[str, Any], dtype: torch.dtype) -> torch.Tensor | None:
    """Pooled words of the width that is left beside six sizes, in families that have them."""
    if config.get("addition_embed_type") != "text_time":
        return None
    width = int(config["projection_class_embeddings_input_dim"]) - 6 * int(config["addition_time_embed_dim"])
    return torch.zeros(1, width, dtype=dtype)
