"""What Stability call the layers of Stable Diffusion 3's transformer, from diffusers' names; some are one layer there."""

import re
from collections.abc import Mapping
from typing import Any

import torch

from pipelines.diffusion.base.parts.kohya import StackedName

BLOCK = re.compile(r"transformer_blocks\.(\d+)\.(.+)")
LAYERS = {
    "attn.to_out.0": "x_block.attn.proj",
    "attn.to_add_out": "context_block.attn.proj",
    "attn2.to_out.0": "x_block.attn2.proj",
    "ff.net.0.proj": "x_block.mlp.fc1",
    "ff.net.2": "x_block.mlp.fc2",
    "ff_context.net.0.proj": "context_block.mlp.fc1",
    "ff_context.net.2": "context_block.mlp.fc2",
    "norm1.linear": "x_block.adaLN_modulation.1",
    "norm1_context.linear": "context_block.adaLN_modulation.1",
}
"""Layers of a block: `x_block` is of the picture, and `context_block` of the words."""
STACKS = {
    "x_block.attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "context_block.attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    "x_block.attn2.qkv": ("attn2.to_q", "attn2.to_k", "attn2.to_v"),
}
"""Layers of a block that are one layer in the makers' files."""
NORMS = {
    "attn.norm_q": "x_block.attn.ln_q",
    "attn.norm_k": "x_block.attn.ln_k",
    "attn.norm_added_q": "context_block.attn.ln_q",
    "attn.norm_added_k": "context_block.attn.ln_k",
    "attn2.norm_q": "x_block.attn2.ln_q",
    "attn2.norm_k": "x_block.attn2.ln_k",
}
OUTER = {
    "pos_embed.proj": "x_embedder.proj",
    "time_text_embed.timestep_embedder.linear_1": "t_embedder.mlp.0",
    "time_text_embed.timestep_embedder.linear_2": "t_embedder.mlp.2",
    "time_text_embed.text_embedder.linear_1": "y_embedder.mlp.0",
    "time_text_embed.text_embedder.linear_2": "y_embedder.mlp.2",
    "context_embedder": "context_embedder",
    "proj_out": "final_layer.linear",
}
"""Layers outside of blocks."""
LAST_MODULATION = "norm_out.linear"
PLACES = "pos_embed.pos_embed"


def makers_name(layer: str, config: Mapping[str, Any]) -> StackedName | None:
    """The name of a linear layer; None where it has none, or its results in another order; `config` is the transformer's."""
    found = BLOCK.fullmatch(layer)
    if found is None:
        return StackedName(OUTER[layer]) if layer in OUTER else None
    block, inner = f"joint_blocks.{found[1]}", found[2]
    if _is_turned_round(layer, config):
        return None
    if inner in LAYERS:
        return StackedName(f"{block}.{LAYERS[inner]}")
    stacks = (
        StackedName(f"{block}.{name}", layers.index(inner), (1, 1, 1))
        for name, layers in STACKS.items()
        if inner in layers
    )
    return next(stacks, None)


def makers_weights(weights: Mapping[str, torch.Tensor], config: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """All weights of a transformer under the makers' names; `config` is the transformer's."""
    named: dict[str, torch.Tensor] = {}
    stacked: dict[str, dict[int, torch.Tensor]] = {}
    for name, weight in weights.items():
        path, _, kind = name.rpartition(".")
        found, layer = BLOCK.fullmatch(path), makers_name(path, config)
        if name == PLACES:
            named["pos_embed"] = weight
        elif _is_turned_round(path, config):
            scale, shift = weight.chunk(2)
            place = "final_layer" if found is None else f"joint_blocks.{found[1]}.context_block"
            named[f"{place}.adaLN_modulation.1.{kind}"] = torch.cat([shift, scale])
        elif found is not None and found[2] in NORMS:
            named[f"joint_blocks.{found[1]}.{NORMS[found[2]]}.{kind}"] = weight
        elif layer is None:
            raise ValueError(f"a transformer of Stable Diffusion 3 has no weight {name}")
        elif len(layer.heights) == 1:
            named[f"{layer.name}.{kind}"] = weight
        else:
            stacked.setdefault(f"{layer.name}.{kind}", {})[layer.place] = weight
    return named | {name: torch.cat([each[at] for at in sorted(each)]) for name, each in stacked.items()}


def _is_turned_round(layer: str, config: Mapping[str, Any]) -> bool:
    """Whether scale and shift of a modulation lie the other way round in the makers' files: the last ones."""
    last = f"transformer_blocks.{int(config['num_layers']) - 1}.norm1_context.linear"
    return layer in (LAST_MODULATION, last)
