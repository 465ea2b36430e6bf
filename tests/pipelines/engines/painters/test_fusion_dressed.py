"""Fusion with other skin, a fringe, sunglasses and beards on both sides."""

from typing import Any

import cv2
import numpy as np
import pytest

from pipelines.engines.painters.fusion import Fusion
from portrait.arrays import Image
from portrait.errors import UserError
from portrait.fusion.body_skin import body_skin_mask
from portrait.fusion.occluders import along_face, beard_mask, face_width, feature_mask, strand_mask
from portrait.fusion.skin_tone import measure_skin, own_tone, plan_change
from portrait.fusion.warp import region_mask
from portrait.images.color import from_linear, to_lab
from portrait.ports import FaceFinder, Matter
from portrait.types import Candidate, Face, Identity, PortraitRequest, Quality, Reference, Skin, Style, StylePicture
from tests import dressed, selfies

GOOD = Quality(1, 1, 1, 1, 1, 1, 1)


@pytest.fixture(scope="module")
def ross(group_faces: list[Face]) -> tuple[Image, Face]:
    """The third of the group photo, who faces the camera and has no beard."""
    return selfies.group(), group_faces[2]


def found(finder: FaceFinder, image: Image) -> Face:
    return finder.faces(image, embedded=0)[0]


def found_fourth(finder: FaceFinder, image: Image) -> Face:
    return finder.faces(image, embedded=0)[3]


def draw(template: tuple[Image, Face], *photos: tuple[Image, Face], skin: Skin = "person") -> Candidate:
    image, face = template
    references = tuple(Reference(f"{at}.jpg", *photo, GOOD) for at, photo in enumerate(photos))
    style = Style("made", 1, "template", "Made", picture=StylePicture(image, (face,)))
    request = PortraitRequest({1: Identity("someone", references, {})}, style, 0, 1, skin=skin)
    return Fusion().paint_first(request, silent, 1)[0]


def silent(done: int, total: int, doing: str, preview: Image | None = None) -> None:
    pass


def tone(image: Image, face: Face) -> np.ndarray:
    skin = measure_skin(image, face)
    assert skin is not None
    return to_lab(from_linear(skin[None, None]))[0, 0]


@pytest.mark.parametrize("depth", [0.8, 0.4, -0.2])
def test_a_person_keeps_their_skin_in_a_template(
    depth: float, astronaut: Image, astronaut_face: Face, ross: tuple[Image, Face]
) -> None:
    photo, face = ross
    drawn = draw((astronaut, astronaut_face), (dressed.toned(photo, face, depth), face))
    skin: Any = drawn.facts["skin"]
    facts = skin["1"]
    assert np.linalg.norm(tone(drawn.image, astronaut_face) - np.array(facts["wished"])) < 6
    assert depth < 0 or facts["body"]
    before = tone(astronaut, astronaut_face)
    if depth > 0:  # lighter skin of an overexposed photo is hardly lighter
        assert before[0] - tone(drawn.image, astronaut_face)[0] > 12


def test_light_skin_in_a_dark_template_is_led_over_too(
    astronaut: Image, astronaut_face: Face, ross: tuple[Image, Face]
) -> None:
    dark = dressed.toned(astronaut, astronaut_face, 0.8)
    drawn = draw((dark, astronaut_face), ross)
    assert tone(drawn.image, astronaut_face)[0] > tone(dark, astronaut_face)[0] + 20
    neck = slice(182, 190), slice(210, 240)
    assert to_lab(drawn.image)[neck][..., 0].mean() > to_lab(dark)[neck][..., 0].mean() + 15
    # Suit, flag and background are nobody's skin.
    assert (drawn.image[260:] == dark[260:]).all()
    assert (drawn.image[:, :120] == dark[:, :120]).all()


def test_the_templates_skin_is_kept_on_request(
    astronaut: Image, astronaut_face: Face, ross: tuple[Image, Face]
) -> None:
    photo, face = ross
    drawn = draw((astronaut, astronaut_face), (dressed.toned(photo, face, 0.8), face), skin="template")
    assert drawn.facts == {}
    assert astronaut_face.mesh is not None
    outside = region_mask(astronaut_face.mesh, "oval", (512, 512), 2.0) == 0
    assert (drawn.image[outside] == astronaut[outside]).all()


def test_a_fringe_leaves_no_strokes(astronaut: Image, astronaut_face: Face, ross: tuple[Image, Face]) -> None:
    photo, face = ross
    mesh = astronaut_face.mesh
    assert mesh is not None
    with_fringe = dressed.fringe(photo, face)
    between = region_mask(mesh, "oval", (512, 512), -4.0) * (
        1 - feature_mask(mesh, (512, 512), 0.03, names="eyes brows")
    )
    rows = np.arange(512)[:, None]
    between = (between > 0.5) & (rows < mesh[1, 1]) & (rows > mesh[9, 1] - 0.08 * face_width(mesh))

    def darkest(skin: Skin) -> float:
        drawn = draw((astronaut, astronaut_face), (with_fringe, face), skin=skin)
        light = to_lab(drawn.image)[..., 0]
        valleys = cv2.morphologyEx(light, cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8)) - light
        return float(np.percentile(valleys[between], 99))

    plain = draw((astronaut, astronaut_face), ross)
    light = to_lab(plain.image)[..., 0]
    usual = float(
        np.percentile((cv2.morphologyEx(light, cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8)) - light)[between], 99)
    )
    assert darkest("person") < usual + 4


