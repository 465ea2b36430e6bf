"""Stand-ins for the guard of pictures: engines with a verdict of the test's, and open_nsfw's layout with a chosen answer."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from portrait.arrays import Image

BLUE, GREEN, RED = 104.0, 117.0, 123.0
"""What the network is given less of each colour."""

SIZE, LONG = 23_792_792, 5
"""Bytes of the published file, which the store asks for, and what a long text takes in a file beside its letters."""


@dataclass
class Says:
    """A guard that says the same of every picture, or raises, and remembers what it was shown."""

    allowed: bool = True
    error: Exception | None = None
    seen: list[Image] = field(default_factory=list)

    def allows(self, image: Image) -> bool:
        self.seen.append(image)
        if self.error is not None:
            raise self.error
        return self.allowed


@dataclass
class Dark:
    """A guard that lets dark pictures pass alone."""

    most: float = 128.0

    def allows(self, image: Image) -> bool:
        return bool(image.mean() < self.most)


def write(home: Path, probability: float) -> Path:
    """Write a network into the store of an installation that gives every picture this probability, which may be NaN."""
    answer = np.array([[1 - probability, probability]], np.float32)
    return _save(home, [helper.make_node("Add", ["nothing", "answer"], ["out"])], {"answer": answer})


def write_for_bright(home: Path) -> Path:
    """Write one that gives pictures .9 and more whose mean is above 200, and .1 at most to those below 160."""
    steep = 0.11
    weights = {
        "mean": np.float32((BLUE + GREEN + RED) / 3 - 180),
        "steep": np.array([[-steep, steep]], np.float32),
    }
    nodes = [
        helper.make_node("Add", ["flat", "mean"], ["above"]),
        helper.make_node("Mul", ["above", "steep"], ["scaled"]),
        helper.make_node("Sigmoid", ["scaled"], ["out"]),
    ]
    return _save(home, nodes, weights)


def _save(home: Path, nodes: list[onnx.NodeProto], weights: dict[str, "np.ndarray | np.float32"]) -> Path:
    picture = helper.make_tensor_value_info("input_0", TensorProto.FLOAT, ["batch", 224, 224, 3])
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, ["batch", 2])
    reduce = [
        helper.make_node("ReduceMean", ["input_0"], ["light"], axes=[1, 2, 3], keepdims=1),
        helper.make_node("Reshape", ["light", "shape"], ["flat"]),
        helper.make_node("Mul", ["flat", "zero"], ["nothing"]),
    ]
    constants = {"shape": np.array([-1, 1], np.int64), "zero": np.float32(0), **weights}
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph([*reduce, *nodes], "guard", [picture], [out], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    model.doc_string = "-" * (SIZE - model.ByteSize() - LONG)
    file = home / "models" / "open_nsfw" / "open_nsfw.onnx"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    onnx.save(model, str(file))
    return file
