"""The default mattes: before rooms with things beside the head, among other people, against the segmenter's."""

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipelines.engines import Engines, matte_engine, matte_facts, status
from pipelines.engines.mattes.birefnet import BiRefNet
from pipelines.engines.mattes.modnet import ModNet
from pipelines.engines.runtimes import pymatting_solver
from pipelines.engines.runtimes.matting import NetworkMatting
from pipelines.engines.runtimes.onnx import OnnxNetwork
from pipelines.model_store.store import ModelStore
from pipelines.settings import EngineNames, ModelStoreSettings, Settings
from portrait.arrays import Image, Mask
from portrait.errors import EngineError, OperatorError
from portrait.images.cut_out import measure_residue
from portrait.images.masks import face_size
from portrait.ports import FaceFinder, Matter
from portrait.types import Face
from tests import fakes, onnx_tiny, rooms, selfies

PLACES = (
    *(("long hair", "window"), ("player", "shelves"), ("astronaut", "letters"), ("long hair", "pictures")),
    *(("player", "people"), ("astronaut", "lamp")),
)
"""Every room that was made once, the people in turn; tests/benchmarks/test_mattes.py measures everybody in every room."""


@pytest.fixture(scope="module")
def modnet(engines: Engines) -> Matter:
    return engines.matter_named("modnet")


@pytest.fixture(scope="module")
def segmenter(engines: Engines) -> Matter:
    return engines.matter_named("selfie")


@pytest.fixture
def bare(tmp_path: Path) -> Settings:
    """Settings whose model store is empty."""
    return Settings(models=ModelStoreSettings(folder=tmp_path))


def test_rooms_do_not_stick_and_hair_stays(
    finder: FaceFinder, modnet: Matter, segmenter: Matter, record_property: Callable[[str, object], None]
) -> None:
    subjects = {name: rooms.subject(name, 1.6) for name in {name for name, _ in PLACES}}
    found = []
    for name, room in PLACES:
        photo, truth, head = rooms.photo(subjects[name], room)
        face = rooms.face_of(finder.faces(photo, 0), head)
        found.append([rooms.errors(matter.matte(photo, face), truth, face) for matter in (modnet, segmenter)])
    ours, former = np.mean(found, axis=0)
    for name, one, other in zip(("error", "traces", "missing"), ours, former, strict=True):
        record_property(name, round(float(one), 4))
        sys.stdout.write(f"{name} around the head: MODNet {one:.4f}, segmenter {other:.4f}\n")
    assert ours[0] <= 0.6 * former[0]
    assert ours[1] <= 0.6 * former[1]
    assert ours[2] <= 0.02


def test_people_in_groups_are_kept_apart_and_keep_their_hair(finder: FaceFinder, modnet: Matter) -> None:
    photo = selfies.group()
    faces = finder.faces(photo, 0)
    for face in faces[:3]:
        alpha = modnet.matte(photo, face)
        for each in faces:
            x, y = (round(value) for value in each.box.centre)
            opacity = float(alpha[y - 8 : y + 9, x - 8 : x + 9].mean())
            assert opacity > 0.98 if each is face else opacity < 0.02
    player = next(face for face in faces if abs(face.box.centre[0] - 800) < 40)
    alpha = modnet.matte(photo, player)
    for x, y in ((770, 318), (800, 300), (845, 312), (862, 345)):  # hair from one temple over the crown to the ear
        assert alpha[y - 2 : y + 3, x - 2 : x + 3].mean() > 0.9


def test_the_suit_stays_and_the_room_goes(astronaut: Image, astronaut_face: Face, modnet: Matter) -> None:
    alpha = modnet.matte(astronaut, astronaut_face)
    assert alpha.shape == astronaut.shape[:2]
    assert alpha.dtype == np.float32
    assert min(alpha[120, 225], alpha[205, 150], alpha[280, 130], alpha[300, 205]) > 0.95
    assert max(alpha[100, 60], alpha[120, 420], alpha[140, 165]) < 0.05
    assert measure_residue(astronaut, alpha, astronaut_face) < 0.05


def test_a_silhouette_is_where_the_matte_is(finder: FaceFinder, modnet: Matter) -> None:
    photo = selfies.group()
    faces = finder.faces(photo, 0)
    silhouette, alpha = (work(photo, faces[0]) for work in (modnet.silhouette, modnet.matte))
    assert silhouette.shape == alpha.shape
    both, either = (silhouette > 0.5) & (alpha > 0.5), (silhouette > 0.5) | (alpha > 0.5)
    assert both.sum() / either.sum() > 0.75
    for each in faces[1:]:
        x, y = (round(value) for value in each.box.centre)
        assert silhouette[y, x] < 0.1


