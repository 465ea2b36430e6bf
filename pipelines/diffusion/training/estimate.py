"""What training will take, estimated without weights: a U-Net of the same shape counts its own memory and arithmetic.

Tensors on PyTorch's `meta` device have shapes and no content, so a forward pass of SDXL takes a second and no memory.
"""

import time
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from pipelines.diffusion.base import lora
from pipelines.diffusion.base.family import LORA_TARGETS, SizeConditioning, TextEmbeddings
from pipelines.diffusion.base.loading import BaseSource, empty_unet
from portrait.arrays import Size
from portrait.training import Checkpointing

OPTIMIZER_BYTES = 16
"""Bytes per trained parameter in float32: itself, its gradient, AdamW's two moments."""
CONTEXT_BYTES = {"cuda": 0.7e9, "cpu": 0.5e9}
"""Bytes that PyTorch itself takes."""
SLACK = 1.15
"""For what the allocator cannot use, and the workspaces of convolutions."""
SPEED_SHARE = {"cuda": 0.35, "cpu": 0.5}
"""Share of the speed of one large matrix product that a whole network reaches."""
RECOMPUTED_SHARE = 0.15
"""Share of all activations that one recomputed block needs at once, under full gradient checkpointing."""
LIGHT_SHARE = 0.5
"""Share of all activations that light checkpointing leaves; 0.43 on SD 1.5 at 512 px."""
FORWARD_PASSES: dict[Checkpointing, float] = {"off": 2.1, "light": 2.3, "full": 3.0}
"""Arithmetic of a step, in forward passes: forward, backward through all layers, and what is recomputed."""


@dataclass(frozen=True, slots=True)
class TrainingCost:
    """Memory and arithmetic of training at one image size."""

    fixed_bytes: float
    """Bytes for any batch size: weights, optimizer, PyTorch."""
    activation_bytes: float
    """Bytes stored for the backward pass, per image."""
    checkpointed_bytes: float
    """The same under full gradient checkpointing."""
    forward_flops: float
    """Operations of a forward pass, per image."""

    def peak_bytes(self, batch: int, checkpointing: Checkpointing) -> float:
        """Bytes at the peak."""
        activations = {
            "off": self.activation_bytes,
            "light": LIGHT_SHARE * self.activation_bytes,
            "full": self.checkpointed_bytes,
        }[checkpointing]
        return (self.fixed_bytes + batch * activations) * SLACK

    def step_flops(self, batch: int, checkpointing: Checkpointing) -> float:
        """Floating point operations of a step."""
        return self.forward_flops * batch * FORWARD_PASSES[checkpointing]


def estimate_cost(base: BaseSource, rank: int, side: int, dtype: torch.dtype, device: str) -> TrainingCost:
    """The cost of training a LoRA on square images of `side` pixels."""
    unet = empty_unet(base)
    weights = sum(parameter.numel() for parameter in unet.parameters()) * dtype.itemsize
    unet.to(dtype)
    unet.requires_grad_(False)
    lora.add_adapter(unet, rank, LORA_TARGETS, 0)
    trained = sum(parameter.numel() for parameter in unet.parameters() if parameter.requires_grad)
    activations, flops = _measure_forward(base, unet, side, dtype)
    unet.enable_gradient_checkpointing()
    checkpointed, _ = _measure_forward(base, unet, side, dtype)
    fixed = weights + OPTIMIZER_BYTES * trained + CONTEXT_BYTES[device]
    return TrainingCost(fixed, activations, checkpointed + RECOMPUTED_SHARE * activations, flops)


def measure_flops_per_second(device: torch.device, dtype: torch.dtype) -> float:
    """The speed a network reaches here, operations per second, from the best of three large matrix products."""
    size = 4096 if device.type == "cuda" else 768
    matrix = torch.ones(size, size, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(3):
        started = time.perf_counter()
        product = matrix @ matrix
        product[0, 0].item()  # waits for the device
        best = min(best, time.perf_counter() - started)
    return SPEED_SHARE[device.type] * 2 * size**3 / best


def _measure_forward(base: BaseSource, unet: Any, side: int, dtype: torch.dtype) -> tuple[float, float]:
    """Bytes stored for the backward pass, and operations, of one image."""
    sizes: dict[int, int] = {}
    weights = {parameter.untyped_storage()._cdata for parameter in unet.parameters()}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            sizes[storage._cdata] = storage.nbytes()
            tensors.append(tensor)  # or another one would get its number
        return tensor

    tensors: list[torch.Tensor] = []
    config = base.config("unet")
    latent = side // base.vae_scale_factor
    with torch.device("meta"):
        noised = torch.zeros(1, int(config["in_channels"]), latent, latent, dtype=dtype)
        width = int(config["cross_attention_dim"])
        embeddings = TextEmbeddings(torch.zeros(1, 77, width, dtype=dtype), _pooled(config, dtype))
        timesteps = torch.zeros(1, dtype=torch.long)
        added = base.family.added_cond_kwargs(embeddings, [SizeConditioning(Size(side, side), Size(side, side))])
        added = added and {name: each.to("meta") for name, each in added.items()}
        unet.train()
        with FlopCounterMode(display=False) as counter, torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            unet(noised, timesteps, embeddings.hidden, added_cond_kwargs=added, return_dict=False)
    return float(sum(sizes.values())), float(counter.get_total_flops())


def _pooled(config: dict[str, Any], dtype: torch.dtype) -> torch.Tensor | None:
    """Pooled embeddings of the width that is left beside six sizes, in families that have them; else None."""
    if config.get("addition_embed_type") != "text_time":
        return None
    width = int(config["projection_class_embeddings_input_dim"]) - 6 * int(config["addition_time_embed_dim"])
    return torch.zeros(1, width, dtype=dtype)
