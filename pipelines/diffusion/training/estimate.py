"""What training will take, estimated without weights: a denoiser of the same shape counts its own memory and arithmetic.

Tensors on PyTorch's `meta` device have shapes and no content, so a forward pass of SDXL takes a second and no memory.

Of transformers, whose blocks are alike, it is counted block by block what each way of checkpointing stores, with attention that
stores no weights of its own, as GPUs compute it. The levels of U-Nets differ: theirs are shares that were measured.
"""

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from pipelines.diffusion.base import lora
from pipelines.diffusion.base.device import repeated_blocks
from pipelines.diffusion.base.family import SizeConditioning
from pipelines.diffusion.base.loading import empty_denoiser
from pipelines.diffusion.base.source import BaseSource
from pipelines.diffusion.training import gradient_checkpointing
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
"""Share of all activations of a U-Net that one recomputed block needs at once, under full gradient checkpointing."""
LIGHT_SHARE = 0.5
"""Share of all activations of a U-Net that light checkpointing leaves; 0.43 on SD 1.5 at 512 px."""
FORWARD_PASSES: dict[Checkpointing, float] = {"off": 2.1, "light": 2.3, "full": 3.0}
"""Arithmetic of a step, in forward passes: forward, backward through all layers, and what is recomputed."""


@dataclass(frozen=True, slots=True)
class TrainingCost:
    """Memory and arithmetic of training at one image size."""

    fixed_bytes: float
    """Bytes for any batch size: weights, optimizer, PyTorch."""
    activation_bytes: float
    """Bytes stored for the backward pass, per image."""
    light_bytes: float
    """The same under light gradient checkpointing."""
    checkpointed_bytes: float
    """The same under full gradient checkpointing."""
    forward_flops: float
    """Operations of a forward pass, per image."""

    def peak_bytes(self, batch: int, checkpointing: Checkpointing) -> float:
        """Bytes at the peak."""
        activations = {
            "off": self.activation_bytes,
            "light": self.light_bytes,
            "full": self.checkpointed_bytes,
        }[checkpointing]
        return (self.fixed_bytes + batch * activations) * SLACK

    def step_flops(self, batch: int, checkpointing: Checkpointing) -> float:
        """Floating point operations of a step."""
        return self.forward_flops * batch * FORWARD_PASSES[checkpointing]


@dataclass(frozen=True, slots=True)
class _Shape:
    """A base as far as an estimate depends on it: two with the same configurations cost the same."""

    base: BaseSource = field(compare=False)
    configs: str


def estimate_cost(base: BaseSource, rank: int, side: int, dtype: torch.dtype, device: str) -> TrainingCost:
    """The cost of training a LoRA on square images of `side` pixels; what was counted once in this process is known."""
    networks = {each.parent.name for each in base.config_folder.glob("*/config.json")} - {"scheduler"}
    configs = json.dumps([base.family.name, {each: base.config(each) for each in networks}], sort_keys=True)
    return _estimate(_Shape(base, configs), rank, side, dtype, device)


@lru_cache(maxsize=32)
def _estimate(shape: _Shape, rank: int, side: int, dtype: torch.dtype, device: str) -> TrainingCost:
    base, denoiser = shape.base, empty_denoiser(shape.base)
    weights = sum(parameter.numel() for parameter in denoiser.parameters()) * dtype.itemsize
    denoiser.to(dtype)
    denoiser.requires_grad_(False)
    lora.add_adapter(denoiser, rank, base.family.lora_targets(denoiser), 0)
    trained = sum(parameter.numel() for parameter in denoiser.parameters() if parameter.requires_grad)
    fixed = weights + OPTIMIZER_BYTES * trained + CONTEXT_BYTES[device]
    if _has_equal_blocks(denoiser):
        return _count_blocks(base, denoiser, side, dtype, fixed)
    activations, flops = _measure_forward(base, denoiser, side, dtype)
    denoiser.enable_gradient_checkpointing()
    checkpointed, _ = _measure_forward(base, denoiser, side, dtype)
    checkpointed += RECOMPUTED_SHARE * activations
    return TrainingCost(fixed, activations, LIGHT_SHARE * activations, checkpointed, flops)


def forward_flops(base: BaseSource, denoiser: Any, side: int, dtype: torch.dtype) -> float:
    """Floating point operations of one pass through an empty denoiser for a square image of `side` pixels."""
    return _measure_forward(base, denoiser.to(dtype), side, dtype)[1]


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


