from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pipelines.engines.faces import blazeface
from portrait.arrays import Image
from portrait.faces.likeness import distance, distance_matrix
from portrait.ports import FaceFinder
from portrait.types import Face
from tests import selfies


def test_finds_the_one_face(astronaut_face: Face) -> None:
    face = astronaut_face
    assert (face.box.centre[0], face.box.centre[1]) == pytest.approx((225, 122), abs=4)
    assert face.box.width == pytest.approx(selfies.FACE_WIDTH, abs=3)
    assert face.mesh is not None
    assert face.mesh.shape == (478, 3)
    # Eyes, nose and mouth as anyone can read them off the photo.
    assert face.landmarks == pytest.approx(
        np.array([[207, 104], [246, 106], [224, 128], [204, 139], [244, 142]]), abs=4
    )
    assert face.confidence > 0.8


def test_irises_lie_in_the_eyes(astronaut_face: Face) -> None:
    mesh = astronaut_face.mesh
    assert mesh is not None
    for iris, corners in ((slice(468, 473), (33, 133)), (slice(473, 478), (362, 263))):
        middle, ends = mesh[iris, :2].mean(axis=0), mesh[list(corners), :2]
        assert ends[:, 0].min() < middle[0] < ends[:, 0].max()
        assert abs(middle[1] - ends[:, 1].mean()) < 4


def test_finds_all_six_of_a_group_and_their_embeddings_differ(finder: FaceFinder, group_faces: list[Face]) -> None:
    assert len(group_faces) == 6
    table = distance_matrix("dlib", [face.embeddings["dlib"] for face in group_faces])
    assert table[~np.eye(6, dtype=bool)].min() > finder.same_person


@pytest.mark.parametrize(
    "make",
    [
        lambda image: selfies.rolled(image, 25),
        lambda image: selfies.lit(image, -2),
        lambda image: selfies.far(image, 70),
    ],
)
def test_one_person_stays_one_person(finder: FaceFinder, astronaut: Image, astronaut_face: Face, make) -> None:
    other = finder.faces(make(astronaut))[0]
    assert distance("dlib", other.embeddings["dlib"], astronaut_face.embeddings["dlib"]) < 0.3


def test_only_the_requested_number_is_embedded(finder: FaceFinder) -> None:
    faces = finder.faces(selfies.group(), embedded=2)
    assert [bool(face.embeddings) for face in faces] == [True, True, False, False, False, False]
    assert [face.box.area for face in faces] == sorted((face.box.area for face in faces), reverse=True)
    assert not finder.faces(selfies.group(), embedded=0)[0].embeddings


def test_a_face_that_fills_the_photo_is_found(finder: FaceFinder, astronaut: Image) -> None:
    assert len(finder.faces(np.ascontiguousarray(astronaut[60:180, 165:285]))) == 1


@pytest.mark.parametrize("shape", [(1, 1), (7, 300), (300, 7), (64, 64)])
def test_pictures_of_any_shape_are_accepted(finder: FaceFinder, shape: tuple[int, int]) -> None:
    assert finder.faces(np.full((*shape, 3), 128, np.uint8)) == []


def test_the_same_photo_gives_the_same_face(finder: FaceFinder, astronaut: Image, astronaut_face: Face) -> None:
    again = finder.faces(astronaut)[0]
    assert again.mesh is not None
    assert astronaut_face.mesh is not None
    assert (again.mesh == astronaut_face.mesh).all()
    assert (again.embeddings["dlib"] == astronaut_face.embeddings["dlib"]).all()


class SeeingDetector:
    """A detector of MediaPipe's kind that notes the width of each picture."""

    def __init__(self) -> None:
        self.widths: list[int] = []

    def detect(self, picture: Any) -> Any:
        self.widths.append(picture.width)
        return SimpleNamespace(detections=[])


def test_a_detector_is_not_left_with_a_large_picture() -> None:
    detector = SeeingDetector()
    blazeface._run_detector(detector, np.zeros((2000, 2000, 3), np.uint8), (0, 0))
    assert detector.widths[0] == 2000
    assert detector.widths[-1] < 100
    blazeface._run_detector(detector, np.zeros((500, 500, 3), np.uint8), (0, 0))
    assert detector.widths[-1] == 500
