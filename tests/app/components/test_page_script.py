"""The script of each page: that it may run, and that it knows the words that Streamlit writes by itself."""

import re
from pathlib import Path

import pytest
import streamlit

from app.components.page_script import page_script
from app.server.headers import hash_of, security_headers
from app.words import translation

SCRIPTS = Path(streamlit.__file__).parent / "static" / "static" / "js"
WORDS = {key: text for key, text in translation.own_messages("en").items() if key.startswith("streamlit.")}
ELSEWHERE = {
    *(f"streamlit.enter{kind}" for kind in ("", "_form", "_area", "_area_mac", "_area_form")),
    *(f"streamlit.{key}" for key in ("file_upload", "most_option", "most_options")),
}
"""Words that Streamlit puts together from parts, so that none of its files has them in one piece."""


@pytest.mark.parametrize("language", translation.LANGUAGES)
def test_the_script_may_run_and_holds_no_tag(language: str) -> None:
    script = page_script(language)
    assert hash_of(script) in security_headers()["Content-Security-Policy"]
    # The page in which it stands would end it there.
    assert re.findall(r"<[/\w!]", script) == []


def test_streamlits_words_are_those_of_the_installed_version() -> None:
    code = "\n".join(path.read_text("utf-8") for path in SCRIPTS.glob("*.js"))
    unknown = {}
    for key, text in WORDS.items():
        parts = [part for part in re.split(r"\{\w+\}", text) if len(part.strip()) > 3]
        if missing := [part for part in parts if part.strip(" .") not in code]:
            unknown[key] = missing
    assert unknown.keys() <= ELSEWHERE


@pytest.mark.parametrize("language", [each for each in translation.LANGUAGES if each != translation.FALLBACK])
def test_another_language_has_words_of_its_own_for_them(language: str) -> None:
    own = translation.own_messages(language)
    assert [key for key in WORDS if own[key] == WORDS[key]] == []
    assert "$1：说明" in page_script("zh")
