"""Every text of the app is a message in each language's file, and no message is left over."""

import ast
import re
import string
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.words import translation

APP = Path(__file__).parents[3] / "app"
PAGES = [
    *(APP / "main.py", APP / "session.py"),
    *(path for folder in ("people", "operators", "components") for path in sorted((APP / folder).rglob("*.py"))),
]
SOURCES = [*PAGES, APP / "server" / "sign_in.py"]
SECTIONS = sorted({key.split(".")[0] for key in translation.messages("en")})
NOT_KEYS = {"portrait.app", "style.css", "styles.zip"}
MARKUP = {"compare.py", "widgets.py"}
"""Files that hold HTML and style."""


def test_languages_have_the_same_keys_and_placeholders() -> None:
    english = translation.messages("en")
    for language in translation.LANGUAGES:
        other = translation.messages(language)
        assert set(other) == set(english)
        assert {key for key in english if _placeholders(other[key]) != _placeholders(english[key])} == set()
        assert [key for key, text in other.items() if not text.strip()] == []


def test_every_key_that_is_used_exists_and_every_key_is_used() -> None:
    keys = set(translation.messages("en"))
    exact, beginnings = set(), set()
    for kind, used in (found for path in SOURCES for found in _keys_in(path)):
        (exact if kind == "exact" else beginnings).add(used)
    exact |= set(re.findall(r'words\["([a-z_.]+)"\]', (APP / "server" / "sign_in.html.j2").read_text()))
    assert exact - keys == set()
    assert {each for each in beginnings if not any(key.startswith(each) for key in keys)} == set()
    beginnings |= {f"{key}_one" for key in exact} | {
        f"{page}." for page in ("board", "machinery", "models", "quality", "styles")
    }
    unused = {key for key in keys - exact if not key.startswith(tuple(beginnings))}
    assert unused == set()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(APP)))
def test_pages_contain_no_untranslated_text(path: Path) -> None:
    texts = [text for text in _constants(ast.parse(path.read_text())) if path.name not in MARKUP or "<" not in text]
    # Keys, addresses, icons, formats and units are written small and without spaces between words.
    assert [
        text for text in texts if re.search(r"[A-Z][a-z]+ |[a-z]{3,} [a-z]{2,}", text) and not _is_style(text)
    ] == []


def test_a_count_of_one_has_its_own_message() -> None:
    assert translation.translate("en", "photos.used", count=1, total=3) == "1 of 3 photos is good."
    assert translation.translate("en", "photos.used", count=2, total=3) == "2 of 3 photos are good."


@pytest.mark.parametrize(("locale", "language"), [("zh-CN", "zh"), ("zh_TW", "zh"), ("de-DE", "en"), (None, "en")])
def test_the_language_follows_the_browsers_locale(locale: str | None, language: str) -> None:
    assert translation.language_from_locale(locale) == language


def _placeholders(text: str) -> set[str]:
    """The names in braces; a number may be left out where a word says it."""
    return {name for _, name, _, _ in string.Formatter().parse(text) if name} - {"count"}


def _keys_in(path: Path) -> Iterator[tuple[str, str]]:
    """Keys, and beginnings of keys that are put together, in what looks like one."""
    tree = ast.parse(path.read_text())
    joined = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
    parts = {id(part) for node in joined for part in node.values}
    key = re.compile(rf"({'|'.join(SECTIONS)})\.[a-z0-9_]+")
    plain = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in parts]
    yield from (
        ("exact", text) for text in plain if isinstance(text, str) and key.fullmatch(text) and text not in NOT_KEYS
    )
    for node in joined:
        if node.values and isinstance(node.values[0], ast.Constant):
            start = str(node.values[0].value)
            if re.fullmatch(rf"({'|'.join(SECTIONS)})\.[a-z_]*", start):
                yield "beginning", start


def _constants(tree: ast.Module) -> Iterator[str]:
    """Texts in the code, without what documents it."""
    documents = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    raised = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.Raise) or (isinstance(node, ast.Call) and "_log" in ast.unparse(node.func))
        for part in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documents | raised:
            yield node.value


def _is_style(text: str) -> bool:
    """CSS and class names: braces, colons or prefixed names."""
    return "{" in text or "p-" in text or "function" in text
