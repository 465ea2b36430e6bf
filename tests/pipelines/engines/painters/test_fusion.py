import statistics
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipelines.engines import Engines
from pipelines.engines.painters import fusion
from pipelines.engines.painters.fusion import Fusion
from pipelines.model_store.store import ModelStore
from pipelines.settings import EngineNames, ModelStoreSettings, Settings
from portrait.arrays import Image, Mask, Size
from portrait.errors import Cancelled, OperatorError, UserError
from portrait.faces.geometry import scaling_matrix, transform_face
from portrait.fusion.references import measure_expression, rank_references
from portrait.fusion.warp import region_mask
from portrait.images.color import to_lab
from portrait.ports import FaceFinder
from portrait.types import (
    Box,
    Candidate,
    Face,
    Identity,
    PortraitRequest,
    Pose,
    Quality,
    Reference,
    Style,
    StylePicture,
)
from tests import selfies

FRONT = (1, 3, 4, 6)
"""Faces of the group photo that are not in profile, from left to right."""


def reference(image: Image, face: Face, name: str = "selfie.jpg") -> Reference:
    return Reference(name, image, face, Quality(1, 1, 1, 1, 1, 1, 1))


def person(*references: Reference) -> Identity:
    return Identity("someone", references, {})


def request(image: Image, faces: list[Face], people: Mapping[int, Identity], **more: Any) -> PortraitRequest:
    style = Style("made", 1, "template", "Made", picture=StylePicture(image, tuple(faces)))
    given: dict[str, Any] = {"seed": 0, "count": 1, "skin": "template"} | more
    return PortraitRequest(people, style, **given)


def silent(done: int, total: int, doing: str, preview: Image | None = None) -> None:
    pass


def resize(image: Image, width: int, height: int) -> Image:
    interpolation = cv2.INTER_AREA if width < image.shape[1] else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, (width, height), interpolation=interpolation), np.uint8)


def paint(image: Image, faces: list[Face], people: Mapping[int, Identity], **more: object) -> list[Candidate]:
    return Fusion().paint(request(image, faces, people, **more), silent)


def hull(image: Image, face: Face) -> Mask:
    assert face.mesh is not None
    return region_mask(face.mesh, "oval", (image.shape[0], image.shape[1]), 2.0)


def near(finder: FaceFinder, image: Image, face: Face) -> np.ndarray:
    """The embedding of the face that a finder sees where `face` was."""
    found = min(
        finder.faces(image, embedded=8), key=lambda each: np.hypot(*np.subtract(each.box.centre, face.box.centre))
    )
    return found.embeddings["dlib"]


def fault(finder: FaceFinder, drawn: Image, template: tuple[Image, Face], wanted: Face) -> str:
    """What is wrong with a drawing: it must look more like the person than like the template, and change nothing else."""
    image, face = template
    if drawn.shape != image.shape or (drawn != image)[hull(image, face) == 0].any():
        return "outside"
    vector = near(finder, drawn, face)
    own, other = (np.linalg.norm(vector - each.embeddings["dlib"]) for each in (wanted, face))
    return "" if own < other else "likeness"


@pytest.fixture(scope="session")
def portraits(astronaut: Image, astronaut_face: Face, group_faces: list[Face]) -> list[Image]:
    """Each of the six of the group photo as the astronaut, the first candidate."""
    photo = selfies.group()
    people = [person(reference(photo, face)) for face in group_faces]
    return [paint(astronaut, [astronaut_face], {1: one})[0].image for one in people]


def test_six_people_become_the_astronaut(
    portraits: list[Image], finder: FaceFinder, astronaut: Image, astronaut_face: Face, group_faces: list[Face]
) -> None:
    for drawn, face in zip(portraits, group_faces, strict=True):
        assert fault(finder, drawn, (astronaut, astronaut_face), face) == ""
    distances = [
        float(np.linalg.norm(near(finder, drawn, astronaut_face) - face.embeddings["dlib"]))
        for drawn, face in zip(portraits, group_faces, strict=True)
    ]
    assert statistics.median(distances) <= 0.52
    assert max(distances) <= 0.57


