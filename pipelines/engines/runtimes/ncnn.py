"""Networks in ncnn's format (`.param`, a text that describes the graph, and `.bin`, its weights), read into ONNX.

Only what upscaling networks of the ESRGAN kind are made of is known: Input, Split, Convolution, Concat, sums, Interp.
The format: https://github.com/Tencent/ncnn/wiki/param-and-model-file-structure
"""

import struct
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

MAGIC = "7767517"
FLOAT32_TAG, FLOAT16_TAG = 0, 0x01306B47
"""First word of a layer's weights: how the numbers after it are stored."""
OPSET, IR_VERSION = 17, 8
"""Of ONNX; any that has the few operators would do."""
ACTIVATIONS = {1: "Relu", 2: "LeakyRelu"}


@dataclass(frozen=True, slots=True)
class _Layer:
    """One line of a `.param` file."""

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    numbers: dict[int, float]
    """Parameters that are one number, by ncnn's index."""
    lists: dict[int, tuple[float, ...]]
    """Parameters that are several, by the same index."""

    def integer(self, index: int, default: int = 0) -> int:
        """A parameter as an integer."""
        return int(self.numbers.get(index, default))


def onnx_bytes(param: Path, model: str) -> bytes:
    """Read a `.param` file and the `.bin` of the same name, and return the ONNX model, whose pictures are of any size.

    Raises `EngineError` (`broken_model`) where the files are not what they should be, or hold a layer that is not known.
    """
    return _Reader(param, model).read()


