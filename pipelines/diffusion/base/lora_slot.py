"""LoraSlot: one adapter in a shared network, into which a person's LoRA is copied in place; nothing is ever fused.

Fusing and unfusing leaves 1.1e-3 of drift in bfloat16 after a single turn; unloading and loading takes a second on SDXL. A copy
takes hundredths of one and leaves the base as it was, bit for bit. diffusers' `enable_lora_hotswap` does the same for U-Nets
alone and asks for the largest rank beforehand; this slot serves the text encoders too, and grows when a LoRA needs it.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig

from pipelines.diffusion.base import lora
from pipelines.diffusion.base.family import LORA_TARGETS, TEXT_LORA_TARGETS
from pipelines.diffusion.base.loading import BaseSource, empty_text_encoder, empty_unet
from pipelines.diffusion.base.lora import DOWN, UP
from portrait.errors import UserError

ADAPTER = "slot0"
"""The adapter's name. PEFT warns of names that are part of a module's name; this one is not."""
CACHE_SIZE = 32
"""LoRAs held in memory; one of SDXL takes 46 MB at rank 16 in half precision."""

Pair = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class LoraFactors:
    """The LoRA factors of one network, ready to be copied; not padded."""

    pairs: Mapping[str, Pair]
    """Down (rank×in) and up (out×rank), by module name, in text encoders without `text_model`."""

    @property
    def rank(self) -> int:
        """The largest rank of its modules; 0 when there are none."""
        return max((int(down.shape[0]) for down, _ in self.pairs.values()), default=0)


class LoraSlot:
    """The LoRA slot of one network; its adapter is added at the first load."""

    def __init__(self, network: Any, rank: int, targets: Sequence[str]) -> None:
        self._network, self._targets = network, list(targets)
        self._layers: dict[str, Pair] = {}
        self.rank = rank
        """The largest rank that fits; it grows when a LoRA needs more."""

    def load(self, factors: LoraFactors, strength: float = 1.0) -> None:
        """Copy a LoRA in, scaled by `strength`; raises `UserError` (`wrong_base`) when it is of another network."""
        if self.must_grow(factors):
            self._build(max(self.rank, factors.rank))
        sizes = {name: _size(pair) for name, pair in self._layers.items()}
        if any(sizes.get(name) != _size(pair) for name, pair in factors.pairs.items()):
            raise _wrong_base()
        with torch.no_grad():
            for name, (down, up) in self._layers.items():
                if name not in factors.pairs:
                    up.zero_()
                    continue
                new_down, new_up = factors.pairs[name]
                rank = new_down.shape[0]
                down[:rank].copy_(new_down)
                up[:, :rank].copy_(new_up)
                if strength != 1.0:
                    up[:, :rank].mul_(strength)
                if rank < self.rank:
                    down[rank:].zero_()
                    up[:, rank:].zero_()

    def must_grow(self, factors: LoraFactors) -> bool:
        """Whether loading these adds layers to the network, which must have its weights then."""
        return not self._layers or factors.rank > self.rank

    def clear(self) -> None:
        """Set all factors to zero."""
        with torch.no_grad():
            for down, up in self._layers.values():
                down.zero_()
                up.zero_()

    def _build(self, rank: int) -> None:
        """Add the adapter to the network, in the network's dtype."""
        if self._layers:
            # diffusers and transformers name that method differently.
            (getattr(self._network, "delete_adapters", None) or self._network.delete_adapter)(ADAPTER)
        config = LoraConfig(r=rank, lora_alpha=rank, target_modules=self._targets, init_lora_weights=False)
        with torch.random.fork_rng(devices=[]):
            self._network.add_adapter(config, ADAPTER)
        dtype = next(self._network.parameters()).dtype
        self._layers, self.rank = {}, rank
        for name, module in self._network.named_modules():
            if ADAPTER in getattr(module, "lora_A", {}):
                factors = (module.lora_A[ADAPTER].to(dtype).weight, module.lora_B[ADAPTER].to(dtype).weight)
                self._layers[_plain(name)] = (factors[0].requires_grad_(False), factors[1].requires_grad_(False))
        self.clear()


