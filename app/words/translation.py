"""Translations: one TOML file of messages a language, looked up by key."""

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

LANGUAGES = {"en": "English", "zh": "中文"}
"""Language codes, each with the language's name in itself."""
_FOLDER = Path(__file__).parent


@cache
def messages(language: str) -> Mapping[str, str]:
    """All messages of a language by key."""
    return dict(_flatten(tomllib.loads((_FOLDER / f"{language}.toml").read_text("utf-8"))))


def translate(language: str, key: str, **values: object) -> str:
    """The message of a key, its {placeholders} filled from `values`; raises `KeyError` for an unknown key.

    With `count=1` the message of the key with `_one` after it is taken where there is one: the only plural rule that
    English and Chinese need.
    """
    known = messages(language)
    if values.get("count") == 1 and f"{key}_one" in known:
        key = f"{key}_one"
    return known[key].format(**values) if values else known[key]


def translate_or(language: str, key: str, default: str) -> str:
    """The message of a key, or `default` where the key is unknown: for codes and names that may be new."""
    return messages(language).get(key, default)


def language_from_locale(locale: str | None) -> str:
    """The language of ours that fits a browser's locale, such as `zh-CN`; English where none does."""
    code = (locale or "").replace("_", "-").split("-", 1)[0].lower()
    return code if code in LANGUAGES else "en"


def _flatten(tree: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    """`{"a": {"b": "text"}}` as `("a.b", "text")`."""
    found: list[tuple[str, str]] = []
    for name, value in tree.items():
        found += _flatten(value, f"{before}{name}.") if isinstance(value, Mapping) else [(f"{before}{name}", value)]
    return found
