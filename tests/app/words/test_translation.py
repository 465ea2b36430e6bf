"""Every text of the app is a message in each language's file, and no message is left over."""

import ast
import re
import string
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from app.words import translation

APP = Path(__file__).parents[3] / "app"
PAGES = [
    *(APP / "main.py", APP / "session.py"),
    *(path for folder in ("people", "operators", "components") for path in sorted((APP / folder).rglob("*.py"))),
]
SOURCES = [
    *PAGES,
    *(APP / "server" / name for name in ("sign_in.py", "plain/verify.py")),
    *(APP / "words" / name for name in ("formats.py", "provenance.py")),
]
SECTIONS = sorted({key.split(".")[0] for key in translation.messages("en")})
NOT_KEYS = {"portrait.app", "style.css", "styles.zip"}


@pytest.mark.parametrize("language", translation.LANGUAGES)
def test_a_language_has_every_message_with_the_same_values(language: str) -> None:
    english, other = _messages(translation.FALLBACK), _messages(language)
    assert set(other) == set(english) | {"language.name", "language.locale"}
    assert {key for key in english if _placeholders(other[key]) != _placeholders(english[key])} == set()
    assert [key for key, text in translation.own_messages(language).items() if not text.strip()] == []


@pytest.mark.parametrize("language", translation.LANGUAGES)
def test_a_language_has_the_plural_forms_of_its_own_grammar(language: str) -> None:
    categories = translation.locale(language).plural_form.tags
    english, own = translation.own_messages(translation.FALLBACK), translation.own_messages(language)
    counted = {key.removesuffix("_one") for key in english if _is_plural(key, english)}
    assert {f"{key}_{each}" for key in counted for each in categories} - set(own) == set()
    assert {key for key in own if _is_plural(key, own) and key.rpartition("_")[2] not in categories} == set()


def test_a_third_language_is_one_file(tmp_path: Path) -> None:
    for code in translation.LANGUAGES:
        (tmp_path / f"{code}.toml").write_bytes((APP / "words" / f"{code}.toml").read_bytes())
    (tmp_path / "xx.toml").write_text(
        '[language]\nname = "Third"\nlocale = "ru"\n[results]\ntotal = "{count} portretov"\n'
        'total_one = "{count} portret"\ntotal_few = "{count} portreta"\n'
    )
    assert translation.find_languages(tmp_path) == {**translation.LANGUAGES, "xx": "Third"}
    counts = (1, 2, 5, 21, 22, 100)
    texts = [translation.translate("xx", "results.total", tmp_path, count=count) for count in counts]
    assert texts == ["1 portret", "2 portreta", "5 portretov", "21 portret", "22 portreta", "100 portretov"]
    assert translation.translate("xx", "nav.photos", tmp_path) == "Photos"
    assert translation.translate("xx", "welcome.photos", tmp_path, count=1) == "1 photo"


def test_every_key_that_is_used_exists_and_every_key_is_used() -> None:
    keys = set(translation.messages("en"))
    exact, beginnings = set(), set()
    for kind, used in (found for path in SOURCES for found in _keys_in(path)):
        (exact if kind == "exact" else beginnings).add(used)
    for template in (APP / "server").glob("*.html.j2"):
        exact |= set(re.findall(r'words\["([a-z_.]+)"\]', template.read_text()))
    assert exact - keys == set()
    assert {each for each in beginnings if not any(key.startswith(each) for key in keys)} == set()
    beginnings |= (
        {f"{key}_one" for key in exact}
        | {"language.", "streamlit.", "error.", "field."}
        | {f"{page}." for page in ("board", "machinery", "models", "quality", "styles", "guards")}
    )
    unused = {key for key in keys - exact if not key.startswith(tuple(beginnings))}
    assert unused == set()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(APP)))
def test_pages_contain_no_untranslated_text(path: Path) -> None:
    texts = [text for text in _constants(ast.parse(path.read_text())) if not re.search(r"<[a-z/]", text)]
    # Keys, addresses, icons, formats and units are written small and without spaces between words.
    assert [
        text for text in texts if re.search(r"[A-Z][a-z]+ |[a-z]{3,} [a-z]{2,}", text) and not _is_style(text)
    ] == []


@pytest.mark.parametrize(("locale", "language"), [("zh-CN", "zh"), ("zh_TW", "zh"), ("de-DE", "en"), (None, "en")])
def test_the_language_follows_the_browsers_locale(locale: str | None, language: str) -> None:
    assert translation.language_from_locale(locale) == language


def _messages(language: str) -> dict[str, str]:
    """A language's own messages without its plural forms."""
    own = translation.own_messages(language)
    return {key: text for key, text in own.items() if not _is_plural(key, own)}


def _is_plural(key: str, own: Mapping[str, str]) -> bool:
    """Whether a key is a plural form of another one, which holds the count or the very same values."""
    general, _, category = key.rpartition("_")
    values = _placeholders(own.get(general, ""))
    counted = "count" in values or (bool(values) and values == _placeholders(own[key]))
    return category in translation.CATEGORIES and counted


def _placeholders(text: str) -> set[str]:
    """The names in braces."""
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


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
    return "{" in text or "p-" in text or "function" in text or '="' in text


def test_chinese_is_written_as_chinese() -> None:
    texts = {**translation.own_messages("zh"), **translation.own_sentences("zh")}
    latin = re.compile(r"[一-鿿”）] ?[,;!?:](?: |$)|[一-鿿]\.(?: |$)|[。，；：！？] |\.\.\.")
    assert {key: text for key, text in texts.items() if latin.search(text)} == {}
    retired = ("肖像", "人像", "本系统", "运维人员")
    assert {key: text for key, text in texts.items() if any(each in text for each in retired)} == {}
