"""Translations: one TOML file of messages a language, looked up by key; a further language is a further file.

A file begins with its table `[language]`: `name` in itself, and `locale`, whose CLDR rules (by babel) decide on plurals, dates,
numbers and lists. The plural forms of a key are keys with a CLDR category at the end, `faces_one` or `faces_few`; `faces`
itself is the form for every other count. A key that a file lacks is taken from English.
"""

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from babel import Locale

FALLBACK = "en"
"""The language of a browser whose own there is not, and of the messages that a file lacks."""
CATEGORIES = ("zero", "one", "two", "few", "many")
"""CLDR's plural categories that a key can end in; `other` is the key itself."""
_FOLDER = Path(__file__).parent
_SENTENCES = "sentences"


def find_languages(folder: Path = _FOLDER) -> dict[str, str]:
    """The languages that have a file in a folder: their names in themselves by code, English first."""
    codes = sorted((path.stem for path in folder.glob("*.toml")), key=lambda code: (code != FALLBACK, code))
    return {code: _read(folder, code)["language"]["name"] for code in codes}


@cache
def own_messages(language: str, folder: Path = _FOLDER) -> Mapping[str, str]:
    """The messages that stand in the file of a language, by key."""
    return dict(_flatten({name: each for name, each in _read(folder, language).items() if name != _SENTENCES}))


def own_sentences(language: str, folder: Path = _FOLDER) -> Mapping[str, str]:
    """The sentences of `[sentences]` in the file of a language, by their English."""
    return _read(folder, language).get(_SENTENCES, {})


@cache
def messages(language: str, folder: Path = _FOLDER) -> Mapping[str, str]:
    """All messages of a language by key, those that its file lacks in English."""
    return {**own_messages(FALLBACK, folder), **own_messages(language, folder)}


@cache
def locale(language: str, folder: Path = _FOLDER) -> Locale:
    """CLDR's rules of a language."""
    return Locale.parse(own_messages(language, folder)["language.locale"])


def translate(language: str, key: str, folder: Path = _FOLDER, /, **values: object) -> str:
    """The message of a key, its {placeholders} filled from `values`; raises `KeyError` for an unknown key.

    With `count`, a whole number, the plural form that the language has for it.
    """
    count = values.get("count")
    if isinstance(count, int):
        key = _plural_key(language, key, count, folder)
    text = messages(language, folder)[key]
    return text.format(**values) if values else text


def translate_or(language: str, key: str, default: str) -> str:
    """The message of a key, or `default` where the key is unknown: for codes and names that may be new."""
    return messages(language).get(key, default)


def translate_sentence(language: str, text: str, folder: Path = _FOLDER) -> str:
    """An English sentence of the task API in another language, as `[sentences]` of its file has it; else as it is.

    The English sentences there, the keys, have {placeholders} where the API writes a value.
    """
    for pattern, translated in _sentences(language, folder):
        found = pattern.fullmatch(text)
        if found:
            # A value may be a sentence itself.
            values = {name: translate_sentence(language, value, folder) for name, value in found.groupdict().items()}
            return translated.format(**values)
    return text


def language_from_locale(locale: str | None) -> str:
    """The language of ours that fits a browser's locale, such as `zh-CN`; English where none does."""
    code = (locale or "").replace("_", "-").split("-", 1)[0].lower()
    return code if code in LANGUAGES else FALLBACK


def _plural_key(language: str, key: str, count: int, folder: Path) -> str:
    """The key of a message for a count; a message that English alone has takes English plurals."""
    source = language if key in own_messages(language, folder) else FALLBACK
    plural = f"{key}_{locale(source, folder).plural_form(count)}"
    return plural if plural in own_messages(source, folder) else key


@cache
def _sentences(language: str, folder: Path) -> list[tuple[re.Pattern[str], str]]:
    """Patterns of English sentences with their translation; those that name more come first."""
    ordered = sorted(own_sentences(language, folder).items(), key=lambda pair: -len(re.sub(r"\{\w+\}", "", pair[0])))
    return [(sentence_pattern(english), translated) for english, translated in ordered]


def sentence_pattern(english: str) -> re.Pattern[str]:
    """What matches a sentence with {placeholders}, each of which stands for at least one sign."""
    parts = re.split(r"\{(\w+)\}", english)
    joined = "".join(f"(?P<{part}>.+?)" if number % 2 else re.escape(part) for number, part in enumerate(parts))
    return re.compile(joined, re.DOTALL)


@cache
def _read(folder: Path, language: str) -> Mapping[str, Any]:
    return tomllib.loads((folder / f"{language}.toml").read_text("utf-8"))


def _flatten(tree: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    """`{"a": {"b": "text"}}` as `("a.b", "text")`."""
    found: list[tuple[str, str]] = []
    for name, value in tree.items():
        found += _flatten(value, f"{before}{name}.") if isinstance(value, Mapping) else [(f"{before}{name}", value)]
    return found


LANGUAGES = find_languages()
"""Language codes, each with the language's name in itself."""
