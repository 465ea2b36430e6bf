"""Forty studio portraits to measure on: people of the test photos, every backdrop, 512×640 to 2048×2560 pixels.

They are made once, by the installation's own engines, and kept as PNG in the cache of the installation.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import PIL.Image

from pipelines import build
from pipelines.engines import Engines
from portrait.arrays import Image, Size
from portrait.studio import backdrops
from portrait.types import Identity, PortraitRequest, Quality, Reference, Style
from tasks.settings import home, load
from tests import selfies
from tests.fakes import RecordingProgress

SIZES = (Size(1024, 1280), Size(1024, 1280), Size(768, 960), Size(1280, 1024), Size(2048, 2560), Size(512, 640))
COUNT = 40
LOOKING_DOWN = ("player 1", "player 6")
"""People of the photos who are left out."""


def portraits() -> Iterator[tuple[str, Image]]:
    """Names and pictures, painted where they are not there yet."""
    folder = home() / "cache" / "studio-portraits"
    names = [f"{number:02}.png" for number in range(COUNT)]
    missing = {number: name for number, name in enumerate(names) if not (folder / name).exists()}
    if missing:
        folder.mkdir(parents=True, exist_ok=True)
        _paint(folder, missing)
    for name in names:
        with PIL.Image.open(folder / name) as file:
            yield name, np.asarray(file.convert("RGB"))


def _paint(folder: Path, names: dict[int, str]) -> None:
    """Person, backdrop and size turn at different paces, so that they mix."""
    with build.open_engines(load()) as engines:
        people = [_person(engines, name, photo) for name, photo in selfies.people().items() if name not in LOOKING_DOWN]
        for number, name in names.items():
            backdrop = backdrops.NAMES[number % len(backdrops.NAMES)]
            style = Style(backdrop, 1, "studio", backdrop, backdrop=backdrop)
            person = people[number % len(people)]
            request = PortraitRequest({1: person}, style, 1, number, SIZES[number % len(SIZES)])
            image = engines.painter("studio").paint(request, RecordingProgress())[0].image
            PIL.Image.fromarray(image).save(folder / "unfinished.png")
            (folder / "unfinished.png").replace(folder / name)


def _person(engines: Engines, name: str, photo: Image) -> Identity:
    reference = Reference(name, photo, engines.finder().faces(photo, 0)[0], Quality(1, 1, 1, 1, 1, 1, 1))
    return Identity(name, (reference,), {})
