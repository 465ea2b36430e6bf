"""ONNX networks: opened once in a process, checked to take pictures, run on CUDA where ONNX Runtime has it.

A `.param` file is one of ncnn's and a `.dat` file one of dlib's: they are read into ONNX, and run like the others.
"""

import importlib
import shutil
import threading
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from pipelines.memory import return_memory
from portrait.arrays import Image
from portrait.errors import EngineError, OperatorError, broken_model

Floats: TypeAlias = NDArray[np.float32]
_BINDING = vars(importlib.import_module("onnxruntime.capi.onnxruntime_pybind11_state"))  # compiled, without types
ONNX_ERRORS: tuple[type[Exception], ...] = (
    *(RuntimeError, ValueError),
    *(each for each in _BINDING.values() if isinstance(each, type) and issubclass(each, Exception)),
)
"""All that ONNX Runtime raises: its own errors share no base of their own."""


class OnnxNetwork:
    """A network that takes one picture as 1×3×H×W; its first output is used. Safe to run on several threads."""

    _channels: ClassVar[int] = 1
    """Axis of the colours."""
    _one_core: ClassVar[bool] = False

    def __init__(self, path: Path, model: str) -> None:
        """Open a file of the model `model`; raises `EngineError` (`broken_model`), `OperatorError` (`no_provider`)."""
        self._path, self._model = path, model
        with _OPEN_LOCK:
            self._session = _open_session(path, model, tuple(execution_providers()), self._one_core)
        inputs = self._session.get_inputs()
        if not inputs or len(inputs[0].shape) != 4 or inputs[0].shape[self._channels] not in (3, "C", None):
            raise self.broken_model("it takes no pictures")
        self._name = inputs[0].name
        self._half = inputs[0].type == "tensor(float16)"
        sides = [each for axis, each in enumerate(inputs[0].shape) if axis not in (0, self._channels)]
        self.input_size: tuple[int, int] | None = _fixed_size(sides)
        """Height and width that the network requires; None where it takes any."""

    def __call__(self, pixels: Floats) -> Floats:
        """Run 1×3×H×W, or as the class says; raises `EngineError` (`broken_model`, `out_of_memory`)."""
        return self._run({self._name: pixels.astype(np.float16) if self._half else pixels})

    def _run(self, feeds: Mapping[str, NDArray[Any]]) -> Floats:
        try:
            output = self._session.run(None, feeds)[0]
        except ONNX_ERRORS as error:
            if "alloc" in str(error).lower():
                raise EngineError(
                    "out_of_memory", f"There was not enough memory to run {self._model}. Close other programs."
                ) from error
            raise self.broken_model(str(error)) from error
        return np.asarray(output, np.float32)

    def broken_model(self, reason: str) -> EngineError:
        """The error to raise when the file is not the network that it should be."""
        return broken_model(self._path, reason, self._model)


class LightNetwork(OnnxNetwork):
    """A network that takes one picture as 1×H×W×3 and runs on one core of the CPU: beside other work, in little memory."""

    _channels, _one_core = 3, True


class ChipNetwork(OnnxNetwork):
    """A network that takes one picture as 1×3×H×W and runs on one core of the CPU: its numbers are the same on all machines."""

    _one_core = True


class PairNetwork(OnnxNetwork):
    """A network that takes one picture as 1×3×H×W and one vector as 1×N."""

    def __init__(self, path: Path, model: str) -> None:
        """Open a file of the model `model`; raises as `OnnxNetwork` does."""
        super().__init__(path, model)
        others = [each for each in self._session.get_inputs()[1:] if len(each.shape) == 2]
        if len(others) != 1 or len(self._session.get_inputs()) != 2:
            raise self.broken_model("it does not take a picture and a vector")
        self._vector = others[0].name

    def __call__(self, pixels: Floats, vector: Floats) -> Floats:
        """Run 1×3×H×W with 1×N; raises `EngineError` (`broken_model`, `out_of_memory`)."""
        kind = np.float16 if self._half else np.float32
        return self._run({self._name: pixels.astype(kind), self._vector: vector.astype(kind)})


def to_nchw(image: Image, mean: float | Floats = 0.0, std: float | Floats = 1.0) -> Floats:
    """A picture as 1×3×H×W float32: (values in 0..1 − `mean`) / `std`."""
    pixels = (image.astype(np.float32) / np.float32(255) - mean) / std
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], np.float32)


def execution_providers() -> list[str]:
    """Names of the execution providers to use: CUDA where it is there, then the CPU.

    Raises `OperatorError` (`no_provider`) where there is neither.

    CoreML is left out: InsightFace would keep what it compiles in the home folder.
    """
    available = onnxruntime.get_available_providers()
    provider_names = [name for name in ("CUDAExecutionProvider", "CPUExecutionProvider") if name in available]
    if not provider_names:
        raise OperatorError(
            "no_provider", "onnxruntime has neither a CUDA nor a CPU provider. Install it again with `make install`."
        )
    return provider_names


def unused_gpu() -> list[str]:
    """A sentence for an engine's status when there is a GPU that onnxruntime cannot use; else empty."""
    if not has_nvidia_gpu() or "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        return []
    return ["This machine has an NVIDIA GPU, but onnxruntime was installed without CUDA. Run `make install-gpu`."]


def has_nvidia_gpu() -> bool:
    """Whether an NVIDIA driver is installed; found without importing torch. WSL has `nvidia-smi` but no device file."""
    return Path("/dev/nvidia0").exists() or shutil.which("nvidia-smi") is not None


_OPEN_LOCK = threading.Lock()


@cache
def _open_session(
    path: Path, model: str, provider_names: tuple[str, ...], one_core: bool = False
) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    if one_core:
        provider_names, options.intra_op_num_threads, options.inter_op_num_threads = ("CPUExecutionProvider",), 1, 1
    # Published files declare sizes that they do not hold to, and onnxruntime warns of each.
    options.log_severity_level = 3
    # Tiles of several sizes would each leave an arena behind.
    options.enable_cpu_mem_arena = False
    network = str(path)
    if path.suffix == ".param":
        from pipelines.engines.runtimes.ncnn import onnx_bytes  # its library takes longer to load than most networks

        network = onnx_bytes(path, model)
    elif path.suffix == ".dat":
        from pipelines.engines.runtimes.dlib_network import onnx_bytes

        network = onnx_bytes(path, model)
    try:
        session = onnxruntime.InferenceSession(network, options, providers=list(provider_names))
    except ONNX_ERRORS as error:
        raise broken_model(path, str(error), model) from error
    return_memory()  # rearranging the weights leaves twice their size
    return session


def _fixed_size(sides: list[int | str | None]) -> tuple[int, int] | None:
    height, width = sides
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None
