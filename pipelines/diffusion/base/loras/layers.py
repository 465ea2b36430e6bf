"""The layers of a base that LoRAs change, found by the names of every program; a LoRA fitted to them."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import torch

from pipelines.diffusion.base.family import Family
from pipelines.diffusion.base.loading import empty_denoiser, empty_text_encoder
from pipelines.diffusion.base.loras.key_names import module_key
from pipelines.diffusion.base.loras.reader import Lora, LoraError, LoraModule
from pipelines.diffusion.base.source import BaseSource

Pair: TypeAlias = tuple[torch.Tensor, torch.Tensor]
TEXT_MODEL = "text_model."
"""What published files have before the modules of a text encoder; transformers no longer wraps all of them in it."""
CLIP_ALIASES = {"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out": "out_proj"}
"""Earlier diffusers' names of CLIP's attention layers, by which its attention processors were called."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A linear layer or convolution of a network."""

    name: str
    """Its module's name, in text encoders without `text_model`."""
    shape: tuple[int, ...]
    """Of its weight: out×in, or out×in×height×width."""


@dataclass(frozen=True, slots=True, eq=False)
class LoraFactors:
    """The LoRA factors of one network, ready to be copied; not padded."""

    pairs: Mapping[str, Pair]
    """Down (rank×in) and up (out×rank), of convolutions with their kernel, by module name as in `Layer`."""

    @property
    def rank(self) -> int:
        """The largest rank of its modules; 0 when there are none."""
        return max((int(down.shape[0]) for down, _ in self.pairs.values()), default=0)


class BaseLayers:
    """The layers of a base's denoiser and text encoders, by component and `key_names.module_key`.

    Several under one key are those whose results are stacked in files, in their order.
    """

    def __init__(self, name: str, family: Family, networks: Mapping[str, Any], config: Mapping[str, Any]) -> None:
        """Read them off networks by component, which may be without weights; `config` is the denoiser's."""
        self._name, self._denoiser = name, family.denoiser
        self._parts = {
            part: _denoiser_layers(network, family, config) if part == family.denoiser else _encoder_layers(network)
            for part, network in networks.items()
        }

    def fit(self, lora: Lora) -> dict[str, LoraFactors]:
        """The factors of a LoRA by component, alpha multiplied into the second, as stored else; raises `LoraError`."""
        factors: dict[str, dict[str, Pair]] = {}
        for layers, part, module in self._match(lora):
            factors.setdefault(part, {}).update(_fold(layers, module))
        return {part: LoraFactors(pairs) for part, pairs in factors.items()}

    def check(self, lora: Lora) -> None:
        """Raise `LoraError` for a LoRA that does not fit."""
        for _ in self._match(lora):
            pass

    def _match(self, lora: Lora) -> Iterator[tuple[Sequence[Layer], str, LoraModule]]:
        """Each module of a LoRA with its layers, in most cases one, and component."""
        if lora.architecture and self._denoiser == "unet":
            raise LoraError("wrong_base", f"it was made for {lora.architecture}")
        matched: list[tuple[Sequence[Layer], str, LoraModule]] = []
        for (named, key), module in lora.modules.items():
            part = self._denoiser if named == "unet" else named
            layers = self._parts.get(part, {}).get(key)
            if layers is None:
                raise self._other_base(lora, f"it changes {module.key!r}, which {self._name} does not have")
            matched.append((layers, part, module))
        wrong = [each for each in matched if not _fits(_stacked_shape(each[0]), each[2])]
        counts, misfits = Counter(part for _, part, _ in matched), Counter(part for _, part, _ in wrong)
        for layers, part, module in wrong:
            text_width = (
                layers[0].name.endswith(("attn2.to_k", "attn2.to_v")) and module.down.shape[1] != layers[0].shape[1]
            )
            if text_width or 1 < counts[part] == misfits[part]:
                raise self._other_base(lora, f"the factors of {module.key!r} are {_sizes(layers, module)}")
        for layers, _, module in wrong:
            told = f"the factors of {module.key!r} have other shapes than that base: {_sizes(layers, module)}"
            raise LoraError("bad_lora", told)
        yield from matched

    def _other_base(self, lora: Lora, why: str) -> LoraError:
        """The fault of a LoRA of another base, with what the file itself says of it."""
        named = lora.metadata.get("ss_base_model_version") or lora.metadata.get("modelspec.architecture")
        layers = f" (its layers are those of {lora.architecture})" if lora.architecture else ""
        said = f" (its file says {named})" if named else layers
        return LoraError("wrong_base", f"it was made for another base{said} than {self._name}: {why}")