class AdapterCache:
    """The most recently used LoRAs, in memory, on the device and in the dtype of the base."""

    def __init__(self, dtype: torch.dtype, device: torch.device, size: int = CACHE_SIZE) -> None:
        self._dtype, self._device, self._size = dtype, device, size
        self._cache: OrderedDict[tuple[Path, int, int], dict[str, LoraFactors]] = OrderedDict()

    def get(self, file: Path) -> dict[str, LoraFactors]:
        """Factors by component name (`unet`, `text_encoder` …); raises `UserError` (`broken_identity`)."""
        try:
            state = file.stat()
        except OSError as error:
            raise UserError("broken_identity", f"{file.name} is gone. Learn the person again.") from error
        key = (file, state.st_mtime_ns, state.st_size)
        if key not in self._cache:
            self._cache[key] = self._read(file)
        self._cache.move_to_end(key)
        while len(self._cache) > self._size:
            self._cache.popitem(last=False)
        return self._cache[key]

    def clear(self) -> None:
        """Drop every LoRA."""
        self._cache.clear()

    def _read(self, file: Path) -> dict[str, LoraFactors]:
        return {
            component: LoraFactors({name: self._place(pair) for name, pair in factors.pairs.items()})
            for component, factors in _components(lora.load_weights(file)).items()
        }

    def _place(self, pair: Pair) -> Pair:
        down, up = pair
        return down.to(self._device, self._dtype), up.to(self._device, self._dtype)


def check_lora_file(file: Path, base: BaseSource) -> None:
    """Check that a person's LoRA fits a base before that is loaded; raises `UserError` (`broken_identity`, `wrong_base`)."""
    encoders = {encoder for _, encoder in base.family.text_encoders}
    for component, factors in _components(lora.load_weights(file)).items():
        if component != "unet" and component not in encoders:
            raise _wrong_base()
        network = empty_unet(base) if component == "unet" else empty_text_encoder(base, component)
        layers = _linear_shapes(network)
        targets = tuple(f".{each}" for each in _targets(component))
        if any(layers.get(name) != _size(pair) for name, pair in factors.pairs.items()):
            raise _wrong_base()
        other = next((name for name in factors.pairs if not name.endswith(targets)), None)
        if other is not None:
            raise lora.broken_lora(file, f"it changes {component}.{other}, and only attention is read")


def _linear_shapes(network: Any) -> dict[str, tuple[int, int]]:
    """Rows and columns of every linear layer, by name; the network may be without weights."""
    return {
        _plain(name): (module.out_features, module.in_features)
        for name, module in network.named_modules()
        if isinstance(module, torch.nn.Linear)
    }


def _components(weights: lora.Weights) -> dict[str, LoraFactors]:
    """Factors by component name (`unet`, `text_encoder` …), modules named as slots name them."""
    components: dict[str, dict[str, Pair]] = {}
    for name, down in weights.items():
        if name.endswith(DOWN):
            component, _, path = name.removesuffix(DOWN).partition(".")
            components.setdefault(component, {})[_plain(path)] = (down, weights[name.removesuffix(DOWN) + UP])
    return {component: LoraFactors(pairs) for component, pairs in components.items()}


def _plain(module: str) -> str:
    """A module's name without what stands before a text encoder's in files, and in some networks."""
    return module.removeprefix(lora.TEXT_MODEL)


def _targets(component: str) -> Sequence[str]:
    return LORA_TARGETS if component == "unet" else TEXT_LORA_TARGETS


def _size(pair: Pair) -> tuple[int, int]:
    """Rows and columns of the layer that a pair of factors belongs to."""
    down, up = pair
    return int(up.shape[0]), int(down.shape[1])


def _wrong_base() -> UserError:
    return UserError("wrong_base", "The identity was learned on another base. Choose that base, or learn it anew.")
