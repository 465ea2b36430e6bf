"""Pictures that no guard should keep back: people, also close, and drawn before backdrops; backdrops alone; plain pictures.

They are made of the photos of `selfies` and of what this program paints. Faces that fill a picture are the hardest: much skin.
"""

from collections.abc import Iterator, Mapping

import numpy as np

from pipelines import build
from pipelines.engines import Engines
from portrait.arrays import Image, Size
from portrait.errors import UserError
from portrait.ports import FaceFinder
from portrait.studio import backdrops
from portrait.types import Face, Identity, PortraitRequest, Quality, Reference, Style
from tests import fakes, selfies
from tests.fakes import RecordingProgress

CLOSE = {"head": 1.0, "face": 0.5, "skin": 0.2}
"""Room around the face as shares of its width."""


def few() -> dict[str, Image]:
    """Twenty of all kinds but the drawn ones, by name; no face finder is needed for them."""
    found = {**selfies.people()}
    for name, image in selfies.people().items():
        height, width = image.shape[:2]
        middle = image[height // 10 : height // 2, width // 4 : 3 * width // 4]
        found[f"{name}, near"] = np.ascontiguousarray(middle)
    for number, name in enumerate(backdrops.NAMES[:6]):
        found[name] = backdrops.paint(name, Size(256, 320), number)
    return found


def many(engines: Engines) -> Iterator[tuple[str, Image]]:
    """More than two hundred, each with its kind."""
    finder = engines.finder()
    for image in selfies.people().values():
        face = finder.faces(image, embedded=0)[0]
        for changed in _taken_again(image, face):
            yield "photos", changed
        for room in CLOSE:
            yield "close", close(image, face, room)
            yield "close", np.ascontiguousarray(close(image, face, room)[:, ::-1])
            yield "close", selfies.lit(close(image, face, room), 0.8)
    yield from (("drawn", image) for image in drawn(engines))
    for number, name in enumerate(backdrops.NAMES):
        yield "backdrops", backdrops.paint(name, Size(480, 600), number)
    for seed in range(8):
        yield "plain", fakes.picture(seed % 5, seed)
        yield "plain", np.full((200, 160, 3), 32 * seed, np.uint8)


def drawn(engines: Engines) -> Iterator[Image]:
    """Each person before every third backdrop, 256×320."""
    for at, person in enumerate(people(engines.finder()).values()):
        for name in backdrops.NAMES[at % 3 :: 3]:
            style = Style(name, 1, "studio", name, backdrop=name)
            request = PortraitRequest({1: person}, style, at, 1, Size(256, 320))
            try:
                yield build.render(engines, ["studio"])(request, RecordingProgress())[0].image
            except UserError as error:
                if error.code == "blocked":
                    raise
                break  # a photo that has no room for a studio


def people(finder: FaceFinder) -> Mapping[str, Identity]:
    """Each person of the photos as one who can be drawn."""
    found = {}
    for name, image in selfies.people().items():
        face = finder.faces(image)[0]
        reference = Reference(name, image, face, Quality(1, 1, 1, 1, 1, 1, 1))
        found[name] = Identity(name, (reference,), face.embeddings)
    return found


def close(image: Image, face: Face, room: str) -> Image:
    """The face with little around it."""
    box, reach = face.box, face.box.width * CLOSE[room]
    height, width = image.shape[:2]
    rows = slice(max(0, round(box.top - reach)), min(height, round(box.bottom + reach)))
    columns = slice(max(0, round(box.left - reach)), min(width, round(box.right + reach)))
    return np.ascontiguousarray(image[rows, columns])


def _taken_again(image: Image, face: Face) -> Iterator[Image]:
    yield image
    yield np.ascontiguousarray(image[:, ::-1])
    yield selfies.lit(image, 1.0)
    yield selfies.lit(image, -1.5)
    yield selfies.noisy(image, 12)
    yield selfies.blurred(image, 0.02, face.box.width)
    yield np.repeat(image.mean(axis=2, keepdims=True).astype(np.uint8), 3, axis=2)
    yield selfies.rolled(image, 12)
    yield from (selfies.varied(image, face, seed)[0] for seed in range(4))
