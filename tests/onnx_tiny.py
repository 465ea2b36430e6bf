"""Random ONNX networks in the published shapes of face restorers, upscalers and face parsers, a few hundred weights small."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 512
Shape = list[int | str]


def restorer(path: Path, seed: int | None = 0, side: int = SIDE) -> Path:
    """1×3×512×512 to the same, −1..1: blurs and shifts colours; with `seed` None it returns its input."""
    input_info = _value("input", [1, 3, side, side])
    if seed is None:
        return _save(path, [helper.make_node("Identity", ["input"], ["output"])], [], input_info, [1, 3, side, side])
    random = np.random.default_rng(seed)
    weight = np.full((3, 3, 3, 3), 0.01) + random.normal(scale=0.05, size=(3, 3, 3, 3))
    weight[range(3), range(3), 1, 1] += 0.4
    nodes = [
        helper.make_node("Conv", ["input", "weight", "bias"], ["mixed"], pads=[1] * 4),
        helper.make_node("Tanh", ["mixed"], ["output"]),
    ]
    weights = [_tensor("weight", weight), _tensor("bias", random.normal(scale=0.1, size=3))]
    return _save(path, nodes, weights, input_info, [1, 3, side, side])


def upscaler(path: Path, factor: int, seed: int = 0, side: int | str = "?") -> Path:
    """1×3×H×W to 1×3×H·f×W·f, 0..1: three random convolutions and a shuffle of pixels, about nearest neighbours."""
    random = np.random.default_rng(seed)
    first = random.normal(scale=0.1, size=(8, 3, 5, 5))
    second = random.normal(scale=0.1, size=(8, 8, 3, 3))
    last = random.normal(scale=0.05, size=(3 * factor**2, 8, 3, 3))
    plain = np.zeros((3 * factor**2, 3, 1, 1))
    # DepthToSpace in its first mode takes the channels of one pixel of the block after the other.
    for each in range(3 * factor**2):
        plain[each, each % 3] = 1
    nodes = [
        helper.make_node("Conv", ["input", "first"], ["features"], pads=[2] * 4),
        helper.make_node("Relu", ["features"], ["activated"]),
        helper.make_node("Conv", ["activated", "second"], ["more"], pads=[1] * 4),
        helper.make_node("Conv", ["more", "last"], ["detail"], pads=[1] * 4),
        helper.make_node("Conv", ["input", "plain"], ["same"]),
        helper.make_node("Add", ["detail", "same"], ["deep"]),
        helper.make_node("DepthToSpace", ["deep"], ["output"], blocksize=factor),
    ]
    named = {"first": first, "second": second, "last": last, "plain": plain}
    weights = [_tensor(name, values) for name, values in named.items()]
    return _save(path, nodes, weights, _value("input", ["n", 3, side, side]), ["n", 3, "tall", "wide"])


def esrgan(path: Path, factor: int, seed: int = 0, blocks: int = 2, width: int = 8) -> Path:
    """Real-ESRGAN in its published layout, thin and short: for ×2 a pixel unshuffle of 2×2, dense blocks, two doublings.

    Weights are initialised as its authors do before training; it reads beyond a tile's margin, with little weight.
    """
    random = np.random.default_rng(seed)
    folded = 4 // factor
    nodes: list[onnx.NodeProto] = []
    weights: list[onnx.TensorProto] = []

    def conv(source: str, output_name: str, channels: int, out: int, scale: float = 1.0, activated: bool = True) -> str:
        weight = random.normal(scale=scale * (2 / (9 * channels)) ** 0.5, size=(out, channels, 3, 3))
        weights.append(_tensor(f"{output_name}.weight", weight))
        plain = f"{output_name}.plain" if activated else output_name
        nodes.append(helper.make_node("Conv", [source, f"{output_name}.weight"], [plain], pads=[1] * 4))
        if activated:
            nodes.append(helper.make_node("LeakyRelu", [plain], [output_name], alpha=0.2))
        return output_name

    def add_scaled(one: str, other: str, output_name: str, scale: float) -> str:
        weights.append(_tensor(f"{output_name}.scale", np.array(scale)))
        nodes.append(helper.make_node("Mul", [other, f"{output_name}.scale"], [f"{output_name}.part"]))
        nodes.append(helper.make_node("Add", [one, f"{output_name}.part"], [output_name]))
        return output_name

    source = "input"
    if folded > 1:
        nodes.append(helper.make_node("SpaceToDepth", ["input"], ["folded"], blocksize=folded))
        source = "folded"
    trunk = first = conv(source, "first", 3 * folded**2, width, activated=False)
    for block in range(blocks):
        block_input = trunk
        for dense in range(3):
            name, dense_input = f"block{block}.{dense}", trunk
            for layer in range(4):
                new = conv(dense_input, f"{name}.{layer}", width + layer * width // 2, width // 2, 0.1)
                nodes.append(helper.make_node("Concat", [dense_input, new], [f"{name}.{layer}.dense_input"], axis=1))
                dense_input = f"{name}.{layer}.dense_input"
            last = conv(dense_input, f"{name}.last", 3 * width, width, 0.1, activated=False)
            trunk = add_scaled(trunk, last, f"{name}.sum", 0.2)
        trunk = add_scaled(block_input, trunk, f"block{block}.sum", 0.2)
    deep = add_scaled(first, conv(trunk, "body", width, width, activated=False), "deep", 1.0)
    weights.append(_tensor("twice", np.array([1, 1, 2, 2])))
    for number in range(2):
        nodes.append(helper.make_node("Resize", [deep, "", "twice"], [f"large{number}"], mode="nearest"))
        deep = conv(f"large{number}", f"up{number}", width, width)
    last = conv(conv(deep, "high", width, width), "last", width, 3, 0.3, activated=False)
    weights.append(_tensor("grey", np.array(0.5)))
    nodes.append(helper.make_node("Add", [last, "grey"], ["output"]))
    return _save(path, nodes, weights, _value("input", ["n", 3, "h", "w"]), ["n", 3, "tall", "wide"])


def parser(path: Path, classes: int = 19, gain: float = 8.0) -> Path:
    """1×3×512×512 to 19 classes: 17 (hair) where red leads, 1 (skin) where green does, 12 (upper lip) where blue does."""
    weight = np.zeros((classes, 3, 1, 1))
    for number, colour in ((17, 0), (1, 1), (12, 2)):
        weight[number, :, 0, 0] = -gain / 2
        weight[number, colour, 0, 0] = gain
    nodes = [helper.make_node("Conv", ["input", "weight"], ["output"])]
    input_info = _value("input", [1, 3, SIDE, SIDE])
    return _save(path, nodes, [_tensor("weight", weight)], input_info, [1, classes, SIDE, SIDE])


def matte(path: Path, side: int, gain: float = 8.0) -> Path:
    """BiRefNet's shapes: 1×3×side×side to logits of 1×1×side×side, high where red leads."""
    weight = np.array([gain, -gain / 2, -gain / 2])[None, :, None, None]
    weights = [_tensor("weight", weight), _tensor("bias", np.array([-gain]))]
    nodes = [helper.make_node("Conv", ["input_image", "weight", "bias"], ["output"])]
    return _save(path, nodes, weights, _value("input_image", [1, 3, side, side]), [1, 1, side, side])


def _tensor(name: str, values: np.ndarray) -> onnx.TensorProto:
    return numpy_helper.from_array(values.astype(np.float32), name)


def _value(name: str, shape: Shape) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _save(
    path: Path,
    nodes: list[onnx.NodeProto],
    weights: list[onnx.TensorProto],
    input_info: onnx.ValueInfoProto,
    shape: Shape,
) -> Path:
    graph = helper.make_graph(nodes, "tiny", [input_info], [_value("output", shape)], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(path))
    return path
