import numpy as np

from portrait.arrays import Size
from portrait.generation.openpose import (
    COLOURS,
    FACE,
    JOINTS,
    LIMB_BRIGHTNESS,
    LIMBS,
    NECK,
    NOSE,
    Skeleton,
    draw_skeletons,
    face_points,
)


def person(**visible: tuple[float, float]) -> Skeleton:
    joints = np.full((len(JOINTS), 2), np.nan, np.float32)
    for name, place in visible.items():
        joints[JOINTS.index(name.replace("_", " "))] = place
    return Skeleton(joints, np.empty((0, 2), np.float32))


def test_every_limb_has_its_colour_and_the_published_ends() -> None:
    assert (len(JOINTS), len(LIMBS), len(COLOURS)) == (18, 17, 18)
    assert (NOSE, NECK) == (0, 1)
    drawn = draw_skeletons([person(neck=(256, 100), right_shoulder=(100, 100))], Size(512, 512))
    assert tuple(drawn[100, 180]) == tuple(int(each * LIMB_BRIGHTNESS) for each in COLOURS[0])
    assert tuple(drawn[100, 256]) == COLOURS[NECK]
    assert tuple(drawn[100, 100]) == COLOURS[2]


def test_invisible_joints_are_not_drawn() -> None:
    assert not draw_skeletons([], Size(64, 64)).any()
    alone = draw_skeletons([person(right_shoulder=(32, 32))], Size(512, 512))
    assert np.argwhere(alone.any(axis=2)).min() >= 28
    assert alone.any(axis=2).sum() < 80


def test_people_stand_beside_each_other() -> None:
    one, other = person(nose=(100, 100), neck=(100, 160)), person(nose=(300, 100), neck=(300, 160))
    both = draw_skeletons([one, other], Size(512, 512))
    each = [draw_skeletons([person], Size(512, 512)) for person in (one, other)]
    assert np.array_equal(both, np.maximum(*each))


def test_sticks_are_as_wide_as_the_picture_is_large() -> None:
    widths = []
    for side in (512, 1024):
        visible = person(nose=(side / 2, side / 4), neck=(side / 2, side * 3 / 4))
        widths.append(int(draw_skeletons([visible], Size(side, side))[side // 2].any(axis=1).sum()))
    assert 1.8 < widths[1] / widths[0] < 2.2


def test_dots_of_a_face_come_of_its_mesh() -> None:
    mesh = np.arange(478 * 3, dtype=np.float32).reshape(478, 3)
    assert len(FACE) == len(face_points(mesh)) == 70
    assert len(face_points(mesh[:468])) == 68
    visible = Skeleton(person().joints, np.array([[20, 30]], np.float32))
    assert tuple(draw_skeletons([visible], Size(512, 512))[30, 20]) == (255, 255, 255)