def test_strands_are_told_from_wrinkles_glasses_and_nothing(
    ross: tuple[Image, Face], astronaut: Image, astronaut_face: Face
) -> None:
    photo, face = ross
    assert face.mesh is not None
    part = photo[150:420, 420:680]
    mesh = face.mesh - np.array([420, 150, 0], np.float32)
    moved = dressed.fringe(photo, face)[150:420, 420:680]
    assert strand_mask(moved, mesh).sum() > 50
    assert strand_mask(part, mesh).sum() < 10
    dressed_in_glasses = selfies.glasses(photo, face)[0][150:420, 420:680]
    assert strand_mask(dressed_in_glasses, mesh).sum() < 40


def test_sunglasses_of_a_template_stay_whole(
    astronaut: Image, astronaut_face: Face, ross: tuple[Image, Face], finder: FaceFinder
) -> None:
    template, glass = dressed.sunglasses(astronaut, astronaut_face)
    drawn = draw((template, found(finder, template)), ross)
    lenses = cv2.erode(glass, np.ones((3, 3), np.uint8)) > 0.9
    gap = np.abs(drawn.image.astype(int) - template)[lenses].max(axis=1)
    assert (gap < 12).mean() > 0.97


def test_glasses_of_a_template_stay_whole_across_the_brows(group_faces: list[Face], finder: FaceFinder) -> None:
    template, frame = selfies.glasses(selfies.group(), group_faces[3])
    drawn = draw((template, found_fourth(finder, template)), (selfies.group(), group_faces[5]))
    rims = cv2.erode(frame, np.ones((3, 3), np.uint8)) > 0.9
    gap = np.abs(drawn.image.astype(int) - template)[rims].max(axis=1)
    assert (gap < 24).mean() > 0.97


@pytest.mark.parametrize("worn", [False, True])
def test_a_persons_glasses_are_drawn_whole_beside_a_turned_face(
    worn: bool, group_faces: list[Face], ross: tuple[Image, Face]
) -> None:
    """The far lens stands out beside the template's head; where it wears glasses, those are the only ones."""
    photo, face = ross
    dressed_person = selfies.glasses(photo, face)[0]
    template, frame = selfies.glasses(selfies.group(), group_faces[3]) if worn else (selfies.group(), None)
    head = group_faces[3]
    drawn = draw((template, head), (dressed_person, face)).image
    assert head.mesh is not None
    rims = feature_mask(head.mesh[:468], drawn.shape[:2], 0.2, names="eyes") > 0.5
    dark = ((drawn.max(axis=2) < 100) & rims).astype(np.uint8)
    if frame is not None:
        grown = cv2.dilate((frame > 0.1).astype(np.uint8), np.ones((3, 3), np.uint8))
        assert dark[grown == 0].sum() < 0.1 * dark.sum()
        return
    _, _, stats, _ = cv2.connectedComponentsWithStats(1 - dark, connectivity=4)
    lens = 0.01 * face_width(head.mesh) ** 2
    assert sum(area > lens for area in stats[1:, cv2.CC_STAT_AREA]) == 3  # two lenses, and all around them
    outside = region_mask(head.mesh, "oval", drawn.shape[:2], 2.0) == 0
    assert dark[outside].sum() > 20


def test_a_shaded_cheek_and_a_neck_are_led_over_and_clothes_and_walls_are_not(
    group_faces: list[Face], astronaut: Image, astronaut_face: Face, matter: Matter
) -> None:
    face, image = group_faces[3], selfies.group()
    assert face.mesh is not None
    mask = body_skin_mask(image, face, [each for each in group_faces if each is not face], matter.silhouette)
    shape, width, down = mask.shape, face_width(face.mesh), along_face(face.mesh, mask.shape)
    cheeks = (region_mask(face.mesh, "oval", shape, -0.04 * width) > 0.5) & (down > 0.15) & (down < 0.6)
    assert mask[cheeks].min() > 0.6
    across = (np.arange(shape[1])[None] - face.mesh[152, 0]) / width  # the head leans, its neck is right of the chin
    assert mask[(down > 1.1) & (down < 1.35) & (across > 0.1) & (across < 0.3)].mean() > 0.7
    # An orange suit has about the hue of dark skin, a wall may have that of light skin.
    dark = dressed.toned(astronaut, astronaut_face, 0.8)
    suit = body_skin_mask(dark, astronaut_face, [], matter.silhouette)[230:]
    assert (suit > 0.5).mean() < 0.01
    person = matter.silhouette(astronaut, astronaut_face)
    assert astronaut_face.mesh is not None
    oval = region_mask(astronaut_face.mesh, "oval", (512, 512), 2.0)
    assert body_skin_mask(astronaut, astronaut_face, [], matter.silhouette)[(person < 0.05) & (oval == 0)].max() == 0


