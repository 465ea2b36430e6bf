"""Reads a LoRA file: pairs of factors by module, with the reason where a file is something else, broken or unreadable."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from safetensors import SafetensorError, safe_open

from pipelines.diffusion.base.loras import key_names
from portrait.errors import UserError

FaultCode: TypeAlias = Literal["bad_lora", "unsupported_lora", "wrong_base"]
Module: TypeAlias = tuple[str, str]
"""Component of a pipeline, and the module as `key_names.module_key` gives it."""
CONFIG_FILE = "adapter_config.json"
"""What PEFT writes beside its weights; it has the alpha, which the weights lack."""


class LoraError(ValueError):
    """Why a file cannot be used as a LoRA; whoever knows whose file it is makes a `UserError` of it."""

    def __init__(self, code: FaultCode, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason

    def of_file(self, file: Path) -> UserError:
        """The error of a LoRA that a style, a prompt or a command names."""
        return UserError(self.code, f"{file.name} cannot be used as a LoRA: {self.reason}.")


@dataclass(frozen=True, slots=True, eq=False)
class LoraModule:
    """The two factors of one module, as stored."""

    key: str
    """A key of the file, for messages."""
    down: torch.Tensor
    """rank×in, of convolutions rank×in×height×width."""
    up: torch.Tensor
    """out×rank, of convolutions out×rank×1×1."""
    scale: float
    """Alpha divided by the rank: what the update is multiplied by; 1 where the file gives no alpha."""

    @property
    def rank(self) -> int:
        """Its rank, which each module has for itself."""
        return int(self.down.shape[0])


@dataclass(frozen=True, slots=True, eq=False)
class Lora:
    """What a LoRA file holds."""

    modules: Mapping[Module, LoraModule]
    metadata: Mapping[str, str]
    architecture: str = ""
    """For what bases of other families it was made, by its key names; empty where nothing says so."""

    @property
    def rank(self) -> int:
        """The largest rank of its modules."""
        return max(module.rank for module in self.modules.values())

    @property
    def parts(self) -> list[str]:
        """The components of a pipeline that it changes."""
        return sorted({part for part, _ in self.modules})


def read_lora(file: Path) -> Lora:
    """Read a `.safetensors` with a LoRA in the key names of any program; raises `LoraError`.

    Precisions from float8 to float32 are read as stored. Alpha is that of the file, else of its metadata or of PEFT's
    configuration beside it, else the rank.
    """
    stored, metadata = _load(file)
    _require_lora(stored)
    tensors: dict[Module, dict[str, torch.Tensor]] = {}
    keys: dict[Module, str] = {}
    for key, tensor in stored.items():
        _require_numbers(key, tensor)
        name = key_names.parse_key(key)
        if name is None:
            raise LoraError("bad_lora", f"it holds {key!r}, which is no part of a LoRA that is known here")
        module = (name.part, name.module)
        if name.factor in tensors.setdefault(module, {}):
            raise LoraError("bad_lora", f"{key!r} is there twice, in two programs' names")
        tensors[module][name.factor] = tensor
        keys.setdefault(module, key)
    alphas = _Alphas.read(file, metadata)
    modules = {module: _module(keys[module], module, each, alphas) for module, each in tensors.items()}
    return Lora(modules, metadata, key_names.other_architecture(stored))


def _load(file: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors and metadata of a file; raises `LoraError`, which says what the file is instead."""
    try:
        with safe_open(file, framework="pt") as stream:
            return {key: stream.get_tensor(key) for key in list(stream.keys())}, dict(stream.metadata() or {})
    except FileNotFoundError as error:
        raise LoraError("bad_lora", "it is gone") from error
    except (OSError, SafetensorError, ValueError) as error:
        raise LoraError("bad_lora", _unreadable(file)) from error


def _unreadable(file: Path) -> str:
    """Why a file is no readable `.safetensors`, by its first bytes."""
    try:
        with file.open("rb") as stream:
            start = stream.read(16)
    except OSError as error:
        return f"it cannot be read ({error.strerror})"
    if not start:
        return "it is empty"
    if start.startswith((b"PK\x03\x04", b"\x80\x02")):
        return "it is a pickled file (.pt, .ckpt, .bin), and only .safetensors is read"
    if start.lstrip()[:1] == b"<" and start[8:9] != b"{":
        return "it is a web page, not what was to be downloaded"
    if start[8:9] == b"{":
        return "it cannot be read, because its end is missing or it is damaged: download it again"
    return "it cannot be read as .safetensors"


