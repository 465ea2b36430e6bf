"""The word guard with an installation's settings: what people write into prompts, looked at before it is drawn."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from pipelines.settings import GuardSettings
from portrait.errors import OperatorError
from portrait.generation.refused_words import check_words, parse_names


def check(settings: GuardSettings, texts: Sequence[str], child: bool = False) -> None:
    """Raise `UserError` (`words_refused`) for texts of one request that may not be drawn, where the guard is on.

    `child`: somebody who may be one is drawn. Raises `OperatorError` (`bad_settings`) for a list of names that cannot be read.
    """
    if settings.words:
        check_words([each for each in texts if each], names(settings), child)


def names(settings: GuardSettings) -> tuple[str, ...]:
    """The names that may not be drawn; raises `OperatorError` (`bad_settings`) for a list that cannot be read."""
    if settings.names is None:
        return ()
    try:
        return _read(settings.names, settings.names.stat().st_mtime_ns)
    except (OSError, UnicodeDecodeError) as error:
        sentence = f"The list of names {settings.names} (guards.names) cannot be read: {error}."
        raise OperatorError("bad_settings", sentence) from error


def texts_of(params: Mapping[str, Any]) -> list[str]:
    """What people wrote into an order, as the parameters of its job hold it: traits, and the words of an edit.

    What is to be left out of a picture is no part of it.
    """
    technique, edit = dict(params.get("technique") or {}), dict(params.get("edit") or {})
    said = [*dict(params.get("traits") or {}).values(), technique.get("traits", ""), edit.get("words", "")]
    return [str(each) for each in said if each]


@lru_cache(maxsize=4)
def _read(path: Path, changed: int) -> tuple[str, ...]:
    """The names of a file; `changed` is when it was written, so that another content is read again."""
    return parse_names(path.read_text("utf-8-sig"))
