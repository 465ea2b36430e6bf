import cv2
import numpy as np

from portrait.arrays import Image
from portrait.faces import skin
from portrait.faces.geometry import scaling_matrix, transform_face
from portrait.images import color
from portrait.types import Face
from tests import selfies
from tests.portrait.images.test_color import HAIR, enlarged, grey_of, made_face, made_picture, middle_change
from tests.seams import delta_e


def test_skin_is_the_face_without_its_features() -> None:
    image, face = made_picture(), made_face()
    mask = skin.skin_mask(image, face)
    assert mask[172, 115] == mask[172, 185] == mask[225, 150] == 1
    for x, y in ((115, 130), (185, 130), (115, 108), (150, 205), (150, 60), (20, 20), (40, 150)):
        assert mask[y, x] == 0
    hair = (image == HAIR).all(axis=2)
    assert mask[hair].max() == 0
    assert mask.max() <= 1


def test_skin_is_found_in_any_tone_in_grey_and_without_a_mesh() -> None:
    face = made_face()
    bare = Face(face.box, face.landmarks, None, {}, face.pose, 1.0)
    full = skin.skin_mask(made_picture(), face).sum()
    dark = selfies.lit(made_picture(), -2)
    grey = grey_of(made_picture())
    assert skin.skin_mask(dark, face).sum() > 0.8 * full
    assert skin.skin_mask(grey, face).sum() > 0.7 * full
    without = skin.skin_mask(made_picture(), bare)
    assert without.sum() > 0.5 * full
    assert without[130, 115] == without[205, 150] == 0


def test_the_neck_is_only_skin_on_request() -> None:
    image, face = made_picture(), made_face()
    image[250:, 110:190] = image[150:200, 110:190].mean(axis=(0, 1)).astype(np.uint8)
    assert skin.skin_mask(image, face)[265, 150] == 0
    assert skin.skin_mask(image, face, neck=True)[265, 150] > 0.9


def test_retouch_calms_blotches_and_keeps_pores() -> None:
    image, face = made_picture(), made_face()
    mask = skin.skin_mask(image, face)
    out = skin.retouch_skin(image, face, 1)
    change = delta_e(image, out)
    assert 0.3 < np.median(change[mask > 0.5]) < 3
    assert change.max() <= skin.RETOUCH_LIMIT + 1
    assert (out[mask == 0] == image[mask == 0]).all()

    def band(picture: Image, fine: float, coarse: float) -> float:
        light = color.to_lab(picture)[..., 0]
        waves = cv2.GaussianBlur(light, (0, 0), fine) - cv2.GaussianBlur(light, (0, 0), coarse)
        return float(waves[160:186, 100:200].std())

    assert band(out, 3, 8) < 0.85 * band(image, 3, 8)
    assert band(out, 0.1, 1) > 0.95 * band(image, 0.1, 1)


def test_retouch_grows_with_its_strength() -> None:
    image, face = made_picture(), made_face()
    mask = skin.skin_mask(image, face)
    assert (skin.retouch_skin(image, face, 0) == image).all()
    steps = [middle_change(image, skin.retouch_skin(image, face, strength), mask) for strength in (0.3, 0.6, 1)]
    assert steps == sorted(steps)


def test_shine_and_shadows_under_the_eyes_grow_less() -> None:
    image, face = made_picture().astype(np.float32), made_face()
    spots = np.zeros((300, 300), np.float32)
    cv2.ellipse(spots, (150, 165), (7, 10), 0, 0, 360, 45, -1)
    for x in (115, 185):
        cv2.ellipse(spots, (x, 147), (18, 5), 0, 0, 360, -35, -1)
    painted = np.clip(image + cv2.GaussianBlur(spots, (0, 0), 3)[..., None], 0, 255).astype(np.uint8)
    light = [color.to_lab(each)[..., 0] for each in (painted, skin.retouch_skin(painted, face, 1))]
    assert light[1][163:168, 148:153].mean() < light[0][163:168, 148:153].mean() - 1
    assert light[1][146:149, 110:120].mean() > light[0][146:149, 110:120].mean() + 1


def test_a_small_face_in_a_large_picture_is_found_in_its_place() -> None:
    image = np.zeros((4000, 4000, 3), np.uint8)
    image[:300, :300] = made_picture()
    mask = skin.skin_mask(image, made_face())
    assert (skin.retouch_skin(image, made_face(), 1)[300:, 300:] == 0).all()
    assert (mask[:300, :300] == skin.skin_mask(made_picture(), made_face())).mean() > 0.99


def test_a_large_face_is_treated_like_a_small_one() -> None:
    face = transform_face(made_face(), scaling_matrix(5))
    image = enlarged(made_picture(), 5)
    out = skin.retouch_skin(image, face, 1)
    small = cv2.resize(skin.skin_mask(image, face), (300, 300), interpolation=cv2.INTER_AREA)
    assert np.abs(small - skin.skin_mask(made_picture(), made_face())).mean() < 0.02
    assert 0.3 < middle_change(image, out, skin.skin_mask(image, face)) < 3
