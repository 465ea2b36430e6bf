import resource
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipelines.engines.runtimes.onnx import OnnxNetwork, to_nchw
from pipelines.engines.upscalers.lanczos import Lanczos
from pipelines.engines.upscalers.realesrgan import FILES, RealESRGAN
from portrait.arrays import Image
from portrait.errors import EngineError, OperatorError
from portrait.images.tiling import Tiling
from tests import onnx_tiny
from tests.model_folder import store

TILING = Tiling(64, 6, 8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for factor, (model, file) in FILES.items():
        onnx_tiny.upscaler(folder / model / file, factor)
    return folder


def noise(height: int, width: int) -> Image:
    return np.random.default_rng(height * width).integers(40, 215, (height, width, 3), dtype=np.uint8)


def untiled(folder: Path, image: Image, factor: int) -> np.ndarray:
    """The network's output for the full picture."""
    model, file = FILES[factor]
    found = OnnxNetwork(folder / model / file, model)(to_nchw(image))[0].transpose(1, 2, 0) * 255
    return np.clip(found, 0, 255)


@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize("shape", [(64, 64), (128, 200), (68, 64), (300, 84)])
def test_tiled_equals_untiled(folder: Path, factor: int, shape: tuple[int, int]) -> None:
    image = noise(*shape)
    made = RealESRGAN(store(folder), TILING).upscale(image, factor)
    assert made.shape == (shape[0] * factor, shape[1] * factor, 3)
    assert np.abs(made - untiled(folder, image, factor)).max() <= 1


@pytest.mark.parametrize("shape", [(65, 67), (1, 1), (2, 301), (131, 64)])
def test_sizes_that_the_network_does_not_take_are_padded(folder: Path, shape: tuple[int, int]) -> None:
    image = noise(*shape)
    made = RealESRGAN(store(folder), TILING).upscale(image, 2)
    inside = slice(0, max(1, 2 * shape[0] - 12)), slice(0, max(1, 2 * shape[1] - 12))
    assert made.shape == (shape[0] * 2, shape[1] * 2, 3)
    if min(shape) > 12:
        assert np.abs(made - untiled(folder, image, 2))[inside].max() <= 1


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Networks in the published layout: the one for ×2 folds 2×2 pixels into one."""
    folder = tmp_path_factory.mktemp("published")
    for factor, (model, file) in FILES.items():
        onnx_tiny.esrgan(folder / model / file, factor, blocks=1, width=4)
    return folder


@pytest.mark.parametrize(
    ("factor", "shape"),
    [(2, (64, 64)), (2, (65, 64)), (2, (301, 513)), (2, (6000, 65)), (4, (65, 64)), (4, (281, 333)), (4, (64, 2000))],
)
def test_networks_of_the_published_layout_give_tiled_what_they_give_untiled(
    published: Path, factor: int, shape: tuple[int, int]
) -> None:
    image = noise(*shape)
    more = [-side % (4 // factor) for side in shape]
    full = np.asarray(cv2.copyMakeBorder(image, 0, more[0], 0, more[1], cv2.BORDER_REFLECT_101), np.uint8)
    expected = untiled(published, full, factor)[: shape[0] * factor, : shape[1] * factor]
    assert expected.std() > 20
    made = RealESRGAN(store(published)).upscale(image, factor)
    assert np.abs(made - expected).max() <= 1


def test_a_picture_of_6000_pixels_takes_no_more_memory_than_a_row_of_tiles(folder: Path) -> None:
    engine = RealESRGAN(store(folder))
    engine.upscale(noise(64, 64), 2)
    image = noise(6000, 256)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    made = engine.upscale(image, 2)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert made.shape == (12000, 512, 3)
    # Untiled, the network's eight channels alone would take 49 MB and its output, in floats, 74 MB more.
    assert grown < made.nbytes + 40e6


def test_a_network_of_one_size_is_given_that_size(tmp_path: Path) -> None:
    onnx_tiny.upscaler(tmp_path / FILES[4][0] / FILES[4][1], 4, side=64)
    onnx_tiny.upscaler(tmp_path / "any" / "any.onnx", 4)
    image = noise(90, 70)
    made = RealESRGAN(store(tmp_path)).upscale(image, 4)
    full = OnnxNetwork(tmp_path / "any" / "any.onnx", "any")(to_nchw(image))[0].transpose(1, 2, 0) * 255
    assert np.abs(made - np.clip(full, 0, 255)).max() <= 1


def test_one_of_two_networks_serves_its_factor_and_the_error_names_the_other(tmp_path: Path) -> None:
    onnx_tiny.upscaler(tmp_path / FILES[2][0] / FILES[2][1], 2)
    engine = RealESRGAN(store(tmp_path))
    assert engine.upscale(noise(64, 64), 2).shape == (128, 128, 3)
    with pytest.raises(OperatorError, match="pull realesrgan_x4") as caught:
        engine.upscale(noise(64, 64), 4)
    assert caught.value.code == "missing_model"


def test_another_network_under_that_name_is_refused(tmp_path: Path) -> None:
    onnx_tiny.upscaler(tmp_path / FILES[4][0] / FILES[4][1], 2)
    (tmp_path / FILES[2][0]).mkdir()
    (tmp_path / FILES[2][0] / FILES[2][1]).write_bytes(b"no network")
    for factor in (2, 4):
        with pytest.raises(EngineError, match="models pull realesrgan") as caught:
            RealESRGAN(store(tmp_path)).upscale(noise(64, 64), factor)
        assert caught.value.code == "broken_model"


@pytest.mark.parametrize("factor", [2, 4])
def test_lanczos_is_undone_by_reducing(factor: int) -> None:
    image = np.asarray(cv2.GaussianBlur(noise(64, 80), (0, 0), 3), np.uint8)
    made = Lanczos().upscale(image, factor)
    assert made.shape == (64 * factor, 80 * factor, 3)
    back = cv2.resize(made, (80, 64), interpolation=cv2.INTER_AREA)
    assert np.abs(np.asarray(back, int) - image).mean() < 1