def test_neither_the_template_nor_the_selfie_would_pass(
    finder: FaceFinder, astronaut: Image, astronaut_face: Face, group_faces: list[Face]
) -> None:
    face = group_faces[2]
    template = (astronaut, astronaut_face)
    assert fault(finder, astronaut.copy(), template, face) == "likeness"
    assert fault(finder, resize(selfies.group(), 512, 512), template, face) == "outside"
    assert fault(finder, selfies.group(), template, face) == "outside"


@pytest.mark.parametrize("number", FRONT)
def test_the_astronaut_joins_the_group(
    number: int, finder: FaceFinder, astronaut: Image, astronaut_face: Face, group_faces: list[Face]
) -> None:
    photo = selfies.group()
    (drawn, *_) = paint(photo, group_faces, {number: person(reference(astronaut, astronaut_face))})
    assert fault(finder, drawn.image, (photo, group_faces[number - 1]), astronaut_face) == ""


def test_two_of_six_are_drawn_and_four_left_alone(
    finder: FaceFinder, astronaut: Image, astronaut_face: Face, group_faces: list[Face]
) -> None:
    photo = selfies.group()
    first, second = (
        person(reference(astronaut, astronaut_face, "a.jpg")),
        person(reference(photo, group_faces[2], "r.jpg")),
    )
    (drawn, *_) = paint(photo, group_faces, {6: second, 1: first})
    assert drawn.reference_names == {1: "a.jpg", 6: "r.jpg"}
    changed = np.maximum(hull(photo, group_faces[0]), hull(photo, group_faces[5]))
    assert (drawn.image == photo)[changed == 0].all()
    for number, wanted in ((1, astronaut_face), (6, group_faces[2])):
        vector = near(finder, drawn.image, group_faces[number - 1])
        own, other = (np.linalg.norm(vector - each.embeddings["dlib"]) for each in (wanted, group_faces[number - 1]))
        assert own < other


def test_the_templates_eyes_brows_and_teeth_do_not_shine_through(
    astronaut: Image, astronaut_face: Face, group_faces: list[Face]
) -> None:
    # The template smiles with its teeth, the selfie's mouth is shut. Whatever is still green was not covered.
    assert astronaut_face.mesh is not None
    marked = astronaut.copy()
    inside = (
        np.maximum.reduce([region_mask(astronaut_face.mesh, name, (512, 512)) for name in ("eyes", "brows", "lips")])
        > 0.5
    )
    marked[inside] = (0, 255, 0)
    (drawn, *_) = paint(marked, [astronaut_face], {1: person(reference(selfies.group(), group_faces[0]))})
    pixels = drawn.image[inside].astype(int)
    green = pixels[:, 1] - np.maximum(pixels[:, 0], pixels[:, 2])
    assert (green > 30).mean() < 0.01


def test_hair_and_glasses_of_the_template_stay_in_front(
    astronaut: Image, astronaut_face: Face, group_faces: list[Face]
) -> None:
    mesh = astronaut_face.mesh
    assert mesh is not None
    dressed, things = astronaut.copy(), np.zeros((512, 512), np.uint8)
    for eye in (slice(468, 473), slice(473, 478)):
        x, y = mesh[eye, :2].mean(axis=0)
        cv2.ellipse(things, (round(float(x)), round(float(y)) + 2), (15, 12), 4, 0, 360, 255, 2)
    ends = [mesh[point, :2] + (side * 4, -12) for point, side in ((234, -1), (454, 1))]
    cv2.line(things, _at(ends[0]), _at(mesh[33, :2] - (4, 0)), 255, 3)
    cv2.line(things, _at(ends[1]), _at(mesh[263, :2] + (4, 0)), 255, 3)
    cv2.line(things, _at(mesh[133, :2]), _at(mesh[362, :2]), 255, 3)
    cv2.line(things, _at(mesh[10, :2]), _at(mesh[9, :2]), 255, 4)  # a lock of hair
    dressed[things > 0] = (25, 20, 30)
    (drawn, *_) = paint(dressed, [astronaut_face], {1: person(reference(selfies.group(), group_faces[2]))})
    bare = 1 - np.maximum.reduce([region_mask(mesh, name, (512, 512), 4.0) for name in ("eyes", "brows")])
    visible = cv2.erode(things, np.ones((2, 2), np.uint8)) * bare * region_mask(mesh, "oval", (512, 512)) > 128
    left = drawn.image[visible].mean(axis=1)
    assert visible.sum() > 100
    assert (left < 80).mean() > 0.9


