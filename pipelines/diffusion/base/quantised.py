"""Weights that lie in memory in another form than they are computed in: GGUF files, and layers that rest in float8.

A layer turns its weights into the dtype of the computation when it runs, and nothing of that stays. LoRAs lie beside the
layers, in the dtype of the computation, as they do in whole bases.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from accelerate.hooks import ModelHook, add_hook_to_module
from accelerate.utils import send_to_device
from diffusers.quantizers.gguf.utils import SUPPORTED_GGUF_QUANT_TYPES
from gguf import GGMLQuantizationType, GGUFReader

from portrait.errors import OperatorError

GGUF = ".gguf"
PLAIN_TYPES = (GGMLQuantizationType.F32, GGMLQuantizationType.F16)
"""Tensors of GGUF files that are loaded in the dtype of the computation; all others stay as they are stored."""
FLOAT8 = torch.float8_e4m3fn
CASTING_HOOK = "layerwise_casting"
"""What diffusers calls the hook of a layer that rests in another dtype than it computes in."""
SCALES = re.compile(r"\.(scale_weight|scale_input|weight_scale|input_scale|weight_scale_inv)$|^scaled_fp8$")
"""Names of the scales that some programs store beside weights in float8, without which these mean something else."""


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor of a GGUF file, as its header describes it."""

    name: str
    count: int
    """Of the numbers that it stands for."""
    nbytes: int
    """That it takes in the file."""
    plain: bool
    """Whether it is loaded in the dtype of the computation."""

    def loaded_bytes(self, dtype: torch.dtype) -> int:
        """Bytes that it takes in memory."""
        return self.count * dtype.itemsize if self.plain else self.nbytes


def read_header(file: Path) -> Sequence[StoredTensor]:
    """The tensors of a GGUF file; no weights are read. Raises `ValueError` or `OSError` for one that cannot be read."""
    return _read_header(file, file.stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _read_header(file: Path, changed: int) -> Sequence[StoredTensor]:
    """The tensors of a file that was changed then."""
    try:
        tensors = GGUFReader(file).tensors
    except (IndexError, KeyError, TypeError, OverflowError, MemoryError) as error:
        raise ValueError(f"its header is cut off or broken ({type(error).__name__})") from error
    unread = next(
        (each for each in tensors if each.tensor_type not in (*PLAIN_TYPES, *SUPPORTED_GGUF_QUANT_TYPES)), None
    )
    if unread is not None:
        raise ValueError(
            f"{unread.name} is quantised as {unread.tensor_type.name}, which diffusers does not read: take Q8_0 or Q5_K"
        )
    return [
        StoredTensor(each.name, int(each.n_elements), int(each.n_bytes), each.tensor_type in PLAIN_TYPES)
        for each in tensors
    ]


def check_scales(file: Path, names: Iterable[str]) -> None:
    """Raise `OperatorError` (`bad_base`) for weights in float8 with scales of their own."""
    if any(SCALES.search(name) for name in names):
        raise OperatorError(
            "bad_base",
            f"{file.name} holds scaled weights in float8, which are not read here: take the file in bfloat16, or in plain "
            "float8, or a GGUF.",
        )


def rest_in_float8(network: Any, dtype: torch.dtype) -> None:
    """Have the layers of a denoiser rest in float8 and compute in a dtype, but for those that diffusers leaves as they are."""
    network.enable_layerwise_casting(storage_dtype=FLOAT8, compute_dtype=dtype)


@contextmanager
def as_computed(network: torch.nn.Module) -> Iterator[None]:
    """Within it the layers that rest in float8 are as they compute: PEFT gives the factors it adds the dtype of the weights.

    Coming back to float8 takes nothing away: the numbers were there before.
    """
    found: Iterator[tuple[torch.nn.Module, Any]] = (
        (each, getattr(each, "_diffusers_hook", None)) for each in network.modules()
    )
    hooks = {each: registry.get_hook(CASTING_HOOK) for each, registry in found if registry is not None}
    resting = {layer: hook for layer, hook in hooks.items() if hook is not None}
    for layer, hook in resting.items():
        layer.to(hook.compute_dtype)
    try:
        yield
    finally:
        for layer, hook in resting.items():
            layer.to(hook.storage_dtype)


def float8_savings(network: Any, dtype: torch.dtype) -> float:
    """Bytes that a denoiser without weights, on the `meta` device, takes less where its layers rest in float8."""
    network.to(dtype)
    whole = _weight_bytes(network)
    rest_in_float8(network, dtype)
    return float(whole - _weight_bytes(network))


def _weight_bytes(network: torch.nn.Module) -> int:
    return sum(each.numel() * each.element_size() for each in network.parameters())


def offload_layers(network: torch.nn.Module, where: torch.device) -> None:
    """Have the layers of a network wait in main memory, each on the device while it runs.

    As accelerate's `cpu_offload`, which would build the weights anew and cannot build quantised ones.
    """
    for module in network.modules():
        if module is network or module._parameters or module._buffers:
            add_hook_to_module(module, _LayerOffload(where))


def _move(weights: Any, where: torch.device) -> None:
    """Move a module's own weights, or buffers, to a device."""
    for name, each in list(weights.items()):
        weights[name] = None if each is None else each.to(where)


class _LayerOffload(ModelHook):
    """Brings one module's own weights to the device while it runs."""

    def __init__(self, where: torch.device) -> None:
        self.execution_device = where
        self._waiting: tuple[dict[str, Any], dict[str, Any]] | None = None

    def pre_forward(self, module: torch.nn.Module, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """Have the weights, and what the module is given, on the device."""
        self._waiting = dict(module._parameters), dict(module._buffers)
        _move(module._parameters, self.execution_device)
        _move(module._buffers, self.execution_device)
        return send_to_device(args, self.execution_device), send_to_device(kwargs, self.execution_device)

    def post_forward(self, module: torch.nn.Module, output: Any) -> Any:
        """Put back the weights that wait in main memory."""
        if self._waiting is not None:
            module._parameters.update(self._waiting[0])
            module._buffers.update(self._waiting[1])
            self._waiting = None
        return output
