"""Checkpoint files of adapters and control networks: tensors read from them, networks built of them; never code."""

import json
import math
import pickle
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from pipelines.diffusion.base import quantised
from portrait.errors import OperatorError, broken_model

_Network = TypeVar("_Network")
BROKEN = (OSError, ValueError, KeyError, RuntimeError, EOFError, SafetensorError, pickle.UnpicklingError)
"""What libraries raise for broken files and files of another kind."""
WRAPPERS = ("state_dict", "params_ema", "params", "model_state_dict")
"""Names under which programs save a network's weights: CompVis and Lightning, BasicSR, others."""


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


def convert_pickled(pickled: Path, file: Path) -> None:
    """Write the tensors of a pickled file, by their names in groups, into a safetensors file; nothing else of it is read.

    Groups that only hold a network's weights (`state_dict` and the like) leave no trace in the names; embeddings of the
    web UI become `emb_params`. Raises `OperatorError` (`pickled_weights`).
    """
    try:
        stored = torch.load(pickled, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(pickled))
        tensors = dict(_name_tensors(_unwrap(stored)))
    except BROKEN as error:
        why = "holds more than tensors" if isinstance(error, pickle.UnpicklingError) else "cannot be read"
        sentence = f"{pickled.name} {why}, and is not taken: ask its publisher for a .safetensors file."
        raise OperatorError("pickled_weights", sentence) from error
    if not tensors:
        raise OperatorError("pickled_weights", f"{pickled.name} holds no tensors.")
    # What shares memory, or lies in it with gaps, cannot be written as it is.
    save_file({name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}, file)


def _unwrap(stored: Any) -> Any:
    for group in WRAPPERS:
        if isinstance(stored, dict) and isinstance(stored.get(group), dict):
            return _unwrap(stored[group])
    if isinstance(stored, dict) and isinstance(stored.get("string_to_param"), dict):
        return {"emb_params": next(iter(stored["string_to_param"].values()), None)}
    return stored


def _name_tensors(stored: Any, prefix: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(stored, torch.Tensor):
        yield prefix, stored
    elif isinstance(stored, dict):
        for name, each in stored.items():
            yield from _name_tensors(each, f"{prefix}.{name}" if prefix else str(name))


def count_weights(file: Path, prefix: str = "") -> int:
    """Numbers that a weight file holds, from its header; of a `.safetensors` those whose names begin with `prefix`, if some do.

    Raises `EngineError` (`broken_model`).
    """
    try:
        if file.suffix == ".safetensors":
            with file.open("rb") as stream:
                header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
            sizes = {name: math.prod(each["shape"]) for name, each in header.items() if name != "__metadata__"}
            inside = [size for name, size in sizes.items() if prefix and name.startswith(prefix)]
            return sum(inside or sizes.values())
        if file.suffix == quantised.GGUF:
            return sum(tensor.count for tensor in quantised.read_header(file))
        stored = torch.load(file, map_location="meta", weights_only=True, mmap=zipfile.is_zipfile(file))
        return _count_tensors(stored)
    except (*BROKEN, TypeError, AttributeError) as error:
        raise broken_model(file, str(error).split("\n")[0]) from error


def loaded_bytes(file: Path, dtype: torch.dtype) -> int:
    """Bytes that a weight file takes in memory when it is loaded in a dtype, from its header.

    Quantised weights stay as they are stored. Raises `EngineError` (`broken_model`).
    """
    if file.suffix != quantised.GGUF:
        return dtype.itemsize * count_weights(file)
    try:
        return sum(tensor.loaded_bytes(dtype) for tensor in quantised.read_header(file))
    except BROKEN as error:
        raise broken_model(file, str(error).split("\n")[0]) from error


def _count_tensors(stored: Any) -> int:
    """Numbers in the tensors of a checkpoint, whose groups are dictionaries."""
    if isinstance(stored, torch.Tensor):
        return stored.numel()
    return sum(_count_tensors(each) for each in stored.values()) if isinstance(stored, dict) else 0


def load_state_dict(network: _Network, weights: dict[str, torch.Tensor], file: Path) -> _Network:
    """Load a checkpoint's weights, all of them, into a network; raises `EngineError` (`broken_model`)."""
    try:
        network.load_state_dict(weights, strict=True, assign=True)  # pyrefly: ignore[missing-attribute] -- a torch module
    except RuntimeError as error:
        raise broken_model(file, str(error).split("\n")[1].strip()) from error
    return network


def load_network(network_class: type[_Network], folder: Path, dtype: torch.dtype, where: torch.device) -> _Network:
    """Load a network from a folder in diffusers' layout, or from a `.pth` beside its configuration: frozen, on `where`.

    A folder without a configuration holds one `.safetensors`, of which the class reads how it is built (`config_of`). Raises
    `EngineError` (`broken_model`).
    """
    half = any(folder.glob("*.fp16.safetensors")) and not (folder / "diffusion_pytorch_model.safetensors").is_file()
    variant = "fp16" if half else None
    single = next(iter(sorted(folder.glob("*.pth"))), None)
    bare = None if (folder / "config.json").is_file() else next(iter(sorted(folder.glob("*.safetensors"))), None)
    model: Any = network_class  # a diffusers model
    try:
        if single is not None:
            loaded = model.from_single_file(str(single), config=str(folder), torch_dtype=dtype, local_files_only=True)
        elif bare is not None and hasattr(model, "config_of"):
            loaded = _build_by_weights(model, bare, dtype)
        else:
            loaded = model.from_pretrained(str(folder), dtype=dtype, local_files_only=True, variant=variant)
    except BROKEN as error:
        raise broken_model(folder, str(error).split("\n")[0]) from error
    return loaded.requires_grad_(False).eval().to(where)


def _build_by_weights(network_class: Any, file: Path, dtype: torch.dtype) -> Any:
    """The network of a file without a configuration; weights that it has no place for are left. Raises one of `BROKEN`."""
    weights = load_file(file)
    with torch.device("meta"):
        network = network_class.from_config(network_class.config_of(weights))
    names = list(network.state_dict())
    missing = [name for name in names if name not in weights]
    if missing:
        raise ValueError(f"it has no {missing[0]}")
    network.load_state_dict({name: weights[name].to(dtype) for name in names}, assign=True)
    return network
