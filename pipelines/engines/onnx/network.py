"""One ONNX file as a function of pictures: opened once in a process, its shapes checked before it is run."""

import shutil
import threading
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TypeAlias

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from portrait.arrays import Image
from portrait.errors import EngineError, OperatorError, broken_model

Floats: TypeAlias = NDArray[np.float32]


class Network:
    """A network that takes one picture, 1×3×H×W float32, and perhaps settings beside it; the first output counts."""

    def __init__(self, path: Path, model: str) -> None:
        """Open a file of `model`; raises `EngineError` (`broken_model`), `OperatorError` (`no_provider`)."""
        self._path, self._model = path, model
        with _LOADING:
            self._session = _session(path, model, tuple(providers()))
        inputs = self._session.get_inputs()
        if not inputs or len(inputs[0].shape) != 4 or inputs[0].shape[1] not in (3, "C", None):
            raise self.broken("it takes no pictures")
        self._name = inputs[0].name
        self._floats = inputs[0].type == "tensor(float16)"
        self.size: tuple[int, int] | None = _fixed(inputs[0].shape)
        """Height and width that it insists on; None where it takes any."""
        self.others = tuple(each.name for each in inputs[1:])
        """Names of what it wants to be told beside the picture."""

    def __call__(self, pixels: Floats, settings: Mapping[str, NDArray[np.generic]] | None = None) -> Floats:
        """Run 1×3×H×W; raises `EngineError` (`broken_model`, `out_of_memory`)."""
        given = pixels.astype(np.float16) if self._floats else pixels
        try:
            found = self._session.run(None, {self._name: given, **(settings or {})})[0]
        except Exception as error:  # onnxruntime's errors share no narrower base.
            if "alloc" in str(error).lower():
                raise EngineError(
                    "out_of_memory", f"There was not enough memory to run {self._model}. Close other programs."
                ) from error
            raise self.broken(str(error)) from error
        return np.asarray(found, np.float32)

    def broken(self, why: str) -> EngineError:
        """The error for a file that is not what it should be."""
        return broken_model(self._path, why, self._model)


def planes(image: Image, mean: float | Floats = 0.0, deviation: float | Floats = 1.0) -> Floats:
    """A picture as 1×3×H×W, 0..1 less `mean`, over `deviation`."""
    pixels = (image.astype(np.float32) / np.float32(255) - mean) / deviation
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], np.float32)


def providers() -> list[str]:
    """CUDA where this onnxruntime has it, then the CPU; raises `OperatorError` (`no_provider`).

    CoreML is left out: InsightFace would keep what it compiles in the home folder.
    """
    available = onnxruntime.get_available_providers()
    chosen = [name for name in ("CUDAExecutionProvider", "CPUExecutionProvider") if name in available]
    if not chosen:
        raise OperatorError(
            "no_provider", "onnxruntime has neither a CUDA nor a CPU provider. Install it again with `make install`."
        )
    return chosen


def idle_gpu() -> list[str]:
    """What to do about a GPU that onnxruntime cannot use; empty when there is none, or it is used."""
    if not has_nvidia() or "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        return []
    return ["This machine has an NVIDIA GPU, but onnxruntime was installed without CUDA. Run `make install-gpu`."]


def has_nvidia() -> bool:
    """Whether an NVIDIA driver is here, asked without torch; WSL has `nvidia-smi` but no device file."""
    return Path("/dev/nvidia0").exists() or shutil.which("nvidia-smi") is not None


_LOADING = threading.Lock()


@cache
def _session(path: Path, model: str, chosen: tuple[str, ...]) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    # Published files declare sizes that they do not hold to, and onnxruntime warns of each.
    options.log_severity_level = 3
    # Tiles of several sizes would each leave an arena behind.
    options.enable_cpu_mem_arena = False
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=list(chosen))
    except Exception as error:  # onnxruntime's errors share no narrower base.
        raise broken_model(path, str(error), model) from error


def _fixed(shape: list[int | str | None]) -> tuple[int, int] | None:
    height, width = shape[2:]
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None
