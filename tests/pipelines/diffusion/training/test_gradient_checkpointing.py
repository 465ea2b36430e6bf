"""Gradient checkpointing: the same gradients for more arithmetic, and light computes less of it again than full."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from pipelines.diffusion.base import loading, lora
from pipelines.diffusion.base.family import LORA_TARGETS
from pipelines.diffusion.training import gradient_checkpointing
from portrait.training import Checkpointing

pytestmark = pytest.mark.usefixtures("one_thread")


def passed(hub: Path, strength: Checkpointing, stored: int = 700) -> tuple[list[torch.Tensor], int]:
    """Gradients of a LoRA after one pass there and back, and how many operations it took."""
    unet: Any = loading.load_components(loading.open_base("sd15", hub / "sd15"), torch.float32, ["unet"])["unet"]
    lora.add_adapter(unet, 4, LORA_TARGETS, 0)
    gradient_checkpointing.enable(unet, strength, stored)
    unet.train()
    random = torch.Generator().manual_seed(0)
    noised, words = torch.randn(1, 4, 8, 8, generator=random), torch.randn(1, 77, 32, generator=random)
    with FlopCounterMode(display=False) as counter:
        unet(noised, torch.tensor([500]), words, return_dict=False)[0].square().mean().backward()
    return [
        each.grad for _, each in lora.trainable_parameters(unet, "unet") if each.grad is not None
    ], counter.get_total_flops()


def test_gradients_stay_and_light_computes_less_again(hub: Path) -> None:
    # The tiny network's convolutions are stored, and none of its other products.
    off, light, full = (passed(hub, strength, 300) for strength in ("off", "light", "full"))
    assert off[1] < light[1] < full[1]
    for gradients, _ in (light, full):
        assert len(gradients) == len(off[0]) > 0
        assert all(torch.equal(one, other) for one, other in zip(gradients, off[0], strict=True))


def test_what_is_short_for_its_result_is_computed_again(hub: Path) -> None:
    assert passed(hub, "light", 10**6)[1] == passed(hub, "full")[1]
    assert passed(hub, "light", 1)[1] == passed(hub, "off")[1]
