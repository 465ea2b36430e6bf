"""Dates, durations, numbers and lists as a language writes them, by CLDR's rules."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from babel import dates, lists, numbers, units

from app.words import translation

_WITHOUT_SPACES = {"zh", "ja"}
"""Languages whose sentences follow each other without a space."""
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


def format_date(language: str, moment: datetime) -> str:
    """A date with the month's name."""
    return dates.format_date(moment, "long", translation.locale(language))


def format_age(language: str, moment: datetime, now: datetime | None = None) -> str:
    """How long ago a moment was; its date from a day on."""
    seconds = ((now or datetime.now(UTC)) - moment).total_seconds()
    if seconds < _MINUTE:
        return translation.translate(language, "app.just_now")
    if seconds >= _DAY:
        return format_date(language, moment)
    unit = _MINUTE if seconds < _HOUR else _HOUR
    # Full units that have passed: babel itself would round.
    past = timedelta(seconds=-(seconds // unit * unit))
    return dates.format_timedelta(past, add_direction=True, threshold=1, locale=translation.locale(language))


def format_duration(language: str, seconds: float) -> str:
    """A duration in seconds, minutes or hours; at least one second."""
    locale = translation.locale(language)
    if seconds < _MINUTE:
        amount, unit = max(1, round(seconds)), "duration-second"
    elif seconds < _HOUR:
        amount, unit = round(seconds / _MINUTE), "duration-minute"
    else:
        amount, unit = round(seconds / _HOUR), "duration-hour"
    return units.format_unit(amount, unit, "short", locale=locale)


def format_list(language: str, items: Sequence[str]) -> str:
    """Items in one line, "a, b and c"."""
    return lists.format_list(items, locale=translation.locale(language)) if items else ""


def join_sentences(language: str, sentences: Sequence[str]) -> str:
    """Sentences one after the other."""
    return ("" if translation.locale(language).language in _WITHOUT_SPACES else " ").join(sentences)


def format_number(language: str, value: float) -> str:
    """A number, with the groups and the decimal sign of the language."""
    return numbers.format_decimal(value, locale=translation.locale(language))
