"""Checkpoint files of adapters and control networks: tensors read from them, networks built of them; never code."""

import json
import math
import pickle
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from portrait.errors import broken_model

_Network = TypeVar("_Network")
BROKEN = (OSError, ValueError, KeyError, RuntimeError, EOFError, SafetensorError, pickle.UnpicklingError)
"""What libraries raise for broken files and files of another kind."""


def load_checkpoint(file: Path, names: Sequence[str]) -> dict[str, Any]:
    """A checkpoint's groups of tensors, `{group: {name: tensor}}`; raises `EngineError` (`broken_model`).

    Of a pickle only tensors are read: a pickle could run any program.
    """
    try:
        if file.suffix == ".safetensors":
            groups: dict[str, Any] = {}
            for name, tensor in load_file(file).items():
                group, _, rest = name.partition(".")
                groups.setdefault(group, {})[rest] = tensor
        else:
            groups = torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    except BROKEN as error:
        why = "it holds more than numbers" if isinstance(error, pickle.UnpicklingError) else str(error).split("\n")[0]
        raise broken_model(file, why) from error
    missing = [name for name in names if not isinstance(groups.get(name), dict) or not groups[name]]
    if missing or not all(isinstance(each, torch.Tensor) for name in names for each in groups[name].values()):
        raise broken_model(file, f"it has no {missing[0]}" if missing else "it holds more than tensors")
    return {name: groups[name] for name in names}


def count_weights(file: Path) -> int:
    """Numbers that a weight file holds, from its header; raises `EngineError` (`broken_model`)."""
    try:
        if file.suffix == ".safetensors":
            with file.open("rb") as stream:
                header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
            return sum(math.prod(each["shape"]) for name, each in header.items() if name != "__metadata__")
        stored = torch.load(file, map_location="meta", weights_only=True, mmap=zipfile.is_zipfile(file))
        return _count_tensors(stored)
    except (*BROKEN, TypeError, AttributeError) as error:
        raise broken_model(file, str(error).split("\n")[0]) from error


def _count_tensors(stored: Any) -> int:
    """Numbers in the tensors of a checkpoint, whose groups are dictionaries."""
    if isinstance(stored, torch.Tensor):
        return stored.numel()
    return sum(_count_tensors(each) for each in stored.values()) if isinstance(stored, dict) else 0


def load_state_dict(network: _Network, weights: dict[str, torch.Tensor], file: Path) -> _Network:
    """Load a checkpoint's weights, all of them, into a network; raises `EngineError` (`broken_model`)."""
    try:
        network.load_state_dict(weights, strict=True, assign=True)  # type: ignore[attr-defined] -- a torch module
    except RuntimeError as error:
        raise broken_model(file, str(error).split("\n")[1].strip()) from error
    return network


def load_network(network_class: type[_Network], folder: Path, dtype: torch.dtype, where: torch.device) -> _Network:
    """Load a network from a folder in diffusers' layout, or from a `.pth` beside its configuration: frozen, on `where`.

    Raises `EngineError` (`broken_model`).
    """
    half = any(folder.glob("*.fp16.safetensors")) and not (folder / "diffusion_pytorch_model.safetensors").is_file()
    variant = "fp16" if half else None
    single = next(iter(sorted(folder.glob("*.pth"))), None)
    model: Any = network_class  # a diffusers model
    try:
        if single is not None:
            loaded = model.from_single_file(str(single), config=str(folder), torch_dtype=dtype, local_files_only=True)
        else:
            loaded = model.from_pretrained(str(folder), dtype=dtype, local_files_only=True, variant=variant)
    except BROKEN as error:
        raise broken_model(folder, str(error).split("\n")[0]) from error
    return loaded.requires_grad_(False).eval().to(where)
