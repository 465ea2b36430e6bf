from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from pipelines.engines import Engines
from pipelines.engines.attributes.dlib import YEARS, DlibAttributes
from pipelines.engines.runtimes.onnx import Floats, OnnxNetwork
from pipelines.model_store.store import ModelStore
from pipelines.settings import EngineNames, ModelStoreSettings, Settings
from portrait.arrays import Image, Points
from portrait.errors import EngineError, broken_model
from portrait.faces.mesh import EYE_LEFT, EYE_LEFT_INNER, EYE_RIGHT, EYE_RIGHT_INNER, NOSE_BASE
from portrait.types import Face
from tests import fakes, selfies


@dataclass
class Network:
    """Gives fixed probabilities, and remembers what it was given."""

    output: Floats
    given: Floats | None = None

    def __call__(self, pixels: Floats) -> Floats:
        self.given = pixels
        return self.output[None]

    def broken_model(self, reason: str) -> EngineError:
        return broken_model(Path("net.onnx"), reason)


def estimator(years: Network, sexes: Network) -> DlibAttributes:
    return DlibAttributes(cast(OnnxNetwork, years), cast(OnnxNetwork, sexes))


def meshed(image: Image) -> Face:
    """A face with the five mesh points that are read."""
    face = fakes.face(image)
    mesh: Points = np.zeros((478, 3), np.float32)
    eye, other = face.landmarks[:2]
    out = np.array([0.08 * face.box.width, 0], np.float32)
    mesh[[EYE_LEFT, EYE_LEFT_INNER], :2] = eye - out, eye + out
    mesh[[EYE_RIGHT, EYE_RIGHT_INNER], :2] = other + out, other - out
    mesh[NOSE_BASE, :2] = face.landmarks[2]
    return replace(face, mesh=mesh)


def test_years_and_probabilities_are_read_as_published() -> None:
    image = np.full((200, 200, 3), (200, 100, 50), np.uint8)
    years, sexes = Network(np.zeros(81, np.float32)), Network(np.array([0.3, 0.7], np.float32))
    years.output[[0, 10, 40]] = 0.2, 0.3, 0.5
    found = estimator(years, sexes).estimate(image, meshed(image))
    assert found.age == pytest.approx(0.2 * 0.25 + 0.3 * 10 + 0.5 * 40)
    assert found.minor == pytest.approx(0.5)
    assert found.female == pytest.approx(0.3)
    assert years.given is not None
    assert sexes.given is not None
    assert (years.given.shape, sexes.given.shape) == ((1, 3, 64, 64), (1, 3, 32, 32))
    assert years.given[0, :, 32, 32] == pytest.approx((np.array([200, 100, 50]) - [122.782, 117.001, 104.298]) / 256)


def test_a_network_of_another_shape_is_a_broken_model() -> None:
    image = np.zeros((200, 200, 3), np.uint8)
    three = Network(np.ones(3, np.float32))
    with pytest.raises(EngineError, match=r"it gives \(1, 3\)"):
        estimator(Network(np.ones(len(YEARS), np.float32)), three).estimate(image, meshed(image))


def test_a_face_without_a_mesh_is_the_engines_error() -> None:
    image = np.zeros((200, 200, 3), np.uint8)
    with pytest.raises(EngineError) as failed:
        estimator(Network(np.ones(81, np.float32)), Network(np.ones(2, np.float32))).estimate(image, fakes.face(image))
    assert failed.value.code == "no_mesh"


def test_without_its_models_or_with_none_chosen_there_is_no_estimator(tmp_path: Path, settings: Settings) -> None:
    bare = Settings(models=ModelStoreSettings(folder=tmp_path))
    assert Engines(bare, ModelStore(bare.models)).attributes() is None
    assert Engines(bare, ModelStore(bare.models)).detailer() is None
    chosen = replace(settings, engines=replace(EngineNames(), attributes=""))
    assert Engines(chosen, ModelStore(chosen.models)).attributes() is None


def test_adults_are_told_by_sex_and_are_no_minors(
    engines: Engines, astronaut_face: Face, group_faces: list[Face]
) -> None:
    estimate = engines.attributes()
    assert estimate is not None
    woman, man = (
        estimate.estimate(selfies.astronaut(), astronaut_face),
        estimate.estimate(selfies.group(), group_faces[2]),
    )
    assert woman.female > 0.9
    assert man.female < 0.1
    for each in (woman, man):
        assert each.minor < 0.1
        assert 20 < each.age < 50
