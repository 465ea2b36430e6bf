"""Merging LoRAs: the updates B·A are averaged, and reduced to the rank by singular values.

Averaging the factors A and B separately, as is often done, is something else: mean(B)·mean(A) is not mean(B·A).
"""

from collections.abc import Mapping, Sequence

import torch

from pipelines.diffusion.base.lora import DOWN, UP, Weights, rank_of
from portrait.errors import UserError


def merge(loras: Sequence[Mapping[str, torch.Tensor]], shares: Sequence[float], rank: int = 0) -> Weights:
    """The nearest LoRA of `rank` (0: the largest of theirs) to the mean of their updates, weighted by shares that sum to one.

    Raises `UserError` (`cannot_merge`) when they were not trained on the same modules.
    """
    names = loras[0].keys()
    if any(each.keys() != names for each in loras[1:]):
        raise UserError(
            "cannot_merge",
            "The identities were learned on different bases or parts of them, such as with text encoders and without.",
        )
    rank = rank or max(rank_of(each) for each in loras)
    merged: Weights = {}
    for name in names:
        if name.endswith(DOWN):
            module = name.removesuffix(DOWN)
            downs = [each[name] for each in loras]
            ups = [each[module + UP] for each in loras]
            merged[name], merged[module + UP] = _nearest(downs, ups, shares, rank)
        elif not name.endswith(UP):  # a token embedding
            merged[name] = torch.stack([share * each[name] for share, each in zip(shares, loras, strict=True)]).sum(0)
    return merged


def _nearest(
    downs: Sequence[torch.Tensor], ups: Sequence[torch.Tensor], shares: Sequence[float], rank: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Factors of the best approximation of that rank; the update itself, which may be large, is never computed."""
    down = torch.cat([each.double() for each in downs])
    up = torch.cat([share * each.double() for share, each in zip(shares, ups, strict=True)], dim=1)
    if down.shape[0] <= rank:
        return down.float(), up.float()
    left, small_left = torch.linalg.qr(up)
    right, small_right = torch.linalg.qr(down.T)
    u, values, v = torch.linalg.svd(small_left @ small_right.T)
    root = values[:rank].sqrt()
    return ((root[:, None] * v[:rank]) @ right.T).float().contiguous(), (left @ u[:, :rank] * root).float().contiguous()
