"""Upscaler with an ESRGAN network of one's own (`portrait models add … --kind upscaler`), by PyTorch.

It reads what people publish: RRDBNet (ESRGAN's own key names, and those of BasicSR and Real-ESRGAN) and SRVGGNetCompact, of
any enlargement; sizes are read off the weights.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch.nn import functional

from pipelines.diffusion.base.checkpoint_files import BROKEN
from pipelines.diffusion.base.device import choose_device
from pipelines.engines import Engines
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.arrays import Image
from portrait.errors import OperatorError, broken_model
from portrait.images.tiling import Tiling, process_tiled

Weights: TypeAlias = Mapping[str, torch.Tensor]

SLOPE, SHARE = 0.2, 0.2
"""Slope of the leaky ReLU, and the share of a block that is added, of RRDBNet (Wang and others, 2018)."""
TILING = Tiling(side=256, margin=20, feather=16, step=4)
"""As `realesrgan` has it; networks fold at most 4×4 pixels into one."""
OLD_NAMES = re.compile(r"model\.1\.sub\.(\d{1,4})\.(?:RDB(\d)\.conv(\d)\.0\.)?(weight|bias)")
"""ESRGAN's own names of the body: blocks, and the convolution after them."""


@dataclass(frozen=True, slots=True)
class Network:
    """A network as its weights, in the names of BasicSR."""

    weights: Weights
    ups: tuple[str, ...] = ()
    """Convolutions after each doubling, of RRDBNet; a compact network has none."""

    @property
    def fold(self) -> int:
        """Side of the square of pixels that is folded into one at the beginning."""
        first = self.weights["conv_first.weight" if self.ups else "body.0.weight"]
        return round((int(first.shape[1]) / 3) ** 0.5)

    @property
    def last_compact(self) -> str:
        """The last convolution of a compact network."""
        return f"body.{max(int(name.split('.')[1]) for name in self.weights)}"

    @property
    def factor(self) -> int:
        """How many times it enlarges."""
        if self.ups:
            return 2 ** len(self.ups) // self.fold
        return round((int(self.weights[f"{self.last_compact}.weight"].shape[0]) / 3) ** 0.5)

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """1×3×h×w in 0..1, enlarged; h and w are multiples of `fold`."""
        return self._rrdb(pixels) if self.ups else self._compact(pixels)

    def _rrdb(self, pixels: torch.Tensor) -> torch.Tensor:
        first = self._conv("conv_first", functional.pixel_unshuffle(pixels, self.fold))
        body, block = first, 0
        while f"body.{block}.rdb1.conv1.weight" in self.weights:
            inner = body
            for dense in (1, 2, 3):
                inner = self._dense(f"body.{block}.rdb{dense}", inner)
            body, block = body + SHARE * inner, block + 1
        body = first + self._conv("conv_body", body)
        for name in self.ups:
            body = _leaky(self._conv(name, functional.interpolate(body, scale_factor=2, mode="nearest")))
        return self._conv("conv_last", _leaky(self._conv("conv_hr", body)))

    def _dense(self, name: str, pixels: torch.Tensor) -> torch.Tensor:
        seen = [pixels]
        for number in (1, 2, 3, 4):
            seen.append(_leaky(self._conv(f"{name}.conv{number}", torch.cat(seen, 1))))
        return pixels + SHARE * self._conv(f"{name}.conv5", torch.cat(seen, 1))

    def _compact(self, pixels: torch.Tensor) -> torch.Tensor:
        found = self._conv("body.0", pixels)
        for number in range(1, int(self.last_compact.split(".")[1]), 2):
            found = functional.prelu(found, self.weights[f"body.{number}.weight"])
            found = self._conv(f"body.{number + 1}", found)
        plain = functional.interpolate(pixels, scale_factor=self.factor, mode="nearest")
        return functional.pixel_shuffle(found, self.factor) + plain

    def _conv(self, name: str, pixels: torch.Tensor) -> torch.Tensor:
        return functional.conv2d(pixels, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"], padding=1)


class Esrgan:
    """Enlarges with one network; another factor than its own is reached by averaging, or by Lanczos."""

    def __init__(self, file: Path, device: torch.device, tiling: Tiling = TILING) -> None:
        """Read the weights when they are first used."""
        self._file, self._device, self._tiling = file, device, tiling

    @cached_property
    def network(self) -> Network:
        """Raises `EngineError` (`broken_model`)."""
        return read_network(self._file, self._device)

    def upscale(self, image: Image, factor: int) -> Image:
        """The picture, `factor` times as wide and high; see `portrait.ports.Upscaler`."""
        own = self.network.factor
        drawn = process_tiled(image, partial(_upscale_tile, self.network, self._device), self._tiling, own)
        if own == factor:
            return drawn
        size = (image.shape[1] * factor, image.shape[0] * factor)
        how = cv2.INTER_AREA if own > factor else cv2.INTER_LANCZOS4
        return np.asarray(cv2.resize(drawn, size, interpolation=how), np.uint8)


def read_network(file: Path, device: torch.device) -> Network:
    """The network of a file in float32; raises `EngineError` (`broken_model`) for one of another kind."""
    try:
        weights = {name: each.to(device, torch.float32) for name, each in load_file(file).items()}
        network = _with_own_names(weights)
        side = 4 * network.fold
        with torch.no_grad():
            shape = network(torch.zeros(1, 3, side, side, device=device)).shape
    except BROKEN as error:
        raise broken_model(file, f"it is no ESRGAN that is known here ({str(error).splitlines()[0][:200]})") from error
    if network.factor < 1 or shape != (1, 3, side * network.factor, side * network.factor):
        raise broken_model(file, f"of {side}×{side} pixels it makes {tuple(shape)}")
    return network


def _with_own_names(weights: Weights) -> Network:
    """Weights in the names of BasicSR; raises `ValueError`, `KeyError` where they are of no known network."""
    if "conv_first.weight" in weights:
        ups = sorted({name.split(".")[0] for name in weights if name.startswith("conv_up")})
        return Network(weights, tuple(ups))
    if "model.0.weight" in weights:
        return _from_old_names(weights)
    if {"body.0.weight", "body.2.weight"} <= set(weights):
        return Network(weights)
    raise ValueError("its tensors have other names")


def _from_old_names(weights: Weights) -> Network:
    """ESRGAN's own names: `model.0`, the blocks in `model.1.sub`, and numbered convolutions, of which the last two end it."""
    blocks = max(int(found[1]) for name in weights if (found := OLD_NAMES.fullmatch(name)))
    tail = sorted({int(name.split(".")[1]) for name in weights if re.fullmatch(r"model\.\d{1,4}\.weight", name)} - {0})
    ups = {number: f"conv_up{at}" for at, number in enumerate(tail[:-2], 1)}
    names = {f"model.{number}": name for number, name in ups.items()}
    names |= {"model.0": "conv_first", f"model.{tail[-2]}": "conv_hr", f"model.{tail[-1]}": "conv_last"}
    renamed = {}
    for name, each in weights.items():
        found = OLD_NAMES.fullmatch(name)
        if found is None:
            module, _, ending = name.rpartition(".")
            renamed[f"{names[module]}.{ending}"] = each
        elif found[2]:
            renamed[f"body.{found[1]}.rdb{found[2]}.conv{found[3]}.{found[4]}"] = each
        elif int(found[1]) == blocks:
            renamed[f"conv_body.{found[4]}"] = each
    return Network(renamed, tuple(ups.values()))


def _upscale_tile(network: Network, device: torch.device, tile: Image) -> NDArray[np.float32]:
    """One tile enlarged, 0..255; its sides are filled up to what the network folds."""
    height, width = tile.shape[:2]
    fold, factor = network.fold, network.factor
    padded = np.pad(tile, ((0, -height % fold), (0, -width % fold), (0, 0)), mode="edge")
    pixels = torch.from_numpy(padded.transpose(2, 0, 1)[None].astype(np.float32) / 255).to(device)
    with torch.no_grad():
        drawn = network(pixels)[0].permute(1, 2, 0).cpu().numpy()
    return np.asarray(drawn[: height * factor, : width * factor] * 255, np.float32)


def _leaky(pixels: torch.Tensor) -> torch.Tensor:
    return functional.leaky_relu(pixels, SLOPE)


def _chosen(settings: Settings, models: ModelStore) -> str:
    """The upscaler of one's own that the settings name, or the only one there is.

    Raises `OperatorError`: `missing_model` where there is none, else `unknown_model`.
    """
    names = [model.name for model in models.of_kind("upscaler") if model.own]
    name = settings.engines.upscaler_model or (names[0] if len(names) == 1 else "")
    if name not in names:
        if not names:
            how = "add one with `portrait models add NAME FILE --kind upscaler`"
            raise OperatorError("missing_model", f"There is no upscaler of your own on this machine: {how}.")
        known = ", ".join(names)
        raise OperatorError(
            "unknown_model", f"engines.upscaler_model names no upscaler of your own. There are {known}."
        )
    return name


def make(settings: Settings, models: ModelStore, engines: Engines) -> Esrgan:
    """The engine; the network is read when it is first used."""
    file = models.weights_file(_chosen(settings, models))
    return Esrgan(file, choose_device(settings.draw.device))


def status(settings: Settings, models: ModelStore) -> list[str]:
    """What is missing of the model that the settings name, one sentence each."""
    try:
        return models.missing(_chosen(settings, models))
    except OperatorError as error:
        return [error.message]
