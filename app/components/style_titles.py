"""The styles of the installation as a visit knows them, and their titles in the visitor's language."""

import time
from collections.abc import Callable
from typing import TypeVar

from app.session import client, get_state, language, set_state, translate
from tasks import schemas

KEPT_SECONDS = 20.0
"""For which a visit keeps what it was told: whether a style can be drawn changes with the workers that run."""
T = TypeVar("T")


def list_styles() -> list[schemas.Style]:
    """All styles, as they were at most `KEPT_SECONDS` ago."""
    return _remembered("styles", lambda: client().styles())


def localized_title(style: schemas.Style | schemas.OperatorStyle) -> str:
    """The title of a style in the visitor's language, or in English where it has none."""
    return style.titles.get(language(), style.title)


def localized_titles() -> dict[str, str]:
    """The titles of all styles and the names of the visitor's own pictures, by id."""
    pictures = _remembered("picture_names", lambda: {each.id: each.name for each in client().templates()})
    return pictures | {each.id: localized_title(each) for each in list_styles()}


def display_name(style: str, titles: dict[str, str]) -> str:
    """The title of the style, or the name of the own picture, with this id.

    `titles` are those of `localized_titles`; a picture that is no longer there is "own picture", a style is named by its id.
    """
    return titles.get(style) or (translate("results.own_picture") if style.startswith("template_") else style)


def _remembered(name: str, fetch: Callable[[], T]) -> T:
    """What `fetch` gave at most `KEPT_SECONDS` ago."""
    asked, found = get_state(f"remembered_{name}", (0.0, None))
    if found is None or time.monotonic() - asked > KEPT_SECONDS:
        asked, found = time.monotonic(), fetch()
        set_state(f"remembered_{name}", (asked, found))
    return found
