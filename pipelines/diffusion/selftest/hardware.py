"""The device: what it is, what it computes in, how fast it copies and multiplies, and whether bases fit its memory."""

import importlib.metadata
import platform
import shutil
import subprocess
import time
from dataclasses import dataclass
from typing import Any

import psutil
import torch

from pipelines.diffusion.base import device, memory
from pipelines.diffusion.selftest import results
from pipelines.diffusion.selftest.results import Fault, Result
from pipelines.diffusion.training import estimate

BASE_WEIGHTS = {"Stable Diffusion 1.5": 1.066e9, "SDXL": 3.470e9}
"""Numbers in U-Net, VAE and text encoders as published: 860 + 84 + 123 million, and 2567 + 84 + 123 + 695."""
COPY_BYTES = 1 << 28
SLOWER = 0.8
"""A precision that `auto` chooses is too slow below this share of float32's speed: then it is emulated."""


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """What the device is. Its fields are keys of the JSON document."""

    name: str
    capability: str
    """CUDA's compute capability; empty on a CPU."""
    memory_free: float
    memory_total: float
    """Bytes."""
    driver: str
    """Version of the driver, as `nvidia-smi` tells it; empty without."""
    torch: str
    cuda: str
    """Version of CUDA that PyTorch was built with; empty without it."""
    diffusers: str
    native_bfloat16: bool
    precision: str
    """What `auto` draws in."""


def read_facts(where: torch.device) -> DeviceFacts:
    """The facts of a device."""
    on_gpu = where.type == "cuda"
    properties: Any = torch.cuda.get_device_properties(where) if on_gpu else None
    return DeviceFacts(
        name=properties.name if on_gpu else platform.processor() or platform.machine(),
        capability=f"{properties.major}.{properties.minor}" if on_gpu else "",
        memory_free=device.free_memory(where),
        memory_total=float(properties.total_memory if on_gpu else psutil.virtual_memory().total),
        driver=_driver_version() if on_gpu else "",
        torch=torch.__version__,
        cuda=torch.version.cuda or "",
        diffusers=importlib.metadata.version("diffusers"),
        native_bfloat16=on_gpu and torch.cuda.is_bf16_supported(including_emulation=False),
        precision=_name(usual_dtype(where)),
    )


def supported_dtypes(facts: DeviceFacts) -> list[torch.dtype]:
    """Precisions that a device computes in; a GPU that would emulate bfloat16 goes without."""
    emulates = bool(facts.capability) and not facts.native_bfloat16
    return [torch.float32, torch.float16, *([] if emulates else [torch.bfloat16])]


def usual_dtype(where: torch.device) -> torch.dtype:
    """The precision that `auto` draws in."""
    return device.choose_dtype("auto", where)


def measure_copies(where: torch.device) -> Result:
    """Bytes a second between main memory and the device, both directions, from pages that stay where they are."""

    def check() -> tuple[str, list[Fault]]:
        host = torch.empty(COPY_BYTES, dtype=torch.uint8, pin_memory=where.type == "cuda")
        there = torch.empty(COPY_BYTES, dtype=torch.uint8, device=where)
        speeds = [COPY_BYTES / _best(target, source, where) / 1e9 for target, source in ((there, host), (host, there))]
        return f"{speeds[0]:.1f} GB/s to the device, {speeds[1]:.1f} GB/s back", []

    return results.run_check("Copies", check)


def measure_products(where: torch.device, dtypes: list[torch.dtype]) -> Result:
    """Large matrix products in each precision; the one that `auto` chooses must not be slower than float32."""

    def check() -> tuple[str, list[Fault]]:
        share = estimate.SPEED_SHARE[where.type]
        speeds = {each: estimate.measure_flops_per_second(where, each) / share / 1e12 for each in dtypes}
        found = ", ".join(f"{_name(each)} {speed:.3g}" for each, speed in speeds.items())
        chosen = usual_dtype(where)
        faults = []
        if speeds.get(chosen, 0.0) < SLOWER * speeds[torch.float32]:
            sentence = (
                f"Matrix products in {_name(chosen)}, which this device would draw in, are slower than in float32: it is "
                "emulated here. Set draw.precision and train.precision to another one."
            )
            faults = [Fault("slow_precision", sentence)]
        return f"TFLOP/s: {found}", faults

    return results.run_check("Matrix products", check)


def check_memory(where: torch.device) -> Result:
    """Whether the free memory holds a base, and under which memory profile."""

    def check() -> tuple[str, list[Fault]]:
        free, dtype = device.free_memory(where), usual_dtype(where)
        fits = {name: _fitting_profile(count * dtype.itemsize, free) for name, count in BASE_WEIGHTS.items()}
        found = ", ".join(f"{name} {profile or 'does not fit'}" for name, profile in fits.items())
        smallest, count = next(iter(BASE_WEIGHTS.items()))
        needed = count * dtype.itemsize * memory.WHOLE_FILE_SHARE * memory.WORKING_MEMORY["sliced"]
        if free >= needed:
            return f"{free / 1e9:.1f} GB free: {found}", []
        reason = f"{free / 1e9:.1f} GB are free, {needed / 1e9:.1f} GB are needed"
        return f"{free / 1e9:.1f} GB free", [results.memory_fault(f"{smallest} with one network at a time", reason)]

    return results.run_check("Memory", check)


def _fitting_profile(weights: float, free: float) -> str:
    """The fastest profile in which a base of `weights` bytes fits `free` bytes; empty for none that moves whole networks."""
    for profile, factor in memory.WORKING_MEMORY.items():
        if weights * factor <= free:
            return profile
    return "offload" if weights * memory.WHOLE_FILE_SHARE * memory.WORKING_MEMORY["sliced"] <= free else ""


def _best(target: torch.Tensor, source: torch.Tensor, where: torch.device) -> float:
    """Seconds of the fastest of three copies."""
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        target.copy_(source)
        if where.type == "cuda":
            torch.cuda.synchronize(where)
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def _driver_version() -> str:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ""
    query = [tool, "--query-gpu=driver_version", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True, timeout=30, check=False)  # noqa: S603 -- the path is nvidia-smi's
    return next(iter(answer.stdout.split()), "") if answer.returncode == 0 else ""


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
