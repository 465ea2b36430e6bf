"""ONNX Runtime: whether its sessions run on the device; where CUDA's libraries are missing it takes the CPU without a word."""

from collections.abc import Sequence

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from pipelines.diffusion.selftest import results
from pipelines.diffusion.selftest.results import Fault, Result

PROVIDERS = {"cuda": "CUDAExecutionProvider", "cpu": "CPUExecutionProvider"}
"""By kind of device."""
TOLERANCE = 3e-2
"""Largest difference to numpy's: the convolution sums 27 products of about 1, and a GPU may round factors to ten bits."""


def check_sessions(device_type: str, provider_names: Sequence[str]) -> Result:
    """Open a session as engines do, with these providers, run one convolution, and see where it ran.

    `provider_names` are those that engines ask for.
    """

    def check() -> tuple[str, list[Fault]]:
        wanted = PROVIDERS[device_type]
        if wanted not in onnxruntime.get_available_providers():
            return "not installed", [_provider_fault(f"onnxruntime was installed without {wanted}")]
        session = onnxruntime.InferenceSession(_network().SerializeToString(), providers=list(provider_names))
        used = session.get_providers()
        if not used or used[0] != wanted:
            return ", ".join(used), [
                _provider_fault(f"{wanted} could not be loaded, and {', '.join(used)} took its place")
            ]
        pixels = np.random.default_rng(0).normal(size=(1, 3, 8, 8)).astype(np.float32)
        answer = np.asarray(session.run(None, {"pixels": pixels})[0])
        difference = float(np.abs(answer - _expected(pixels)).max())
        faults = [] if difference <= TOLERANCE else [results.wrong_fault("ONNX Runtime", difference, TOLERANCE)]
        return f"{onnxruntime.__version__}, {used[0]}", faults

    return results.run_check("ONNX Runtime", check)


def _provider_fault(reason: str) -> Fault:
    return Fault(
        "no_provider",
        f"Faces, mattes and restoring run on the CPU: {reason}. Run `make install-gpu`, and see that CUDA and cuDNN are of the "
        "versions that onnxruntime-gpu was built for.",
    )


def _weight() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(4, 3, 3, 3)).astype(np.float32)


def _network() -> onnx.ModelProto:
    """One convolution of 3×3."""
    node = helper.make_node("Conv", ["pixels", "weight"], ["answer"])
    given = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [1, 3, 8, 8])
    answer = helper.make_tensor_value_info("answer", TensorProto.FLOAT, [1, 4, 6, 6])
    graph = helper.make_graph([node], "tiny", [given], [answer], [numpy_helper.from_array(_weight(), "weight")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    return model


def _expected(pixels: np.ndarray) -> np.ndarray:
    """The same convolution in numpy, in float64."""
    windows = np.lib.stride_tricks.sliding_window_view(pixels[0].astype(np.float64), (3, 3), axis=(1, 2))
    return np.einsum("cyxij,ocij->oyx", windows, _weight().astype(np.float64))[None]
