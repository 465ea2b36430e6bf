"""Result: what one check found, and the sentence for each kind of fault that a device or this program can have."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from pipelines.diffusion.base import device
from portrait.errors import PortraitError

Outcome = Literal["ok", "fault", "note", "skipped"]
"""`note`: told, and nothing is wrong with it; `skipped`: there was no time, or nothing to test."""
FaultKind = Literal[
    "tensor_left_behind",
    "hook_lost",
    "overflow",
    "out_of_memory",
    "wrong_result",
    "slow_precision",
    "no_provider",
    "failed",
]
FAILURES = (
    *(PortraitError, RuntimeError, MemoryError, OSError),
    *(ValueError, TypeError, AttributeError, KeyError, AssertionError),
)
"""All that PyTorch, diffusers, accelerate and this program raise; PyTorch's errors of devices are RuntimeErrors."""
LEFT_BEHIND = (
    "same device",
    "expected device",
    "meta tensor",
    "should be the same",
    "device type at start of device guard",
    "on the 'meta' device",
    "device meta",
)
"""In messages of PyTorch about tensors on two devices, or on none."""
PLACES_OF_OVERFLOW = {"empty_drawing": "the picture", "diverged": "the loss"}
"""By error code."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong, of which kind, and what to do."""

    kind: FaultKind
    sentence: str


@dataclass(frozen=True, slots=True)
class Result:
    """One line of the table."""

    name: str
    outcome: Outcome
    found: str
    seconds: float = 0.0
    faults: tuple[Fault, ...] = ()


def run_check(name: str, check: Callable[[], tuple[str, list[Fault]]]) -> Result:
    """Run a check, which returns what it found and the faults; an error that it raises is a fault too."""
    started = time.monotonic()
    try:
        found, faults = check()
    except FAILURES as error:
        fault = fault_of_error(name, error)
        found, faults = fault.kind.replace("_", " "), [fault]
    seconds = time.monotonic() - started
    return Result(name, "fault" if faults else "ok", found, round(seconds, 2), tuple(faults))


def fault_of_error(name: str, error: BaseException) -> Fault:
    """The fault that an error tells of; `name` is the check's."""
    text = str(error).strip()
    first = text.split("\n", 1)[0][:200]
    code = error.code if isinstance(error, PortraitError) else ""
    if code == "out_of_memory" or device.is_out_of_memory(error):
        return memory_fault(name, first)
    if code in PLACES_OF_OVERFLOW:
        return overflow_fault(name, PLACES_OF_OVERFLOW[code])
    if any(words in text for words in LEFT_BEHIND):
        return left_behind_fault(name, first)
    return Fault(
        "failed",
        f"{name} failed ({type(error).__name__}: {first}). Check that this build of PyTorch is made for this GPU and driver, "
        "then report it with this table.",
    )


def memory_fault(name: str, reason: str) -> Fault:
    """Too little memory."""
    return Fault(
        "out_of_memory",
        f"There was not enough memory for {name} ({reason}). Close other programs that use the GPU; `nvidia-smi` lists them.",
    )


def left_behind_fault(name: str, place: str) -> Fault:
    """A tensor on another device than the one that computes."""
    return Fault(
        "tensor_left_behind",
        f"{name}: a tensor was left on another device ({place}). Set draw.memory to a profile whose lines are ok, and "
        "report it with this table.",
    )


def hook_fault(name: str, place: str) -> Fault:
    """An offloading hook that a request took away, or left."""
    return Fault(
        "hook_lost",
        f"{name}: the request did not leave the hooks that move networks between GPU and main memory as they were "
        f"({place}): later portraits would be drawn on the CPU, or fail. Set draw.memory to full or sliced where that "
        "fits, and report it with this table.",
    )


def overflow_fault(name: str, place: str) -> Fault:
    """Numbers too large for the precision: the picture would be black."""
    return Fault(
        "overflow",
        f"{name}: numbers overflowed in {place}, so pictures would come out black, and nothing would be "
        "learned. Set draw.precision and train.precision to one whose lines are ok.",
    )


def wrong_fault(name: str, difference: float, tolerance: float) -> Fault:
    """A result that is not the CPU's."""
    return Fault(
        "wrong_result",
        f"{name}: the result differs from the CPU's by {difference:.2g}, where {tolerance:.2g} is rounding. Install the "
        "newest driver and PyTorch; if it stays, choose a draw.precision and draw.memory whose lines are ok.",
    )