class _Reader:
    """Reads one network; whatever it meets that it does not know is `broken_model`."""

    def __init__(self, param: Path, model: str) -> None:
        self._param, self._model = param, model
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: list[onnx.TensorProto] = []
        self._weights = b""
        self._at = 0

    def read(self) -> bytes:
        """The serialized ONNX model."""
        try:
            layers = list(self._layers(self._param.read_text("ascii")))
            self._weights = self._param.with_suffix(".bin").read_bytes()
            for layer in layers:
                self._convert(layer)
        except (OSError, UnicodeDecodeError, ValueError, IndexError, KeyError, struct.error) as error:
            self._refuse(f"{type(error).__name__}: {error}")
        if self._at != len(self._weights):
            self._refuse(f"{len(self._weights) - self._at} bytes of weights are left over")
        inputs = [layer.outputs[0] for layer in layers if layer.kind == "Input"]
        used = {name for layer in layers for name in layer.inputs}
        outputs = [name for layer in layers for name in layer.outputs if name not in used]
        if len(inputs) != 1 or len(outputs) != 1:
            self._refuse(f"it has {len(inputs)} inputs and {len(outputs)} outputs")
        picture, result = (
            helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 3, None, None])
            for name in (inputs[0], outputs[0])
        )
        graph = helper.make_graph(self._nodes, self._model, [picture], [result], self._initializers)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        return made.SerializeToString()

    def _layers(self, text: str) -> Iterator[_Layer]:
        lines = text.split("\n")
        if lines[0].strip() != MAGIC:
            self._refuse("it does not begin as ncnn's files do")
        layers = [line.split() for line in lines[2:] if line.strip()]
        if len(layers) != int(lines[1].split()[0]):
            self._refuse(f"it names {lines[1].split()[0]} layers and has {len(layers)}")
        for words in layers:
            first_output = 4 + int(words[2])
            first_parameter = first_output + int(words[3])
            numbers: dict[int, float] = {}
            lists: dict[int, tuple[float, ...]] = {}
            for word in words[first_parameter:]:
                key, _, value = word.partition("=")
                if int(key) <= -23300:
                    lists[-int(key) - 23300] = tuple(float(each) for each in value.split(",")[1:])
                else:
                    numbers[int(key)] = float(value)
            inputs, outputs = tuple(words[4:first_output]), tuple(words[first_output:first_parameter])
            yield _Layer(words[0], words[1], inputs, outputs, numbers, lists)

    def _convert(self, layer: _Layer) -> None:
        match layer.kind:
            case "Input":
                pass
            case "Split":
                for output in layer.outputs:
                    self._add("Identity", layer.inputs, output)
            case "Concat":
                self._add("Concat", layer.inputs, layer.outputs[0], axis=1 + layer.integer(0))
            case "Convolution":
                self._convolution(layer)
            case "Eltwise":
                self._weighted_sum(layer)
            case "BinaryOp" if layer.integer(0) == 0 and not layer.integer(1):
                self._add("Add", layer.inputs, layer.outputs[0])
            case "Interp" if layer.integer(0) == 1 and {1, 2} <= layer.numbers.keys():
                self._nearest(layer)
            case _:
                self._refuse(f"the layer {layer.name} ({layer.kind}) is of a kind that is not known here")

    def _convolution(self, layer: _Layer) -> None:
        channels, wide = layer.integer(0), layer.integer(1)
        tall = layer.integer(11, wide)
        left = layer.integer(4)
        top = layer.integer(14, left)
        # Paddings of "same" are negative in ncnn, groups are another layer, and int8 has scales beside the weights.
        if min(left, top, channels - 1) < 0 or layer.integer(8) or layer.integer(9) not in (0, *ACTIVATIONS):
            self._refuse(f"the convolution {layer.name} is of a kind that is not known here")
        weights = self._take_weights(layer.integer(6)).reshape(channels, -1, tall, wide)
        names = [layer.inputs[0], self._constant(f"{layer.name}.weight", weights)]
        if layer.integer(5):
            names.append(self._constant(f"{layer.name}.bias", self._take_floats(channels)))
        activation = layer.integer(9)
        output = f"{layer.name}.sum" if activation else layer.outputs[0]
        self._add(
            "Conv",
            names,
            output,
            kernel_shape=[tall, wide],
            dilations=[layer.integer(12, layer.integer(2, 1)), layer.integer(2, 1)],
            strides=[layer.integer(13, layer.integer(3, 1)), layer.integer(3, 1)],
            pads=[top, left, layer.integer(16, top), layer.integer(15, left)],
        )
        slope = {"alpha": layer.lists[10][0]} if activation == 2 else {}
        if activation:
            self._add(ACTIVATIONS[activation], [output], layer.outputs[0], **slope)

    def _weighted_sum(self, layer: _Layer) -> None:
        if layer.integer(0) != 1 or len(layer.inputs) != 2:
            self._refuse(f"the layer {layer.name} is no sum of two")
        names = list(layer.inputs)
        for at, weight in enumerate(layer.lists.get(1, (1.0, 1.0))):
            if weight != 1:
                scale = self._constant(f"{layer.name}.scale{at}", np.array(weight, np.float32))
                self._add("Mul", [names[at], scale], f"{layer.name}.scaled{at}")
                names[at] = f"{layer.name}.scaled{at}"
        self._add("Add", names, layer.outputs[0])

    def _nearest(self, layer: _Layer) -> None:
        scales = np.array([1, 1, layer.numbers[1], layer.numbers[2]], np.float32)
        names = [layer.inputs[0], "", self._constant(f"{layer.name}.scales", scales)]
        modes = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        self._add("Resize", names, layer.outputs[0], **modes)

    def _take_weights(self, count: int) -> Floats:
        """The next layer's weights: a tag that says how they are stored, then the numbers, padded to four bytes."""
        (tag,) = struct.unpack_from("<I", self._weights, self._at)
        self._at += 4
        if tag == FLOAT32_TAG:
            return self._take_floats(count)
        if tag != FLOAT16_TAG:
            self._refuse(f"its weights are stored in a way that is not known here ({tag:#x})")
        values = np.frombuffer(self._weights, "<f2", count, self._at)
        self._at += -(-2 * count // 4) * 4
        return values.astype(np.float32)

    def _take_floats(self, count: int) -> Floats:
        values = np.frombuffer(self._weights, "<f4", count, self._at)
        self._at += 4 * count
        return np.asarray(values, np.float32)

    def _constant(self, name: str, values: Floats) -> str:
        self._initializers.append(numpy_helper.from_array(values, name))
        return name

    def _add(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> None:
        self._nodes.append(helper.make_node(operator, inputs, [output], **attributes))

    def _refuse(self, why: str) -> NoReturn:
        raise broken_model(self._param, why, self._model)
