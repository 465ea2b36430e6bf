"""Merges two bases of one family, by blocks of the U-Net: tensor by tensor, so that never more than three are in memory."""

import json
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch

from pipelines.diffusion.base.loading import find_base
from pipelines.diffusion.base.loras import blocks
from pipelines.diffusion.base.parts import single_file
from pipelines.diffusion.base.source import BaseSource
from pipelines.folders import atomic
from pipelines.model_store.safetensors_file import read_header
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.errors import UserError, broken_model

How: TypeAlias = Literal["lerp", "slerp"]
TensorType: TypeAlias = tuple[torch.dtype, tuple[int, ...]]
COMPONENTS = {
    "unet": "diffusion_pytorch_model.safetensors",
    "vae": "diffusion_pytorch_model.safetensors",
    "text_encoder": "model.safetensors",
    "text_encoder_2": "model.safetensors",
}
"""Components with weights that are merged, and the file that each is written to."""
UNET_PREFIX = "model.diffusion_model."
PARALLEL = 0.9995
"""Cosine from which two tensors count as parallel: slerp divides by the sine of their angle, and lerp does the same there."""
TYPE_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.bool: "BOOL",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
}
"""Of a tensor in the header of a `.safetensors`."""


@dataclass(frozen=True, slots=True)
class MergeOptions:
    """How much of the second base is taken, and how."""

    how: How = "lerp"
    """`lerp`: on the straight line between two tensors; `slerp`: on the arc, which keeps their length."""
    alpha: float = 0.5
    """0 is the first base, 1 the second."""
    blocks: tuple[float, ...] = ()
    """Alphas by block in place of the one: see `pipelines.diffusion.base.loras.blocks`."""


@dataclass(frozen=True, slots=True)
class MergeResult:
    """What a merge made."""

    family: str
    kept: list[str]
    """Names of tensors that only the first base has."""


