"""`portrait faces`: what it says of a picture."""

import numpy as np
import pytest

from app.commands.faces import faces_to_dict, print_faces
from portrait.types import Box, Face, Pose, StylePicture

PICTURE = StylePicture(
    np.zeros((64, 64, 3), np.uint8),
    tuple(
        Face(Box(left, 10.4, left + 40, 50), np.zeros((5, 2), np.float32), None, {}, Pose(0, 0, 0), 1.0)
        for left in (0.0, 60.0)
    ),
    missed=(Box(120, 10, 160, 50),),
)


def test_faces_have_numbers_and_missed_ones_a_point() -> None:
    told = faces_to_dict(PICTURE)
    assert told["faces"] == [{"number": 1, "box": [0, 10, 40, 50]}, {"number": 2, "box": [60, 10, 100, 50]}]
    assert told["missed"] == [{"box": [120, 10, 160, 50], "at": [140, 30]}]


def test_what_may_be_missed_is_told_with_the_way_to_point_at_it(
    capsys: pytest.CaptureFixture[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    print_faces(PICTURE, tmp_path_factory.getbasetemp() / "faces.jpg")
    told = " ".join(capsys.readouterr().out.split())
    assert "Face 2 40 pixels wide" in told
    assert "--face 140,30=PHOTOS" in told