def test_the_persons_own_glasses_are_drawn(astronaut: Image, astronaut_face: Face) -> None:
    dressed, frames = selfies.glasses(astronaut, astronaut_face)
    assert astronaut_face.mesh is not None
    (drawn, *_) = paint(astronaut, [astronaut_face], {1: person(reference(dressed, astronaut_face))})
    visible = (frames * region_mask(astronaut_face.mesh, "oval", (512, 512), -4.0)) > 0.9
    dark = to_lab(drawn.image)[visible][:, 0] < to_lab(astronaut)[visible][:, 0] - 20
    assert visible.sum() > 100
    assert dark.mean() > 0.75


def _at(point: np.ndarray) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))


def test_light_from_the_side_falls_on_the_new_face_too(
    astronaut: Image, astronaut_face: Face, group_faces: list[Face]
) -> None:
    shade = np.interp(np.arange(512), (190, 255), (0.45, 1.0))[None, :, None]
    assert astronaut_face.mesh is not None
    lit = (astronaut * shade).astype(np.uint8)
    someone = person(reference(selfies.group(), group_faces[2]))
    (drawn, *_) = paint(lit, [astronaut_face], {1: someone})
    light = [to_lab(drawn.image)[_patch(astronaut_face, point)][..., 0].mean() for point in (50, 280)]
    before = [to_lab(lit)[_patch(astronaut_face, point)][..., 0].mean() for point in (50, 280)]
    assert before[0] < before[1] - 15
    assert light == pytest.approx(before, abs=7)


def _patch(face: Face, point: int) -> tuple[slice, slice]:
    assert face.mesh is not None
    x, y = (int(value) for value in face.mesh[point, :2])
    return slice(y - 5, y + 6), slice(x - 5, x + 6)


def test_the_skin_takes_the_tone_of_the_template(
    portraits: list[Image], astronaut: Image, astronaut_face: Face
) -> None:
    there = to_lab(astronaut)
    for drawn in portraits:
        for cheek in (50, 280):
            here = to_lab(drawn)[_patch(astronaut_face, cheek)].mean(axis=(0, 1))
            gap = here - there[_patch(astronaut_face, cheek)].mean(axis=(0, 1))
            assert np.abs(gap[0]) < 10
            assert np.hypot(*gap[1:]) < 8


def test_a_black_and_white_picture_stays_one(astronaut: Image, astronaut_face: Face, group_faces: list[Face]) -> None:
    grey = np.repeat(astronaut.mean(axis=2).astype(np.uint8)[..., None], 3, axis=2)
    (drawn, *_) = paint(grey, [astronaut_face], {1: person(reference(selfies.group(), group_faces[2]))})
    assert np.ptp(drawn.image.astype(int), axis=2).max() <= 12
    assert np.ptp(drawn.image.astype(int), axis=2).mean() < 0.3


def test_a_large_template_is_drawn_in_its_own_pixels(
    finder: FaceFinder, astronaut: Image, astronaut_face: Face, group_faces: list[Face]
) -> None:
    large = resize(astronaut, 3072, 3072)
    face = transform_face(astronaut_face, scaling_matrix(6))
    sharp = resize(selfies.group(), 7680, 5316)
    someone = person(reference(sharp, transform_face(group_faces[2], scaling_matrix(6))))
    (drawn,) = paint(large, [face], {1: someone})
    assert drawn.image.shape == (3072, 3072, 3)
    assert (drawn.image == large)[hull(large, face) == 0].all()
    small = resize(drawn.image, 512, 512)
    vector = near(finder, small, astronaut_face)
    own, other = (np.linalg.norm(vector - each.embeddings["dlib"]) for each in (group_faces[2], astronaut_face))
    assert own < other - 0.1


