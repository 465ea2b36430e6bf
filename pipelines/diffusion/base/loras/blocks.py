"""Blocks of a U-Net as Merge Block Weight and LoRA Block Weight count them, and the weights that they have.

`BASE` is what lies outside the U-Net's blocks: text encoders, time and size embeddings, the last convolution. Then come the
input blocks `IN00` …, the middle block `M00`, and the output blocks `OUT00` …, as single files number them. A list of weights
names all of them (26 in SD 1.5, 20 in SDXL), or `BASE` and those with attention, which a LoRA of attention changes (17 and 12).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipelines.diffusion.base.parts import single_file
from portrait.errors import UserError

BASE_BLOCK = "BASE"
BLOCK = re.compile(r"(input|middle|output)_blocks?\.(?:(\d{1,4})\.)?")
PREFIXES = {"input": "IN", "middle": "M", "output": "OUT"}


def all_blocks(config: Mapping[str, Any]) -> list[str]:
    """`BASE`, `IN00` … `M00`, `OUT00` …: every block of a U-Net by its configuration."""
    count = len(config["block_out_channels"]) * (int(config["layers_per_block"]) + 1)
    inner = [f"IN{number:02}" for number in range(count)]
    return [BASE_BLOCK, *inner, "M00", *(f"OUT{number:02}" for number in range(count))]


def attention_blocks(config: Mapping[str, Any]) -> list[str]:
    """`BASE`, and the blocks of a U-Net with attention: 17 in SD 1.5, 12 in SDXL."""
    layers = int(config["layers_per_block"])
    down = [
        1 + level * (layers + 1) + layer
        for level, kind in enumerate(config["down_block_types"])
        if "CrossAttn" in kind
        for layer in range(layers)
    ]
    up = [
        level * (layers + 1) + layer
        for level, kind in enumerate(config["up_block_types"])
        if "CrossAttn" in kind
        for layer in range(layers + 1)
    ]
    return [BASE_BLOCK, *(f"IN{number:02}" for number in down), "M00", *(f"OUT{number:02}" for number in up)]


def block_of(name: str) -> str:
    """The block of a weight or module of a U-Net, by its name in single files; `BASE` outside of all blocks."""
    found = BLOCK.match(name)
    return (
        BASE_BLOCK if found is None else f"{PREFIXES[found[1]]}{int(found[2] or 0) if found[1] != 'middle' else 0:02}"
    )


def weights_by_block(weights: Sequence[float], config: Mapping[str, Any]) -> dict[str, float]:
    """Weights by name of the block; blocks that a short list does not name have that of `BASE`.

    Raises `UserError` (`bad_blocks`) for a list of another length, which says which blocks it names.
    """
    for blocks in (attention_blocks(config), all_blocks(config)):
        if len(weights) == len(blocks):
            return dict.fromkeys(all_blocks(config), weights[0]) | dict(zip(blocks, weights, strict=True))
    short, whole = attention_blocks(config), all_blocks(config)
    raise UserError(
        "bad_blocks",
        f"{len(weights)} block weights were given, and this base takes {len(short)} ({','.join(short)}) or {len(whole)}, "
        "with all blocks.",
    )


def module_weights(
    part: str, modules: Iterable[str], weights: Mapping[str, float], config: Mapping[str, Any]
) -> dict[str, float]:
    """The weight of each module of a network, by its name in diffusers; `weights` are those by block."""
    if part != "unet":
        return dict.fromkeys(modules, weights[BASE_BLOCK])
    return {module: weights[block_of(single_file.unet_name(module, config))] for module in modules}
