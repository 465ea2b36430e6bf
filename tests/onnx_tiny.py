"""Random ONNX networks in the published shapes of face restorers, upscalers and face parsers, a few hundred weights small."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 512
Shape = list[int | str]


def restorer(path: Path, seed: int | None = 0, side: int = SIDE) -> Path:
    """1×3×512×512 to the same, −1..1: blurs and shifts colours; with `seed` None it gives what it was given."""
    given = _value("input", [1, 3, side, side])
    if seed is None:
        return _save(path, [helper.make_node("Identity", ["input"], ["output"])], [], given, [1, 3, side, side])
    random = np.random.default_rng(seed)
    weight = np.full((3, 3, 3, 3), 0.01) + random.normal(scale=0.05, size=(3, 3, 3, 3))
    weight[range(3), range(3), 1, 1] += 0.4
    nodes = [
        helper.make_node("Conv", ["input", "weight", "bias"], ["mixed"], pads=[1] * 4),
        helper.make_node("Tanh", ["mixed"], ["output"]),
    ]
    weights = [_tensor("weight", weight), _tensor("bias", random.normal(scale=0.1, size=3))]
    return _save(path, nodes, weights, given, [1, 3, side, side])


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
        helper.make_node("Conv", ["input", "first"], ["seen"], pads=[2] * 4),
        helper.make_node("Relu", ["seen"], ["lit"]),
        helper.make_node("Conv", ["lit", "second"], ["more"], pads=[1] * 4),
        helper.make_node("Conv", ["more", "last"], ["detail"], pads=[1] * 4),
        helper.make_node("Conv", ["input", "plain"], ["same"]),
        helper.make_node("Add", ["detail", "same"], ["deep"]),
        helper.make_node("DepthToSpace", ["deep"], ["output"], blocksize=factor),
    ]
    named = {"first": first, "second": second, "last": last, "plain": plain}
    weights = [_tensor(name, values) for name, values in named.items()]
    return _save(path, nodes, weights, _value("input", ["n", 3, side, side]), ["n", 3, "tall", "wide"])


def esrgan(path: Path, factor: int, seed: int = 0, blocks: int = 2, wide: int = 8) -> Path:
    """Real-ESRGAN in its published layout, thin and short: for ×2 it folds 2×2 pixels into one, dense blocks, two doublings.

    Its weights are drawn as its authors draw them before training; it looks farther than a tile's margin, with little weight.
    """
    random = np.random.default_rng(seed)
    folded = 4 // factor
    nodes: list[onnx.NodeProto] = []
    weights: list[onnx.TensorProto] = []

    def conv(given: str, made: str, channels: int, out: int, scale: float = 1.0, lit: bool = True) -> str:
        weight = random.normal(scale=scale * (2 / (9 * channels)) ** 0.5, size=(out, channels, 3, 3))
        weights.append(_tensor(f"{made}.weight", weight))
        plain = f"{made}.plain" if lit else made
        nodes.append(helper.make_node("Conv", [given, f"{made}.weight"], [plain], pads=[1] * 4))
        if lit:
            nodes.append(helper.make_node("LeakyRelu", [plain], [made], alpha=0.2))
        return made

    def added(one: str, other: str, made: str, scale: float) -> str:
        weights.append(_tensor(f"{made}.scale", np.array(scale)))
        nodes.append(helper.make_node("Mul", [other, f"{made}.scale"], [f"{made}.part"]))
        nodes.append(helper.make_node("Add", [one, f"{made}.part"], [made]))
        return made

    given = "input"
    if folded > 1:
        nodes.append(helper.make_node("SpaceToDepth", ["input"], ["folded"], blocksize=folded))
        given = "folded"
    trunk = first = conv(given, "first", 3 * folded**2, wide, lit=False)
    for block in range(blocks):
        begun = trunk
        for dense in range(3):
            name, seen = f"block{block}.{dense}", trunk
            for layer in range(4):
                new = conv(seen, f"{name}.{layer}", wide + layer * wide // 2, wide // 2, 0.1)
                nodes.append(helper.make_node("Concat", [seen, new], [f"{name}.{layer}.seen"], axis=1))
                seen = f"{name}.{layer}.seen"
            trunk = added(trunk, conv(seen, f"{name}.last", 3 * wide, wide, 0.1, lit=False), f"{name}.sum", 0.2)
        trunk = added(begun, trunk, f"block{block}.sum", 0.2)
    deep = added(first, conv(trunk, "body", wide, wide, lit=False), "deep", 1.0)
    weights.append(_tensor("twice", np.array([1, 1, 2, 2])))
    for number in range(2):
        nodes.append(helper.make_node("Resize", [deep, "", "twice"], [f"large{number}"], mode="nearest"))
        deep = conv(f"large{number}", f"up{number}", wide, wide)
    last = conv(conv(deep, "high", wide, wide), "last", wide, 3, 0.3, lit=False)
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
    given = _value("input", [1, 3, SIDE, SIDE])
    return _save(path, nodes, [_tensor("weight", weight)], given, [1, classes, SIDE, SIDE])


def _tensor(name: str, values: np.ndarray) -> onnx.TensorProto:
    return numpy_helper.from_array(values.astype(np.float32), name)


def _value(name: str, shape: Shape) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _save(
    path: Path, nodes: list[onnx.NodeProto], weights: list[onnx.TensorProto], given: onnx.ValueInfoProto, made: Shape
) -> Path:
    graph = helper.make_graph(nodes, "tiny", [given], [_value("output", made)], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(path))
    return path
