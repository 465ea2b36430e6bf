from pathlib import Path

import pytest

from portrait.errors import OperatorError
from tasks.consent_texts import load_texts

PUBLISHED = {
    ("2026-11", "en"): "f9ea062886e965c9e2364d79b3c5bccdad99084d5b3241b2563dfbb5eaf40fc6",
    ("2026-11", "zh"): "a338c9c1f10c61d050e44ee1710ba2cd2c794cbb52e7d81860118a08826f66f5",
    ("2026-12", "en"): "73c014d4991dac35dc986db4d7e273a8f078d4ae1851ca2d1a24ac0ffc095c8f",
    ("2026-12", "zh"): "5a8d0fa9df912ff3974516eed100980fa6f30fed03c70f76d40179277659fbc0",
    ("2027-01", "en"): "f9f2b4c3749f0b4e61f005d7cde475df4bbf8333df21f0e88d7116093aa947cb",
    ("2027-01", "zh"): "4dddac164c8fa13522892bbf6e836365f941ff8cfbd9a82ace0f135fb1f68985",
}
"""People agreed to these words: they never change. New words are a new version with a line here."""
OWN = """
[[texts]]
version = "our-1"
asks_again = true
[texts.words.de]
paragraphs = ["Alles wird nach {days} Tagen gelöscht."]
adult = "Ich bin volljährig."
agree = "Ich stimme zu."
"""


def test_published_texts_never_change() -> None:
    found = {(text.version, language): words.sha256 for text in load_texts() for language, words in text.words.items()}
    assert found == PUBLISHED


def test_every_text_says_how_long_everything_is_kept() -> None:
    words = [words for text in load_texts() for words in text.words.values()]
    assert all(any("{days}" in each for each in one.paragraphs) for one in words)
    newest = load_texts()[-1].words
    assert set(newest) == {"en", "zh"}
    assert all(each.myself and each.proxy and each.guardian and each.pictures for each in newest.values())


def test_the_operators_texts_come_last(tmp_path: Path) -> None:
    own = tmp_path / "consent.toml"
    own.write_text(OWN)
    texts = load_texts(own)
    assert [text.version for text in texts[-2:]] == ["2027-01", "our-1"]
    assert (texts[-1].asks_again, texts[-1].words["de"].pictures) == (True, "")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[[texts]", "cannot be read"),
        ('[[texts]]\nversion = "a b"\n', "version"),
        (OWN.replace("agree", "agreed"), "agreed"),
        (OWN.replace("our-1", "2026-11"), "Give each its own"),
    ],
)
def test_a_file_that_does_not_hold_is_refused(tmp_path: Path, content: str, says: str) -> None:
    own = tmp_path / "consent.toml"
    own.write_text(content)
    with pytest.raises(OperatorError, match=says) as caught:
        load_texts(own)
    assert caught.value.code == "bad_settings"


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="cannot be read"):
        load_texts(tmp_path / "none.toml")
