from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from pipelines.engines.upscalers.esrgan import Esrgan, read_network
from portrait.arrays import Image
from portrait.errors import EngineError
from portrait.images.tiling import Tiling

CPU = torch.device("cpu")
WIDE, GROW, BLOCKS = 6, 3, 2
Weights = dict[str, torch.Tensor]


def convolution(name: str, out: int, into: int) -> Weights:
    weight = torch.randn(out, into, 3, 3, generator=torch.Generator().manual_seed(len(name) * 31 + out + into)) * 0.2
    return {f"{name}.weight": weight, f"{name}.bias": torch.linspace(-0.1, 0.1, out)}


def rrdb(fold: int = 1) -> Weights:
    """An RRDBNet in the names of BasicSR, which enlarges 4 times, less what it folds."""
    weights = convolution("conv_first", WIDE, 3 * fold**2)
    for block in range(BLOCKS):
        for dense in (1, 2, 3):
            for number in range(1, 6):
                out = WIDE if number == 5 else GROW
                name = f"body.{block}.rdb{dense}.conv{number}"
                weights |= convolution(name, out, WIDE + (number - 1) * GROW)
    for name in ("conv_body", "conv_up1", "conv_up2", "conv_hr"):
        weights |= convolution(name, WIDE, WIDE)
    return weights | convolution("conv_last", 3, WIDE)


def old_names(weights: Weights) -> Weights:
    """The same network in ESRGAN's own names."""
    ends = {"conv_first": "model.0", "conv_body": f"model.1.sub.{BLOCKS}", "conv_up1": "model.3", "conv_up2": "model.6"}
    ends |= {"conv_hr": "model.8", "conv_last": "model.10"}
    renamed = {}
    for name, each in weights.items():
        module, _, ending = name.rpartition(".")
        parts = module.split(".")
        inner = f"model.1.sub.{parts[1]}.RDB{parts[2][-1]}.conv{parts[3][-1]}.0" if len(parts) == 4 else ""
        renamed[f"{inner or ends[module]}.{ending}"] = each
    return renamed


def compact(factor: int) -> Weights:
    """An SRVGGNetCompact with one inner convolution."""
    weights = convolution("body.0", WIDE, 3) | convolution("body.2", WIDE, WIDE)
    weights |= {"body.1.weight": torch.full((WIDE,), 0.1), "body.3.weight": torch.full((WIDE,), 0.3)}
    return weights | convolution("body.4", 3 * factor**2, WIDE)


def saved(folder: Path, weights: Weights) -> Path:
    save_file(weights, folder / "network.safetensors")
    return folder / "network.safetensors"


def picture(height: int = 24, width: int = 20) -> Image:
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), np.uint8)


def reference(weights: Weights, pixels: torch.Tensor) -> torch.Tensor:
    """RRDBNet's forward pass as its paper draws it, with a module for each convolution."""

    def convolve(name: str, given: torch.Tensor) -> torch.Tensor:
        weight = weights[f"{name}.weight"]
        layer = torch.nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1)
        layer.load_state_dict({"weight": weight, "bias": weights[f"{name}.bias"]})
        return layer(given)

    active = torch.nn.LeakyReLU(0.2)
    shallow = deep = convolve("conv_first", pixels)
    for block in range(BLOCKS):
        before = deep
        for dense in (1, 2, 3):
            name = f"body.{block}.rdb{dense}"
            one = active(convolve(f"{name}.conv1", deep))
            two = active(convolve(f"{name}.conv2", torch.cat((deep, one), 1)))
            three = active(convolve(f"{name}.conv3", torch.cat((deep, one, two), 1)))
            four = active(convolve(f"{name}.conv4", torch.cat((deep, one, two, three), 1)))
            deep = deep + 0.2 * convolve(f"{name}.conv5", torch.cat((deep, one, two, three, four), 1))
        deep = before + 0.2 * deep
    deep = shallow + convolve("conv_body", deep)
    for name in ("conv_up1", "conv_up2"):
        deep = active(convolve(name, torch.nn.Upsample(scale_factor=2, mode="nearest")(deep)))
    return convolve("conv_last", active(convolve("conv_hr", deep)))


@pytest.mark.parametrize("naming", [dict, old_names])
def test_the_published_layouts_draw_as_published(naming: type[Weights], tmp_path: Path) -> None:
    network = read_network(saved(tmp_path, naming(rrdb())), CPU)
    pixels = torch.rand(1, 3, 12, 9, generator=torch.Generator().manual_seed(0))
    assert network.factor == 4
    with torch.no_grad():
        assert torch.allclose(network(pixels), reference(rrdb(), pixels), atol=1e-5)


def test_a_folding_network_enlarges_twice_and_any_size_is_filled_up(tmp_path: Path) -> None:
    engine = Esrgan(saved(tmp_path, rrdb(2)), CPU)
    assert engine.network.factor == 2
    assert engine.upscale(picture(25, 21), 2).shape == (50, 42, 3)


@pytest.mark.parametrize("factor", [2, 4])
def test_a_compact_network_adds_to_the_enlarged_picture(factor: int, tmp_path: Path) -> None:
    weights = compact(factor)
    silent = weights | {"body.4.weight": weights["body.4.weight"] * 0, "body.4.bias": weights["body.4.bias"] * 0}
    plain = np.repeat(np.repeat(picture(), factor, 0), factor, 1)
    assert (Esrgan(saved(tmp_path, silent), CPU).upscale(picture(), factor) == plain).all()
    assert (Esrgan(saved(tmp_path, weights), CPU).upscale(picture(), factor) != plain).any()


def test_tiles_leave_no_seams_and_other_factors_are_reached(tmp_path: Path) -> None:
    file = saved(tmp_path, compact(4))
    whole = Esrgan(file, CPU).upscale(picture(90, 70), 4)
    tiled = Esrgan(file, CPU, Tiling(32, 6, 6, 4)).upscale(picture(90, 70), 4)
    assert np.abs(whole.astype(int) - tiled).max() <= 1
    half = Esrgan(file, CPU).upscale(picture(), 2)
    blocks = Esrgan(file, CPU).upscale(picture(), 4).reshape(48, 2, 40, 2, 3).mean((1, 3))
    assert np.abs(half - blocks).max() <= 1


def test_other_files_are_told(tmp_path: Path) -> None:
    without = rrdb()
    del without["body.1.rdb2.conv3.weight"]
    for weights in ({"some.weight": torch.zeros(2, 2)}, without):
        with pytest.raises(EngineError) as caught:
            read_network(saved(tmp_path, weights), CPU)
        assert caught.value.code == "broken_model"
    (tmp_path / "network.safetensors").write_bytes(b"<html>")
    with pytest.raises(EngineError):
        read_network(tmp_path / "network.safetensors", CPU)
    assert load_file(saved(tmp_path, rrdb()))
