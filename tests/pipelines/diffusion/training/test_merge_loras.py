"""Merging averages the updates, not the factors."""

import pytest
import torch

from pipelines.diffusion.base.lora import DOWN, UP, Weights
from pipelines.diffusion.training.merge_loras import merge
from portrait.errors import UserError

NAME = "unet.block.to_q"


def made(seed: int, rank: int = 4, name: str = NAME) -> Weights:
    random = torch.Generator().manual_seed(seed)
    return {
        name + DOWN: torch.randn(rank, 24, generator=random),
        name + UP: torch.randn(32, rank, generator=random),
    }


def update(weights: Weights, name: str = NAME) -> torch.Tensor:
    return weights[name + UP] @ weights[name + DOWN]


def test_the_merge_is_the_nearest_of_its_rank_to_the_mean_update() -> None:
    loras = [made(1), made(2), made(3)]
    mean = torch.stack([update(each) for each in loras]).mean(0)
    merged = merge(loras, [1 / 3] * 3)
    assert merged[NAME + DOWN].shape == (4, 24)
    u, values, v = torch.linalg.svd(mean, full_matrices=False)
    nearest = u[:, :4] * values[:4] @ v[:4]
    assert torch.allclose(update(merged), nearest, atol=1e-4)


def test_with_room_for_all_of_them_nothing_is_lost() -> None:
    loras = [made(1), made(2)]
    merged = merge(loras, [0.25, 0.75], rank=8)
    assert torch.allclose(update(merged), 0.25 * update(loras[0]) + 0.75 * update(loras[1]), atol=1e-4)


def test_merging_one_with_itself_changes_nothing_and_mean_factors_are_another_thing() -> None:
    one, other = made(1), made(2)
    assert torch.allclose(update(merge([one, one], [0.5, 0.5])), update(one), atol=1e-4)
    turned = {NAME + DOWN: -one[NAME + DOWN], NAME + UP: -one[NAME + UP]}
    assert torch.allclose(update(merge([one, turned], [0.5, 0.5])), update(one), atol=1e-4)
    factors = {name: (one[name] + turned[name]) / 2 for name in one}
    assert torch.equal(update(factors), torch.zeros(32, 24)), "the mean of the factors forgets the person"
    assert update(other).abs().max() > 0


def test_rows_of_tokens_are_averaged() -> None:
    loras = [made(1) | {"token.text_encoder": torch.ones(8)}, made(2) | {"token.text_encoder": torch.zeros(8)}]
    assert torch.equal(merge(loras, [0.5, 0.5])["token.text_encoder"], torch.full((8,), 0.5))


def test_strangers_are_not_merged() -> None:
    with pytest.raises(UserError) as caught:
        merge([made(1), made(2, name="unet.other.to_q")], [0.5, 0.5])
    assert caught.value.code == "cannot_merge"
