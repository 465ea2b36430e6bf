"""LoRA: adapters added to networks for training, and files under the key names of diffusers and of kohya's trainers.

Alpha is always the rank, so that a file means the same to every program, whether it reads alpha or not.
"""

import hashlib
import importlib.metadata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch
from peft import LoraConfig
from safetensors.torch import save_file

from pipelines.diffusion.base.family import Family
from pipelines.diffusion.base.loading import find_base
from pipelines.diffusion.base.loras.layers import TEXT_MODEL, layers_of
from pipelines.diffusion.base.loras.reader import LoraError, read_lora
from pipelines.diffusion.base.loras.slot import wrong_base
from pipelines.diffusion.base.parts.kohya import DOWN, UP
from pipelines.diffusion.base.source import BaseSource
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.errors import UserError

ADAPTER = "person"

Weights: TypeAlias = dict[str, torch.Tensor]
"""By name, `unet.….lora_A.weight`: what diffusers reads."""


@dataclass(frozen=True, slots=True)
class ImportedLora:
    """A person's LoRA from elsewhere, in the files that an identity has."""

    lora: Path
    kohya_lora: Path
    facts: Mapping[str, Any]
    """What `identity.json` says of it: base, rank, packages, the file that it came from."""


def add_adapter(network: Any, rank: int, targets: Sequence[str], seed: int) -> None:
    """Add a trainable LoRA in float32 to a frozen network; its second factor is zero, so that nothing changes yet."""
    config = LoraConfig(r=rank, lora_alpha=rank, init_lora_weights="gaussian", target_modules=list(targets))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network.add_adapter(config, ADAPTER)
    for parameter in network.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def trainable_parameters(network: Any, part: str) -> Iterator[tuple[str, torch.nn.Parameter]]:
    """The factors of a network's LoRA with their key names in files."""
    inner = TEXT_MODEL if part.startswith("text_encoder") and not hasattr(network, "text_model") else ""
    for name, parameter in network.named_parameters():
        if f".{ADAPTER}." in name:
            yield f"{part}.{inner}{name.replace(f'.{ADAPTER}.', '.')}", parameter


def set_weights(networks: Mapping[str, Any], weights: Mapping[str, torch.Tensor]) -> None:
    """Copy weights into the LoRAs of networks; raises `UserError` (`wrong_base`) when they do not fit."""
    factors = dict(each for part, network in networks.items() for each in trainable_parameters(network, part))
    if {name: each.shape for name, each in factors.items()} != {name: each.shape for name, each in weights.items()}:
        raise UserError(
            "wrong_base",
            "The identity was learned on another base, or with another rank or other parts. Learn it anew.",
        )
    with torch.no_grad():
        for name, factor in factors.items():
            factor.copy_(weights[name])


def get_weights(networks: Mapping[str, Any]) -> Weights:
    """Copies of the weights of the networks' LoRAs, float32 on the CPU."""
    return {
        name: parameter.detach().to("cpu", torch.float32, copy=True).contiguous()
        for part, network in networks.items()
        for name, parameter in trainable_parameters(network, part)
    }


def rank_of(weights: Mapping[str, torch.Tensor]) -> int:
    """The largest rank of a LoRA's modules; 0 of an empty one."""
    return max((int(weight.shape[0]) for name, weight in weights.items() if name.endswith(DOWN)), default=0)


def save_weights(weights: Mapping[str, torch.Tensor], file: Path, metadata: Mapping[str, str] | None = None) -> Path:
    """Write one `.safetensors`."""
    save_file(dict(weights), file, {"format": "pt", **(metadata or {})})
    return file


def load_weights(file: Path) -> Weights:
    """Read a person's LoRA to learn on or to merge: pairs of factors in float32, with alpha multiplied into the second.

    Raises `UserError` (`broken_identity`), which says why it is none in diffusers' names of linear layers.
    """
    try:
        modules = read_lora(file).modules
    except LoraError as fault:
        raise broken_lora(file, fault.reason) from fault
    weights: Weights = {}
    for (part, _), module in modules.items():
        name = next((module.key.removesuffix(end) for end in (DOWN, UP, ".alpha") if module.key.endswith(end)), "")
        if not name.startswith(f"{part}."):
            raise broken_lora(file, f"its names are those of another program ({module.key!r})")
        if module.down.ndim != 2 or module.up.ndim != 2:
            raise broken_lora(
                file, f"it changes convolutions ({name}; a LoCon), which are drawn with and not learned on"
            )
        weights[name + DOWN], weights[name + UP] = module.down.float(), module.up.float() * module.scale
    return weights


