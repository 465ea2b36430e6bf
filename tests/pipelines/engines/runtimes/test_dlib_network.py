from collections.abc import Callable
from pathlib import Path

import dlib
import numpy as np
import pytest

from pipelines.engines.runtimes.chips import MEAN, STD
from pipelines.engines.runtimes.onnx import ChipNetwork, to_nchw
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.errors import EngineError
from tests import selfies

FILE = "dlib_face_recognition_resnet_model_v1.dat"


@pytest.fixture(scope="module")
def content(settings: Settings) -> bytes:
    return ModelStore(settings.models).file("dlib", FILE).read_bytes()


def test_faces_are_embedded_as_dlib_itself_does(settings: Settings) -> None:
    path = ModelStore(settings.models).file("dlib", FILE)
    theirs, ours = dlib.face_recognition_model_v1(str(path)), ChipNetwork(path, "dlib")
    noise = np.random.default_rng(1).integers(0, 256, (150, 150, 3), np.uint8)
    for chip in (np.ascontiguousarray(selfies.astronaut()[40:190, 150:300]), noise, np.zeros_like(noise)):
        expected = np.array(theirs.compute_face_descriptor(chip))
        assert np.linalg.norm(expected) > 0.5
        assert ours(to_nchw(chip, MEAN, STD))[0] == pytest.approx(expected, abs=1e-5)


CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "another network": lambda data: data.replace(b"loss_metric_2", b"loss_ranking_"),
    "half of the file": lambda data: data[: len(data) // 2],
    "nothing": lambda data: b"",
    "no layers": lambda data: data[:300],
    "other weights": lambda data: data.replace(b"\x05con_4\x01\x02", b"\x05con_4\x01\x03"),
    "no shifts": lambda data: data.replace(b"\x07affine_", b"\x07affine!"),
    "a number of nine bytes": lambda data: data.replace(b"\x05con_4\x01\x02", b"\x05con_4\x09\x02"),
    "no vector": lambda data: data.replace(b"\x04fc_2", b"\x04fc_3"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_not_as_it_should_be_is_a_broken_model(change: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / FILE
    path.write_bytes(CHANGES[change](content))
    with pytest.raises(EngineError) as broken:
        ChipNetwork(path, "dlib")
    assert broken.value.code == "broken_model"
    assert "portrait models pull dlib" in broken.value.message
