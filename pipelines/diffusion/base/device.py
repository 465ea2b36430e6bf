"""Where to compute, how precisely, and how much memory is free there."""

import ctypes
import gc
import os
import sys
from pathlib import Path

import torch

from portrait.errors import OperatorError


def choose_device(wanted: str) -> torch.device:
    """`auto` is the GPU where there is one; raises `OperatorError` (`no_gpu`)."""
    has = torch.cuda.is_available()
    if wanted == "cuda" and not has:
        raise OperatorError("no_gpu", 'The settings ask for a GPU (train.device = "cuda"), and there is none here.')
    return torch.device("cuda" if has and wanted != "cpu" else "cpu")


def choose_dtype(wanted: str, device: torch.device) -> torch.dtype:
    """What frozen networks compute in; LoRA weights are float32 everywhere."""
    if wanted == "auto":
        fast = device.type == "cuda" and torch.cuda.is_bf16_supported()
        return torch.bfloat16 if fast else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[wanted]


def free_memory(device: torch.device) -> float:
    """Bytes that may be taken."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    limit = Path("/sys/fs/cgroup/memory.max")
    held = Path("/sys/fs/cgroup/memory.current")
    whole = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES"))
    try:
        return min(whole, float(limit.read_text()) - float(held.read_text()))
    except (OSError, ValueError):  # no such limit: "max", or another system
        return whole


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out; the allocator of the CPU says so in words alone."""
    told = str(error)
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and ("not enough memory" in told or "can't allocate memory" in told)
    )


def release_memory(device: torch.device) -> None:
    """Give memory of what was dropped back to the system, so that it counts as free."""
    gc.collect()  # networks refer to themselves
    if device.type == "cuda":
        torch.cuda.empty_cache()
    if sys.platform == "linux":
        # The C library keeps what lies between two things that live: a gigabyte after an encoder's work. musl has no such call.
        getattr(ctypes.CDLL(None), "malloc_trim", lambda _: 0)(0)
