"""Memory profiles of a base: all on the GPU, or offloaded in part; chosen from free memory before loading.

Offloading is accelerate's: a hook on each network brings its weights to the device when it runs. A base keeps its hooks from
loading to closing. Every pipeline made of its networks works by them, so none of these pipelines sets up its own.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from accelerate import cpu_offload, cpu_offload_with_hook
from accelerate.hooks import remove_hook_from_module

from pipelines.diffusion.base import checkpoint_files, device, quantised
from pipelines.diffusion.base.loading import empty_denoiser
from pipelines.diffusion.base.source import BaseSource

MemoryProfile = Literal["full", "sliced", "offload", "sequential"]
PROFILES: Sequence[MemoryProfile] = ("full", "sliced", "offload", "sequential")
"""From the fastest to the smallest: all on the device; VAE in slices and tiles; one network at a time; one layer at a time."""
WORKING_MEMORY = {"full": 1.35, "sliced": 1.15}
"""Memory for sampling, as a multiple of the weights: at 1024 pixels SDXL's VAE alone takes 1.5 GB."""
WHOLE_FILE_SHARE = 0.75
"""Share of a single file with all networks that is the U-Net."""
OFFLOADED: Sequence[MemoryProfile] = ("offload", "sequential")
"""Profiles under which weights wait in main memory."""


def component_bytes(base: BaseSource, dtype: torch.dtype) -> dict[str, float]:
    """Bytes of the weights of each component in a dtype, of the files that are loaded; of a single file that holds all, as one.

    Read from the files' headers, so that parts, and files in other precisions, are counted right. What is quantised, or rests
    in float8, counts as it lies in memory.
    """
    files = [(base.family.denoiser, file) for file in base.weights_files]
    files += [(name.split("/", 1)[0], file) for name, file in base.companion_files(dtype).items()]
    counted: dict[str, float] = {}
    for component, file in files:
        counted[component] = counted.get(component, 0.0) + checkpoint_files.loaded_bytes(file, dtype)
    if base.storage == "float8":
        counted[base.family.denoiser] -= quantised.float8_savings(empty_denoiser(base), dtype)
    return counted


def weight_bytes(base: BaseSource, dtype: torch.dtype) -> float:
    """Bytes of a base's weights in a dtype, of the files that are loaded."""
    return sum(component_bytes(base, dtype).values())


def choose_profile(base: BaseSource, dtype: torch.dtype, where: torch.device, beside: float = 0.0) -> MemoryProfile:
    """The fastest profile that fits the free memory; `beside` is what adapters and control networks take, bytes.

    Control networks run in turns with the U-Net and so are on the device together with it. A refiner is not: it and the base
    wait for each other.
    """
    if where.type != "cuda":
        return "full"
    components, free = component_bytes(base, dtype), device.free_memory(where)
    weights = sum(components.values())
    for profile, factor in WORKING_MEMORY.items():
        if (weights + beside) * factor <= free:
            return "full" if profile == "full" else "sliced"
    return "offload" if (largest_part(components) + beside) * WORKING_MEMORY["sliced"] <= free else "sequential"


def largest_part(components: Mapping[str, float]) -> float:
    """Bytes of the largest network: what is on the device at once where one is at a time.

    In a single file with all networks the U-Net is three quarters of the weights, of SD 1.5 and of SDXL.
    """
    return max(components.values()) * (WHOLE_FILE_SHARE if len(components) == 1 else 1.0)


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
        for component in pipeline.components.values():
            if isinstance(component, torch.nn.Module):
                place_network(component, profile, where)
    else:
        pipeline.to(where)


def place_network(network: torch.nn.Module, profile: MemoryProfile, where: torch.device) -> None:
    """Place a network that is held beside a base as the profile places the base's own."""
    if profile not in OFFLOADED:
        network.to(where)
        return
    remove_hook_from_module(network, recurse=True).to("cpu")
    if profile == "offload":
        cpu_offload_with_hook(network, where)
    elif getattr(network, "is_quantized", False):
        quantised.offload_layers(network, where)
    else:
        # Buffers of a network that has weights of its own must come with them, as diffusers does it.
        cpu_offload(network, where, offload_buffers=len(network._parameters) > 0)


def fetch_shared(network: torch.nn.Module, of: torch.nn.Module, where: torch.device) -> None:
    """Bring the parameters that a network shares with another one to the device, where hooks of that one hold them.

    Some control networks have tokens of the denoiser; the layers that they share bring hooks of their own.
    """
    hook = getattr(of, "_hf_hook", None)
    maps = (getattr(each, "weights_map", None) for each in getattr(hook, "hooks", [hook]))
    held = next((each for each in maps if each is not None), None)
    for name, parameter in network.named_parameters(recurse=False):
        if held is not None and parameter.is_meta:
            network._parameters[name] = torch.nn.Parameter(held[name].to(where), requires_grad=False)


@contextmanager
def suspend_offloading(pipeline: Any, profile: MemoryProfile, where: torch.device) -> Iterator[None]:
    """All weights of a pipeline in their networks, so that layers can be added; they are offloaded again afterwards."""
    if profile not in OFFLOADED:
        yield
        return
    pipeline.remove_all_hooks()
    try:
        yield
    finally:
        place_pipeline(pipeline, profile, where)
