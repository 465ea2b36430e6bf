"""Dates, durations and lists as each language writes them."""

from datetime import UTC, datetime, timedelta

import pytest

from app.words import formats

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "english", "chinese"),
    [
        (5, "just now", "刚刚"),
        (61, "1 minute ago", "1分钟前"),
        (119, "1 minute ago", "1分钟前"),
        (3599, "59 minutes ago", "59分钟前"),
        (7300, "2 hours ago", "2小时前"),
        (90_000, "28 November 2026", "2026年11月28日"),
    ],
)
def test_how_long_ago(seconds: int, english: str, chinese: str) -> None:
    moment = NOON - timedelta(seconds=seconds)
    assert formats.format_age("en", moment, NOON) == english
    assert formats.format_age("zh", moment, NOON) == chinese


@pytest.mark.parametrize(
    ("seconds", "english", "chinese"), [(0.2, "1 sec", "1秒"), (61, "1 min", "1分钟"), (7300, "2 hrs", "2小时")]
)
def test_durations(seconds: float, english: str, chinese: str) -> None:
    assert (formats.format_duration("en", seconds), formats.format_duration("zh", seconds)) == (english, chinese)


def test_lists_and_numbers() -> None:
    assert formats.format_list("en", ["Black", "Grey", "White"]) == "Black, Grey and White"
    assert formats.format_list("zh", ["黑色", "灰色", "白色"]) == "黑色、灰色和白色"
    assert formats.format_list("zh", []) == ""
    assert formats.format_number("en", 12_345.5) == "12,345.5"


def test_sentences_follow_each_other() -> None:
    assert (
        formats.join_sentences("en", ["6 of 8 are good.", "2 more would help."])
        == "6 of 8 are good. 2 more would help."
    )
    assert formats.join_sentences("zh", ["8 张中有 6 张可用。", "再添加 2 张。"]) == "8 张中有 6 张可用。再添加 2 张。"
