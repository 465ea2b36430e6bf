from dataclasses import replace

import numpy as np
import pytest

from portrait.arrays import Size
from portrait.photos.selection import (
    add_faults,
    choose_photos,
    choose_references,
    difference_hash,
    mark_duplicates,
    mark_other_people,
)
from portrait.types import Pose, Quality, ScoredPhoto, Selfie
from tests import fakes, selfies

GOOD = Quality(1, 1, 1, 1, 1, 1, 1)


def photo(
    name: str, person: int = 1, seed: int = 0, quality: Quality = GOOD, pose: Pose = Pose(0, 0, 0)
) -> ScoredPhoto:
    image = fakes.picture(person, seed)
    return ScoredPhoto(
        name, "use", (), Selfie(name, image, name, Size(400, 400)), fakes.face(image, person, pose), quality
    )


def codes(photo: ScoredPhoto) -> list[str]:
    return [reason.code for reason in photo.reasons]


def test_verdict_follows_from_the_gravest_code() -> None:
    assert add_faults(photo("a"), "turned_away").verdict == "spare"
    assert add_faults(photo("a"), "turned_away", "blurred").verdict == "refuse"
    assert add_faults(photo("a")).verdict == "use"


def test_of_duplicates_the_better_stays() -> None:
    worse = photo("worse", seed=1, quality=replace(GOOD, total=0.4))
    out = mark_duplicates([worse, photo("better", seed=1), photo("other", seed=2)], ())
    assert [each.verdict for each in out] == ["refuse", "use", "use"]
    assert codes(out[0]) == ["duplicate"]


def test_a_required_duplicate_stays() -> None:
    out = mark_duplicates([photo("asked", seed=1, quality=replace(GOOD, total=0.1)), photo("b", seed=1)], (0,))
    assert [each.verdict for each in out] == ["use", "refuse"]


def test_a_resaved_copy_is_a_duplicate_and_the_next_frame_is_not() -> None:
    image = selfies.astronaut()
    same = difference_hash(image)
    for copy in (selfies.lit(image, -1), selfies.noisy(image, 4), selfies.far(image, 60)):
        assert np.sum(same != difference_hash(copy)) <= 14
    for frame in (selfies.rolled(image, 6), np.ascontiguousarray(image[:450, 30:480])):
        assert np.sum(same != difference_hash(frame)) > 14


def test_larger_group_is_the_person() -> None:
    out = mark_other_people([photo("a", 1, 1), photo("x", 2, 2), photo("b", 1, 3)], "dlib", 0.6, ())
    assert [each.verdict for each in out] == ["use", "refuse", "use"]
    assert codes(out[1]) == ["another_person"]
    assert out[1].likeness is not None
    assert out[1].likeness.distance == pytest.approx(2**0.5)


def test_of_equal_groups_the_required_one_is_the_person() -> None:
    both = [photo("a", 1, 1), photo("x", 2, 2), photo("b", 1, 3), photo("y", 2, 4)]
    assert [each.verdict for each in mark_other_people(both, "dlib", 0.6, (1,))] == ["refuse", "use", "refuse", "use"]
    assert [each.verdict for each in mark_other_people(both, "dlib", 0.6, (2,))] == ["use", "refuse", "use", "refuse"]


def test_one_odd_photo_does_not_bridge_two_people() -> None:
    between = photo("between", 1, 9)
    assert between.face is not None
    vector = np.zeros(8, np.float32)
    vector[[1, 2]] = 0.5
    between = replace(between, face=replace(between.face, embeddings={"dlib": vector}))
    people = [photo(f"a{i}", 1, i) for i in range(3)] + [photo(f"b{i}", 2, 10 + i) for i in range(2)]
    out = mark_other_people([*people, between], "dlib", 0.75, ())
    assert [each.verdict for each in out[:5]] == ["use"] * 3 + ["refuse"] * 2


def test_likeness_then_quality_then_variety() -> None:
    judged = mark_other_people(
        [
            photo("plain", seed=1),
            photo("same pose", seed=2),
            photo("other pose", seed=3, pose=Pose(25, 0, 0)),
            photo("poor", seed=4, quality=replace(GOOD, total=0.3)),
        ],
        "dlib",
        0.6,
        (),
    )
    out, taken = choose_photos(judged, 3, (), 0.6)
    assert [out[index].name for index in taken] == ["plain", "other pose", "same pose"]
    assert codes(out[3]) == ["enough"]
    assert out[3].verdict == "spare"


def test_required_photos_are_chosen_whatever_their_faults() -> None:
    faulty = add_faults(photo("faulty", seed=5), "blurred")
    out, taken = choose_photos([photo("a", seed=1), faulty], 1, (1,), 0.6)
    assert taken == [1]
    assert out[1].verdict == "use"
    assert codes(out[1]) == ["blurred"]


def test_the_most_frontal_of_the_better_half_leads() -> None:
    photos = [
        photo("turned", seed=1, quality=replace(GOOD, frontality=0.7)),
        photo("frontal", seed=2),
        photo("c", seed=3),
        photo("d", seed=4),
    ]
    assert choose_references(photos, [0, 1, 2, 3], 3) == [1, 0, 2]
