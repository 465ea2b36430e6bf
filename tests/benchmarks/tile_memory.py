"""How much memory it takes to enlarge large pictures in tiles: `python -m tests.benchmarks.tile_memory`, a process a size.

The network is Real-ESRGAN's published layout, thin and short: what is measured is the tiling, not the network's own layers.
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SIZES = ((1000, 1000), (6000, 64), (3000, 2000), (6000, 4000))
"""Width and height."""


def main() -> None:
    """A line a size: megabytes before, of picture and result, and what came on top of both at the peak."""
    if len(sys.argv) == 3:
        sys.stdout.write(_measured(int(sys.argv[1]), int(sys.argv[2])))
        return
    sys.stdout.write("| picture | picture and result, MB | on top at the peak, MB | seconds |\n|---|---|---|---|\n")
    for width, height in SIZES:
        command = [sys.executable, "-m", "tests.benchmarks.tile_memory", str(width), str(height)]
        sys.stdout.write(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _measured(width: int, height: int) -> str:
    from pipelines.engines.upscalers.realesrgan import FILES, RealESRGAN
    from tests import onnx_tiny
    from tests.model_folder import store

    with tempfile.TemporaryDirectory() as place:
        model, file = FILES[2]
        onnx_tiny.esrgan(Path(place) / model / file, 2, blocks=1, width=4)
        engine = RealESRGAN(store(Path(place)))
        engine.upscale(np.zeros((256, 256, 3), np.uint8), 2)  # the network and its tile are there
        before = _peak()
        image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
        began = time.perf_counter()
        made = engine.upscale(image, 2)
        seconds = time.perf_counter() - began
    held = image.nbytes + made.nbytes
    return f"| {width}×{height} | {held / 1e6:.0f} | {(_peak() - before - held) / 1e6:.0f} | {seconds:.0f} |\n"


def _peak() -> int:
    """Bytes of this process at most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
