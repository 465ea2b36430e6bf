"""The likeness of a portrait in words: by name, and a chip for each face."""

from typing import Any

import pytest

from app.components import likeness
from app.words import translation
from tasks import schemas

NAMES = {"person_1": "Ann", "person_2": "Ben"}


@pytest.fixture(params=["en", "zh"])
def language(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(
        likeness, "translate", lambda key, **values: translation.translate(request.param, key, **values)
    )
    return request.param


def portrait(steps: list[int], people: dict[str, str]) -> schemas.Portrait:
    fields: dict[str, Any] = dict.fromkeys(("id", "job", "style", "format"), "x")
    fields |= dict.fromkeys(("number", "style_version", "bytes", "width", "height", "created"), 1)
    measured = {str(at): {"space": "dlib", "distance": 0.4, "step": step} for at, step in enumerate(steps, 1)}
    return schemas.Portrait.model_validate(
        {**fields, "likeness": measured, "people": people, "scores": {}, "recipe": {}, "favourite": False}
    )


def test_others_are_called_by_name_and_never_you(language: str) -> None:
    found = likeness.texts(portrait([0], {"1": "person_1"}), NAMES)
    assert found == [({"en": "Very like Ann", "zh": "非常像Ann"}[language], "good")]
    assert not any(
        word in text
        for step in range(4)
        for text, _ in likeness.texts(portrait([step], {}), NAMES)
        for word in ("you", "您")
    )


def test_each_face_of_a_group_has_words_of_its_own(language: str) -> None:
    found = likeness.texts(portrait([1, 3, 2], {"1": "person_2", "2": "person_1", "3": "person_gone"}), NAMES)
    texts = {
        "en": ["Like Ben", "Not much like Ann", "Face 3: Somewhat alike"],
        "zh": ["像Ben", "不太像Ann", "第 3 张脸：有些像"],
    }
    assert [text for text, _ in found] == texts[language]
    assert [variant for _, variant in found] == ["good", "poor", "fair"]


def test_where_nothing_was_measured_it_says_so(language: str) -> None:
    assert likeness.texts(portrait([], {}), NAMES) == [(translation.translate(language, "likeness.none"), "plain")]
