"""People of made vectors, whose distances are those measured on real photos: one person 0.26 to 0.50, two from 0.29 up."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from portrait.arrays import Size
from portrait.photos.people import separate_people
from portrait.photos.selection import add_faults
from portrait.ports import Attributes
from portrait.types import PersonQuestion, Quality, ScoredPhoto, Selfie
from tests import fakes

GOOD = Quality(1, 1, 1, 1, 1, 1, 1)
WOMAN, MAN, GIRL = Attributes(31, 0.01, 0.97), Attributes(33, 0.01, 0.04), Attributes(9, 0.93, 0.9)


def photo(name: str, person: int = 1, seed: int = 0) -> ScoredPhoto:
    image = fakes.picture(person, seed)
    return ScoredPhoto(name, "use", (), Selfie(name, image, name, Size(400, 400)), fakes.face(image, person), GOOD)


def codes(photo: ScoredPhoto) -> list[str]:
    return [reason.code for reason in photo.reasons]


def test_larger_group_is_the_person() -> None:
    out, _ = separate_people([photo("a", 1, 1), photo("x", 2, 2), photo("b", 1, 3)], "dlib", 0.6, ())
    assert [each.verdict for each in out] == ["use", "refuse", "use"]
    assert codes(out[1]) == ["another_person"]
    assert out[1].likeness is not None
    assert out[1].likeness.distance == pytest.approx(2**0.5)


def test_of_equal_groups_the_required_one_is_the_person() -> None:
    both = [photo("a", 1, 1), photo("x", 2, 2), photo("b", 1, 3), photo("y", 2, 4)]
    assert [each.verdict for each in separate_people(both, "dlib", 0.6, (1,))[0]] == [
        "refuse",
        "use",
        "refuse",
        "use",
    ]
    assert [each.verdict for each in separate_people(both, "dlib", 0.6, (2,))[0]] == [
        "use",
        "refuse",
        "use",
        "refuse",
    ]


def test_one_odd_photo_does_not_bridge_two_people() -> None:
    between = photo("between", 1, 9)
    assert between.face is not None
    vector = np.zeros(8, np.float32)
    vector[[1, 2]] = 0.5
    between = replace(between, face=replace(between.face, embeddings={"dlib": vector}))
    people = [photo(f"a{i}", 1, i) for i in range(3)] + [photo(f"b{i}", 2, 10 + i) for i in range(2)]
    out, _ = separate_people([*people, between], "dlib", 0.75, ())
    assert [each.verdict for each in out[:5]] == ["use"] * 3 + ["refuse"] * 2


def vectors(groups: list[int], within: float, between: float, seed: int = 0) -> NDArray[np.float32]:
    """Vectors of photos of some people: about `within` apart in a group, about `between` from one group to another."""
    random = np.random.default_rng(seed)
    # In many dimensions random directions stand at right angles: distances follow from lengths alone.
    own = random.normal(size=(sum(groups), 2000))
    own *= within / np.sqrt(2) / np.linalg.norm(own, axis=1, keepdims=True)
    centres = random.normal(size=(len(groups), 2000))
    centres *= np.sqrt(max(between**2 - within**2, 0) / 2) / np.linalg.norm(centres, axis=1, keepdims=True)
    return (np.repeat(centres, groups, axis=0) + own).astype(np.float32)


def album(groups: list[int], within: float, between: float, seed: int = 0) -> list[ScoredPhoto]:
    found = []
    for number, vector in enumerate(vectors(groups, within, between, seed)):
        plain = photo(f"{number}.jpg", 1, number)
        assert plain.face is not None
        found.append(replace(plain, face=replace(plain.face, embeddings={"dlib": vector})))
    return found


def seen(*people: tuple[int, Attributes]) -> Callable[[ScoredPhoto], Attributes]:
    """What the estimator sees in the photos of an album: so many photos of each."""
    by_photo = [attributes for count, attributes in people for _ in range(count)]
    return lambda photo: by_photo[int(photo.name.removesuffix(".jpg"))]


def verdicts(
    photos: list[ScoredPhoto],
    estimate: Callable[[ScoredPhoto], Attributes] | None = None,
    required: tuple[int, ...] = (),
) -> tuple[list[str], tuple[PersonQuestion, ...]]:
    """The code of each photo, empty for those of the person, and the questions."""
    judged, questions = separate_people(photos, "dlib", 0.6, required, estimate or (lambda photo: None))
    return [next(iter(codes(each)), "") for each in judged], questions


@pytest.mark.parametrize("within", [0.26, 0.38, 0.48])
@pytest.mark.parametrize("count", [1, 2, 5, 12])
def test_photos_of_one_person_are_never_asked_about(within: float, count: int) -> None:
    found, questions = verdicts(album([count], within, 0.0), seen((count, WOMAN)))
    assert found == [""] * count
    assert questions == ()


@pytest.mark.parametrize("between", [0.42, 0.5, 0.58])
def test_a_man_and_a_woman_whom_the_faces_do_not_tell_apart_are_two(between: float) -> None:
    photos = album([6, 4], 0.36, between)
    assert verdicts(photos)[0].count("another_person") == 0, "by the faces alone"
    found, questions = verdicts(photos, seen((6, WOMAN), (4, MAN)))
    assert found == [""] * 6 + ["another_person"] * 4
    assert questions == ()


def test_a_girl_among_the_photos_of_women_is_told_by_her_age() -> None:
    found, _ = verdicts(album([5, 3], 0.34, 0.5), seen((5, WOMAN), (3, GIRL)))
    assert found == [""] * 5 + ["another_person"] * 3


def test_a_gap_between_two_groups_of_faces_is_asked_and_not_merged() -> None:
    photos = album([5, 3], 0.28, 0.56)
    found, questions = verdicts(photos, seen((5, WOMAN), (3, WOMAN)))
    assert found == [""] * 5 + ["maybe_another_person"] * 3
    [question] = questions
    assert question.person == tuple(f"{number}.jpg" for number in range(5))
    assert question.unsure == ("5.jpg", "6.jpg", "7.jpg")
    assert question.signs == ("face",)
    assert question.distance == pytest.approx(0.56, abs=0.02)
    judged, _ = separate_people(photos, "dlib", 0.6, ())
    assert {each.verdict for each in judged[5:]} == {"spare"}, "kept in reserve until somebody has answered"


def test_one_photo_that_only_sex_speaks_against_is_asked_about() -> None:
    found, questions = verdicts(album([5, 1], 0.36, 0.5), seen((5, WOMAN), (1, MAN)))
    assert found == [""] * 5 + ["maybe_another_person"], "one photo may mislead the network"
    assert questions[0].signs == ("sex",)


def test_who_includes_the_unsure_photos_is_not_asked_again() -> None:
    photos = album([5, 3], 0.28, 0.56)
    assert verdicts(photos, required=(5, 6, 7)) == ([""] * 8, ())


def test_who_leaves_them_out_is_not_asked_again() -> None:
    photos = album([5, 3], 0.28, 0.56)
    photos[5:] = [add_faults(each, "excluded") for each in photos[5:]]
    assert verdicts(photos) == ([""] * 5 + ["excluded"] * 3, ())


def test_people_who_are_far_apart_are_two_without_a_question() -> None:
    assert verdicts(album([4, 3], 0.4, 0.75)) == ([""] * 4 + ["another_person"] * 3, ())


def test_age_and_sex_are_not_estimated_where_faces_leave_no_doubt() -> None:
    def never(photo: ScoredPhoto) -> Attributes:
        raise AssertionError("nothing is asked")

    assert verdicts(album([6], 0.28, 0.0), never)[1] == ()
