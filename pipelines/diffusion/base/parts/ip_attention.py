"""IP-Adapters in the attention of a U-Net: several in one place, and their embeddings matched to the batch."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch


def join_attention(adapters: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The attention processors of several IP-Adapters as one of each place, made of their own layers and not of copies."""
    joined = dict(adapters[0])
    if len(adapters) == 1:
        return joined
    for name, first in adapters[0].items():
        parts = [each[name] for each in adapters]
        if not hasattr(first, "to_k_ip"):
            continue
        with torch.device("meta"):  # its own layers are replaced
            made = type(first)(
                first.hidden_size, first.cross_attention_dim, [count for part in parts for count in part.num_tokens]
            )
        made.to_k_ip = torch.nn.ModuleList([layer for part in parts for layer in part.to_k_ip])
        made.to_v_ip = torch.nn.ModuleList([layer for part in parts for layer in part.to_v_ip])
        joined[name] = made
    return joined


def match_batch(embeds: torch.Tensor, batch: int) -> torch.Tensor:
    """Negative and positive embeddings for a batch of one image: negative, positive, and positive once more under perturbed
    attention; the positive alone when guidance has ended."""
    missing = batch - embeds.shape[0]
    return embeds[-batch:] if missing <= 0 else torch.cat([embeds, *[embeds[-1:]] * missing])


def match_image_embeds(layer: Any) -> Callable[..., Any]:
    """A forward pre-hook that cuts image embeddings to the batch when guidance ends early: the positive half stays."""

    def before(unet: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        sample = args[0] if args else kwargs["sample"]
        batch = int(sample.shape[0])
        conditions = dict(kwargs.get("added_cond_kwargs") or {})
        if "image_embeds" in conditions:
            conditions["image_embeds"] = [each[-batch:] for each in conditions["image_embeds"]]
            kwargs = {**kwargs, "added_cond_kwargs": conditions}
        if getattr(layer, "clip_embeds", None) is not None:
            layer.clip_embeds = match_batch(layer.clip_embeds, batch)
        return args, kwargs

    return before
