"""Tests for `portrait.numbers`."""

import pytest

from portrait.numbers import MOST, read_decimal, read_integer


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("8", 8), ("0008", 8), ("٣", 3), (str(MOST), MOST)])
def test_digits_are_read(text: str, number: int) -> None:
    assert read_integer(text) == number


@pytest.mark.parametrize("text", ["", "-1", "+1", "1.0", "1_0", " 1", "²", "nan", "0x1", str(MOST + 1), "9" * 5000])
def test_what_is_no_number_or_too_large_is_none(text: str) -> None:
    assert read_integer(text) is None


def test_the_most_may_be_said() -> None:
    assert read_integer("12", 12) == 12
    assert read_integer("13", 12) is None
    assert read_integer("0", -1) is None


@pytest.mark.parametrize(
    ("text", "number"), [("3", 3), ("3.", 3), ("3.5", 3.5), (".5", 0.5), (f".{'1' * 5000}", 1 / 9)]
)
def test_decimals_are_read(text: str, number: float) -> None:
    assert read_decimal(text) == pytest.approx(number)


@pytest.mark.parametrize("text", ["", ".", "-1", "1e3", "nan", "inf", "1,5", "9" * 400, "1.5.2"])
def test_what_is_no_decimal_is_none(text: str) -> None:
    assert read_decimal(text) is None
