import numpy as np
import pytest

from portrait.arrays import Image, Points
from portrait.fusion.blending import (
    TargetFace,
    analyze_target,
    blend_into,
    covered_skin_mask,
    missing_noise,
    relight,
    seam_mask,
    skin_tone,
)
from portrait.fusion.occluders import feature_mask
from portrait.fusion.warp import region_mask
from portrait.images.color import to_lab
from portrait.types import Face


@pytest.fixture(scope="session")
def mesh(astronaut_face: Face) -> Points:
    assert astronaut_face.mesh is not None
    return astronaut_face.mesh[:468]


@pytest.fixture(scope="session")
def scene(astronaut: Image, mesh: Points) -> TargetFace:
    return analyze_target(astronaut, mesh)


NOTHING = np.zeros((512, 512), np.float32)


def test_a_tone_is_the_line_its_colours_lie_on() -> None:
    light = np.linspace(40, 80, 400, dtype=np.float32).reshape(20, 20)
    lab = np.dstack([light, 10 + 0.1 * (light - 60), 20 - 0.2 * (light - 60)]).astype(np.float32)
    tone = skin_tone(lab, np.ones((20, 20), np.float32))
    assert tone(np.full((1, 1), 60, np.float32))[0, 0] == pytest.approx((10, 20), abs=0.3)
    assert tone(np.full((1, 1), 45, np.float32))[0, 0] == pytest.approx((8.5, 23), abs=0.8)
    assert np.abs(tone(np.zeros((1, 1), np.float32))).max() < 9  # black has little colour


def test_a_face_in_its_own_light_is_hardly_changed(scene: TargetFace, mesh: Points) -> None:
    drawn = relight(scene, scene.lab, mesh, scene.occluded, 1.0)
    skin = scene.skin > 0.9
    assert np.linalg.norm(drawn - scene.lab, axis=2)[skin].mean() < 4


@pytest.mark.parametrize("cast", [(-25, 0, 0), (10, 0, 0), (0, 15, 20), (-15, -8, -15)])
def test_another_light_is_taken_off(cast: tuple[float, float, float], scene: TargetFace, mesh: Points) -> None:
    drawn = relight(scene, (scene.lab + np.array(cast)).astype(np.float32), mesh, scene.occluded, 1.0)
    skin = scene.skin > 0.9
    assert np.abs(np.median(drawn[skin] - scene.lab[skin], axis=0)).max() < 3


def test_a_noses_shadow_goes_and_a_moustache_stays(scene: TargetFace, mesh: Points) -> None:
    lip = region_mask(mesh, "philtrum", scene.shape, 1.0) * (1 - feature_mask(mesh, scene.shape, 0.0, names="lips"))

    def darker(colour: float) -> float:
        """Steps of L by which a lip that is 30 darker, with so much more colour, is drawn darker."""
        dark = (scene.lab * (1, colour, colour) - (30, 0, 0) - scene.lab) * lip[..., None]
        clean, drawn = (
            relight(scene, each.astype(np.float32), mesh, scene.occluded, 1.0) for each in (scene.lab, scene.lab + dark)
        )
        return float((clean - drawn)[lip > 0.9][:, 0].mean())

    shadow, moustache = darker(1.8), darker(0.6)
    assert moustache > 15
    assert shadow < 0.7 * moustache


def test_a_picture_seated_in_itself_stays_itself(scene: TargetFace, mesh: Points, astronaut: Image) -> None:
    settled, share = blend_into(scene, scene.lab, mesh, NOTHING)
    assert np.abs(settled.astype(int) - astronaut)[share > 0].max() <= 2
    assert share[feature_mask(mesh, scene.shape, 0.0, names="eyes lips") > 0.9].min() > 0.97
    assert share[region_mask(mesh, "oval", scene.shape) < 0.01].max() == 0


def test_brows_are_settled_with_the_skin_around_them(scene: TargetFace, mesh: Points) -> None:
    lighter = (scene.lab + np.array((10, 0, 0))).astype(np.float32)
    settled, share = blend_into(scene, lighter, mesh, NOTHING)
    step = lighter[..., 0] - to_lab(settled)[..., 0]
    brows = feature_mask(mesh, scene.shape, 0.0, names="brows") * share
    around = feature_mask(mesh, scene.shape, 0.05, names="brows") * share * (brows < 0.01)
    assert step[brows > 0.9].mean() > 1
    assert step[brows > 0.9].mean() == pytest.approx(step[around > 0.9].mean(), abs=1.5)


def test_the_seam_goes_round_what_does_not_fit(scene: TargetFace, mesh: Points) -> None:
    odd = scene.lab.copy()
    x, y = (int(value) for value in mesh[215, :2])  # the left of the jaw
    odd[y - 8 : y + 9, x : x + 10] += (-40, 0, 0)
    assert seam_mask(scene, scene.lab, mesh, NOTHING)[y, x + 6] > 0.9
    assert seam_mask(scene, odd, mesh, NOTHING)[y, x + 6] < 0.1


def test_hair_is_replaced_by_skin_but_not_over_the_eyes(scene: TargetFace, mesh: Points) -> None:
    bare = covered_skin_mask(scene, mesh, np.ones((512, 512), np.float32))
    assert bare[feature_mask(mesh, scene.shape, 0.0) > 0.99].mean() < 0.2
    assert bare[int(mesh[151, 1]), int(mesh[151, 0])] > 0.99


def test_missing_grain_is_measured(astronaut: Image, mesh: Points) -> None:
    noise = np.random.default_rng(0).normal(0, 3, (512, 512, 1))
    rough = np.clip(astronaut + noise, 0, 255).astype(np.uint8)
    assert missing_noise(rough, astronaut, mesh) == pytest.approx(3, abs=0.8)
    assert missing_noise(astronaut, rough, mesh) == 0
