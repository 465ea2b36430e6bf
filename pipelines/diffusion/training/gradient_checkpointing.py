"""Gradient checkpointing in two strengths: which activations are stored for the backward pass, and which recomputed.

*Light* stores what is costly to compute for its size (convolutions, long products, attention over many tokens) and recomputes
norms, activations and short products. On SD 1.5 at 512 px that saves more than half of the activations for a tenth more
arithmetic; *full* stores little but the input of each block, for a third more.
"""

from functools import partial
from typing import Any

import torch
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

from portrait.training import Checkpointing

_aten = torch.ops.aten
_PRODUCTS = {_aten.mm.default: 0, _aten.addmm.default: 1, _aten.bmm.default: 0}
"""Operations with the index of their left factor, over whose last dimension is summed."""
_ATTENTION = {
    _aten._scaled_dot_product_flash_attention.default,
    _aten._scaled_dot_product_flash_attention_for_cpu.default,
    _aten._scaled_dot_product_efficient_attention.default,
    _aten._scaled_dot_product_cudnn_attention.default,
}


def enable(denoiser: Any, strength: Checkpointing, stored_products: int) -> None:
    """Turn checkpointing on in a denoiser of diffusers; its results and gradients stay the same.

    `stored_products`: numbers summed for each number of a result, from which on light checkpointing stores it.
    """
    if strength == "light":
        contexts = partial(create_selective_checkpoint_contexts, partial(_decide, stored_products))
        denoiser.enable_gradient_checkpointing(partial(checkpoint, use_reentrant=False, context_fn=contexts))
    elif strength == "full":
        denoiser.enable_gradient_checkpointing()


def _decide(least: int, context: object, operation: Any, *arguments: Any, **more: Any) -> CheckpointPolicy:
    stored = summed_numbers(operation, arguments) >= least
    return CheckpointPolicy.MUST_SAVE if stored else CheckpointPolicy.PREFER_RECOMPUTE


def summed_numbers(operation: Any, arguments: tuple[Any, ...]) -> int:
    """How many numbers are summed for each one of a result; 0 for elementwise operations."""
    if operation in _PRODUCTS:
        return int(arguments[_PRODUCTS[operation]].shape[-1])
    if operation is _aten.convolution.default:
        weight = arguments[1]
        return weight[0].numel()
    if operation in _ATTENTION:  # queries with keys, then weights with values
        return 2 * int(arguments[1].shape[-2])
    return 0