def test_a_tiny_photo_is_no_error(finder: FaceFinder, modnet: Matter) -> None:
    photo = np.asarray(cv2.resize(selfies.astronaut(), (64, 64), interpolation=cv2.INTER_AREA), np.uint8)
    face = fakes.face(photo, share=0.25)
    assert modnet.matte(photo, face).shape == (64, 64)


def test_a_recipe_names_what_cut_the_person_out(engines: Engines, modnet: Matter, segmenter: Matter) -> None:
    assert engines.matter() is engines.matter({"matte": "modnet 2"}) is modnet
    assert engines.matter({}) is engines.matter({"studio": 2}) is segmenter, "what version 0.1.0 had"
    assert matte_facts(modnet) == {"matte": "modnet 2"}
    assert matte_facts(segmenter) == {}
    with pytest.raises(OperatorError, match="modnet 9") as refused:
        engines.matter({"matte": "modnet 9"})
    assert refused.value.code == "model_differs"
    with pytest.raises(OperatorError) as unknown:
        engines.matter({"matte": "something 1"})
    assert unknown.value.code == "unknown_engine"


def test_a_recipe_of_the_first_version_has_its_edges_solved_as_then(
    engines: Engines, modnet: Matter, astronaut: Image, finder: FaceFinder, monkeypatch: pytest.MonkeyPatch
) -> None:
    face = finder.faces(astronaut)[0]
    former = engines.matter({"matte": "modnet 1"})
    assert matte_facts(former) == {"matte": "modnet 1"}
    before, now = former.matte(astronaut, face), modnet.matte(astronaut, face)
    assert 0 < np.abs(before - now).max() < 0.02, "the same equations, solved in another way"
    monkeypatch.setattr(pymatting_solver, "solve_closed_form", lambda image, known, *prior: known)
    assert np.abs(engines.matter({"matte": "modnet 1"}).matte(astronaut, face) - before).max() > 0.1


def test_without_its_model_the_segmenter_stands_in_and_that_is_told(bare: Settings) -> None:
    models = ModelStore(bare.models)
    assert bare.engines.mattes == "modnet"
    assert matte_engine(bare, models) == "selfie"
    told = status("mattes", "modnet", bare, models)
    assert "portrait models pull" in told[0]
    assert "segmenter" in told[0]
    chosen = replace(bare, engines=EngineNames(mattes="birefnet"))
    assert matte_engine(chosen, models) == "birefnet", "what somebody chose is not replaced in silence"


def test_birefnet_reads_logits_of_a_square_picture(tmp_path: Path) -> None:
    image = np.full((90, 120, 3), 40, np.uint8)
    image[20:, 40:80] = (230, 60, 50)
    network = BiRefNet(OnnxNetwork(onnx_tiny.matte(tmp_path / "matte.onnx", 1024), "birefnet"))
    face = fakes.face(image, share=0.25)
    alpha = network(image, face)
    assert alpha.shape == (1024, 1024)
    assert alpha[600, 512] > 0.99
    assert alpha[100, 100] < 0.01
    matter = NetworkMatting(network, fakes.FakeMatter(), fakes.FakeFinder, "birefnet 2")
    found: Mask = matter.matte(image, face)
    assert found.shape == image.shape[:2]
    assert found[50, 60] > 0.9
    assert found[50, 10] < 0.1
    wrong = BiRefNet(OnnxNetwork(onnx_tiny.parser(tmp_path / "parser.onnx"), "birefnet"))
    with pytest.raises(EngineError) as refused:
        wrong(image, face)
    assert refused.value.code == "broken_model"
    assert face_size(face) > 8


def test_the_network_is_loaded_by_the_first_matte(astronaut: Image, astronaut_face: Face) -> None:
    opened: list[str] = []

    def open_network() -> Any:
        opened.append("modnet")
        return lambda pixels: np.zeros((1, 1, *pixels.shape[2:]), np.float32)

    network = ModNet(cache(open_network))
    assert not opened
    assert [network(astronaut, astronaut_face).max() for _ in range(2)] == [0, 0]
    assert len(opened) == 1