def test_a_face_is_not_grey_among_warm_skin(astronaut: Image, astronaut_face: Face, group_faces: list[Face]) -> None:
    image = selfies.group()
    drawn = draw((image, group_faces[0]), (astronaut, astronaut_face)).image

    def chroma(picture: Image) -> float:
        return float(np.linalg.norm(tone(picture, group_faces[0])[1:]))

    assert chroma(image) > 26
    assert chroma(drawn) > 0.88 * chroma(image)


def test_hair_over_the_end_of_a_persons_brow_is_no_stroke_in_the_template(finder: FaceFinder) -> None:
    template, photo = (selfies.resized(selfies.player(name), 2) for name in ("player 6", "player 1"))
    face = found(finder, template)
    drawn = draw((template, face), (photo, found(finder, photo)))  # her long hair crosses the end of a brow
    assert face.mesh is not None
    width, (x, y), lab = face_width(face.mesh), face.mesh[300, :2], to_lab(drawn.image)
    rows, columns = np.mgrid[: template.shape[0], : template.shape[1]]
    end = (np.abs(columns - x) < 0.12 * width) & (np.abs(rows - y) < 0.06 * width)
    light, colour = lab[..., 0], np.linalg.norm(lab[..., 1:], axis=2)
    fine, lighter = (each - cv2.GaussianBlur(each, (0, 0), 0.04 * width) for each in (colour, light))
    assert np.percentile(fine[end & (lighter > -3)], 99) < 2, (
        "a line of hair is 4 to 7 steps more colourful than skin beside it"
    )


def test_an_overexposed_template_makes_nobody_yellow(group_faces: list[Face]) -> None:
    image = selfies.group()
    for person in (1, 2):
        tone = own_tone([(image, group_faces[person])])
        assert tone is not None
        change = plan_change(image, group_faces[5], tone)
        assert change is not None
        assert np.degrees(np.arctan2(change.wished[2], change.wished[1])) < 77


def test_hair_of_skins_colour_keeps_its_colour(group_faces: list[Face], matter: Matter) -> None:
    face = group_faces[0]
    assert face.mesh is not None
    dark = dressed.toned(selfies.group(), face, 0.8)
    mask = body_skin_mask(dark, face, group_faces[1:], matter.silhouette)
    shape, width = dark.shape[:2], face_width(face.mesh)
    beside = (along_face(face.mesh, shape) < 0.8) & (region_mask(face.mesh, "oval", shape, 0.13 * width) < 0.5)
    assert mask[beside].sum() < 0.01 * region_mask(face.mesh, "oval", shape).sum()


def test_a_beard_that_stands_out_beside_the_cheeks_is_refused(group_faces: list[Face]) -> None:
    face = group_faces[5]
    bearded = dressed.bearded(selfies.group(), face)
    with pytest.raises(UserError) as caught:
        draw((bearded, face), (selfies.group(), group_faces[2]))
    assert caught.value.code == "template_beard"


def test_sunglasses_of_a_selfie_are_never_used(
    astronaut: Image, astronaut_face: Face, ross: tuple[Image, Face], finder: FaceFinder
) -> None:
    photo, face = ross
    dark = dressed.sunglasses(photo, face)[0], face
    assert draw((astronaut, astronaut_face), dark, ross).reference_names == {1: "1.jpg"}
    with pytest.raises(UserError, match="sunglasses") as caught:
        draw((astronaut, astronaut_face), dark)
    assert caught.value.code == "no_reference"


def test_a_beard_comes_along_whole(astronaut: Image, astronaut_face: Face, ross: tuple[Image, Face]) -> None:
    photo, face = ross
    drawn = draw((astronaut, astronaut_face), (dressed.bearded(photo, face), face))
    mesh = astronaut_face.mesh
    assert mesh is not None
    jaw = (region_mask(mesh, "oval", (512, 512), -3.0) > 0.5) & (np.arange(512)[:, None] > mesh[17, 1] + 4)
    light = to_lab(drawn.image)[..., 0]
    assert (light[jaw] < tone(drawn.image, astronaut_face)[0] - 15).mean() > 0.8


def test_a_beard_of_the_template_is_shaved_or_refused(
    astronaut: Image, astronaut_face: Face, ross: tuple[Image, Face]
) -> None:
    mesh = astronaut_face.mesh
    assert mesh is not None
    short = dressed.bearded(astronaut, astronaut_face, 0.03)
    assert beard_mask(short, mesh).any()
    drawn = draw((short, astronaut_face), ross)
    assert not beard_mask(drawn.image, mesh).any()
    long = dressed.bearded(astronaut, astronaut_face, 0.3)
    with pytest.raises(UserError) as caught:
        draw((long, astronaut_face), ross)
    assert caught.value.code == "template_beard"
