"""The control network of Z-Image, which follows several kinds of control images, from a file without a configuration."""

from collections.abc import Mapping
from typing import Any

import torch
from diffusers import ZImageControlNetModel

BLOCKS = 30
"""Of Z-Image's transformer; the control network acts after some of them, evenly spread."""
REFINERS = 2
"""Of its blocks before those, which see the picture alone."""
PLAIN_CHANNELS = 16
"""Channels of the first networks, which see the control image alone; later ones see a picture and a mask beside it."""


class ZImageUnionControlNet(ZImageControlNetModel):
    """The stock network; its makers publish it as one `.safetensors` in the names of diffusers, without a configuration."""

    @staticmethod
    def config_of(weights: Mapping[str, torch.Tensor]) -> dict[str, Any]:
        """The configuration of published weights, by their names and shapes; raises ValueError for those of another network."""
        dim, head = (_width(weights, f"control_layers.0.attention.{name}.weight", 0) for name in ("to_q", "norm_q"))
        channels = _width(weights, "control_all_x_embedder.2-1.weight", 1) // 4
        layers, refiners = _count(weights, "control_layers"), _count(weights, "control_noise_refiner") or REFINERS
        return {
            "control_layers_places": list(range(0, BLOCKS, BLOCKS // layers))[:layers],
            "control_refiner_layers_places": list(range(refiners)),
            "control_in_dim": channels,
            "add_control_noise_refiner": _refiner(weights, channels),
            "dim": dim,
            "n_refiner_layers": refiners,
            "n_heads": dim // head,
            "n_kv_heads": dim // head,
        }


def _width(weights: Mapping[str, torch.Tensor], name: str, side: int) -> int:
    """A side of a weight."""
    if name not in weights:
        raise ValueError(f"it has no {name}, as control networks of Z-Image have")
    return int(weights[name].shape[side])


def _count(weights: Mapping[str, torch.Tensor], row: str) -> int:
    """Blocks in a row of them."""
    return len({name.split(".")[1] for name in weights if name.startswith(f"{row}.")})


def _refiner(weights: Mapping[str, torch.Tensor], channels: int) -> str | None:
    """What acts on the transformer's refiner: nothing in version 1, the control layers in 2.0, layers for it from 2.1 on."""
    own = weights.get("control_noise_refiner.0.before_proj.weight")
    if own is not None and bool(own.any()):
        return "control_noise_refiner"
    return None if channels == PLAIN_CHANNELS else "control_layers"
