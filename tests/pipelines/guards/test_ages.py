"""The question for a guardian where no ledger is kept: when it is asked, and that its answer is kept beside a set."""

from pathlib import Path

import pytest

from pipelines.guards import ages
from pipelines.guards.ages import Answer
from pipelines.settings import GuardSettings, Settings
from portrait.errors import UserError
from portrait.ports import Attributes
from portrait.traits import asks_guardian

CLOSED = Settings(profile="commercial")


def refused(settings: Settings, asks: bool | None, folder: Path) -> bool:
    try:
        ages.check(settings, asks, folder)
    except UserError as error:
        return error.code == "guardian_needed" and "--guardian" in error.message and "--adult" in error.message
    return False


@pytest.mark.parametrize(
    ("minors", "asked"),
    [((), None), ((0.1, 0.05), False), ((0.3, 0.39), False), ((0.35,), True), ((0.9, 0.1, 0.2), True)],
)
def test_the_mean_over_the_photos_decides(minors: tuple[float, ...], asked: bool | None) -> None:
    assert asks_guardian([Attributes(20, minor, 0.5) for minor in minors]) is asked


@pytest.mark.parametrize(
    ("settings", "asks", "is_refused"),
    [
        (Settings(), True, True),
        (Settings(), None, False),
        (Settings(), False, False),
        (CLOSED, None, True),
        (CLOSED, False, False),
        (Settings(guards=GuardSettings(missing="closed")), None, True),
        (Settings(profile="commercial", guards=GuardSettings(missing="open")), None, False),
        (Settings(guards=GuardSettings(age=False)), True, False),
        (Settings(profile="commercial", guards=GuardSettings(age=False)), None, False),
    ],
)
def test_who_is_asked(tmp_path: Path, settings: Settings, asks: bool | None, is_refused: bool) -> None:
    assert refused(settings, asks, tmp_path) is is_refused


def test_an_answer_is_given_once(tmp_path: Path) -> None:
    assert refused(Settings(), True, tmp_path)
    assert ages.check(Settings(), True, tmp_path, Answer("Bea")) is True
    assert ages.check(Settings(), True, tmp_path) is True
    assert ages.read(tmp_path) == Answer("Bea")
    assert ages.check(Settings(), True, tmp_path, Answer(adult=True)) is False
    assert ages.check(Settings(), True, tmp_path) is False
    (tmp_path / ages.ANSWER_FILE).write_text("[]")
    assert refused(Settings(), True, tmp_path)


def test_a_guardian_and_an_adult_do_not_go_together() -> None:
    assert ages.parse_answer(" Bea ", adult=False) == Answer("Bea")
    assert not ages.parse_answer(" ", adult=False)
    with pytest.raises(UserError):
        ages.parse_answer("Bea", adult=True)
