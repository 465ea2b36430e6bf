"""Made photos of several people, and a finder that tells them apart without a model."""

from dataclasses import replace

import cv2
import numpy as np

from portrait.arrays import Image
from portrait.types import Box, Face
from tests import fakes
from tests.fakes import picture

ANN, BEN = 1, 3
LEFT, RIGHT = (0.25, 0.5), (0.75, 0.5)
"""Points, in shares of `group`, near the middle of each face."""


class Squares:
    """Takes every square with a red channel for a face, of the person that its red encodes; the largest first."""

    space, same_person = "dlib", 0.6

    def faces(self, image: Image, embedded: int = 1) -> list[Face]:
        count, _, boxes, _ = cv2.connectedComponentsWithStats((image[..., 0] > 20).astype(np.uint8))
        found = []
        for number in range(1, count):
            left, top, width, height, _ = (int(each) for each in boxes[number])
            if width > 20:
                face = fakes.face(image[top : top + height, left : left + width], share=1.0)
                moved = Box(left, top, left + width, top + height)
                found.append(replace(face, box=moved, landmarks=face.landmarks + np.array([left, top], np.float32)))
        found.sort(key=lambda face: -face.box.area)
        return [
            self.embed(image, face) if at < embedded else replace(face, embeddings={}) for at, face in enumerate(found)
        ]

    def embed(self, image: Image, face: Face) -> Face:
        x, y = (int(each) for each in face.box.centre)
        vector = np.zeros(8, np.float32)
        vector[round(float(image[y, x, 0]) / 40)] = 1
        return replace(face, embeddings={"dlib": vector})


def photo(seed: int, *faces: tuple[int, int, int]) -> Image:
    """A photo of 1000×600 with faces: the person, and left and top of a square of 180."""
    image = cv2.resize(picture(0, seed), (1000, 600), interpolation=cv2.INTER_NEAREST)
    for person, left, top in faces:
        image[top : top + 180, left : left + 180, 0] = 40 * person
    return np.ascontiguousarray(image, np.uint8)


def alone(person: int, seed: int) -> Image:
    return photo(seed, (person, 410, 210))


def group(left: int, right: int, seed: int = 0, gap: int = 320) -> Image:
    """Two people beside each other, the right one a little higher."""
    return photo(seed, (left, 160, 210), (right, 340 + gap, 150))
