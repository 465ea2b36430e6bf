"""Detects the GPUs of this machine by nvidia-smi, because libraries that compute take seconds to load."""

import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence

from portrait.errors import OperatorError

CPU = "cpu"
TIMEOUT = 30
"""Seconds for nvidia-smi: a driver that was idle takes a few."""


def detect_device(environment: Mapping[str, str] = os.environ) -> str:
    """Return the names of the GPUs that this process may use, `cpu` without one."""
    tool = shutil.which("nvidia-smi")
    if tool is None or environment.get("CUDA_VISIBLE_DEVICES", "all") in {"", "-1"}:
        return CPU
    query = [tool, "--query-gpu=name", "--format=csv,noheader"]
    try:
        result = subprocess.run(query, capture_output=True, text=True, timeout=TIMEOUT, check=False)  # noqa: S603 -- the path is nvidia-smi's
    except (OSError, subprocess.TimeoutExpired):
        return CPU
    if result.returncode != 0:
        return CPU  # the tool is here, the driver or the card is not
    names = Counter(line.strip() for line in result.stdout.splitlines() if line.strip())
    return ", ".join(name if count == 1 else f"{count} × {name}" for name, count in names.items()) or CPU


def servable_queues(queues: Sequence[str], device: str, cpu_allowed: bool) -> list[str]:
    """Return those of the queues that this machine can serve; raises `OperatorError` (`no_gpu`) when that is none."""
    servable = [queue for queue in queues if device != CPU or cpu_allowed or not queue.startswith("gpu.")]
    if not servable:
        raise OperatorError(
            "no_gpu",
            "This machine has no GPU that works, and a worker serves the queues gpu.… only with one. "
            "Set tasks.cpu_for_gpu_queues = true if its CPU shall do that work.",
        )
    return servable
