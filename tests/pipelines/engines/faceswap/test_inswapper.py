"""inswapper on random networks of the published shape, alone, in templates, and as a refiner."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from insightface.utils.face_align import norm_crop2
from onnx import numpy_helper

from pipelines.engines import Engines
from pipelines.engines.faceswap.inswapper import SIDE, SPACE
from pipelines.engines.painters.fusion import Fusion
from pipelines.engines.runtimes.initializers import last_initializer
from pipelines.model_store.store import ModelStore
from pipelines.render import Render
from pipelines.settings import EngineNames, ModelStoreSettings, Settings
from portrait.arrays import Image
from portrait.errors import EngineError, OperatorError, UserError
from portrait.faces.geometry import invert, transform_points
from portrait.fusion.warp import region_mask
from portrait.ports import FaceFinder
from portrait.types import Candidate, Face, Identity, PortraitRequest, Refinement
from tests import selfies
from tests.fakes import RecordingProgress
from tests.insight_tiny import write_pack, write_swapper
from tests.pipelines.engines.painters.test_fusion import hull, paint, person, reference, request, silent
from tests.seams import VISIBLE, seam

Installed = Callable[..., Engines]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Engines with a face swapper of some seed."""

    @cache
    def open_with(seed: int | None, name: str = "inswapper", **models: Any) -> Engines:
        folder = tmp_path_factory.mktemp("models")
        write_swapper(folder / "inswapper", seed)
        write_pack(folder / SPACE, "det_10g.onnx", "w600k_r50.onnx")
        settings = Settings(engines=EngineNames(faceswap=name), models=ModelStoreSettings(folder=folder, **models))
        return Engines(settings, ModelStore(settings.models))

    return open_with


def embedded(face: Face, seed: int) -> Face:
    """The face with an embedding in the swapper's space."""
    vector = np.random.default_rng(seed).normal(size=512).astype(np.float32) * 20
    return replace(face, embeddings={**face.embeddings, SPACE: vector})


@pytest.fixture(scope="module")
def anna(group_faces: list[Face]) -> Identity:
    face = group_faces[2]
    return replace(person(reference(selfies.group(), embedded(face, 1))), mean_embeddings=face.embeddings)


@pytest.fixture(scope="module")
def bert(group_faces: list[Face]) -> Identity:
    return person(reference(selfies.group(), embedded(group_faces[0], 2)))


def draw(engines: Engines, image: Image, faces: list[Face], people: dict[int, Identity], **more: Any) -> Candidate:
    return engines.painter("fusion").paint(request(image, faces, people, **more), silent)[0]


def test_the_square_is_the_one_that_insightface_aligns(
    installed: Installed, astronaut: Image, astronaut_face: Face, anna: Identity
) -> None:
    swapped = installed(None).faceswapper_named().swap(astronaut, astronaut_face, anna.references)
    published, matrix = norm_crop2(astronaut, astronaut_face.landmarks.astype(np.float64), SIDE)
    assert swapped.matrix == pytest.approx(matrix, abs=1e-3)
    assert (
        np.abs(swapped.image.astype(int) - published)[8:-8, 8:-8].mean() < 2.5
    )  # theirs does not average where it shrinks


def test_there_and_back_a_point_stays_within_half_a_pixel(
    installed: Installed, astronaut: Image, astronaut_face: Face, anna: Identity
) -> None:
    swapper = installed(None).faceswapper_named()
    swapped = swapper.swap(astronaut, astronaut_face, anna.references)
    for x, y in astronaut_face.landmarks[:, :2]:
        spot = np.zeros_like(astronaut)
        cv2.circle(spot, (round(float(x)), round(float(y))), 6, (255, 255, 255), -1)
        swapped = swapper.swap(spot, astronaut_face, anna.references)
        back = cv2.warpAffine(swapped.image, invert(swapped.matrix), spot.shape[1::-1], flags=cv2.INTER_CUBIC)
        middles = [
            np.array(np.average(np.indices(each.shape[:2]), axis=(1, 2), weights=each[..., 0])) for each in (spot, back)
        ]
        assert np.abs(middles[0] - middles[1]).max() < 0.5
    inverse = invert(swapped.matrix)
    there = transform_points(transform_points(astronaut_face.landmarks, swapped.matrix), inverse)
    assert there == pytest.approx(astronaut_face.landmarks, abs=1e-3)


