"""FluxNames: what Black Forest Labs call the layers of their transformers, from diffusers' names; some are one layer there."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch

from pipelines.diffusion.base.parts.kohya import StackedName

BLOCK = re.compile(r"(single_transformer_blocks|transformer_blocks)\.(\d+)\.(.+)")
DOUBLE, SINGLE = "transformer_blocks", "single_transformer_blocks"
"""diffusers' names of the two kinds of blocks: with pictures and words apart, and as one row."""
MAKERS_BLOCKS = {DOUBLE: "double_blocks", SINGLE: "single_blocks"}
NORMS = {
    DOUBLE: {
        "attn.norm_q": "img_attn.norm.query_norm",
        "attn.norm_k": "img_attn.norm.key_norm",
        "attn.norm_added_q": "txt_attn.norm.query_norm",
        "attn.norm_added_k": "txt_attn.norm.key_norm",
    },
    SINGLE: {"attn.norm_q": "norm.query_norm", "attn.norm_k": "norm.key_norm"},
}
QKV: Mapping[str, Mapping[str, int]] = MappingProxyType(
    {
        "img_attn.qkv": {"attn.to_q": 1, "attn.to_k": 1, "attn.to_v": 1},
        "txt_attn.qkv": {"attn.add_q_proj": 1, "attn.add_k_proj": 1, "attn.add_v_proj": 1},
    }
)
"""Layers of a double block that are one layer in the makers' files, with their heights in proportion."""
LAST_MODULATION = "norm_out.linear"
"""Scale and shift lie in it the other way round in the makers' files."""


@dataclass(frozen=True, slots=True)
class FluxNames:
    """The makers' names of a transformer's layers."""

    outer: Mapping[str, str]
    """Of layers outside of blocks."""
    blocks: Mapping[str, Mapping[str, str]]
    """Of layers of a block, by its kind."""
    stacks: Mapping[str, Mapping[str, Mapping[str, int]]]
    """Of layers that are one there, by kind of block: each with the layers in it and their heights in proportion."""

    def of(self, layer: str) -> StackedName | None:
        """The name of a linear layer; None where it has none."""
        found = BLOCK.fullmatch(layer)
        if found is None:
            return StackedName(self.outer[layer]) if layer in self.outer else None
        block, inner = f"{MAKERS_BLOCKS[found[1]]}.{found[2]}", found[3]
        if inner in self.blocks[found[1]]:
            return StackedName(f"{block}.{self.blocks[found[1]][inner]}")
        for name, heights in self.stacks.get(found[1], {}).items():
            if inner in heights:
                return StackedName(f"{block}.{name}", list(heights).index(inner), tuple(heights.values()))
        return None

    def in_kohya(self, module: str) -> StackedName | None:
        """The name of a LoRA's module (`transformer.…`) in kohya's files; None where it has none."""
        found = self.of(module.removeprefix("transformer."))
        return None if found is None else found.renamed(f"lora_unet_{found.name.replace('.', '_')}")

    def rename(self, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """All weights of a transformer under the makers' names."""
        named: dict[str, torch.Tensor] = {}
        stacked: dict[str, dict[int, torch.Tensor]] = {}
        for name, weight in weights.items():
            path, _, kind = name.rpartition(".")
            found, layer = BLOCK.fullmatch(path), self.of(path)
            if path == LAST_MODULATION:
                scale, shift = weight.chunk(2)
                named[f"final_layer.adaLN_modulation.1.{kind}"] = torch.cat([shift, scale])
            elif found is not None and found[3] in NORMS[found[1]]:
                named[f"{MAKERS_BLOCKS[found[1]]}.{found[2]}.{NORMS[found[1]][found[3]]}.scale"] = weight
            elif layer is None:
                raise ValueError(f"a transformer of FLUX has no weight {name}")
            elif len(layer.heights) == 1:
                named[f"{layer.name}.{kind}"] = weight
            else:
                stacked.setdefault(f"{layer.name}.{kind}", {})[layer.place] = weight
        return named | {name: torch.cat([each[at] for at in sorted(each)]) for name, each in stacked.items()}


def is_inside(layer: str, layers: Mapping[str, tuple[str, ...]]) -> bool:
    """Whether a layer is one of those of a block that are named by kind of block."""
    found = BLOCK.fullmatch(layer)
    return found is not None and found[3] in layers[found[1]]
