from pathlib import PurePosixPath

import pytest

from portrait.photos.names import distinct_names, find_named

HOME = PurePosixPath("/home/ann")


def paths(*names: str) -> list[PurePosixPath]:
    return [PurePosixPath(name) for name in names]


def test_photos_of_one_name_are_told_apart_by_their_folders() -> None:
    given = paths("a/IMG_1.jpg", "b/IMG_1.jpg", "b/IMG_2.jpg", "x/c/IMG_3.jpg", "y/c/IMG_3.jpg")
    assert distinct_names(given) == ["a/IMG_1.jpg", "b/IMG_1.jpg", "IMG_2.jpg", "x/c/IMG_3.jpg", "y/c/IMG_3.jpg"]
    assert distinct_names(paths("IMG_1.jpg", "a/IMG_1.jpg")) == ["IMG_1.jpg", "a/IMG_1.jpg"]
    assert distinct_names(paths("a/1.jpg", "a/1.jpg")) == ["1.jpg", "1.jpg"]


def test_names_that_are_not_utf_8_can_be_shown_and_stay_apart() -> None:
    shown = distinct_names(paths("p/\udcd5\udcd5.jpg", "p/\udcd6\udcd6.jpg", "p/b.jpg"))
    assert shown[0] == "��.jpg"
    assert len(set(shown)) == 3
    assert "".join(shown).encode("utf-8")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("IMG_2.jpg", [2]),
        ("IMG_1.jpg", [0, 1]),
        ("b/IMG_1.jpg", [1]),
        ("/home/ann/b/IMG_1.jpg", [1]),
        ("/home/ann/c/IMG_1.jpg", []),
        ("img_2.JPG", [2]),
        ("cafe\u0301.jpg", [3]),
        ("caf\u00e9.jpg", [3]),
        ("g_2.jpg", []),
        ("", []),
    ],
)
def test_a_name_means_one_photo_or_those_it_could_be(name: str, meant: list[int]) -> None:
    given = paths("a/IMG_1.jpg", "/home/ann/b/IMG_1.jpg", "b/IMG_2.jpg", "b/cafe\u0301.jpg")
    assert find_named(name, given, HOME) == meant
