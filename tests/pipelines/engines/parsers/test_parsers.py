from pathlib import Path

import cv2
import numpy as np
import pytest

from pipelines.engines.parsers.bisenet import CLASSES, BiSeNet
from pipelines.engines.parsers.mesh import MeshParser
from pipelines.engines.runtimes.onnx import OnnxNetwork
from portrait.arrays import Image, Mask, Regions
from portrait.errors import EngineError
from portrait.faces.geometry import scaling_matrix, transform_face
from portrait.types import Face
from tests import fakes, onnx_tiny
from tests.pipelines.engines.restorers.test_restoreformer import face as ffhq_face


def middle(mask: Mask) -> tuple[float, float]:
    rows, columns = np.indices(mask.shape)
    return float((columns * mask).sum() / mask.sum()), float((rows * mask).sum() / mask.sum())


def disjoint(regions: Regions) -> bool:
    return bool(np.sum(list(regions.values()), axis=0).max() <= 1.001)


def test_mesh_regions_lie_where_the_landmarks_do(astronaut: Image, astronaut_face: Face) -> None:
    regions = MeshParser().parse(astronaut, astronaut_face)
    assert set(regions) == {"skin", "brows", "eyes", "nose", "mouth", "lips"}
    assert disjoint(regions)
    eyes, nose, lips = (middle(regions[name]) for name in ("eyes", "nose", "lips"))
    five = astronaut_face.landmarks
    width = astronaut_face.box.width
    assert np.hypot(*(np.array(eyes) - five[:2].mean(0))) < 0.06 * width
    assert np.hypot(*(np.array(lips) - five[3:].mean(0))) < 0.1 * width
    assert middle(regions["brows"])[1] < eyes[1] < nose[1] < lips[1]
    assert regions["mouth"].sum() > 0.01 * width**2, "she smiles with open lips"
    assert regions["skin"].sum() > 4 * regions["nose"].sum()
    # Between brows and eyes, and about the lips, there is skin and no gap.
    total = np.sum(list(regions.values()), axis=0)
    left, right = (int(each) for each in (five[0, 0], five[1, 0]))
    assert total[int(five[0, 1]) - 8 : int(five[3, 1]) + 12, left:right].min() > 0.85
    assert total[: int(astronaut_face.box.top) - 15].max() == 0, "hair is none of it"


def test_regions_do_not_depend_on_the_size_of_the_picture(astronaut: Image, astronaut_face: Face) -> None:
    plain = MeshParser().parse(astronaut, astronaut_face)
    large = np.asarray(cv2.resize(astronaut, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC), np.uint8)
    grown = MeshParser().parse(large, transform_face(astronaut_face, scaling_matrix(4)))
    for name in ("eyes", "nose", "lips", "brows"):
        assert grown[name].shape == large.shape[:2]
        small = cv2.resize(grown[name], (512, 512), interpolation=cv2.INTER_AREA)
        assert np.minimum(small, plain[name]).sum() > 0.85 * np.maximum(small, plain[name]).sum(), name


def test_regions_are_soft(astronaut: Image, astronaut_face: Face) -> None:
    for mask in MeshParser().parse(astronaut, astronaut_face).values():
        assert ((mask > 0.1) & (mask < 0.9)).any()
        assert mask.dtype == np.float32


def test_without_a_mesh_another_parser_is_named() -> None:
    image = fakes.picture(1, 1)
    with pytest.raises(EngineError, match="bisenet") as caught:
        MeshParser().parse(image, fakes.face(image))
    assert caught.value.code == "no_mesh"


@pytest.fixture(scope="module")
def bisenet(tmp_path_factory: pytest.TempPathFactory) -> BiSeNet:
    return BiSeNet(OnnxNetwork(onnx_tiny.parser(tmp_path_factory.mktemp("model") / "tiny.onnx"), "bisenet"))


@pytest.mark.parametrize("roll", [0, 30])
def test_a_parsed_crop_lands_where_it_was_cut(bisenet: BiSeNet, roll: float) -> None:
    image = np.zeros((400, 500, 3), np.uint8)
    image[100:200] = (255, 0, 0)
    image[200:260] = (0, 255, 0)
    image[260:320] = (0, 0, 255)
    regions = bisenet.parse(image, ffhq_face(150, 90, 240, roll))
    assert set(regions) == set(CLASSES)
    assert disjoint(regions)
    inside = np.s_[150:180, 240:300]
    assert regions["hair"][inside].min() > 0.9
    assert regions["skin"][215:245, 240:300].min() > 0.9
    assert regions["lips"][275:300, 240:300].min() > 0.9
    assert regions["hair"][inside].max() <= 1
    assert regions["lips"][inside].max() < 0.1
    for mask in regions.values():
        assert mask[:, :60].max() == 0, "beyond the crop nothing is known"


def test_edges_lie_within_a_pixel(bisenet: BiSeNet) -> None:
    image = np.zeros((400, 500, 3), np.uint8)
    image[:200] = (255, 0, 0)
    image[200:] = (0, 255, 0)
    column = bisenet.parse(image, ffhq_face(150, 90, 240))["skin"][:330, 270]
    assert abs(int(np.argmax(column > 0.5)) - 200) <= 1


def test_a_face_at_the_border_is_parsed_in_a_letter_box(bisenet: BiSeNet) -> None:
    image = np.full((200, 200, 3), (255, 0, 0), np.uint8)
    regions = bisenet.parse(image, ffhq_face(-120, 20, 240))
    assert regions["hair"][60:140, 10:60].min() > 0.9
    assert regions["hair"].shape == (200, 200)


def test_a_network_with_other_classes_is_refused(tmp_path: Path) -> None:
    engine = BiSeNet(OnnxNetwork(onnx_tiny.parser(tmp_path / "tiny.onnx", classes=11 + 7), "bisenet"))
    with pytest.raises(EngineError, match="19 classes") as caught:
        engine.parse(fakes.picture(1, 1), ffhq_face(100, 100, 200))
    assert caught.value.code == "broken_model"
