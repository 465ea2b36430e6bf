"""The device: which to use, in which dtype, how much memory is free there, and compiled transformer blocks."""

import gc
from pathlib import Path
from typing import Any

import psutil
import torch

from pipelines.memory import return_memory
from portrait.errors import OperatorError

COMPILE_BACKEND = "inductor"
UNNAMED_BLOCKS = ("BasicTransformerBlock", "JointTransformerBlock")
"""Blocks of networks that do not say what they repeat: U-Nets, and Stable Diffusion 3's transformer."""
RECOMPILE_LIMIT = 64
"""Compiled variants of a block that PyTorch keeps, instead of 8: levels of the network × with and without guidance × each
identity adapter. Beyond that it runs uncompiled."""


def choose_device(setting: str) -> torch.device:
    """The device for a setting; `auto` is the GPU where there is one. Raises `OperatorError` (`no_gpu`)."""
    has_gpu = torch.cuda.is_available()
    if setting == "cuda" and not has_gpu:
        raise OperatorError("no_gpu", 'The settings ask for a GPU (train.device = "cuda"), and there is none here.')
    return torch.device("cuda" if has_gpu and setting != "cpu" else "cpu")


def choose_dtype(setting: str, device: torch.device, training: bool = False) -> torch.dtype:
    """The dtype of frozen networks for a setting; LoRA weights in training are always float32.

    `auto` is bfloat16 on a GPU that computes in it; PyTorch emulates it, slowly, on those that do not. These draw in float16
    and train in float32: gradients are often too small for float16.
    """
    if setting != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[setting]
    if device.type != "cuda":
        return torch.float32
    if torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.bfloat16
    return torch.float32 if training else torch.float16


def repeated_blocks(network: torch.nn.Module) -> tuple[str, ...]:
    """Classes of the blocks of which a network is a row."""
    named: Any = getattr(network, "_repeated_blocks", None)
    return tuple(named or ()) or UNNAMED_BLOCKS


def execution_device(network: torch.nn.Module) -> torch.device:
    """The device that a network computes on, which is not where its weights are while they are offloaded."""
    for module in network.modules():
        device = getattr(getattr(module, "_hf_hook", None), "execution_device", None)
        if device is not None:
            return torch.device(device)
    return next(network.parameters()).device


def free_memory(device: torch.device) -> float:
    """Bytes of memory that are available: of the GPU, or of this machine and its control groups."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    available = float(psutil.virtual_memory().available)
    return min([available, *control_group_memory(Path("/sys/fs/cgroup"), Path("/proc/self/cgroup"))])


def control_group_memory(root: Path, membership: Path) -> list[float]:
    """Bytes that the limit of each control group of this process leaves, of both versions; empty without limits.

    `root` is where groups are mounted, `membership` the file that names those of a process. Pages of files that were read count
    as used there, and are given back before a limit is reached: they are free.
    """
    try:
        lines = [line.split(":", 2) for line in membership.read_text("utf-8").split("\n") if line]
    except OSError:  # another system
        return []
    found = []
    for _, controllers, path in lines:
        if not controllers:
            found += _group_memory(root, path, ("memory.max", "memory.current", "inactive_file"))
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            found += _group_memory(root / "memory", path, names)
    return found


def _group_memory(mount: Path, path: str, names: tuple[str, str, str]) -> list[float]:
    """Bytes that a group and those around it leave; in a container its own group is the mount itself."""
    limit_name, used_name, cache_name = names
    found, folder = [], mount / path.lstrip("/")
    for group in (folder, *folder.parents):
        try:
            limit, used = float((group / limit_name).read_text()), float((group / used_name).read_text())
            stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
            found.append(max(0.0, limit - used + float(stat.get(cache_name, 0))))
        except (OSError, ValueError):  # no such group, or no limit: "max"
            pass
        if group == mount:
            break
    return found


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out; the CPU allocator says so in its message alone."""
    message = str(error)
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and ("not enough memory" in message or "can't allocate memory" in message)
    )


def release_memory(device: torch.device) -> None:
    """Return the memory of freed objects to the system, so that it counts as free."""
    gc.collect()  # networks refer to themselves
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return_memory()  # a gigabyte after an encoder ran


def compile_blocks(network: torch.nn.Module) -> None:
    """Have a network's repeated blocks compiled at their first use; pixels may differ by a level from uncompiled ones.

    A network repeats one block, so one compilation serves all of them, and all people.
    """
    torch._dynamo.config.recompile_limit = RECOMPILE_LIMIT
    repeated = repeated_blocks(network)
    for part in network.modules():
        if type(part).__name__ in repeated:
            part.compile(backend=COMPILE_BACKEND)
