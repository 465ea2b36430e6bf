"""Names of downloads: readable, safe on every system, no two the same; the header that carries them."""

import re
from urllib.parse import unquote

import pytest

from tasks.file_names import attachment, portrait_stem, unique_names


@pytest.mark.parametrize(
    ("name", "people", "style", "number", "stem"),
    [
        ("", ["Ann"], "Warm backdrop", 1, "Ann-Warm-backdrop-1"),
        ("", ["安娜", "Ben"], "暖色背景", 12, "安娜-Ben-暖色背景-12"),
        ("At sea", ["Ann"], "Warm", 1, "At-sea"),
        ("", [], "studio-warm", 3, "studio-warm-3"),
        ("", ["A", "B", "C", "D"], "Party", 1, "A-B-C-Party-1"),
        ("", ["../../etc/passwd"], "a\\b:c", 1, "etc-passwd-a-b-c-1"),
        ("con", [], "", 1, "con-"),
        ("LPT1.txt", [], "", 1, "LPT1.txt-"),
        ("  ...  ", ["Ann"], "x", 1, "Ann-x-1"),
        ("a\u202egpj.exe", [], "", 1, "a-gpj.exe"),
        ("x" * 500, [], "", 1, "x" * 60),
    ],
)
def test_a_stem_is_readable_and_safe(name: str, people: list[str], style: str, number: int, stem: str) -> None:
    assert portrait_stem(name, people, style, number) == stem


def test_no_two_names_are_the_same_on_a_system_that_ignores_case() -> None:
    names = unique_names(["Ann-1", "ann-1", "Ann-1", "Ann-1"], ["jpg", "jpg", "jpg", "png"])
    assert names == ["Ann-1.jpg", "ann-1 (2).jpg", "Ann-1 (3).jpg", "Ann-1.png"]


@pytest.mark.parametrize("name", ["Ann-1.jpg", "安娜-暖色-1.jpg", "Zoë-Warm-1.png", 'a"b;c.jpg', "Ölbild (2).webp"])
def test_a_header_carries_the_name_and_one_for_old_programs(name: str) -> None:
    header = attachment(name, "portrait-1.jpg")
    assert header.isascii()
    found = re.fullmatch(r"attachment; filename=\"([A-Za-z0-9._()-]+)\"(?:; filename\*=UTF-8''([^;\"]+))?", header)
    assert found is not None, header
    plain, encoded = found.groups()
    assert (unquote(encoded) if encoded else plain) == name
