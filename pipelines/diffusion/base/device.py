"""The device: which to use, in which dtype, how much memory is free there, and compiled transformer blocks."""

import ctypes
import gc
import sys
from pathlib import Path

import psutil
import torch
from diffusers.models.attention import BasicTransformerBlock

from portrait.errors import OperatorError

COMPILE_BACKEND = "inductor"
RECOMPILE_LIMIT = 64
"""Compiled variants of a block that PyTorch keeps, instead of 8: levels of the network × with and without guidance × each
identity adapter. Beyond that it runs uncompiled."""


def choose_device(setting: str) -> torch.device:
    """The device for a setting; `auto` is the GPU where there is one. Raises `OperatorError` (`no_gpu`)."""
    has_gpu = torch.cuda.is_available()
    if setting == "cuda" and not has_gpu:
        raise OperatorError("no_gpu", 'The settings ask for a GPU (train.device = "cuda"), and there is none here.')
    return torch.device("cuda" if has_gpu and setting != "cpu" else "cpu")


def choose_dtype(setting: str, device: torch.device) -> torch.dtype:
    """The dtype of frozen networks for a setting; LoRA weights in training are always float32."""
    if setting == "auto":
        has_bfloat16 = device.type == "cuda" and torch.cuda.is_bf16_supported()
        return torch.bfloat16 if has_bfloat16 else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[setting]


def free_memory(device: torch.device) -> float:
    """Bytes of memory that are available: of the GPU, or of this machine and its control group."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    limit = Path("/sys/fs/cgroup/memory.max")
    used = Path("/sys/fs/cgroup/memory.current")
    available = float(psutil.virtual_memory().available)
    try:
        return min(available, float(limit.read_text()) - float(used.read_text()))
    except (OSError, ValueError):  # no such limit: "max", or another system
        return available


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
    if sys.platform == "linux":
        # glibc keeps freed memory between live blocks: a gigabyte after an encoder ran. musl has no such call.
        getattr(ctypes.CDLL(None), "malloc_trim", lambda _: 0)(0)


def compile_blocks(network: torch.nn.Module) -> None:
    """Have a network's transformer blocks compiled at their first use; pixels may differ by a level from uncompiled ones.

    A network repeats one block, so one compilation serves all of them, and all people.
    """
    torch._dynamo.config.recompile_limit = RECOMPILE_LIMIT
    for part in network.modules():
        if isinstance(part, BasicTransformerBlock):
            part.compile(backend=COMPILE_BACKEND)