def test_the_embedding_goes_through_the_files_own_matrix(installed: Installed, anna: Identity, bert: Identity) -> None:
    swapper: Any = installed(3).faceswapper_named()
    path = swapper.network._path
    matrix = numpy_helper.to_array(onnx.load(str(path)).graph.initializer[-1])
    assert (last_initializer(path, "inswapper") == matrix).all()
    vector = anna.references[0].face.embeddings[SPACE]
    published = (vector / np.linalg.norm(vector))[None] @ matrix
    latent = swapper._latent(anna.references)
    assert latent == pytest.approx(published / np.linalg.norm(published), abs=1e-5)
    both = swapper._latent([*anna.references, *bert.references])
    assert np.linalg.norm(both) == pytest.approx(1, abs=1e-5)
    assert np.abs(both - latent).max() > 0.01


@pytest.mark.parametrize("skin", ["template", "person"])
def test_a_network_that_gives_back_its_target_leaves_the_template(
    skin: str, installed: Installed, astronaut: Image, astronaut_face: Face, anna: Identity
) -> None:
    painter = installed(None).painter("fusion")
    assert isinstance(painter, Fusion)
    wanted = request(astronaut, [astronaut_face], {1: anna}, skin=skin)
    under = painter.lead_over(wanted)[0].style.picture
    assert under is not None
    drawn = painter.paint(wanted, silent)[0].image
    assert (drawn == under.image)[hull(astronaut, astronaut_face) == 0].all()
    assert astronaut_face.mesh is not None
    inside = region_mask(astronaut_face.mesh, "oval", (512, 512), -8.0) > 0.99
    smooth = [cv2.GaussianBlur(each, (0, 0), 4).astype(int) for each in (drawn, under.image)]
    assert np.abs(smooth[0] - smooth[1])[inside].mean() < (2 if skin == "template" else 6)


def test_a_swapped_face_shows_no_seam_and_is_another_than_the_warped_one(
    installed: Installed, astronaut: Image, astronaut_face: Face, anna: Identity, bert: Identity
) -> None:
    engines = installed(1)
    drawn = draw(engines, astronaut, [astronaut_face], {1: anna}).image
    around = hull(astronaut, astronaut_face)
    assert seam(drawn, around) / seam(astronaut, around) <= VISIBLE
    assert (drawn == astronaut)[around == 0].all()
    for other in (
        draw(engines, astronaut, [astronaut_face], {1: bert}).image,
        draw(installed(2), astronaut, [astronaut_face], {1: anna}).image,
        draw(installed(1, name=""), astronaut, [astronaut_face], {1: anna}).image,
    ):
        assert np.abs(drawn.astype(int) - other)[around > 0.5].mean() > 0.5


def test_without_a_name_in_the_settings_all_is_as_it_was(
    installed: Installed, astronaut: Image, astronaut_face: Face, anna: Identity
) -> None:
    (plain, *_) = paint(astronaut, [astronaut_face], {1: anna})
    drawn = draw(installed(1, name=""), astronaut, [astronaut_face], {1: anna})
    assert (drawn.image == plain.image).all()
    assert drawn.facts == plain.facts == {}


def test_two_of_six_are_swapped_and_four_left_alone(
    installed: Installed, group_faces: list[Face], anna: Identity, bert: Identity
) -> None:
    photo = selfies.group()
    drawn = draw(installed(1), photo, group_faces, {6: anna, 1: bert}).image
    changed = [hull(photo, group_faces[number - 1]) for number in (1, 6)]
    assert (drawn == photo)[np.maximum(*changed) == 0].all()
    assert all((drawn != photo)[each > 0.5].mean() > 0.5 for each in changed)


def test_a_recipe_has_the_hashes_and_draws_the_portrait_again(
    installed: Installed, finder: FaceFinder, astronaut: Image, astronaut_face: Face, anna: Identity
) -> None:
    engines = installed(1)
    flow = Render({"template": engines.painter("fusion")}, finder)
    wanted = request(astronaut, [astronaut_face], {1: anna}, skin="person")
    (portrait,) = flow(wanted, RecordingProgress())
    facts: Any = portrait.recipe["drawn"]
    assert sorted(facts["faceswap"]["models"]) == [
        "buffalo_l/det_10g.onnx", "buffalo_l/w600k_r50.onnx", "inswapper/inswapper_128.onnx"
    ]  # fmt: skip

    def again(engines: Engines, facts: Any) -> Image:
        flow = Render({"template": engines.painter("fusion")}, finder)
        number = int(str(portrait.recipe["candidate"]))
        return flow.reproduce(wanted, number, RecordingProgress(), facts).image

    assert (again(engines, facts) == portrait.image).all()
    assert (again(engines, {}) != portrait.image).any(), "a recipe without a swapper is drawn without one"
    with pytest.raises(OperatorError, match="put those back") as caught:
        again(installed(2), facts)
    assert caught.value.code == "model_differs"


