"""The face of a reference photo is the person's own, whoever else is in it."""

from dataclasses import replace

import numpy as np
import pytest

from pipelines.diffusion.sampling.reference_faces import ReferenceEmbedder, is_same_face
from portrait.arrays import Image
from portrait.errors import UserError
from portrait.types import Box, Face, Pose
from tests import hub_store

SPACE = "antelopev2"
OWN = Box(400, 400, 500, 520)


def face(box: Box) -> Face:
    return Face(box, np.zeros((5, 2), np.float32), None, {}, Pose(0, 0, 0), 0.9)


class Finder:
    """Sees faces at these places, the largest first; an embedding holds the left edge of its box."""

    space = SPACE
    same_person = 0.6

    def __init__(self, *boxes: Box) -> None:
        self._boxes = sorted(boxes, key=lambda box: -box.area)

    def faces(self, image: Image, embedded: int = 1) -> list[Face]:
        found = [face(box) for box in self._boxes]
        return [self.embed(image, each) for each in found[:embedded]] + found[embedded:]

    def embed(self, image: Image, face: Face) -> Face:
        return replace(face, embeddings={SPACE: np.full(512, face.box.left, np.float32)})


def references(*boxes: Box) -> tuple[ReferenceEmbedder, tuple[Image, Face]]:
    return ReferenceEmbedder(SPACE, lambda: Finder(*boxes)), (np.zeros((1000, 1500, 3), np.uint8), face(OWN))


def embedded(*boxes: Box) -> float:
    """The left edge of the face that was taken for the person's."""
    embedder, (image, own) = references(*boxes)
    reference = replace(hub_store.reference(image, {}), face=own)
    return float(embedder.best_face(hub_store.person(reference)).embeddings[SPACE][0])


def test_the_face_where_the_person_was_found_is_taken_however_small_it_is() -> None:
    others = [Box(10 + 200 * number, 10, 190 + 200 * number, 230) for number in range(6)]
    assert embedded(*others, Box(410, 390, 495, 500)) == 410


@pytest.mark.parametrize(
    "bystander",
    [
        Box(1350, 400, 1450, 520),  # far beside
        Box(400, 560, 500, 680),  # below, in the same column
        Box(505, 400, 605, 520),  # shoulder to shoulder
        Box(300, 100, 1000, 900),  # large, in front: its centre is not the person's
        Box(470, 490, 490, 515),  # a face on a badge
    ],
)
def test_a_bystander_is_never_the_person(bystander: Box) -> None:
    with pytest.raises(UserError) as caught:
        embedded(bystander)
    assert caught.value.code == "no_reference"


def test_boxes_of_two_finders_may_differ_in_size() -> None:
    assert is_same_face(OWN, Box(370, 340, 520, 540))
    assert is_same_face(Box(420, 430, 480, 500), OWN)
