"""dlib's network that embeds faces (`.dat`, as dlib serializes it), read into ONNX, which computes it in a tenth of the time.

Only what that network is made of is known: convolutions with an affine layer each, pooling, residual sums, and one matrix.
The format: dlib/serialize.h, dlib/dnn/layers.h and dlib/cuda/tensor_tools.h of https://github.com/davisking/dlib
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from portrait.errors import broken_model

Floats = NDArray[np.float32]

SIDE = 150
"""Height and width of the picture that the network takes, which its file does not say."""
START = b"\x01\x01\x01\x0dloss_metric_2"
"""Version of the network, and its last layer, which only learning needs."""
NUMBERS = {b"con_4": 7, b"affine_": 0, b"relu_": 0, b"max_pool_2": 6, b"avg_pool_2": 6, b"add_prev_": 0, b"fc_2": 2}
"""Layers with their versions, and how many numbers each has; they follow each other from the picture to the vector."""
_NAMES = re.compile(b"|".join(re.escape(bytes((1, len(name))) + name) for name in NUMBERS))
TENSOR_VERSION = 2
OPSET, IR_VERSION = 17, 8
"""Of ONNX; any that has the few operators would do."""


@dataclass(frozen=True, slots=True, eq=False)
class _Layer:
    """One layer of the file."""

    name: str
    numbers: list[int]
    """As dlib writes them: of a convolution how many it has, then height, width, strides and paddings of its window."""
    values: Floats
    """Weights, in one row; none where the layer has none."""


@dataclass(frozen=True, slots=True)
class _Values:
    """What a layer gives: the name in the graph, and how many channels, rows and columns it has."""

    name: str
    shape: tuple[int, int, int]


def onnx_bytes(path: Path, model: str) -> bytes:
    """Read a `.dat` file, and return the ONNX model: of 1×3×150×150 pixels 1×128 numbers.

    Raises `EngineError` (`broken_model`) where the file is not what it should be.
    """
    return _Reader(path, model).read()


class _Reader:
    """Reads one network; whatever it meets that it does not know is `broken_model`."""

    def __init__(self, path: Path, model: str) -> None:
        self._path, self._model = path, model
        self._content, self._at = b"", 0
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: list[onnx.TensorProto] = []

    def read(self) -> bytes:
        """The serialized ONNX model."""
        try:
            self._content = self._path.read_bytes()
            if not self._content.startswith(START):
                self._refuse("it does not begin as dlib's network of faces does")
            last = self._connect(self._layers())
        except (OSError, ValueError, IndexError, StopIteration) as error:
            self._refuse(f"{type(error).__name__}: {error}")
        shapes = {"picture": (1, 3, SIDE, SIDE), last.name: (1, last.shape[0])}
        picture, vector = (
            helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name, shape in shapes.items()
        )
        graph = helper.make_graph(self._nodes, self._model, [picture], [vector], self._initializers)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        return made.SerializeToString()

    def _layers(self) -> Iterator[_Layer]:
        while (found := _NAMES.search(self._content, self._at)) is not None:
            self._at, name = found.end(), found.group()[2:]
            # The matrix stands behind its numbers, other weights before them.
            first = [self._integer() for _ in range(NUMBERS[name])] if name == b"fc_2" else []
            values = self._tensor() if name in (b"con_4", b"affine_", b"fc_2") else np.empty(0, np.float32)
            numbers = first or [self._integer() for _ in range(NUMBERS[name])]
            yield _Layer(name.decode().rstrip("_0123456789"), numbers, values)

    def _integer(self) -> int:
        """The next number: how many bytes it has, then those, the lowest first."""
        length = self._content[self._at]
        start, self._at = self._at + 1, self._at + 1 + length
        if length > 8 or self._at > len(self._content):
            raise ValueError(f"there is no number at {start - 1}")
        return int.from_bytes(self._content[start : self._at], "little")

    def _tensor(self) -> Floats:
        version, *sides = (self._integer() for _ in range(5))
        if version != TENSOR_VERSION:
            raise ValueError(f"its weights are stored in version {version}")
        values = np.frombuffer(self._content, "<f4", int(np.prod(sides)), self._at)
        self._at += values.nbytes
        return np.asarray(values, np.float32)

    def _connect(self, layers: Iterator[_Layer]) -> _Values:
        """Make the nodes of all layers up to the matrix, and return what that gives."""
        now = begun = added = _Values("picture", (3, SIDE, SIDE))
        for layer in layers:
            match layer.name:
                case "con":
                    now = self._convolution(now, layer, next(layers))
                case "relu":
                    ends_block = begun.name == ""
                    now = self._node("Relu", [now.name], now.shape)
                    begun = added = now if ends_block else begun
                case "max_pool":
                    now = begun = added = self._pool("MaxPool", now, layer.numbers)
                case "avg_pool" if layer.numbers[0]:
                    added = self._pool("AveragePool", begun, layer.numbers)
                case "avg_pool":
                    now = self._node("GlobalAveragePool", [now.name], (now.shape[0], 1, 1))
                case "add_prev":
                    now, begun = self._sum(now, added), _Values("", (0, 0, 0))
                case _:
                    return self._matrix(now, layer)
        raise ValueError("it ends without a vector")

    def _convolution(self, given: _Values, layer: _Layer, affine: _Layer) -> _Values:
        """A convolution, whose weights take in the scale and the shift of the affine layer behind it."""
        count, height, width, *_ = layer.numbers
        if affine.name != "affine" or len(affine.values) != 2 * count:
            raise ValueError(f"there is no affine layer behind a convolution before {self._at}")
        weights = layer.values[:-count].reshape(count, given.shape[0], height, width)
        scale, shift = affine.values[:count], affine.values[count:]
        constants = weights * scale[:, None, None, None], layer.values[-count:] * scale + shift
        return self._window("Conv", given, count, layer.numbers[1:], [self._constant(each) for each in constants])

    def _pool(self, operator: str, given: _Values, numbers: Sequence[int]) -> _Values:
        return self._window(operator, given, given.shape[0], numbers)

    def _window(
        self, operator: str, given: _Values, channels: int, numbers: Sequence[int], constants: Sequence[str] = ()
    ) -> _Values:
        """A layer that looks through a window: its height, width, strides and paddings are the numbers."""
        window, strides, padding = list(numbers[:2]), list(numbers[2:4]), list(numbers[4:6])
        height, width = (
            (side + 2 * pad - length) // stride + 1
            for side, length, stride, pad in zip(given.shape[1:], window, strides, padding, strict=True)
        )
        options: dict[str, Any] = {"kernel_shape": window, "strides": strides, "pads": padding * 2}
        return self._node(operator, [given.name, *constants], (channels, height, width), **options)

    def _sum(self, one: _Values, other: _Values) -> _Values:
        """The sum of both; where they differ in size, noughts are added behind the smaller."""
        shape = max(one.shape[0], other.shape[0]), max(one.shape[1], other.shape[1]), max(one.shape[2], other.shape[2])
        return self._node("Add", [self._padded(each, shape) for each in (one, other)], shape)

    def _padded(self, given: _Values, shape: tuple[int, int, int]) -> str:
        if given.shape == shape:
            return given.name
        behind = [whole - own for whole, own in zip(shape, given.shape, strict=True)]
        pads = self._constant(np.array([0] * 5 + behind, np.int64))
        return self._node("Pad", [given.name, pads], shape).name

    def _matrix(self, given: _Values, layer: _Layer) -> _Values:
        outputs, inputs = layer.numbers
        flat = self._node("Flatten", [given.name], given.shape)
        weights = self._constant(layer.values.reshape(inputs, outputs))
        return self._node("MatMul", [flat.name, weights], (outputs, 1, 1))

    def _node(self, operator: str, inputs: Sequence[str], shape: tuple[int, int, int], **options: Any) -> _Values:
        output = f"values {len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [output], **options))
        return _Values(output, shape)

    def _constant(self, values: NDArray[Any]) -> str:
        name = f"constant {len(self._initializers)}"
        self._initializers.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def _refuse(self, why: str) -> NoReturn:
        raise broken_model(self._path, why, self._model)
