"""The memory of the GPUs of this machine, from nvidia-smi: libraries that compute would take memory to answer."""

import shutil
import subprocess
from dataclasses import dataclass

TIMEOUT = 10
"""Seconds for nvidia-smi."""
MEBIBYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class GpuMemory:
    """The memory of one GPU, bytes, over all processes."""

    index: int
    used: int
    total: int


def gpu_memory() -> tuple[GpuMemory, ...]:
    """Return the memory of each GPU; none where there is none, or its driver does not answer."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ()
    query = [tool, "--query-gpu=index,memory.used,memory.total", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=TIMEOUT, check=False)  # noqa: S603 -- the path is nvidia-smi's
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return parse(answer.stdout) if answer.returncode == 0 else ()


def parse(text: str) -> tuple[GpuMemory, ...]:
    """Read lines such as `0, 1012, 143771`, in MiB; a card that does not tell (`[N/A]`) is left out."""
    rows = ([cell.strip() for cell in line.split(",")] for line in text.splitlines())
    told = ([int(cell) for cell in row] for row in rows if len(row) == 3 and all(cell.isdigit() for cell in row))
    return tuple(GpuMemory(index, used * MEBIBYTE, total * MEBIBYTE) for index, used, total in told)