class _Weights:
    """Tensors of several files, read one at a time: not mapped, so that a base never counts as memory in use."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._places = {name: (file, tensor) for file in files for name, tensor in read_header(file).items()}

    @property
    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._places)

    def read(self, name: str) -> torch.Tensor:
        """One tensor."""
        file, place = self._places[name]
        dtype, shape = self.describe(name)
        with file.open("rb") as stream:
            stream.seek(place.start)
            content = bytearray(stream.read(place.end - place.start))
        return torch.frombuffer(content, dtype=dtype).reshape(shape) if content else torch.empty(shape, dtype=dtype)

    def describe(self, name: str) -> TensorType:
        """Type and shape of a tensor, which is not read; raises `EngineError` (`broken_model`)."""
        file, place = self._places[name]
        types = {written: dtype for dtype, written in TYPE_NAMES.items()}
        if place.dtype not in types:
            raise broken_model(file, f"{name} is of the type {place.dtype}, which is not read")
        return types[place.dtype], place.shape


def merge(
    first: str, second: str, place: Path, options: MergeOptions, settings: Settings, models: ModelStore
) -> MergeResult:
    """Merge two bases, given by name or path, into a file or a folder, as both are.

    Raises `UserError` (`cannot_merge`, `bad_blocks`, `folder_taken`), `OperatorError` (`unknown_base`, `bad_base`,
    `cannot_write`, and those of `read_header`), `EngineError` (`broken_model`).
    """
    one, other = find_base(first, settings, models), find_base(second, settings, models)
    if one.family.name != other.family.name:
        raise _cannot_merge(f"{one.name} is {one.family.name} and {other.name} is {other.family.name}")
    if one.is_single_file != other.is_single_file:
        raise _cannot_merge("one is a folder and one a file: make both the same by `portrait models convert`")
    if place.exists():
        raise UserError("folder_taken", f"{place} is there already. Name a new place.")
    alphas = _alphas(options, one.config("unet"))
    write = _write_file if one.is_single_file else _write_folder
    with atomic.reported(f"{place} cannot be written"):
        return MergeResult(one.family.name, write(one, other, place, options.how, alphas))


def _alphas(options: MergeOptions, config: Mapping[str, Any]) -> Mapping[str, float]:
    """Alpha by block; `BASE` stands for text encoders and autoencoder too."""
    given = options.blocks or (options.alpha,) * len(blocks.all_blocks(config))
    if not all(0 <= alpha <= 1 for alpha in given):
        raise UserError("bad_blocks", "Merges take alphas from 0, the first base, to 1, the second.")
    return blocks.weights_by_block(given, config)


def _write_file(one: BaseSource, other: BaseSource, place: Path, how: How, alphas: Mapping[str, float]) -> list[str]:
    def alpha_of(name: str) -> float:
        inside = name.startswith(UNET_PREFIX)
        return alphas[blocks.block_of(name.removeprefix(UNET_PREFIX)) if inside else blocks.BASE_BLOCK]

    with atomic.replace_file(place) as staged:
        return _merge_into(staged, _Weights([one.path]), _Weights([other.path]), how, alpha_of)


def _write_folder(one: BaseSource, other: BaseSource, place: Path, how: How, alphas: Mapping[str, float]) -> list[str]:
    config, kept = one.config("unet"), []
    with atomic.replace_folder(place) as staged:
        shutil.copytree(one.path, staged, dirs_exist_ok=True, ignore=_ignore_weights)
        for component, file in COMPONENTS.items():
            if not (one.path / component).is_dir():
                continue

            def alpha_of(name: str, part: str = component) -> float:
                inside = part == "unet"
                return alphas[blocks.block_of(single_file.unet_name(name, config)) if inside else blocks.BASE_BLOCK]

            first, second = (_Weights(_component_files(base, component)) for base in (one, other))
            named = _merge_into(staged / component / file, first, second, how, alpha_of)
            kept += [f"{component}.{name}" for name in named]
    return kept


def _component_files(base: BaseSource, component: str) -> list[Path]:
    """The files of a component; raises `UserError` (`cannot_merge`) where there are only pickles."""
    if component == "unet":
        files = base.weights_files
    else:
        half = any(".fp16." in file.name for file in base.weights_files)
        found = sorted((base.path / component).glob("*.safetensors"))
        files = [file for file in found if (".fp16." in file.name) == half] or found
    if not files or any(file.suffix != ".safetensors" for file in files):
        raise _cannot_merge(f"{base.name} has no .safetensors of its {component}: `portrait models convert` makes some")
    return files


def _ignore_weights(folder: str, names: list[str]) -> set[str]:
    """Names of a folder that are not copied: weights in all formats, and their lists of parts."""
    suffixes = (".safetensors", ".bin", ".ckpt", ".msgpack", ".onnx", ".onnx_data", ".index.json")
    return {name for name in names if name.endswith(suffixes) or name in ("safety_checker", ".cache")}


def _merge_into(file: Path, one: _Weights, other: _Weights, how: How, alpha_of: Callable[[str], float]) -> list[str]:
    """Write the merge of two sets of tensors; returns the names of those that only the first has."""
    others = set(other.names)
    kept = [name for name in one.names if name not in others]
    lost = [name for name in kept if name.startswith((UNET_PREFIX, "down_blocks.", "up_blocks.", "mid_block."))]
    if lost or not set(one.names) & others:
        raise _cannot_merge(f"the second has no {(lost or one.names)[0]}")

    def merged(name: str) -> torch.Tensor:
        first = one.read(name)
        blended = name in others and first.is_floating_point()
        return blend(first, other.read(name), alpha_of(name), how) if blended else first

    types = {
        name: _merged_type(name, one.describe(name), other.describe(name)) if name in others else one.describe(name)
        for name in one.names
    }
    _write_tensors(file, types, merged)
    return kept


def blend(one: torch.Tensor, other: torch.Tensor, alpha: float, how: How) -> torch.Tensor:
    """Two tensors blended in float32, in the wider of their types; an alpha of 0 or 1 gives one of them as it is."""
    dtype = torch.promote_types(one.dtype, other.dtype)
    if alpha in (0, 1):
        return (one if alpha == 0 else other).to(dtype)
    first, second = one.float(), other.float()
    if how == "slerp":
        lengths = first.norm() * second.norm()
        cosine = float((first * second).sum() / lengths) if float(lengths) > 0 else 1.0
        if abs(cosine) < PARALLEL:
            angle = torch.acos(torch.tensor(cosine))
            shares = torch.sin((1 - alpha) * angle), torch.sin(alpha * angle)
            return ((shares[0] * first + shares[1] * second) / torch.sin(angle)).to(dtype)
    return torch.lerp(first, second, alpha).to(dtype)


def _merged_type(name: str, one: TensorType, other: TensorType) -> TensorType:
    """Type and shape of a merged tensor; raises `UserError` (`cannot_merge`)."""
    if one[1] != other[1]:
        raise _cannot_merge(f"{name} is {' and '.join('×'.join(map(str, each[1])) or '1' for each in (one, other))}")
    return (torch.promote_types(one[0], other[0]) if one[0].is_floating_point else one[0]), one[1]


def _write_tensors(file: Path, types: Mapping[str, TensorType], tensor: Callable[[str], torch.Tensor]) -> None:
    """Write a `.safetensors` tensor by tensor; the library's own function takes all of them at once."""
    file.parent.mkdir(parents=True, exist_ok=True)
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    start = 0
    for name, (dtype, shape) in types.items():
        end = start + math.prod(shape) * dtype.itemsize
        header[name] = {"dtype": TYPE_NAMES[dtype], "shape": list(shape), "data_offsets": [start, end]}
        start = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with file.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        for name in types:
            stream.write(tensor(name).contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())


def _cannot_merge(why: str) -> UserError:
    return UserError("cannot_merge", f"These bases cannot be merged: {why}.")
