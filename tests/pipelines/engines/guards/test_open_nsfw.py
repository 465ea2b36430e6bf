"""open_nsfw: the published network on decent pictures, and networks of the test's in its layout."""

import io
import math
from pathlib import Path

import numpy as np
import onnxruntime
import PIL.Image
import pytest

from pipelines.engines import Engines, status
from pipelines.engines.guards.open_nsfw import MODEL, OpenNsfw
from pipelines.engines.runtimes.onnx import Floats, LightNetwork
from pipelines.model_store.store import ModelStore
from pipelines.settings import ModelStoreSettings, Settings
from portrait.arrays import Image
from portrait.errors import EngineError
from tests import decent_pictures, fakes, guard_network, selfies


class Asked(LightNetwork):
    """Remembers what it was given."""

    def __init__(self, file: Path) -> None:
        super().__init__(file, MODEL)
        self.given: list[Floats] = []

    def __call__(self, pixels: Floats) -> Floats:
        self.given.append(pixels)
        return super().__call__(pixels)


def published(file: Path, image: Image) -> float:
    """What the package that the network comes from gives: its `preprocess` and `score`, in its own words."""
    resized = PIL.Image.fromarray(image).resize((256, 256), resample=PIL.Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    resized.save(buffer, format="JPEG")
    decoded = np.asarray(PIL.Image.open(buffer).convert("RGB"), dtype=np.float32)
    cropped = decoded[16:240, 16:240, :][:, :, ::-1] - np.array([104.0, 117.0, 123.0], np.float32)
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return float(np.asarray(session.run(None, {"input_0": np.ascontiguousarray(cropped[None])})[0])[0, 1])


def test_decent_pictures_pass(engines: Engines) -> None:
    guard = engines.guard("open_nsfw")
    assert isinstance(guard, OpenNsfw)
    found = {name: guard.probability(image) for name, image in decent_pictures.few().items()}
    assert len(found) == 20
    assert {name: round(each, 3) for name, each in found.items() if each >= guard.threshold} == {}
    assert np.median(list(found.values())) < 0.1
    assert max(found.values()) > 0.3, "it tells pictures apart"


def test_it_gives_what_its_package_gives_small_or_large(engines: Engines, settings: Settings) -> None:
    file, guard = settings.models.folder / MODEL / "open_nsfw.onnx", engines.guard("open_nsfw")
    assert isinstance(guard, OpenNsfw)
    for image in (selfies.player("player 1"), selfies.player("player 3")):
        assert guard.probability(image) == pytest.approx(published(file, image), abs=1e-4)
        large = np.kron(image, np.ones((4, 4, 1), np.uint8))
        assert guard.probability(large) == pytest.approx(published(file, large), abs=0.05)


@pytest.mark.parametrize(("threshold", "passes"), [(0.8, False), (0.95, True)])
def test_the_threshold_is_that_of_the_settings(tmp_path: Path, threshold: float, passes: bool) -> None:
    network = LightNetwork(guard_network.write(tmp_path, 0.9), MODEL)
    assert OpenNsfw(network, threshold).allows(fakes.picture(1, 1)) is passes


def test_a_picture_is_judged_once_until_it_is_forgotten(tmp_path: Path) -> None:
    network = Asked(guard_network.write(tmp_path, 0.1))
    guard, image = OpenNsfw(network, 0.8), fakes.picture(1, 1)
    assert guard.allows(image)
    assert guard.allows(image.copy())
    assert len(network.given) == 1
    assert guard.allows(fakes.picture(2, 1))
    assert len(network.given) == 2
    guard.forget()
    assert guard.allows(image)
    assert len(network.given) == 3


def test_what_would_be_kept_back_is_looked_at_mirrored_too(tmp_path: Path) -> None:
    network = Asked(guard_network.write(tmp_path, 0.9))
    image = np.zeros((300, 200, 3), np.uint8)
    image[:, :100, 0] = 255
    assert OpenNsfw(network, 0.8).probability(image) == pytest.approx(0.9)
    first, second = network.given
    assert first.shape == (1, 224, 224, 3)
    assert first[0, 100, 10] == pytest.approx((0 - 104, 0 - 117, 255 - 123), abs=4), "blue, green, red"
    assert np.abs(first[:, :, ::-1] - second).mean() < 3

    class Sided(OpenNsfw):
        def _ask(self, reduced: PIL.Image.Image) -> float:
            return 0.9 if np.asarray(reduced)[128, 20, 0] > 128 else 0.5

    assert Sided(network, 0.8).probability(image) == pytest.approx(0.7)
    assert Sided(network, 0.8).allows(image)
    assert not Sided(network, 0.65).allows(image)


@pytest.mark.parametrize("probability", [math.nan, math.inf])
def test_no_number_is_a_fault_and_no_verdict(tmp_path: Path, probability: float) -> None:
    guard = OpenNsfw(LightNetwork(guard_network.write(tmp_path, probability), MODEL), 0.8)
    with pytest.raises(EngineError, match="it gives") as caught:
        guard.allows(fakes.picture(1, 1))
    assert caught.value.code == "broken_model"


def test_a_file_that_is_no_such_network_is_told(tmp_path: Path) -> None:
    file = guard_network.write(tmp_path, 0.1)
    file.write_bytes(b"no network")
    with pytest.raises(EngineError, match="portrait models pull open_nsfw"):
        LightNetwork(file, MODEL)


def test_its_status_names_the_command_that_brings_it(tmp_path: Path) -> None:
    settings = Settings(models=ModelStoreSettings(tmp_path / "models"))
    assert "portrait models pull open_nsfw" in status("guards", "open_nsfw", settings, ModelStore(settings.models))[0]
    guard_network.write(tmp_path, 0.1)
    assert status("guards", "open_nsfw", settings, ModelStore(settings.models)) == []