# --- Candidates ------------------------------------------------------------------------------------------------------


def test_the_same_request_gives_the_same_pixels(
    astronaut: Image, astronaut_face: Face, group_faces: list[Face]
) -> None:
    someone = person(reference(selfies.group(), group_faces[2]))
    first, again = (paint(astronaut, [astronaut_face], {1: someone}, count=3, seed=7) for _ in range(2))
    other = paint(astronaut, [astronaut_face], {1: someone}, count=3, seed=8)
    assert len(first) == 3
    assert [each.variation for each in first] == [each.variation for each in again]
    assert all((one.image == two.image).all() for one, two in zip(first, again, strict=True))
    assert (first[1].image != other[1].image).any()
    assert (first[0].image != first[1].image).mean() < 0.1  # a variation is not another picture
    assert (first[0].image != first[1].image).any()
    (last,) = paint(astronaut, [astronaut_face], {1: someone}, count=3, seed=7, only=2)
    assert (last.image == first[2].image).all()
    assert paint(astronaut, [astronaut_face], {1: someone}, count=3, seed=7, only=99) == []


def test_selfies_are_used_in_turn_the_nearest_first(
    astronaut: Image, astronaut_face: Face, group_faces: list[Face]
) -> None:
    photo = selfies.group()
    turned, front = reference(photo, group_faces[4], "turned.jpg"), reference(photo, group_faces[2], "front.jpg")
    drawn = paint(astronaut, [astronaut_face], {1: person(turned, front)}, count=2)
    assert [each.reference_names[1] for each in drawn] == ["front.jpg", "turned.jpg"]


def made(yaw: float, pitch: float = 0.0, mouth: float = 0.0, width: float = 200.0) -> Face:
    """A face that is only a pose, a mouth and a box."""
    mesh = np.zeros((478, 3), np.float32)
    mesh[33], mesh[263] = (0, 0, 0), (100, 0, 0)
    mesh[61], mesh[291] = (25, 100, 0), (75 + 20 * mouth, 100, 0)
    mesh[13], mesh[14] = (50, 98, 0), (50, 98 + 40 * mouth, 0)
    return Face(Box(0, 0, width, width), np.zeros((5, 2), np.float32), mesh, {}, Pose(yaw, pitch, 0), 1.0)


def test_the_selfie_nearest_in_pose_then_in_expression_is_chosen() -> None:
    blank = np.zeros((300, 300, 3), np.uint8)
    faces = {"left": made(-25), "up": made(0, -20), "laughs": made(0, 0, 1.0), "calm": made(0)}
    someone = person(*(reference(blank, face, name) for name, face in faces.items()))
    assert rank_references(someone, made(-20), 1)[0].name == "left"
    assert rank_references(someone, made(0), 1)[0].name == "calm"
    assert rank_references(someone, made(0, 0, 0.9), 1)[0].name == "laughs"
    assert measure_expression(made(0, 0, 1.0)) == pytest.approx((0.4, 0.7))


def test_a_good_selfie_is_preferred_to_a_poor_one() -> None:
    blank = np.zeros((300, 300, 3), np.uint8)
    poor = Reference("poor", blank, made(0), Quality(0.1, 1, 1, 1, 1, 1, 0.2))
    assert rank_references(person(poor, reference(blank, made(5), "good")), made(0), 1)[0].name == "good"
    shut = Reference("shut", blank, made(0), Quality(1, 1, 1, 1, 0.1, 1, 0.7))
    assert rank_references(person(shut, reference(blank, made(15), "open")), made(0), 1)[0].name == "open"


@pytest.mark.parametrize("size", [(64, 64), (300, 500), (1100, 700)])
def test_any_size_can_be_requested(
    size: tuple[int, int], astronaut: Image, astronaut_face: Face, group_faces: list[Face]
) -> None:
    someone = person(reference(selfies.group(), group_faces[2]))
    (drawn, *_) = paint(astronaut, [astronaut_face], {1: someone}, size=Size(*size))
    assert drawn.image.shape == (size[1], size[0], 3)
    assert np.ptp(drawn.image) > 100