def test_likeness_is_measured_as_ever_and_decides_what_the_refiner_keeps(
    installed: Installed, finder: FaceFinder, astronaut: Image, astronaut_face: Face, anna: Identity
) -> None:
    class Paints:
        def paint(self, request: PortraitRequest, progress: object) -> list[Candidate]:
            return [Candidate(astronaut, {}, {})]

    refiners = {name: installed(1).refiner(name) for name in ("swap", "fuse")}
    flow = Render({"studio": Paints()}, finder, refiners)
    wanted = replace(request(astronaut, [astronaut_face], {1: anna}), refiners=())
    wanted = replace(wanted, style=replace(wanted.style, kind="studio", picture=None), skin=None)
    (plain,) = flow(wanted, RecordingProgress())
    fused = replace(wanted, refiners=(Refinement("fuse"),))
    (portrait,) = flow(fused, RecordingProgress())
    measured: Any = portrait.recipe["drawn"]
    told = measured["refined"]["fuse"]["people"]["1"]
    assert told["kept"]
    assert told["after"] < told["before"] - 0.1
    assert told["before"] == pytest.approx(plain.likeness[1].distance, abs=0.02)
    assert told["after"] == pytest.approx(portrait.likeness[1].distance, abs=0.02)
    assert portrait.scores["fuse_after"] == told["after"]
    assert (flow.reproduce(fused, 0, RecordingProgress(), measured).image == portrait.image).all()
    # The random network makes nobody more alike: it is told and left out, or remade as it was kept.
    swapping = replace(wanted, refiners=(Refinement("swap"),))
    (swapped,) = flow(swapping, RecordingProgress())
    measured: Any = swapped.recipe["drawn"]
    told = measured["refined"]["swap"]["people"]["1"]
    assert told["kept"] == (told["after"] < told["before"])
    assert told["kept"] == bool((swapped.image != astronaut).any())
    measured["refined"]["swap"]["people"]["1"]["kept"] = True
    assert (flow.reproduce(swapping, 0, RecordingProgress(), measured).image != astronaut).any()
    measured["refined"]["swap"]["models"] = {}
    with pytest.raises(OperatorError, match="model") as caught:
        flow.reproduce(swapping, 0, RecordingProgress(), measured)
    assert caught.value.code == "model_differs"


def test_what_is_missing_refused_or_broken_is_said(
    installed: Installed, tmp_path: Path, astronaut: Image, astronaut_face: Face, anna: Identity
) -> None:
    bare = Settings(engines=EngineNames(faceswap="inswapper"), models=ModelStoreSettings(folder=tmp_path))
    with pytest.raises(OperatorError, match="models pull inswapper") as caught:
        draw(Engines(bare, ModelStore(bare.models)), astronaut, [astronaut_face], {1: anna})
    assert caught.value.code == "missing_model"
    with pytest.raises(OperatorError) as caught:
        draw(installed(1, use="commercial"), astronaut, [astronaut_face], {1: anna})
    assert caught.value.code == "licence_refused"
    with pytest.raises(OperatorError, match="inswapper") as caught:
        installed(1, name="nobody").faceswapper()
    assert caught.value.code == "unknown_engine"
    nobody = person(reference(np.zeros((300, 300, 3), np.uint8), astronaut_face))
    with pytest.raises(UserError) as refused:
        draw(installed(1), astronaut, [astronaut_face], {1: nobody})
    assert refused.value.code == "no_reference"


@pytest.mark.parametrize("fault", ["cut", "html", "no_matrix", "one_input", "empty"])
def test_a_file_that_is_no_inswapper_is_a_broken_model(fault: str, tmp_path: Path) -> None:
    path = write_swapper(tmp_path / "inswapper", 1)
    write_pack(tmp_path / SPACE, "det_10g.onnx", "w600k_r50.onnx")
    model = onnx.load(str(path))
    if fault == "no_matrix":
        model.graph.initializer.pop()
    if fault == "one_input":
        model.graph.input.pop()
        model.graph.initializer.insert(0, numpy_helper.from_array(np.zeros((1, 512), np.float32), "source"))
    whole = model.SerializeToString()
    content = {"cut": whole[:-900], "html": b"<!doctype html><html>no</html>", "empty": b""}
    path.write_bytes(content.get(fault, whole))
    settings = Settings(models=ModelStoreSettings(folder=tmp_path))
    with pytest.raises(EngineError, match="models pull inswapper") as caught:
        Engines(settings, ModelStore(settings.models)).faceswapper_named("inswapper")
    assert caught.value.code == "broken_model"
