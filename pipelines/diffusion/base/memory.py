"""Memory profiles of a base: all on the GPU, or offloaded in part; chosen from free memory before loading."""

from collections.abc import Sequence
from typing import Any, Literal

import torch

from pipelines.diffusion.base import device
from pipelines.diffusion.base.loading import BaseSource

MemoryProfile = Literal["full", "sliced", "offload", "sequential"]
PROFILES: Sequence[MemoryProfile] = ("full", "sliced", "offload", "sequential")
"""From the fastest to the smallest: all on the device; VAE in slices and tiles; one network at a time; one layer at a time."""
WORKING_MEMORY = {"full": 1.35, "sliced": 1.15}
"""Memory for sampling, as a multiple of the weights: at 1024 pixels SDXL's VAE alone takes 1.5 GB."""
UNET_SHARE = 0.75
"""Share of a base that is its U-Net."""


def weight_bytes(base: BaseSource, dtype: torch.dtype) -> float:
    """Bytes of a base's weights in a dtype, from file sizes; single files are taken for half precision, hub folders by name."""
    files = [base.path] if base.is_single_file else [*base.path.glob("*/*.safetensors"), *base.path.glob("*/*.bin")]
    stored = float(sum(file.stat().st_size for file in files))
    half = base.is_single_file or any("fp16" in file.name for file in files)
    return stored * (dtype.itemsize / (2 if half else 4))


def choose_profile(base: BaseSource, dtype: torch.dtype, where: torch.device, beside: float = 0.0) -> MemoryProfile:
    """The fastest profile that fits the free memory; `beside` is what adapters and control networks take, bytes."""
    if where.type != "cuda":
        return "full"
    needed, free = weight_bytes(base, dtype) + beside, device.free_memory(where)
    for profile, factor in WORKING_MEMORY.items():
        if needed * factor <= free:
            return "full" if profile == "full" else "sliced"
    return "offload" if needed * UNET_SHARE * WORKING_MEMORY["sliced"] <= free else "sequential"


def next_smaller(profile: MemoryProfile) -> MemoryProfile | None:
    """The next smaller profile; None below the last."""
    place = PROFILES.index(profile) + 1
    return PROFILES[place] if place < len(PROFILES) else None


def place_pipeline(pipeline: Any, profile: MemoryProfile, where: torch.device) -> None:
    """Move a pipeline to the device, or set up offloading, by its profile."""
    if profile != "full":
        pipeline.vae.enable_slicing()
        pipeline.vae.enable_tiling()
    if profile == "offload":
        pipeline.enable_model_cpu_offload(device=where)
    elif profile == "sequential":
        pipeline.enable_sequential_cpu_offload(device=where)
    else:
        pipeline.to(where)
