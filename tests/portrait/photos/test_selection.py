from dataclasses import replace

import numpy as np

from portrait.arrays import Size
from portrait.photos.people import separate_people
from portrait.photos.selection import (
    add_faults,
    choose_photos,
    choose_references,
    difference_hash,
    mark_duplicates,
)
from portrait.types import PhotoUses, Pose, Quality, ScoredPhoto, Selfie
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


def test_likeness_then_quality_then_variety() -> None:
    judged, _ = separate_people(
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


def test_references_together_serve_what_any_photo_serves() -> None:
    near, wide = PhotoUses(("very_close",), False, "front"), PhotoUses(("head_and_shoulders",), True, "front")
    photos = [replace(photo(str(n), seed=n), uses=near) for n in range(6)]
    photos[5] = replace(photos[5], uses=wide)
    assert choose_references(photos, [0, 1, 2, 3, 4, 5], 3) == [0, 1, 5]
    assert choose_references(photos[:5], [0, 1, 2, 3, 4], 3) == [0, 1, 2]


def test_a_photo_with_sunglasses_is_a_reference_only_alone() -> None:
    dark = add_faults(photo("dark", seed=1), "sunglasses")
    assert dark.verdict == "refuse"
    assert choose_references([dark, photo("b", seed=2)], [0, 1], 5) == [1]
    assert choose_references([dark], [0], 5) == [0]
