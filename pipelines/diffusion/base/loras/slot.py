"""LoraSlot: one adapter in a shared network, into which a LoRA is copied in place; nothing is ever fused.

Fusing and unfusing leaves 1.1e-3 of drift in bfloat16 after a single turn; unloading and loading takes a second on SDXL. A copy
takes hundredths of one and leaves the base as it was, bit for bit. diffusers' `enable_lora_hotswap` does the same for U-Nets
alone and asks for the largest rank beforehand; this slot serves the text encoders too, and grows when a LoRA needs a larger
rank or changes further layers: feed-forward, convolutions.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from peft import LoraConfig

from pipelines.diffusion.base.loras.layers import BaseLayers, LoraFactors, Pair, plain_name
from pipelines.diffusion.base.loras.reader import LoraError, read_lora
from portrait.errors import UserError

_log = logging.getLogger("portrait.models")
PERSON_SLOT = "slot0"
"""The adapter's name in which people's LoRAs lie. PEFT warns of names that are part of a module's name; this one is not."""
CACHE_SIZE = 32
"""LoRAs held in memory; one of SDXL takes 46 MB at rank 16 in half precision."""
CACHE_BYTES = 2_000_000_000
"""Bytes of LoRAs held in memory, but for the newest: those of styles may take a gigabyte each."""
WHOLE: Mapping[str, float] = MappingProxyType({})
"""Block weights that leave every module at the LoRA's strength."""


class LoraSlot:
    """The LoRA slot of one network; its adapter is added at the first load."""

    def __init__(self, network: Any, rank: int, targets: Sequence[str], name: str = PERSON_SLOT) -> None:
        """A slot for LoRAs up to `rank` of the layers whose names end with `targets`, before it grows."""
        self._network, self._targets = network, tuple(targets)
        self._layers: dict[str, Pair] = {}
        self.name = name
        """Of its adapter in the network."""
        self.rank = rank
        """The largest rank that fits; it grows when a LoRA needs more."""

    def load(self, factors: LoraFactors, strength: float = 1.0, weights: Mapping[str, float] = WHOLE) -> None:
        """Copy a LoRA in, scaled by `strength` and by the weights of single modules, 1 where there are none.

        Raises `UserError` (`wrong_base`) when it is of another network.
        """
        if self.must_grow(factors):
            self._build(max(self.rank, factors.rank), factors.pairs.keys() - self._layers.keys())
        sizes = {name: _size(pair) for name, pair in self._layers.items()}
        if any(sizes.get(name) != _size(pair) for name, pair in factors.pairs.items()):
            raise wrong_base()
        with torch.no_grad():
            for name, (down, up) in self._layers.items():
                if name not in factors.pairs:
                    up.zero_()
                    continue
                new_down, new_up = factors.pairs[name]
                rank, scale = new_down.shape[0], strength * weights.get(name, 1.0)
                down[:rank].copy_(new_down)
                up[:, :rank].copy_(new_up)
                if scale != 1.0:
                    up[:, :rank].mul_(scale)
                if rank < self.rank:
                    down[rank:].zero_()
                    up[:, rank:].zero_()

    def must_grow(self, factors: LoraFactors) -> bool:
        """Whether loading these adds layers to the network, which must have its weights then."""
        return not self._layers or factors.rank > self.rank or not factors.pairs.keys() <= self._layers.keys()

    def clear(self) -> None:
        """Set all factors to zero."""
        with torch.no_grad():
            for down, up in self._layers.values():
                down.zero_()
                up.zero_()

    def _build(self, rank: int, further: set[str]) -> None:
        """Add the adapter to the network, in the network's dtype, for its layers until now and `further` ones."""
        modules = {plain_name(name.removesuffix(".base_layer")) for name, _ in self._network.named_modules()}
        if not further <= modules:
            raise wrong_base()
        named = {*self._layers, *further} if self._layers else further
        if self._layers:
            # diffusers and transformers name that method differently.
            (getattr(self._network, "delete_adapters", None) or self._network.delete_adapter)(self.name)
        targets = sorted({*self._targets, *(each for each in named if not self._is_target(each))})
        config = LoraConfig(r=rank, lora_alpha=rank, target_modules=targets, init_lora_weights=False)
        dtype = self._network.dtype  # in which it computes, which is not that of weights that rest in another
        with torch.random.fork_rng(devices=[]):
            self._network.add_adapter(config, self.name)
        self._layers, self.rank = {}, rank
        for name, module in self._network.named_modules():
            if self.name in getattr(module, "lora_A", {}):
                factors = (module.lora_A[self.name].to(dtype).weight, module.lora_B[self.name].to(dtype).weight)
                self._layers[plain_name(name)] = (factors[0].requires_grad_(False), factors[1].requires_grad_(False))
        self.clear()

    def _is_target(self, module: str) -> bool:
        return any(module == each or module.endswith(f".{each}") for each in self._targets)


class AdapterCache:
    """The most recently used LoRAs, in memory, on the device and in the dtype of the base."""

    def __init__(
        self, layers: Callable[[], BaseLayers], dtype: torch.dtype, device: torch.device, size: int = CACHE_SIZE
    ) -> None:
        """`layers` gives those of the base, which takes a second and is asked once."""
        self._find_layers = layers
        self._layers: BaseLayers | None = None
        self._dtype, self._device, self._size = dtype, device, size
        self._cache: OrderedDict[tuple[Path, int, int], dict[str, LoraFactors]] = OrderedDict()

    def get(self, file: Path) -> dict[str, LoraFactors]:
        """Factors by component name (`unet`, `text_encoder` …); raises `LoraError`."""
        try:
            state = file.stat()
        except OSError as error:
            raise LoraError("bad_lora", "it is gone") from error
        key = (file, state.st_mtime_ns, state.st_size)
        hit = key in self._cache
        if not hit:
            self._cache[key] = self._read(file)
        told = {"event": "lora", "result": "hit" if hit else "miss"}
        _log.info("a LoRA was %s", "in memory" if hit else "read", extra=told)
        self._cache.move_to_end(key)
        while len(self._cache) > 1 and (len(self._cache) > self._size or self._bytes() > CACHE_BYTES):
            self._cache.popitem(last=False)
        return self._cache[key]

    def _bytes(self) -> int:
        """Bytes of all LoRAs."""
        factors = (each for lora in self._cache.values() for each in lora.values())
        return sum(tensor.nbytes for each in factors for pair in each.pairs.values() for tensor in pair)

    def clear(self) -> None:
        """Drop every LoRA."""
        self._cache.clear()

    def _read(self, file: Path) -> dict[str, LoraFactors]:
        self._layers = self._layers or self._find_layers()
        return {
            component: LoraFactors({name: self._place(pair) for name, pair in factors.pairs.items()})
            for component, factors in self._layers.fit(read_lora(file)).items()
        }

    def _place(self, pair: Pair) -> Pair:
        down, up = pair
        return down.to(self._device, self._dtype), up.to(self._device, self._dtype)


def wrong_base() -> UserError:
    """The error of a person's LoRA that is another base's."""
    return UserError("wrong_base", "The identity was learned on another base. Choose that base, or learn it anew.")


def _size(pair: Pair) -> tuple[int, ...]:
    """Rows and columns of the layer that a pair of factors belongs to, and the kernel of a convolution."""
    down, up = pair
    return (int(up.shape[0]), *(int(side) for side in down.shape[1:]))
