import importlib.util

import pytest

from portrait.errors import OperatorError
from templates import package_pictures
from templates.catalog import Catalog
from templates.package_pictures import SHA256, find_picture


def test_every_picture_is_installed_as_it_was_hashed() -> None:
    assert [find_picture(*place).name for place in SHA256] == ["astronaut.png", "coffee.png", "t1.jpg"]


@pytest.mark.parametrize(
    ("package", "path", "sentence"),
    [
        ("no_such_package", "a.png", "is not installed"),
        ("skimage", "data/nobody.png", "holds no picture data/nobody.png"),
        ("skimage", "data/coffee.png", "is another one"),
    ],
)
def test_a_missing_or_changed_picture_is_an_error(
    package: str, path: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(package_pictures.SHA256, (package, path), "0" * 64)
    with pytest.raises(OperatorError, match=f"{sentence}.*make install") as caught:
        find_picture(package, path)
    assert caught.value.code == "missing_picture"


def test_a_style_whose_picture_changed_is_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(package_pictures.SHA256, ("skimage", "data/astronaut.png"), "0" * 64)
    with pytest.raises(OperatorError, match=r"astronaut is missing.*another one") as caught:
        Catalog().find("astronaut").picture()
    assert caught.value.code == "bad_style"


@pytest.mark.parametrize("package", ["six", "this", "this.x", "unittest.__main__.x", "skimage", "..", ""])
def test_a_package_outside_the_list_is_neither_looked_for_nor_imported(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: pytest.fail(f"{name} was looked for"))
    with pytest.raises(OperatorError, match="built-in styles") as caught:
        find_picture(package, f"{package}.py")
    assert caught.value.code == "missing_picture"
