import cv2
import numpy as np
import pytest

from portrait.arrays import Image, Points
from portrait.fusion.blending import (
    OWN_SKIN,
    PLAIN,
    TargetFace,
    analyze_target,
    blend_into,
    covered_skin_mask,
    missing_noise,
    seam_mask,
    skin_tone,
)
from portrait.fusion.occluders import feature_mask
from portrait.fusion.relighting import join_halves, relight
from portrait.fusion.warp import region_mask
from portrait.images.color import to_lab
from portrait.types import Face


@pytest.fixture(scope="session")
def mesh(astronaut_face: Face) -> Points:
    assert astronaut_face.mesh is not None
    return astronaut_face.mesh[:468]


@pytest.fixture(scope="session")
def target(astronaut: Image, mesh: Points) -> TargetFace:
    return analyze_target(astronaut, mesh)


NOTHING = np.zeros((512, 512), np.float32)


def test_a_tone_is_the_line_its_colours_lie_on() -> None:
    light = np.linspace(40, 80, 400, dtype=np.float32).reshape(20, 20)
    lab = np.dstack([light, 10 + 0.1 * (light - 60), 20 - 0.2 * (light - 60)]).astype(np.float32)
    tone = skin_tone(lab, np.ones((20, 20), np.float32))
    assert tone(np.full((1, 1), 60, np.float32))[0, 0] == pytest.approx((10, 20), abs=0.3)
    assert tone(np.full((1, 1), 45, np.float32))[0, 0] == pytest.approx((8.5, 23), abs=0.8)
    assert np.abs(tone(np.zeros((1, 1), np.float32))).max() < 9  # black has little colour


def test_a_face_in_its_own_light_is_hardly_changed(target: TargetFace, mesh: Points) -> None:
    relit = relight(target, target.lab, mesh, target.occluded, 1.0)
    skin = target.skin > 0.9
    assert np.linalg.norm(relit - target.lab, axis=2)[skin].mean() < 4


@pytest.mark.parametrize("cast", [(-25, 0, 0), (10, 0, 0), (0, 15, 20), (-15, -8, -15)])
def test_another_light_is_taken_off(cast: tuple[float, float, float], target: TargetFace, mesh: Points) -> None:
    relit = relight(target, (target.lab + np.array(cast)).astype(np.float32), mesh, target.occluded, 1.0)
    skin = target.skin > 0.9
    assert np.abs(np.median(relit[skin] - target.lab[skin], axis=0)).max() < 3


def test_a_noses_shadow_goes_and_a_moustache_stays(target: TargetFace, mesh: Points) -> None:
    lip = region_mask(mesh, "philtrum", target.shape, 1.0) * (1 - feature_mask(mesh, target.shape, 0.0, names="lips"))

    def darker(colour: float) -> float:
        """Steps of L by which a lip that is 30 darker, with so much more colour, is relit darker."""
        dark = (target.lab * (1, colour, colour) - (30, 0, 0) - target.lab) * lip[..., None]
        clean, relit = (
            relight(target, each.astype(np.float32), mesh, target.occluded, 1.0)
            for each in (target.lab, target.lab + dark)
        )
        return float((clean - relit)[lip > 0.9][:, 0].mean())

    shadow, moustache = darker(1.8), darker(0.6)
    assert moustache > 15
    assert shadow < 0.7 * moustache


def test_a_face_blended_into_itself_stays_the_same(target: TargetFace, mesh: Points, astronaut: Image) -> None:
    blended, share = blend_into(target, target.lab, mesh, NOTHING)
    assert np.abs(blended.astype(int) - astronaut)[share > 0].max() <= 2
    assert share[feature_mask(mesh, target.shape, 0.0, names="eyes lips") > 0.9].min() > 0.97
    assert share[region_mask(mesh, "oval", target.shape) < 0.01].max() == 0


def test_brows_are_adapted_with_the_skin_beside_them(target: TargetFace, mesh: Points) -> None:
    lighter = (target.lab + np.array((10, 0, 0))).astype(np.float32)
    blended, share = blend_into(target, lighter, mesh, NOTHING)
    step = lighter[..., 0] - to_lab(blended)[..., 0]
    brows = feature_mask(mesh, target.shape, 0.0, names="brows") * share
    beside = feature_mask(mesh, target.shape, 0.05, names="brows") * share * (brows < 0.01)
    assert step[brows > 0.9].mean() > 1
    assert step[brows > 0.9].mean() == pytest.approx(step[beside > 0.9].mean(), abs=1.5)


def test_the_seam_goes_round_what_does_not_fit(target: TargetFace, mesh: Points) -> None:
    odd = target.lab.copy()
    x, y = (int(value) for value in mesh[215, :2])  # the left of the jaw
    odd[y - 8 : y + 9, x : x + 10] += (-40, 0, 0)
    assert seam_mask(target, target.lab, mesh, NOTHING)[y, x + 6] > 0.9
    assert seam_mask(target, odd, mesh, NOTHING)[y, x + 6] < 0.1


def test_hair_is_replaced_by_skin_but_not_over_the_eyes(target: TargetFace, mesh: Points) -> None:
    bare = covered_skin_mask(target, mesh, np.ones((512, 512), np.float32))
    assert bare[feature_mask(mesh, target.shape, 0.0) > 0.99].mean() < 0.2
    assert bare[int(mesh[151, 1]), int(mesh[151, 0])] > 0.99


