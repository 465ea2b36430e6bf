"""Close selfies before every backdrop: `python -m tests.benchmarks.studio_closeups [FOLDER]`; FOLDER gets sheets to look at.

Each of the forty selfies is cut out by the installation's own matter, as people's are. Printed are seconds for the first
backdrop and each further one at 1024×1280, faults that show where the photo ended, and the memory of the process.
"""

import resource
import statistics
import sys
import time
from pathlib import Path

import cv2
import numpy as np

from pipelines import build
from pipelines.engines import Engines
from portrait.arrays import Image, Size
from portrait.errors import UserError
from portrait.studio import backdrops
from portrait.types import Face, Identity, PortraitRequest, Quality, Reference, Style
from tasks.settings import load
from tests import cut_edges, framed_selfies, selfies
from tests.fakes import RecordingProgress
from tests.framed_selfies import FORTY

SIZE, SMALL = Size(1024, 1280), (256, 320)
PLAIN = {"studio-black": cut_edges.DARK, "studio-white": cut_edges.LIGHT}
"""Levels of two backdrops when they are painted plain."""


def main() -> None:
    """Paint all, print a line a selfie and the sums."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    first: list[float] = []
    further: list[float] = []
    with build.open_engines(load()) as engines:
        for number, reference in enumerate(_references(engines)):
            try:
                tiles, seconds = _paint_all(engines, reference)
            except UserError as error:
                sys.stdout.write(f"{reference.name}: {error.code}\n")
                continue
            first.append(seconds[0])
            further += seconds[1:]
            sys.stdout.write(f"{reference.name}: {seconds[0]:.2f} s; {_faults(engines, reference) or 'nothing ends'}\n")
            if folder is not None:
                sheet = np.vstack([np.hstack(tiles[row : row + 8]) for row in (0, 8)])
                cv2.imwrite(str(folder / f"{number:02}.jpg"), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    times = f"first backdrop {statistics.median(first):.2f} s, further {statistics.median(further):.2f} s"
    sys.stdout.write(f"{times}, {peak:.0f} MB at the peak\n")


def _references(engines: Engines) -> list[Reference]:
    finder = engines.finder()
    group = selfies.group()
    people: list[tuple[Image, Face]] = [(selfies.astronaut(), finder.faces(selfies.astronaut(), 0)[0])]
    people += [(group, face) for face in sorted(finder.faces(group, 0), key=lambda one: one.box.left)]
    taken = [(each.name, framed_selfies.take(each, *people[each.person])) for each in FORTY]
    good = Quality(1, 1, 1, 1, 1, 1, 1)
    return [Reference(name, image, finder.faces(image, 0)[0], good) for name, image in taken]


def _paint(engines: Engines, reference: Reference, backdrop: str, size: Size) -> Image:
    style = Style(backdrop, 1, "studio", backdrop, backdrop=backdrop)
    request = PortraitRequest({1: Identity("a", (reference,), {})}, style, 1, 1, size)
    return engines.painter("studio").paint(request, RecordingProgress())[0].image


def _paint_all(engines: Engines, reference: Reference) -> tuple[list[Image], list[float]]:
    """The portrait before each backdrop, reduced, and how long each took."""
    tiles, seconds = [], []
    for name in backdrops.NAMES:
        began = time.perf_counter()
        image = _paint(engines, reference, name, SIZE)
        seconds.append(time.perf_counter() - began)
        tiles.append(np.asarray(cv2.resize(image, SMALL, interpolation=cv2.INTER_AREA), np.uint8))
    return tiles, seconds


def _faults(engines: Engines, reference: Reference) -> list[str]:
    """What shows in the portrait that the selfie ended."""
    painted = backdrops.paint
    backdrops.paint = lambda name, size, seed: cut_edges.plain(PLAIN[name], (size.width, size.height))
    try:
        dark, light = (_paint(engines, reference, name, Size(320, 400)) for name in PLAIN)
    finally:
        backdrops.paint = painted
    drawn = engines.finder().faces(light, 0)
    if not drawn:
        return ["no face is found"]
    place = cut_edges.selfie_in_portrait(reference.face, drawn[0])
    alpha = cut_edges.opacity(dark, light)
    return cut_edges.faults(alpha, reference.image.shape, place, reference.face.box.height)


if __name__ == "__main__":
    main()
