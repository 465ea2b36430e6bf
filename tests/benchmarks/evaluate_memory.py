"""What evaluating many pictures takes of memory: `python -m tests.benchmarks.evaluate_memory [PICTURES]`, a process of its own.

Every metric is computed, by networks that cost nothing: what is measured is what is kept of each picture, and the tables of
pairs. 2,048 pictures are where a Fréchet distance begins to be what papers report.
"""

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from portrait.arrays import Image
from portrait.metrics import Numbers

PICTURES = 2048
SIDE = 1024
"""Width and height of each picture."""
MOST_MEGABYTES = 1000
"""What it may take at the peak, with the libraries."""


class Features:
    """As many features, classes and embedded words as the published networks have, at random."""

    def __init__(self) -> None:
        self.random = np.random.default_rng(3)

    def classify(self, images: Sequence[Image]) -> tuple[Numbers, Numbers]:
        """Features N×2048 and shares N×1008."""
        shares = self.random.random((len(images), 1008))
        return self.random.normal(size=(len(images), 2048)), shares / shares.sum(1, keepdims=True)

    def encode_images(self, images: Sequence[Image]) -> Numbers:
        """Features N×768."""
        return self.random.normal(size=(len(images), 768))

    def encode_texts(self, texts: Sequence[str]) -> Numbers:
        """Features N×768."""
        return self.random.normal(size=(len(texts), 768))


def main() -> None:
    """Print a line; fails where it took more than it may."""
    if len(sys.argv) == 3:
        sys.stdout.write(_measured(int(sys.argv[1])))
        return
    count = sys.argv[1] if len(sys.argv) > 1 else str(PICTURES)
    command = [sys.executable, "-m", "tests.benchmarks.evaluate_memory", count, "here"]
    megabytes, seconds = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    sys.stdout.write(f"| pictures | MB at the peak | seconds |\n|---|---|---|\n| {count} | {megabytes} | {seconds} |\n")
    if float(megabytes) > MOST_MEGABYTES:
        raise SystemExit(f"more than {MOST_MEGABYTES} MB")


def _measured(count: int) -> str:
    """Megabytes of this process at the peak, and the seconds it took."""
    from pipelines.evaluate import Evaluate, EvaluationRequest
    from pipelines.pages import evaluation
    from tests.fakes import FakeFinder, RecordingProgress, picture, save

    with tempfile.TemporaryDirectory() as place:
        files = [save(Path(place) / f"{number}.png", picture(1 + number % 3, number, side=SIDE)) for number in range(8)]
        files = [files[number % len(files)] for number in range(count)]
        started, features = time.monotonic(), Features()
        flow = Evaluate(FakeFinder(), features, features)
        prompts = {file.name: f"a portrait in style {file.stem}" for file in files}
        found = flow(EvaluationRequest(files, files, prompts), RecordingProgress())
        evaluation.write(found, Path(place) / "page.html")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
        return f"{peak:.0f} {time.monotonic() - started:.1f}"


if __name__ == "__main__":
    main()
