"""Random ONNX networks in the published shapes of InsightFace's packs, a few thousand weights small.

The detector has three heads, each with a colour of its own: it finds a face where one cell of its stride is filled with
that colour and none of the 24 cells around it is. So a test paints the faces that are to be found.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

RED, GREEN, BLUE = 0, 1, 2
HEADS = {8: GREEN, 16: BLUE, 32: RED}
"""Colour by stride; a head's faces are four of its strides wide: 32, 64 and 128 pixels of the detector's square."""
ANCHORS = 2
GAIN = 6.0
"""A full cell scores sigmoid(3) = 0.95, an empty one 0.05."""
FIVE = np.array([[-0.6, -0.5], [0.6, -0.5], [0.0, 0.1], [-0.5, 0.7], [0.5, 0.7]])
"""Landmarks about the centre of a face, in strides."""


def write_pack(folder: Path, detector: str, recognizer: str, seed: int = 0, batched: bool = False) -> None:
    """Write both files of a pack."""
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(tiny_scrfd(seed, batched), str(folder / detector))
    onnx.save(tiny_arcface(seed), str(folder / recognizer))


def tiny_scrfd(seed: int = 0, batched: bool = False, landmarks: bool = True) -> onnx.ModelProto:
    """1×3×?×? to scores, boxes and landmarks for strides 8, 16, 32; `batched` outputs keep a leading dimension of 1."""
    random = np.random.default_rng(seed)
    nodes, weights = [], [_tensor("black", np.array([127.5 / 128])), _tensor("unit", np.array([128 / 255]))]
    parts = {"score": 1, "bbox": 4, "kps": 10} if landmarks else {"score": 1, "bbox": 4}
    for stride, colour in HEADS.items():
        nodes += [
            helper.make_node(
                "AveragePool", ["input.1"], [f"pool{stride}"], kernel_shape=[stride] * 2, strides=[stride] * 2
            ),
            # 0 is black and 1 is full, so that the zeros a convolution pads with are black.
            helper.make_node("Add", [f"pool{stride}", "black"], [f"above{stride}"]),
            helper.make_node("Mul", [f"above{stride}", "unit"], [f"light{stride}"]),
        ]
        for part, width in parts.items():
            weight, bias = _head(part, colour, random)
            weights += [_tensor(f"w_{part}{stride}", weight), _tensor(f"b_{part}{stride}", bias)]
            nodes += _head_nodes(part, stride, weight.shape[2] // 2)
            weights.append(_shape(f"shape_{part}{stride}", [1, -1, width] if batched else [-1, width]))
    outputs = [
        # Declared for 640 pixels whatever the input, as in det_10g.onnx.
        _value(f"{part}_{stride}", [*([1] if batched else []), ANCHORS * (640 // stride) ** 2, width])
        for part, width in parts.items()
        for stride in HEADS
    ]
    return _model(nodes, weights, _value("input.1", [1, 3, "?", "?"]), outputs)


def tiny_arcface(seed: int = 0) -> onnx.ModelProto:
    """n×3×112×112 to 512 numbers: a random map of the mean colours of 4×4 cells."""
    random = np.random.default_rng(seed)
    weights = [_tensor("weight", random.normal(size=(48, 512))), _tensor("bias", random.normal(size=512))]
    nodes = [
        helper.make_node("AveragePool", ["input.1"], ["cells"], kernel_shape=[28, 28], strides=[28, 28]),
        helper.make_node("Flatten", ["cells"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weight", "bias"], ["683"]),
    ]
    return _model(nodes, weights, _value("input.1", ["None", 3, 112, 112]), [_value("683", ["None", 512])])


def _head(part: str, colour: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Weights out×3×side×side and biases; the second anchor never fires."""
    if part == "score":
        weight = np.zeros((ANCHORS, 3, 5, 5))
        weight[0, colour] = -GAIN
        weight[0, :, 2, 2] = -GAIN
        weight[0, colour, 2, 2] = GAIN
        return weight, np.array([-GAIN / 2, -20.0])
    mean = np.full(4, 2.0) if part == "bbox" else FIVE.ravel()
    weight = random.normal(scale=0.02, size=(ANCHORS * mean.size, 3, 1, 1))
    return weight, np.tile(mean, ANCHORS) + random.normal(scale=0.02, size=ANCHORS * mean.size)


def _head_nodes(part: str, stride: int, pad: int) -> list[onnx.NodeProto]:
    name = f"{part}{stride}"
    nodes = [helper.make_node("Conv", [f"light{stride}", f"w_{name}", f"b_{name}"], [f"conv_{name}"], pads=[pad] * 4)]
    last = f"conv_{name}"
    if part == "score":
        nodes.append(helper.make_node("Sigmoid", [last], [f"score_{name}"]))
        last = f"score_{name}"
    return [
        *nodes,
        helper.make_node("Transpose", [last], [f"last_{name}"], perm=[0, 2, 3, 1]),
        helper.make_node("Reshape", [f"last_{name}", f"shape_{name}"], [f"{part}_{stride}"]),
    ]


def _tensor(name: str, values: np.ndarray) -> onnx.TensorProto:
    return numpy_helper.from_array(values.astype(np.float32), name)


def _shape(name: str, shape: list[int]) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(shape, np.int64), name)


def _value(name: str, shape: list[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _model(
    nodes: list[onnx.NodeProto],
    weights: list[onnx.TensorProto],
    given: onnx.ValueInfoProto,
    outputs: list[onnx.ValueInfoProto],
) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "tiny", [given], outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    return model


def write_swapper(folder: Path, seed: int | None = 0) -> Path:
    """inswapper 128 in its published layout: `target` 1×3×128×128 and `source` 1×512 to 1×3×128×128, all in 0..1.

    Its last initializer is the matrix for embeddings, which no node reads. It shifts colours by the embedding and adds a faint
    pattern; with `seed` None it returns its target.
    """
    random = np.random.default_rng(seed or 0)
    matrix = _tensor("emap", random.normal(scale=512**-0.5, size=(512, 512)))
    weights = [_tensor("tint", random.normal(scale=0.5, size=(512, 3))), _shape("shape", [1, 3, 1, 1])]
    pattern = random.normal(scale=0.01, size=(1, 3, 128, 128))
    nodes = [
        helper.make_node("MatMul", ["source", "tint"], ["shift"]),
        helper.make_node("Reshape", ["shift", "shape"], ["colour"]),
        helper.make_node("Mul", ["colour", "share"], ["faint"]),
        helper.make_node("Add", ["target", "faint"], ["shifted"]),
        helper.make_node("Add", ["shifted", "pattern"], ["drawn"]),
        helper.make_node("Clip", ["drawn", "zero", "one"], ["output"]),
    ]
    weights += [_tensor(name, np.array(value)) for name, value in (("share", 0.05), ("zero", 0.0), ("one", 1.0))]
    weights.append(_tensor("pattern", pattern))
    if seed is None:
        nodes = [helper.make_node("Identity", ["target"], ["output"])]
        weights = []
    given = [_value("target", [1, 3, 128, 128]), _value("source", [1, 512])]
    graph = helper.make_graph(nodes, "tiny", given, [_value("output", [1, 3, 128, 128])], [*weights, matrix])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(folder / "inswapper_128.onnx"))
    return folder / "inswapper_128.onnx"
