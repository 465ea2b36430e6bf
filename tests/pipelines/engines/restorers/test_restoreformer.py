from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipelines.engines.restorers.restoreformer import RestoreFormer
from pipelines.engines.runtimes.onnx import OnnxNetwork
from portrait.arrays import Image
from portrait.errors import EngineError
from portrait.faces.alignment import FFHQ, ffhq_alignment
from portrait.types import Box, Face, Pose
from tests import onnx_tiny


def smooth(height: int, width: int, seed: int = 0) -> Image:
    cells = np.random.default_rng(seed).integers(0, 256, (height // 20, width // 20, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(cells, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def face(left: float, top: float, side: float, roll: float = 0.0) -> Face:
    """A face whose FFHQ crop is the square at `left`, `top`, turned about its middle."""
    turn = np.radians(roll)
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    points = ((FFHQ - 0.5) @ matrix.T * side + side / 2 + (left, top)).astype(np.float32)
    third = side / 3
    return Face(
        Box(left + third, top + third, left + 2 * third, top + 2 * third), points, None, {}, Pose(0, 0, roll), 1.0
    )


def restorer(folder: Path, seed: int | None = 0) -> RestoreFormer:
    return RestoreFormer(OnnxNetwork(onnx_tiny.restorer(folder / f"{seed}.onnx", seed), "restoreformer"))


def test_the_crop_is_where_ffhq_has_it() -> None:
    matrix = ffhq_alignment(face(30, 50, 200, 25), 512)
    moved = face(30, 50, 200, 25).landmarks @ matrix[:, :2].T + matrix[:, 2]
    assert moved == pytest.approx(FFHQ * 512 - 0.5, abs=0.01)


@pytest.mark.parametrize("roll", [0, 20, 180])
def test_a_network_that_changes_nothing_changes_nothing(tmp_path: Path, roll: float) -> None:
    image = smooth(400, 500)
    found = restorer(tmp_path, None).restore(image, face(120, 80, 256, roll))
    assert np.abs(found.astype(int) - image).max() <= 3


def test_only_the_crop_changes_and_its_edge_is_invisible(tmp_path: Path) -> None:
    image = smooth(400, 500)
    found = restorer(tmp_path).restore(image, face(120, 80, 200))
    change = np.abs(found.astype(int) - image).max(axis=2)
    inside = np.zeros(change.shape, bool)
    inside[80:280, 120:320] = True
    assert change[~inside].max() == 0
    assert change[130:230, 170:270].mean() > 5
    assert change[81, 120:320].max() <= 2


@pytest.mark.parametrize("place", [(-80, -60), (420, 300), (150, -100)])
def test_a_face_cut_by_the_border_is_restored_as_far_as_it_is_there(tmp_path: Path, place: tuple[int, int]) -> None:
    image = smooth(400, 500)
    found = restorer(tmp_path).restore(image, face(*place, 200))
    assert found.shape == image.shape
    assert (found != image).any()


def test_the_larger_the_face_the_less_of_it_is_drawn_anew(tmp_path: Path) -> None:
    image = smooth(1300, 1300)
    engine = restorer(tmp_path)
    changes = [
        np.abs(engine.restore(image, face(60, 60, side)).astype(int) - image)[200:500, 200:500].mean()
        for side in (512, 768, 1024, 1100)
    ]
    assert changes[0] > changes[1] > changes[2] == changes[3] == 0


def test_a_face_outside_the_picture_or_in_one_point_is_left_alone(tmp_path: Path) -> None:
    image = smooth(100, 100)
    engine = restorer(tmp_path)
    assert (engine.restore(image, face(900, 900, 60)) == image).all()
    point = replace(face(10, 10, 60), landmarks=np.full((5, 2), 50, np.float32))
    assert engine.restore(image, point).shape == image.shape


def test_a_network_of_another_shape_is_refused(tmp_path: Path) -> None:
    network = OnnxNetwork(onnx_tiny.restorer(tmp_path / "256.onnx", side=256), "restoreformer")
    with pytest.raises(EngineError, match="models pull restoreformer") as caught:
        RestoreFormer(network)
    assert caught.value.code == "broken_model"
