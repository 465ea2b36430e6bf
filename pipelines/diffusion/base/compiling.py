"""Transformer blocks compiled by PyTorch: a network repeats one block, so one compilation serves them all, and all people."""

import torch
from diffusers.models.attention import BasicTransformerBlock

BACKEND = "inductor"
VARIANTS = 64
"""Compiled forms of a block that are kept, where PyTorch keeps 8: levels of the network × with and without guidance × each
way of telling who. Beyond that it runs uncompiled."""


def compile_blocks(network: torch.nn.Module) -> None:
    """Have a network's blocks compiled at their first use. Pictures may differ by a level from those drawn without."""
    torch._dynamo.config.recompile_limit = VARIANTS
    for part in network.modules():
        if isinstance(part, BasicTransformerBlock):
            part.compile(backend=BACKEND)
