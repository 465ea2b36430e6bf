"""AuraFace with a random network in its published shape, on faces that the default finder finds."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from pipelines.engines import Engines
from pipelines.engines.faces import auraface
from pipelines.engines.runtimes.arcface import align_for_arcface
from pipelines.model_store.store import ModelStore
from pipelines.settings import EngineNames, Settings
from portrait.arrays import Image
from portrait.errors import EngineError, OperatorError
from portrait.faces.likeness import distance
from portrait.ports import FaceFinder, HeadDetector
from portrait.types import Face
from tests import selfies
from tests.insight_tiny import tiny_arcface

NEEDED = ("blazeface", "facemesh", "iris", "dlib")


@pytest.fixture(scope="module")
def installed(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A store with the embedded finder and a tiny recognizer, in an installation for commercial use."""
    folder = tmp_path_factory.mktemp("store")
    for name in NEEDED:
        (folder / name).symlink_to(settings.models.folder / name)
    (folder / "auraface").mkdir()
    onnx.save(tiny_arcface(), str(folder / "auraface" / "glintr100.onnx"))
    names = EngineNames(faces="auraface")
    return replace(settings, profile="commercial", engines=names, models=replace(settings.models, folder=folder))


@pytest.fixture(scope="module")
def aura(installed: Settings, finder: FaceFinder) -> Iterator[FaceFinder]:
    with Engines(installed, ModelStore(installed.models)) as engines:
        yield engines.finder()


def test_it_finds_what_the_default_finder_finds_and_embeds_by_itself(
    aura: FaceFinder, installed: Settings, astronaut: Image, astronaut_face: Face
) -> None:
    [face] = aura.faces(astronaut)
    assert isinstance(aura, HeadDetector)
    assert aura.detect_heads(astronaut)[0].width > 50
    np.testing.assert_array_equal(face.landmarks, astronaut_face.landmarks)
    assert face.mesh is not None
    assert list(face.embeddings) == [aura.space] == ["auraface"]
    chip = align_for_arcface(astronaut, face.landmarks)
    assert chip is not None
    network = onnxruntime.InferenceSession(ModelStore(installed.models).file("auraface", "glintr100.onnx"))
    blob = ((chip.astype(np.float32) - 127.5) / 127.5).transpose(2, 0, 1)[None]
    expected = np.asarray(network.run(None, {network.get_inputs()[0].name: blob})[0])[0]
    np.testing.assert_allclose(face.embeddings["auraface"], expected, atol=1e-4)


def test_only_the_requested_number_is_embedded_and_a_space_of_its_own_is_compared_by_angle(aura: FaceFinder) -> None:
    faces = aura.faces(selfies.group(), embedded=2)
    assert [bool(face.embeddings) for face in faces] == [True, True, False, False, False, False]
    one, other = (face.embeddings["auraface"] for face in faces[:2])
    assert distance("auraface", one, 3 * one) == pytest.approx(0, abs=1e-6)
    assert 0 < distance("auraface", one, other) < 2
    assert 0 < aura.same_person < 1


def test_landmarks_in_one_point_give_no_embedding(aura: FaceFinder, astronaut: Image, astronaut_face: Face) -> None:
    flat = replace(astronaut_face, embeddings={}, landmarks=np.full((5, 2), 50, np.float32))
    assert aura.embed(astronaut, flat).embeddings == {}


def test_what_is_missing_or_broken_is_named(installed: Settings, tmp_path: Path) -> None:
    bare = replace(installed, models=replace(installed.models, folder=tmp_path))
    models = ModelStore(bare.models)
    lines = auraface.status(bare, models)
    assert [line.split("`")[1] for line in lines[:5]] == [
        f"portrait models pull {name}" for name in ("auraface", *NEEDED)
    ]
    with pytest.raises(OperatorError, match="portrait models pull auraface"):
        auraface.make(bare, models, Engines(bare, models))
    shutil.copytree(installed.models.folder, tmp_path, dirs_exist_ok=True, symlinks=True)
    (tmp_path / "auraface" / "glintr100.onnx").write_bytes(b"\xff" * 400)
    with pytest.raises(EngineError, match="portrait models pull auraface") as broken:
        auraface.make(bare, models, Engines(bare, models))
    assert broken.value.code == "broken_model"
