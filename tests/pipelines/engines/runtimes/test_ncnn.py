import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipelines.engines.runtimes.onnx import OnnxNetwork
from portrait.errors import EngineError
from tests import ncnn_tiny


@pytest.mark.parametrize("half", [True, False])
def test_a_network_of_ncnn_computes_what_it_describes(half: bool, tmp_path: Path) -> None:
    network = OnnxNetwork(ncnn_tiny.write(tmp_path / "net.param", half), "net")
    assert network.input_size is None
    for height, width in ((9, 7), (16, 12)):
        pixels = np.random.default_rng(height).random((3, height, width), np.float32)
        out = network(pixels[None])
        assert out.shape == (1, 3, 2 * height, 2 * width)
        assert np.abs(out[0] - ncnn_tiny.run(pixels)).max() < 1e-5


def test_lines_may_end_as_on_windows(tmp_path: Path) -> None:
    path = ncnn_tiny.write(tmp_path / "net.param")
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert OnnxNetwork(path, "net")(np.zeros((1, 3, 8, 8), np.float32)).shape == (1, 3, 16, 16)


def replaced(old: str, new: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    return change


def weights(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def rewrite(path: Path) -> None:
        file = path.with_suffix(".bin")
        file.write_bytes(change(file.read_bytes()))

    return rewrite


BROKEN = {
    "no file of ncnn's": replaced("7767517", "7767518"),
    "a line is missing": replaced("12 17", "13 17"),
    "no text": lambda path: path.write_bytes(b"\xff\xfe\x00"),
    "half of a line": replaced("Input            data     0 1 data", "Input"),
    "a layer that is not known": replaced("Split ", "Pooling "),
    "another sum": replaced("0=1 -23301=2", "0=2 -23301=2"),
    "an activation that is not known": replaced("9=2 ", "9=5 "),
    "another interpolation": replaced("twice 0=1", "twice 0=2"),
    "an input that nothing gives": replaced("1 1 a dense", "1 1 nothing dense"),
    "weights for other shapes": replaced("6=144", "6=145"),
    "no weights": lambda path: path.with_suffix(".bin").unlink(),
    "half of the weights": weights(lambda data: data[: len(data) // 2]),
    "more weights": weights(lambda data: data + b"more"),
    "weights of whole numbers": weights(lambda data: struct.pack("<I", 0x000D4B38) + data[4:]),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_what_is_not_as_it_should_be_is_a_broken_model(fault: str, tmp_path: Path) -> None:
    path = ncnn_tiny.write(tmp_path / "net.param")
    BROKEN[fault](path)
    with pytest.raises(EngineError) as broken:
        OnnxNetwork(path, "net")
    assert broken.value.code == "broken_model"
    assert "portrait models pull net" in broken.value.message