def _has_equal_blocks(denoiser: Any) -> bool:
    """Whether a network is a row of the blocks that diffusers compiles one for all, as transformers are, and no U-Net is."""
    repeated = repeated_blocks(denoiser)
    rows = (child for child in denoiser.children() if isinstance(child, torch.nn.ModuleList))
    return any(type(block).__name__ in repeated for row in rows for block in row)


def _count_blocks(base: BaseSource, denoiser: Any, side: int, dtype: torch.dtype, fixed: float) -> TrainingCost:
    """The cost of a network of equal blocks: what is stored outside of them, at their inputs, and by one that is recomputed."""
    stored = _StoredTensors(denoiser)
    blocks = _CheckpointedBlocks(stored, base.family.stored_products)
    denoiser.enable_gradient_checkpointing(blocks.run)
    total, flops = _measure_forward(base, denoiser, side, dtype, stored, (_FusedAttention(), blocks))
    full = total - sum(blocks.sizes) + sum(blocks.inputs.values()) + max(blocks.sizes)
    return TrainingCost(fixed, total, min(total, full + blocks.products), min(total, full), flops)


class _StoredTensors:
    """Counts the bytes that are stored for the backward pass, without weights."""

    def __init__(self, denoiser: Any) -> None:
        self._weights = {parameter.untyped_storage()._cdata for parameter in denoiser.parameters()}
        self._sizes: dict[int, int] = {}
        self._tensors: list[torch.Tensor] = []

    @property
    def total(self) -> float:
        """Bytes so far."""
        return float(sum(self._sizes.values()))

    def pack(self, tensor: torch.Tensor) -> torch.Tensor:
        """A hook for saved tensors; two of one storage count once."""
        storage = tensor.untyped_storage()
        if storage._cdata not in self._weights:
            self._sizes[storage._cdata] = storage.nbytes()
            self._tensors.append(tensor)  # or another one would get its number
        return tensor


class _CheckpointedBlocks(TorchDispatchMode):
    """Runs blocks in place of a checkpointing function, and counts what each stores, takes in, and would store as products."""

    def __init__(self, stored: _StoredTensors, stored_products: int) -> None:
        super().__init__()
        self._stored, self._least, self._inside = stored, stored_products, False
        self._tensors: list[torch.Tensor] = []
        self.sizes: list[float] = []
        self.inputs: dict[int, float] = {}
        self.products = 0.0

    def run(self, block: Any, *given: Any) -> Any:
        """A block's result."""
        before, self._inside = self._stored.total, True
        for each in tree_leaves(given):
            if isinstance(each, torch.Tensor):
                self.inputs[each.untyped_storage()._cdata] = float(each.untyped_storage().nbytes())
                self._tensors.append(each)
        result = block(*given)
        self._inside = False
        self.sizes.append(self._stored.total - before)
        return result

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if self._inside and gradient_checkpointing.summed_numbers(func, args) >= self._least:
            self.products += sum(float(each.nbytes) for each in tree_leaves(result) if isinstance(each, torch.Tensor))
        return result


class _FusedAttention(TorchFunctionMode):
    """Attention as one operation, which the `meta` device would take apart."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = dict(zip(("query", "key", "value", "attn_mask"), args, strict=False)) | dict(kwargs or {})
        if func is not torch.nn.functional.scaled_dot_product_attention or given.get("attn_mask") is not None:
            return func(*args, **(kwargs or {}))
        fused = torch.ops.aten._scaled_dot_product_efficient_attention
        return fused(given["query"], given["key"], given["value"], None, True)[0]


def _measure_forward(
    base: BaseSource,
    denoiser: Any,
    side: int,
    dtype: torch.dtype,
    stored: _StoredTensors | None = None,
    modes: Sequence[Any] = (),
) -> tuple[float, float]:
    """Bytes stored for the backward pass, and operations, of one image; run under `modes`."""
    stored = stored or _StoredTensors(denoiser)
    geometry, square = base.geometry, Size(side, side)
    latent = side // geometry.cell
    with torch.device("meta"):
        noised = torch.zeros(1, geometry.channels, latent, latent, dtype=dtype)
        embeddings = base.family.blank_embeddings(base.config, dtype)
        timesteps = torch.zeros(1)
        denoiser.train()
        with FlopCounterMode(display=False) as counter, ExitStack() as stack:
            for mode in (*modes, torch.autograd.graph.saved_tensors_hooks(stored.pack, lambda tensor: tensor)):
                stack.enter_context(mode)
            base.family.predict(denoiser, noised, timesteps, embeddings, [SizeConditioning(square, square)])
    return stored.total, float(counter.get_total_flops())
