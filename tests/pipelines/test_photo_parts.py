from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image
import pytest

from pipelines import image_io
from pipelines.judging import Place, cut_out, read_part, rotate
from portrait.arrays import Size
from portrait.errors import UserError
from portrait.images.windows import Window
from portrait.photos.groups import WHOLE
from portrait.types import Box
from tests import selfies

PLACES = [
    *(Place(turns, WHOLE) for turns in range(4)),
    *(Place(turns, Box(0.113, 0.2, 0.871, 0.64)) for turns in (0, 1, 2)),
]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same photo of 1203×900 in formats that are decoded in different ways, and lying on its side by EXIF."""
    folder = tmp_path_factory.mktemp("parts")
    image = PIL.Image.fromarray(np.asarray(cv2.resize(selfies.astronaut(), (1203, 900)), np.uint8))
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    options: dict[str, dict[str, Any]] = {
        "a.jpg": {"quality": 95},
        "turned.jpg": {"quality": 95, "exif": exif},
        "a.png": {},
        "a.webp": {"quality": 90},
    }
    for name, each in options.items():
        image.save(folder / name, **each)
    return {name: folder / name for name in options}


@pytest.mark.parametrize("name", ["a.jpg", "turned.jpg", "a.png", "a.webp"])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("side", [None, 300, 555, 1100])
def test_a_part_is_that_of_the_whole_photo(photos: dict[str, Path], name: str, place: Place, side: int | None) -> None:
    whole = cut_out(rotate(image_io.read(photos[name], side), place.turns), place.window).image
    sizes = []

    def around(size: Size) -> Window:
        sizes.append(size)
        return Window(size.width // 5, size.height // 3, size.width // 2, size.height)

    image, part = read_part(photos[name], side, place, around)
    assert sizes == [Size(whole.shape[1], whole.shape[0])]
    expected = whole[part.top : part.bottom, part.left : part.right]
    assert image.shape == expected.shape
    assert (image == expected).all()


def test_a_broken_photo_is_refused_as_ever(photos: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "half.jpg").write_bytes(photos["a.jpg"].read_bytes()[:9000])
    with pytest.raises(UserError) as refused:
        read_part(tmp_path / "half.jpg", 700, Place(0, WHOLE), lambda size: Window(0, 0, size.width, size.height))
    assert refused.value.code == "unreadable"
