"""Log lines of the training of the face world."""

import sys
import time


def log(line: str) -> None:
    """Print a line with the time of day."""
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {line}\n")
    sys.stdout.flush()
