"""What a worker keeps of memory after prints: `python -m tests.benchmarks.print_memory [COUNT]`, as its processes draw them.

Studio portraits of 2048 × 2560 are drawn and encoded one after the other, each of another person than the last, with what
workers import and with memory returned after each as they do; a line for the fifth and the last.
"""

import sys
from pathlib import Path

import numpy as np
import PIL.Image

from pipelines import build
from pipelines.deliver import encode
from pipelines.engines import Engines
from pipelines.marks.marks import open_marks
from pipelines.memory import return_memory
from portrait.arrays import Image, Size
from portrait.studio import backdrops
from portrait.types import Identity, PortraitRequest, Quality, Reference, Style
from tasks.queue import worker
from tasks.settings import load
from tests.benchmarks.photo_memory import photo

COUNT, EARLY, PEOPLE = 25, 5, 7
SIZE = Size(2048, 2560)
MEGAPIXELS = 12


def main() -> None:
    """Print megabytes resident and at the peak after some of the prints."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else COUNT
    assert worker.__name__  # what it imports is counted, too
    settings = load()
    sys.stdout.write("| prints | MB resident | MB at the peak |\n|---|---|---|\n")
    with build.open_engines(settings) as engines:
        flow, marks, reference = (
            build.render(engines, ["studio"], [], settings.draw),
            open_marks(settings.marks),
            _photo(engines),
        )
        for number in range(count):
            encode(flow(_request(reference, number), _quiet)[0], "jpg", marks)
            return_memory()
            if number + 1 in (EARLY, count):
                status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text("utf-8").splitlines())
                resident, peak = (int(status[name].split()[0]) * 1024 / 1e6 for name in ("VmRSS", "VmHWM"))
                sys.stdout.write(f"| {number + 1} | {resident - reference.image.nbytes / 1e6:.0f} | {peak:.0f} |\n")


def _photo(engines: Engines) -> Reference:
    """The photo that all are drawn of, which no worker keeps: its bytes are taken off."""
    image: Image = np.asarray(PIL.Image.Image.convert(photo(MEGAPIXELS), "RGB"))
    return Reference("photo", image, engines.finder().faces(image)[0], Quality(1, 1, 1, 1, 1, 1, 1))


def _request(reference: Reference, number: int) -> PortraitRequest:
    """A print of one of the people in the next backdrop."""
    name, backdrop = f"person {number % PEOPLE}", backdrops.NAMES[number % len(backdrops.NAMES)]
    selfie = Reference(name, reference.image, reference.face, reference.quality)
    person = Identity(name, (selfie,), dict(reference.face.embeddings))
    return PortraitRequest({1: person}, Style(backdrop, 1, "studio", backdrop, backdrop=backdrop), number, 1, SIZE)


def _quiet(done: int, total: int, doing: str, preview: Image | None = None) -> None:
    pass


if __name__ == "__main__":
    main()
