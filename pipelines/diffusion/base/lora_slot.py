"""LoraSlot: one adapter in a shared network, into which a person's LoRA is copied in place; nothing is ever fused.

Fusing and unfusing leaves 1.1e-3 of drift in bfloat16 after a single turn; unloading and loading takes a second on SDXL. A copy
takes hundredths of one and leaves the base as it was, bit for bit. diffusers' `enable_lora_hotswap` does the same for U-Nets
alone and asks for the largest rank beforehand; this slot serves the text encoders too, and grows when a LoRA needs it.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from safetensors import SafetensorError, safe_open

from pipelines.diffusion.base import lora
from pipelines.diffusion.base.lora import DOWN, UP
from portrait.errors import UserError

ADAPTER = "slot0"
"""The adapter's name. PEFT warns of names that are part of a module's name; this one is not."""
ALPHA = ".alpha"
CACHE_SIZE = 32
"""LoRAs held in memory; one of SDXL takes 46 MB at rank 16 in half precision."""

Pair = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class LoraFactors:
    """The LoRA factors of one network, ready to be copied: alpha is multiplied into the second factor; not padded."""

    pairs: Mapping[str, Pair]
    """Down (rank×in) and up (out×rank), by module name."""

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
        if not self._layers or factors.rank > self.rank:
            self._build(max(self.rank, factors.rank))
        sizes = {name: (up.shape[0], down.shape[1]) for name, (down, up) in self._layers.items()}
        if any(sizes.get(name) != (up.shape[0], down.shape[1]) for name, (down, up) in factors.pairs.items()):
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
                self._layers[name] = (factors[0].requires_grad_(False), factors[1].requires_grad_(False))
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
        weights = lora.load_weights(file)
        _require_lora(file.name, list(weights))
        components: dict[str, dict[str, Pair]] = {}
        for module in _module_names(weights):
            down, up = weights[module + DOWN], weights[module + UP]
            alpha = weights.get(module + ALPHA)
            scale = 1.0 if alpha is None else float(alpha) / down.shape[0]
            component, _, path = module.partition(".")
            pair = (down.to(self._device, self._dtype), (up * scale).to(self._device, self._dtype))
            components.setdefault(component, {})[path] = pair
        return {component: LoraFactors(pairs) for component, pairs in components.items()}


def check_lora_file(file: Path, unet: Mapping[str, tuple[int, int]]) -> None:
    """Check a file by its header alone; raises `UserError` (`broken_identity`, `wrong_base`).

    `unet` has the shapes of the base's linear layers, see `linear_shapes`.
    """
    try:
        with safe_open(file, framework="pt") as opened:
            sizes = {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118 -- not a mapping
    except (OSError, SafetensorError) as error:
        raise UserError("broken_identity", f"{file.name} cannot be read as a LoRA. Learn the person again.") from error
    _require_lora(file.name, list(sizes))
    layers = {
        module.removeprefix("unet."): (sizes[module + UP][0], sizes[module + DOWN][1])
        for module in _module_names(sizes)
        if module.startswith("unet.")
    }
    if any(unet.get(name) != size for name, size in layers.items()):
        raise _wrong_base()


def linear_shapes(network: Any) -> dict[str, tuple[int, int]]:
    """Rows and columns of every linear layer, by name; the network may be without weights."""
    return {
        name: (module.out_features, module.in_features)
        for name, module in network.named_modules()
        if isinstance(module, torch.nn.Linear)
    }


def _wrong_base() -> UserError:
    return UserError("wrong_base", "The identity was learned on another base. Choose that base, or learn it anew.")


def _module_names(names: Mapping[str, object]) -> Iterator[str]:
    return (name.removesuffix(DOWN) for name in names if name.endswith(DOWN))


def _require_lora(file: str, names: Sequence[str]) -> None:
    """Raise `UserError` (`broken_identity`) for keys that are not a LoRA's, or a factor without the other."""
    modules = {name.removesuffix(end) for name in names for end in (DOWN, UP) if name.endswith(end)}
    expected = {module + end for module in modules for end in (DOWN, UP)}
    unexpected = sorted(name for name in names if name not in expected and name.removesuffix(ALPHA) not in modules)
    if unexpected or not modules or not expected <= set(names):
        reason = f"it holds {unexpected[0]!r}" if unexpected else "factors are missing"
        raise UserError(
            "broken_identity", f"{file} is no LoRA as this program writes it: {reason}. Learn the person again."
        )
