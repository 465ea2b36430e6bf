"""What was freed between objects that live is given back to the system."""

import subprocess
import sys

import pytest

MEASURED = """
from pathlib import Path
from pipelines.memory import return_memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

blocks = [bytes(100_000) for _ in range(1000)]
kept = blocks[::50]  # what lies between them cannot be cut off at the end
del blocks
before = resident()
return_memory()
print(before - resident())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other C libraries decide by themselves")
def test_freed_memory_goes_back() -> None:
    found = subprocess.run([sys.executable, "-c", MEASURED], capture_output=True, text=True, check=True)
    assert int(found.stdout) > 50_000_000