def layers_of(base: BaseSource) -> BaseLayers:
    """The layers of a base, whose networks are built without weights for it, once: that takes a second for SDXL."""
    return _build_layers(base, (base.config_folder / base.family.denoiser / "config.json").stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _build_layers(base: BaseSource, changed: int) -> BaseLayers:
    """The layers of a base whose configuration was changed then."""
    taught = base.family.text_encoders if base.family.abilities.text_encoders else ()
    encoders = {name: empty_text_encoder(base, name) for _, name in taught}
    networks = {base.family.denoiser: empty_denoiser(base), **encoders}
    return BaseLayers(base.name, base.family, networks, base.denoiser_config)


def _denoiser_layers(network: Any, family: Family, config: Mapping[str, Any]) -> dict[str, tuple[Layer, ...]]:
    """Layers of a denoiser by their names in diffusers, and by those that its family has in other programs' files."""
    found: dict[str, dict[int, Layer]] = {}
    for layer in _layers_of(network):
        found[module_key(layer.name)] = {0: layer}
        for other in family.lora_names(layer.name, config):
            found.setdefault(module_key(other.name), {})[other.place] = layer
    return {key: tuple(layers[place] for place in sorted(layers)) for key, layers in found.items()}


def _encoder_layers(encoder: Any) -> dict[str, tuple[Layer, ...]]:
    """Layers of a text encoder, by their names in transformers and those of earlier attention processors."""
    layers: dict[str, tuple[Layer, ...]] = {module_key(layer.name): (layer,) for layer in _layers_of(encoder)}
    for alias, name in CLIP_ALIASES.items():
        ours = [key for key in layers if key.endswith(f"_self_attn_{name}")]
        layers |= {key.removesuffix(name) + alias: layers[key] for key in ours}
    return layers


def _layers_of(network: Any) -> Iterator[Layer]:
    """Every linear layer and convolution; the network may be without weights."""
    for name, module in network.named_modules():
        if isinstance(module, torch.nn.Linear | torch.nn.Conv2d):
            yield Layer(plain_name(name), tuple(module.weight.shape))


def plain_name(module: str) -> str:
    """A module's name without what stands before a text encoder's in files, and in some networks."""
    return module.removeprefix(TEXT_MODEL)


def _stacked_shape(layers: Sequence[Layer]) -> tuple[int, ...]:
    """The shape of the weight of layers whose results are stacked."""
    return (sum(layer.shape[0] for layer in layers), *layers[0].shape[1:])


def _fits(shape: tuple[int, ...], module: LoraModule) -> bool:
    """Whether factors have the shapes of a weight; a 1×1 kernel may be written or not."""
    kernel = shape[2:] or (1, 1)
    down = tuple(module.down.shape[1:]) if module.down.ndim == 4 else (int(module.down.shape[1]), 1, 1)
    return int(module.up.shape[0]) == shape[0] and down == (shape[1], *kernel)


def _fold(layers: Sequence[Layer], module: LoraModule) -> dict[str, Pair]:
    """The factors by layer in the form that its adapter has, with alpha multiplied into the second in float32.

    Stacked layers have the first factor in common, and each its rows of the second.
    """
    shape = _stacked_shape(layers)
    kernel = shape[2:]
    ones = (1,) * len(kernel)
    down = module.down.reshape(module.rank, shape[1], *kernel)
    up = module.up.reshape(shape[0], module.rank, *ones)
    scaled = up if module.scale == 1.0 else up.float() * module.scale
    rows = scaled.split([layer.shape[0] for layer in layers])
    return {layer.name: (down, part) for layer, part in zip(layers, rows, strict=True)}


def _sizes(layers: Sequence[Layer], module: LoraModule) -> str:
    """The shapes of factors and of the layer that they were made for."""
    shapes = (module.down.shape, module.up.shape, _stacked_shape(layers))
    down, up, own = ("×".join(map(str, shape)) for shape in shapes)
    return f"{down} and {up}, for a layer of {own}"
