"""What a page says of an error in the visitor's language."""

import pytest

from app import session
from app.components import errors


@pytest.fixture(params=["en", "zh"])
def language(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    for module in (session, errors):
        monkeypatch.setattr(module, "language", lambda: request.param)
    return request.param


def test_an_error_is_told_by_its_code(language: str) -> None:
    told = errors.error_message("bad_size", "An ID photo has the size of its rule. Leave the size out.")
    assert (
        told
        == {
            "en": "That size does not go here. Leave it as is usual, or choose another.",
            "zh": "不能使用这个尺寸。请保留常用尺寸，或另选一个。",
        }[language]
    )


def test_what_is_missing_keeps_its_values_and_loses_its_marks(language: str) -> None:
    line = "The model sd15 is not on this machine, or not whole: run `portrait models pull sd15` (4.3 GB, MIT)."
    told = errors.sentence(line)
    assert "`" not in told
    assert "portrait models pull sd15（4.3 GB，MIT）" in told or language == "en"
    assert told.startswith("本机没有完整的模型 sd15") == (language == "zh")


def test_a_detail_that_nobody_translated_is_still_told(language: str) -> None:
    assert errors.detail("missing", "Field required") == {"en": "This is missing.", "zh": "缺少此项。"}[language]
    assert (
        errors.detail("odd_type", "Input should be odd")
        == {"en": "Input should be odd", "zh": "不符合要求。"}[language]
    )
    assert errors.detail("no_face", "…") == errors.tip("no_face", "…")
