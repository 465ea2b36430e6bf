"""LiteRT networks (`.tflite`): opened from a file, run on one picture at a time; MediaPipe publishes its models so."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray


class LiteRtNetwork:
    """A network that takes one picture; it computes on one core. Safe to run on several threads, one after the other."""

    def __init__(self, path: Path) -> None:
        self._interpreter = Interpreter(model_path=str(path), num_threads=1)
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._outputs = [output["index"] for output in self._interpreter.get_output_details()]
        self._lock = threading.Lock()

    def __call__(self, pixels: NDArray[Any]) -> list[NDArray[np.float32]]:
        """Run H×W×3 values in the network's own range; gives all outputs in the order and shapes that the file declares."""
        values = pixels[None].astype(np.float32)
        with self._lock:
            self._interpreter.set_tensor(self._input, values)
            self._interpreter.invoke()
            return [self._interpreter.get_tensor(index) for index in self._outputs]
