"""Sunglasses on drawn eyewear; what only looks like it: clear glasses, shadows, closed and dark eyes."""

from collections.abc import Callable

import numpy as np
import pytest

from portrait.arrays import Image
from portrait.faces.glasses import wears_sunglasses
from portrait.ports import FaceFinder
from portrait.types import Face
from tests import dressed, eyewear, selfies

Change = Callable[[Image, Face], Image]
PEOPLE = ("astronaut", "player 3", "player 4", "player 1")
DARK: dict[str, Change] = {
    "opaque, round": lambda image, face: eyewear.sunglasses(image, face),
    "opaque, square": lambda image, face: eyewear.sunglasses(image, face, "square"),
    "opaque, small": lambda image, face: eyewear.sunglasses(image, face, "small"),
    "grey": lambda image, face: eyewear.sunglasses(image, face, "square", (0.15, 0.15, 0.15)),
    "blue": lambda image, face: eyewear.sunglasses(image, face, "round", (0.05, 0.1, 0.25)),
    "mirrored": lambda image, face: eyewear.sunglasses(image, face, "round", mirror=0.3),
    "opaque in poor light": lambda image, face: selfies.lit(eyewear.sunglasses(image, face, "square"), -2),
}
NOT_DARK: dict[str, Change] = {
    "none": lambda image, face: image,
    "clear": lambda image, face: eyewear.clear_glasses(image, face),
    "clear, thick": lambda image, face: eyewear.clear_glasses(image, face, "square", thick=True),
    "clear, small": lambda image, face: eyewear.clear_glasses(image, face, "small", thick=True),
    "eyes shut": lambda image, face: selfies.eyes_shut(image, face, 1.0),
    "eyes shut behind clear glasses": lambda image, face: eyewear.clear_glasses(
        selfies.eyes_shut(image, face, 1.0), face, "square", thick=True
    ),
    "shade, soft": lambda image, face: eyewear.shaded_eyes(image, face, 2, 0.02),
    "shade, hard": lambda image, face: eyewear.shaded_eyes(image, face, 1.5, 0.003),
    "cap": lambda image, face: eyewear.shaded_forehead(image, face, 2.5, 0.3),
    "deep cap": lambda image, face: eyewear.shaded_forehead(image, face, 2.5, 0.6),
    "poor light": lambda image, face: selfies.lit(image, -3),
}


@pytest.fixture(scope="module")
def people(finder: FaceFinder) -> dict[str, tuple[Image, Face]]:
    """Four people, and each of them with darker skin."""
    found = {name: (selfies.people()[name], finder.faces(selfies.people()[name], 0)[0]) for name in PEOPLE}
    darker = {f"dark {name}": (dressed.toned(image, face, 1.0), face) for name, (image, face) in found.items()}
    return found | darker


@pytest.mark.parametrize("worn", DARK)
def test_dark_glasses_are_told_on_light_and_dark_skin(
    finder: FaceFinder, people: dict[str, tuple[Image, Face]], worn: str
) -> None:
    for name, (image, face) in people.items():
        dressed_up = DARK[worn](image, face)
        assert wears_sunglasses(dressed_up, finder.faces(dressed_up, 0)[0]), (worn, name)


@pytest.mark.parametrize("seen", NOT_DARK)
def test_what_only_looks_dark_is_not(finder: FaceFinder, people: dict[str, tuple[Image, Face]], seen: str) -> None:
    for name, (image, face) in people.items():
        changed = NOT_DARK[seen](image, face)
        assert not wears_sunglasses(changed, finder.faces(changed, 0)[0]), (seen, name)


def test_glasses_that_slipped_down_the_nose_hide_the_eyes_all_the_same(
    finder: FaceFinder, astronaut: Image, astronaut_face: Face
) -> None:
    away = astronaut_face.box.height * 0.1
    slipped = astronaut_face.landmarks + np.array([0, away], np.float32)
    lower = Face(astronaut_face.box, slipped, astronaut_face.mesh, {}, astronaut_face.pose, 1.0)
    image = eyewear.sunglasses(astronaut, lower)
    assert wears_sunglasses(image, finder.faces(image, 0)[0])


def test_without_a_mesh_the_five_landmarks_do(astronaut: Image, astronaut_face: Face) -> None:
    bare = Face(astronaut_face.box, astronaut_face.landmarks, None, {}, astronaut_face.pose, 1.0)
    assert wears_sunglasses(eyewear.sunglasses(astronaut, astronaut_face), bare)
    assert not wears_sunglasses(astronaut, bare)
