"""The words of the app: one TOML file a language, found by key."""

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

LANGUAGES = {"en": "English", "zh": "中文"}
"""By code: what speakers call their language."""
_FOLDER = Path(__file__).parent


@cache
def words(language: str) -> Mapping[str, str]:
    """Every key of a language with its text."""
    return dict(_flat(tomllib.loads((_FOLDER / f"{language}.toml").read_text("utf-8"))))


def text(language: str, key: str, **values: object) -> str:
    """The text of a key, its {places} filled; with a `count` of one the key's `_one`, where there is such a text."""
    known = words(language)
    if values.get("count") == 1 and f"{key}_one" in known:
        key = f"{key}_one"
    return known[key].format(**values) if values else known[key]


def text_or(language: str, key: str, otherwise: str) -> str:
    """The text of a key, or other words where the key is not known: of codes and names that may be new."""
    return words(language).get(key, otherwise)


def language_of(locale: str | None) -> str:
    """The language that suits a browser's locale."""
    code = (locale or "").replace("_", "-").split("-", 1)[0].lower()
    return code if code in LANGUAGES else "en"


def _flat(tree: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    """`{"a": {"b": "text"}}` as `("a.b", "text")`."""
    found: list[tuple[str, str]] = []
    for name, value in tree.items():
        found += _flat(value, f"{before}{name}.") if isinstance(value, Mapping) else [(f"{before}{name}", value)]
    return found
