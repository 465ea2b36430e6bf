"""Faults of a photo, each as grave as asked: photo, its face, how grave, seed → the photo with it; for `test_judging.py`."""

import numpy as np

from portrait.arrays import Image
from portrait.types import Face
from tests import selfies


def out_of_focus(image: Image, face: Face, share: float, seed: int) -> Image:
    return selfies.blurred(image, share / 100, face.box.width)


def shaken(image: Image, face: Face, share: float, seed: int) -> Image:
    return selfies.shaken(image, share / 100, face.box.width, 37 * seed)


def exposed(image: Image, face: Face, stops: float, seed: int) -> Image:
    return selfies.lit(image, stops)


def turned(image: Image, face: Face, degrees: float, seed: int) -> Image:
    """To the side it already points to, so that the turns add up."""
    direction = np.sign(face.pose.yaw) if abs(face.pose.yaw) > 10 else 1 - 2 * (seed % 2)
    return selfies.turned(image, face, degrees * float(direction))


def lids_down(image: Image, face: Face, share: float, seed: int) -> Image:
    return selfies.eyes_shut(image, face, share / 100)


def small(image: Image, face: Face, width: float, seed: int) -> Image:
    return selfies.resized(image, width / face.box.width)


def lost_in_a_room(image: Image, face: Face, width: float, seed: int) -> Image:
    """A 12-megapixel photo of a wall and one person, whose face is `width` pixels wide."""
    near = small(image, face, width, seed)
    wall = np.linspace(190, 120, 3000)[:, None, None] * np.array([1.0, 0.96, 0.9])
    room = np.repeat(wall, 4000, axis=1).astype(np.uint8)
    left, top = 1800 - near.shape[1] // 2, 1200 - near.shape[0] // 2
    room[top : top + near.shape[0], left : left + near.shape[1]] = near
    return room


def cut(image: Image, face: Face, share: float, seed: int) -> Image:
    return selfies.framed(image, face, ("left", "right", "top")[seed % 3], share / 100)


def masked(image: Image, face: Face, share: float, seed: int) -> Image:
    return selfies.covered(image, face, share / 100)


def hatted(image: Image, face: Face, share: float, seed: int) -> Image:
    return selfies.covered(image, face, share / 100, "top")