def _require_lora(stored: Mapping[str, torch.Tensor]) -> None:
    """Raise `LoraError` for what is no LoRA of the bases that are drawn on."""
    if not stored:
        raise LoraError("bad_lora", "it holds no weights")
    architecture = key_names.other_architecture(stored)
    if architecture and not any(key_names.parse_key(key) for key in stored):
        raise LoraError("wrong_base", f"it was made for {architecture}")
    method = key_names.other_method(stored)
    if method:
        raise LoraError("unsupported_lora", f"it is {method}, and only plain LoRA is read")
    if any(key_names.parse_key(key) for key in stored):
        return
    other = key_names.other_file(stored)
    if other:
        raise LoraError("bad_lora", f"it is {other}")
    raise LoraError("bad_lora", f"it holds {min(stored)!r}, which is no part of a LoRA that is known here")


def _require_numbers(key: str, tensor: torch.Tensor) -> None:
    if not tensor.is_floating_point():
        kind = str(tensor.dtype).removeprefix("torch.")
        raise LoraError("bad_lora", f"{key} holds {kind} numbers, which are no weights")
    if not torch.isfinite(tensor.float()).all():
        raise LoraError("bad_lora", f"{key} holds values that are not numbers or infinite")


def _module(key: str, module: Module, tensors: Mapping[str, torch.Tensor], alphas: "_Alphas") -> LoraModule:
    """A module of its factors; raises `LoraError` where one is missing or they do not fit each other."""
    if not {"down", "up"} <= tensors.keys():
        raise LoraError("bad_lora", f"factors are missing: {key!r} stands alone")
    down, up = tensors["down"], tensors["up"]
    fits = down.ndim in (2, 4) and up.ndim in (2, 4) and 0 < down.shape[0] == up.shape[1]
    if not fits or tuple(up.shape[2:]) not in ((), (1, 1)):
        shapes = f"{'×'.join(map(str, down.shape))} and {'×'.join(map(str, up.shape))}"
        raise LoraError("bad_lora", f"the factors of {key!r} do not fit each other ({shapes})")
    rank = int(down.shape[0])
    alpha = tensors.get("alpha")
    if alpha is not None and alpha.numel() != 1:
        raise LoraError("bad_lora", f"the factors of {key!r} do not fit each other: its alpha is no single number")
    # kohya's trainers take an alpha of zero for the rank, too.
    scale = alphas.scale(module, rank) if alpha is None or float(alpha) == 0 else float(alpha) / rank
    return LoraModule(key, down, up, scale)


@dataclass(frozen=True, slots=True)
class _Alphas:
    """What metadata say of alphas, where the weights do not: of PEFT's configuration, by component."""

    configs: Mapping[str, Mapping[str, Any]]

    @classmethod
    def read(cls, file: Path, metadata: Mapping[str, str]) -> "_Alphas":
        """From diffusers' metadata in the file, or from PEFT's configuration beside it, which names no component."""
        try:
            if "lora_adapter_metadata" in metadata:
                flat = json.loads(metadata["lora_adapter_metadata"])
                configs: dict[str, dict[str, Any]] = {}
                for name, value in flat.items():
                    part, _, option = name.partition(".")
                    configs.setdefault(part, {})[option] = value
                return cls(configs)
            beside = file.with_name(CONFIG_FILE)
            if file.name.startswith("adapter_model") and beside.is_file():
                config = json.loads(beside.read_text("utf-8"))
                return cls(dict.fromkeys(("unet", "transformer", "text_encoder", "text_encoder_2"), config))
        except (OSError, ValueError, AttributeError) as error:
            raise LoraError("bad_lora", "its metadata cannot be read") from error
        return cls({})

    def scale(self, module: Module, rank: int) -> float:
        """Alpha by rank of a module whose weights give none."""
        part, key = module
        config = self.configs.get(part)
        if not config or not isinstance(config.get("lora_alpha"), int | float):
            return 1.0
        alpha = config["lora_alpha"]
        for name, own in (config.get("alpha_pattern") or {}).items():
            if key == key_names.module_key(name) or key.endswith("_" + key_names.module_key(name)):
                alpha = own
        return float(alpha) / (rank**0.5 if config.get("use_rslora") else rank)