def check_person_lora(file: Path, base: BaseSource) -> None:
    """Check that a person's LoRA fits a base before that is loaded; raises `UserError` (`broken_identity`, `wrong_base`)."""
    try:
        layers_of(base).check(read_lora(file))
    except LoraError as fault:
        raise person_error(file, fault) from fault


def person_error(file: Path, fault: LoraError) -> UserError:
    """What is wrong with a person's LoRA."""
    return wrong_base() if fault.code == "wrong_base" else broken_lora(file, fault.reason)


def broken_lora(file: Path, reason: str) -> UserError:
    """The error of a file that cannot be used as a person's LoRA."""
    return UserError("broken_identity", f"{file.name} cannot be used as a person's LoRA: {reason}. Learn them again.")


def to_kohya(weights: Mapping[str, torch.Tensor], family: Family, config: Mapping[str, Any]) -> Weights:
    """Weights under the key names of kohya's trainers, which the web interfaces read; `config` is the denoiser's."""
    return family.kohya_weights(weights, config)


def import_person_lora(
    file: Path, base: str, trigger: str, work_dir: Path, settings: Settings, models: ModelStore
) -> ImportedLora:
    """Write a person's LoRA of any program under both key names, as a training does; `base` is its base's name or path.

    Raises `UserError` (`bad_lora`, `unsupported_lora`, `wrong_base`), and what `find_base` raises.
    """
    found = find_base(base, settings, models)
    try:
        read = read_lora(file)
        factors = layers_of(found).fit(read)
    except LoraError as fault:
        raise fault.of_file(file) from fault
    weights: Weights = {}
    for part, each in factors.items():
        inner = "" if part == found.family.denoiser else TEXT_MODEL
        for module, (down, up) in each.pairs.items():
            weights[f"{part}.{inner}{module}{DOWN}"] = _widen(down)
            weights[f"{part}.{inner}{module}{UP}"] = _widen(up)
    unet = found.family.kohya_config(found.denoiser_config)
    lora_file, kohya_file = write_both(weights, found.family, unet, trigger, work_dir)
    facts = {
        "base": {"name": found.name, "family": found.family.name, "hash": found.sha256()},
        "rank": rank_of(weights),
        "unet": unet,
        "packages": {name: importlib.metadata.version(name) for name in ("torch", "diffusers", "safetensors")},
        "imported": {
            "file": file.name,
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
            "parts": read.parts,
            "modules": len(read.modules),
        },
    }
    return ImportedLora(lora_file, kohya_file, facts)


def _widen(tensor: torch.Tensor) -> torch.Tensor:
    """A factor of 8 bits in 16, which holds each of its values and which every program reads; any other as it is.

    A copy of it: layers that were stacked share their first factor, and a file holds no number twice.
    """
    return (tensor.half() if tensor.dtype.itemsize == 1 else tensor).contiguous().clone()


def write_both(
    weights: Mapping[str, torch.Tensor], family: Family, unet: Mapping[str, Any], trigger: str, work_dir: Path
) -> tuple[Path, Path]:
    """Write a LoRA in the names of diffusers and of kohya's trainers; `unet` is the denoiser's configuration."""
    metadata = kohya_metadata(family, rank_of(weights), trigger, trigger)
    return (
        save_weights(weights, work_dir / "lora.safetensors"),
        save_weights(to_kohya(weights, family, unet), work_dir / "lora-webui.safetensors", metadata),
    )


def kohya_metadata(family: Family, rank: int, name: str, trigger: str) -> dict[str, str]:
    """The metadata of a file that the web interfaces show."""
    return {
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(rank),
        "ss_network_alpha": str(float(rank)),
        "ss_base_model_version": family.kohya_version,
        "ss_output_name": name,
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": f"{family.architecture}/lora",
        "modelspec.implementation": "diffusers",
        "modelspec.title": name,
        "modelspec.trigger_phrase": trigger,
    }
