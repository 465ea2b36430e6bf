"""Memory of freed objects, given back to the system: the C library keeps it for those that come later.

What glibc keeps lies between live objects and counts as the process's own. Networks whose weights were rearranged while they
were loaded, pictures that threads decoded and code that was compiled leave 50 to 150 MB each.
"""

import ctypes
import sys
from contextlib import suppress


def return_memory() -> None:
    """Give the memory of freed objects back to the system, where the C library is glibc; takes some milliseconds.

    Called where much was freed and what follows needs much, or nothing for a while.
    """
    if sys.platform == "linux":
        # musl has no such call.
        with suppress(OSError, AttributeError, TypeError):
            ctypes.CDLL(None).malloc_trim(0)