def test_skin_is_painted_over_what_a_fringe_shades(astronaut: Image, mesh: Points) -> None:
    width = float(np.ptp(mesh[:, 0]))
    hair = np.zeros((512, 512), np.float32)
    end = int(mesh[151, 1])  # the middle of the forehead
    hair[:end] = 1
    covered = {
        manner: covered_skin_mask(analyze_target(astronaut, mesh, manner), mesh, hair)[:, int(mesh[151, 0])]
        for manner in (PLAIN, OWN_SKIN)
    }
    below = end + round(0.03 * width)
    assert covered[OWN_SKIN][below] > 0.5
    assert covered[PLAIN][below] < 0.2
    assert np.abs(np.diff(covered[OWN_SKIN])).max() < 0.7 * np.abs(np.diff(covered[PLAIN])).max()


def test_missing_grain_is_measured(astronaut: Image, mesh: Points) -> None:
    noise = np.random.default_rng(0).normal(0, 3, (512, 512, 1))
    rough = np.clip(astronaut + noise, 0, 255).astype(np.uint8)
    assert missing_noise(rough, astronaut, mesh) == pytest.approx(3, abs=0.8)
    assert missing_noise(astronaut, rough, mesh) == 0


def test_two_halves_in_opposite_light_meet_without_a_line(astronaut: Image, mesh: Points) -> None:
    weight = np.zeros((512, 512), np.float32)
    weight[:, 256:] = 1
    light, dark = (np.full((512, 512, 3), (value, 10, 20), np.float32) for value in (70, 50))
    light[::4] += (6, 0, 0)  # a pattern of the light half, which ends where that half ends
    joined = join_halves(analyze_target(astronaut, mesh, OWN_SKIN), light, dark, weight)[..., 0]
    broad = cv2.blur(joined, (9, 64))[256]
    assert np.abs(np.diff(broad)).max() < 1.5
    assert broad[-1] - broad[0] > 15
    assert np.ptp(joined[200:260, 300]) > 3
    assert np.ptp(joined[200:260, 200]) < 1
    plain = join_halves(analyze_target(astronaut, mesh), light, dark, weight)[..., 0]
    assert np.ptp(plain[200]) == pytest.approx(26, abs=0.01)
    assert np.abs(np.diff(plain[200])).max() == pytest.approx(26, abs=0.01)


def test_overexposed_skin_of_a_person_gets_its_colour_back(astronaut: Image, mesh: Points) -> None:
    target = analyze_target(astronaut, mesh, OWN_SKIN)
    bright = target.lab.copy()
    x, y = (int(value) for value in mesh[50, :2])  # on the left cheek
    spot = slice(y - 5, y + 6), slice(x - 5, x + 6)
    bright[spot] = (bright[spot] + (14, 0, 0)) * (1, 0.2, 0.2)
    relit = relight(target, bright, mesh, target.occluded, 1.0)
    usual = relight(target, target.lab, mesh, target.occluded, 1.0)
    colour, before = (float(np.linalg.norm(each[spot][..., 1:], axis=2).mean()) for each in (relit, usual))
    assert colour > 0.7 * before


def test_a_strand_of_hair_on_a_cheek_is_no_crease_in_the_drawn_one(astronaut: Image, mesh: Points) -> None:
    own = analyze_target(astronaut, mesh, OWN_SKIN)
    (x, y), half = mesh[207, :2], 0.02 * own.width
    strand = np.zeros((512, 512), np.float32)
    cv2.line(strand, (int(x), int(y - 0.12 * own.width)), (int(x), int(y + 0.12 * own.width)), 1.0, round(2 * half))
    strand = cv2.GaussianBlur(strand, (0, 0), 1.0) * (own.skin > 0.5)
    across = (strand > 0.8) & (own.skin > 0.9)

    def depth(step: tuple[float, float, float]) -> float:
        """Mean ΔE that the strand leaves in the drawn cheek."""
        given = (own.lab + strand[..., None] * np.array(step)).astype(np.float32)
        plain, drawn = (relight(own, each, mesh, own.occluded, 1.0) for each in (own.lab, given))
        return float(np.linalg.norm(drawn - plain, axis=2)[across].mean())

    assert depth((-18, 12, 22)) < 16  # orange hair: 31 steps away, of which 21 were left before
    assert depth((-18, -2, -6)) > 14  # a scar, or stubble, has no such colour, and stays


def test_no_line_shows_where_bare_forehead_goes_on_above_the_drawn_face(astronaut: Image, mesh: Points) -> None:
    face = to_lab(astronaut) + np.array([0, 3, 6], np.float32)
    bald = astronaut.copy()
    reach = region_mask(mesh, "oval", (512, 512), 30.0) * (1 - region_mask(mesh, "oval", (512, 512), -3.0))
    above = (np.mgrid[:512, :512][0] < mesh[9, 1]) & (reach > 0)
    bald[above] = np.median(astronaut[region_mask(mesh, "oval", (512, 512), -12.0) > 0.9], axis=0)
    far: list[float] = []
    for image in (astronaut, bald):
        own = analyze_target(image, mesh, OWN_SKIN)
        drawn, alpha = blend_into(own, np.asarray(face, np.float32), mesh, NOTHING)
        edge = (alpha > 0.5) & (alpha < 0.95) & above_eyes(mesh) & (own.occluded < 0.1)
        far.append(float(np.abs(to_lab(drawn)[edge, 2] - face[edge, 2]).mean()))
    fringed, forehead = far
    assert forehead > fringed + 1, "beside hair a face keeps its own tone"


def above_eyes(mesh: Points) -> np.ndarray:
    """Mask of what lies above the brows."""
    return np.asarray(np.mgrid[:512, :512][0] < mesh[9, 1])
