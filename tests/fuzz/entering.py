"""Enters a door with one input after the other: whatever comes is taken or refused with a code, soon and in little memory."""

import faulthandler
import re
import resource
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy

from pipelines.memory import return_memory
from portrait.errors import OperatorError, UserError

CODES = frozenset(
    re.findall(r"^\| `([a-z_]+)`", (Path(__file__).parents[2] / "docs" / "errors.md").read_text("utf-8"), re.M)
)
SECONDS = 5.0
"""Of work within which every input is answered, whatever else the machine does."""
STUCK = 60
"""Seconds by the clock after which the process ends and says where it stood: libraries in C cannot be interrupted."""
GROWTH = 200_000_000
"""Bytes by which one input may raise the memory of the process, and all of them together what it keeps."""
BATCH = 2_000
"""Inputs of one run of Hypothesis, which remembers all of them."""
SLOW: Collection[HealthCheck] = tuple(each for each in HealthCheck)


@dataclass(frozen=True)
class Door:
    """Something that takes what others made."""

    name: str
    inputs: SearchStrategy[Any]
    enter: Callable[[Any, Path], object]
    """Takes an input and a folder that is the door's own."""
    share: float = 1.0
    """How many inputs it gets, where a door that answers in a millisecond gets 1."""
    growth: int = GROWTH
    """Bytes that one input may take."""
    kept: tuple[Any, ...] = ()
    """Inputs that were once answered wrongly."""

    def __repr__(self) -> str:
        return self.name


def enter(door: Door, given: Any, folder: Path) -> None:
    """Give one input to a door; fails where it raises anything but an error with a documented code, or takes too much."""
    reset_peak()
    before, start = memory("VmRSS"), time.process_time()
    faulthandler.dump_traceback_later(STUCK, exit=True)
    refusal: UserError | OperatorError | None = None
    try:
        door.enter(given, folder)
    except (UserError, OperatorError) as error:
        refusal = error
    finally:
        faulthandler.cancel_dump_traceback_later()
    if refusal is not None:
        assert refusal.code in CODES, f"{refusal.code} is in no list: {refusal.message}"
        assert refusal.message.strip(), f"{refusal.code} says nothing"
    took, grown = time.process_time() - start, memory("VmHWM") - before
    assert took <= SECONDS, f"it took {took:.1f} s"
    assert grown <= door.growth, f"it took {grown / 1e6:.0f} MB"


def enter_often(door: Door, folder: Path, count: int, first: int) -> None:
    """Give so many inputs to a door, in batches with seeds of their own from `first` on; what it keeps must not grow."""
    for each in door.kept:
        enter(door, each, folder)
    enter_some(door, folder, min(count, 20), first)  # what is loaded once is no growth
    before = kept()
    for number, start in enumerate(range(0, count, BATCH)):
        enter_some(door, folder, min(BATCH, count - start), first + number)
    grown = kept() - before
    assert grown <= GROWTH, f"it keeps {grown / 1e6:.0f} MB"


def enter_some(door: Door, folder: Path, count: int, number: int) -> None:
    """One run of Hypothesis, which shows the smallest input that fails."""

    @seed(number)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=SLOW,
        print_blob=False,
    )
    @given(given=door.inputs)
    def run(given: Any) -> None:
        enter(door, given, folder)

    run()


def kept() -> int:
    """Bytes of this process without those of freed objects, of which the C library keeps what the last inputs left."""
    return_memory()
    return memory("VmRSS")


def memory(field: str) -> int:
    """Bytes of this process by a field of Linux' `status`: VmRSS now, VmHWM at the most."""
    try:
        found = re.search(rf"^{field}:\s*(\d+) kB", Path("/proc/self/status").read_text(), re.M)
    except FileNotFoundError:  # not Linux: what the system knows is the most there ever was
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return int(found[1]) * 1024 if found else 0


def reset_peak() -> None:
    """Let VmHWM begin anew, where the system can."""
    file = Path("/proc/self/clear_refs")
    if file.exists():
        file.write_text("5")