# --- What cannot be drawn --------------------------------------------------------------------------------------------


def refusal(image: Image, faces: list[Face], people: Mapping[int, Identity]) -> UserError:
    with pytest.raises(UserError) as caught:
        paint(image, faces, people)
    return caught.value


@pytest.mark.parametrize("number", [2, 5])
def test_profiles_are_refused_by_number(
    number: int, astronaut: Image, astronaut_face: Face, group_faces: list[Face]
) -> None:
    someone = person(reference(astronaut, astronaut_face))
    error = refusal(selfies.group(), group_faces, {number: someone})
    assert error.code == "template_profile"
    assert f"Face {number} " in error.message


def test_a_template_face_of_a_few_pixels_is_refused(astronaut: Image, astronaut_face: Face) -> None:
    small = resize(astronaut, 64, 64)
    face = transform_face(astronaut_face, scaling_matrix(1 / 8))
    assert refusal(small, [face], {1: person(reference(astronaut, astronaut_face))}).code == "template_face_small"


def test_a_template_face_cut_by_the_border_is_refused(astronaut: Image, astronaut_face: Face) -> None:
    shifted = transform_face(astronaut_face, np.array([[1, 0, -200], [0, 1, 0]], np.float64))
    someone = person(reference(astronaut, astronaut_face))
    assert refusal(np.ascontiguousarray(astronaut[:, 200:]), [shifted], {1: someone}).code == "template_face_cut"


def test_a_face_that_is_not_there_is_refused(astronaut: Image, astronaut_face: Face) -> None:
    someone = person(reference(astronaut, astronaut_face))
    assert refusal(astronaut, [astronaut_face], {2: someone}).code == "template_face_missing"
    assert refusal(astronaut, [], {1: someone}).code == "template_face_missing"
    assert refusal(astronaut, [astronaut_face], {}).code == "nobody"


@pytest.mark.parametrize("face", [made(60), made(0, width=30.0), None])
def test_a_person_whose_face_no_selfie_shows_is_refused(
    face: Face | None, astronaut: Image, astronaut_face: Face
) -> None:
    references = () if face is None else (reference(astronaut, face),)
    error = refusal(astronaut, [astronaut_face], {1: person(*references)})
    assert error.code == "no_reference"
    assert "face 1" in error.message


def test_a_finder_without_a_mesh_is_an_operator_error(astronaut: Image, astronaut_face: Face) -> None:
    bare = Face(astronaut_face.box, astronaut_face.landmarks, None, {}, astronaut_face.pose, 1.0)
    with pytest.raises(OperatorError, match="blazeface"):
        paint(astronaut, [bare], {1: person(reference(astronaut, astronaut_face))})


def test_a_style_without_a_picture_is_an_operator_error(astronaut: Image, astronaut_face: Face) -> None:
    without_picture = PortraitRequest(
        {1: person(reference(astronaut, astronaut_face))}, Style("x", 1, "studio", "X"), 0, 1
    )
    with pytest.raises(OperatorError, match="no picture"):
        Fusion().paint(without_picture, silent)


def test_it_reports_progress_and_can_be_cancelled(
    astronaut: Image, astronaut_face: Face, group_faces: list[Face]
) -> None:
    reports: list[tuple[int, int]] = []

    def until(done: int, total: int, doing: str, preview: Image | None = None) -> None:
        reports.append((done, total))
        if done == 2:
            raise Cancelled

    someone = person(reference(selfies.group(), group_faces[2]))
    with pytest.raises(Cancelled):
        Fusion().paint(request(astronaut, [astronaut_face], {1: someone}, count=5), until)
    assert reports == [(0, 5), (0, 5), (1, 5), (2, 5)]


def test_it_needs_no_model(tmp_path: Path) -> None:
    settings = Settings(models=ModelStoreSettings(folder=tmp_path))
    models = ModelStore(settings.models)
    assert isinstance(fusion.make(settings, models, Engines(settings, models)), Fusion)
    assert fusion.status(settings, models) == []
    swapping = replace(settings, engines=EngineNames(faceswap="inswapper"))
    assert any("models pull inswapper" in each for each in fusion.status(swapping, models))
