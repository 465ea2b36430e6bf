"""Networks in their published shapes, without weights: how many they are, and how cards draw with them."""

from pathlib import Path

import pytest
import torch

from pipelines.diffusion.base import memory
from pipelines.diffusion.base.loading import empty_denoiser, open_base
from pipelines.diffusion.base.memory import MemoryProfile
from tests.pipelines.diffusion.base.families import published_shapes

GB = 1e9
CONTEXT = 0.7 * GB
"""Of the memory of a card what PyTorch and the screen take before anything is loaded."""
CARDS = (12, 16, 24, 48)
PROFILES: dict[str, tuple[MemoryProfile, ...]] = {
    "zimage": ("sequential", "offload", "offload", "full"),
    "sd35_medium": ("offload", "offload", "full", "full"),
    "sd35_large": ("sequential", "sequential", "offload", "full"),
    "sd35_large_turbo": ("sequential", "sequential", "offload", "full"),
    "flux_schnell": ("sequential", "sequential", "sequential", "full"),
    "flux_kontext": ("sequential", "sequential", "sequential", "full"),
    "qwenimage_edit": ("sequential", "sequential", "sequential", "offload"),
    "flux_dev": ("sequential", "sequential", "sequential", "full"),
    "qwenimage": ("sequential", "sequential", "sequential", "offload"),
}
"""By base, for each of the cards."""


@pytest.mark.parametrize("name", PROFILES)
def test_profiles_of_published_shapes_by_the_memory_of_cards(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = open_base(name, published_shapes.write(name, tmp_path / name))
    counted = sum(each.numel() for each in empty_denoiser(base).parameters())
    assert counted == published_shapes.BASES[name].counts["transformer"]
    assert (base.native_side, base.size_multiple) == (1024, 64)
    found = []
    for card in CARDS:
        monkeypatch.setattr(memory.device, "free_memory", lambda where, card=card: card * GB - CONTEXT)
        found.append(memory.choose_profile(base, torch.bfloat16, torch.device("cuda")))
    assert tuple(found) == PROFILES[name]
