"""Conversion of a style.toml into a `Style`."""

import re

import pytest

from portrait.generation.passes import DEFAULT_PROMPT, Passes
from templates.catalog import Catalog
from templates.schema import StyleFile
from templates.style import to_style
from templates.traits import placeholders

INTO = {
    "schema": 1, "id": "moon", "kind": "template", "title": "Moon", "picture": {"file": "a.jpg"}, "licence": "CC0-1.0",
    "engines": ["diffusion"], "prompt": "{who} in a space suit", "loras": [{"model": "film", "strength": 0.6}],
    "passes": {"face": 0.6, "seam": 0, "controls": {"tile": 0.5}, "needs": ["canny", "tile"]},
}  # fmt: skip


def test_a_template_says_how_it_is_drawn_into() -> None:
    style = to_style(StyleFile.model_validate(INTO))
    assert style.passes == Passes(face=0.6, seam=0, controls={"tile": 0.5}, needs=("canny", "tile"))
    assert style.engines == ("diffusion",)
    assert style.prompt_spec is not None
    assert style.prompt_spec.prompt == "{who} in a space suit"


def test_a_template_that_says_nothing_of_it_has_no_scene() -> None:
    silent = to_style(StyleFile.model_validate({**INTO, "prompt": "", "loras": [], "passes": None, "engines": []}))
    assert (silent.prompt_spec, silent.passes, silent.engines) == (None, None, ())


@pytest.mark.parametrize(
    ("prompt", "drawn"),
    [
        ("portrait of {who}, {traits}, outside", "portrait of {who}, with glasses, smiling, {traits}, outside"),
        ("portrait of {who} {glasses}, {traits}", "portrait of {who} with glasses, smiling, {traits}"),
        ("portrait of {who}", "portrait of {who}"),
    ],
)
def test_what_is_known_of_a_person_stands_in_its_place_or_before_the_wishes(prompt: str, drawn: str) -> None:
    file = StyleFile.model_validate({**INTO, "prompt": prompt})
    known = {"glasses": "with glasses", "expression": "smiling", "beard": "a hat", "height": "tall"}
    style = to_style(file, known)
    assert style.prompt_spec is not None
    assert style.prompt_spec.prompt == drawn
    plain = to_style(StyleFile.model_validate({**INTO, "prompt": "{who}, {traits}"})).prompt_spec
    assert plain is not None
    assert plain.prompt == "{who}, {traits}"


def test_a_style_says_in_sentences_what_its_prompt_says_in_words() -> None:
    known = {"glasses": "with glasses", "expression": "smiling"}
    sentence = "A portrait of {who}, {age}, {glasses}, {traits}, in a suit. A calm room."
    spec = to_style(StyleFile.model_validate({**INTO, "sentence": sentence}), known).prompt_spec
    assert spec is not None
    assert (spec.prompt, spec.sentence) == (
        "{who} in a space suit",
        "A portrait of {who}, with glasses, smiling, {traits}, in a suit. A calm room.",
    )
    words = to_style(StyleFile.model_validate(INTO)).prompt_spec
    silent = to_style(StyleFile.model_validate({**INTO, "prompt": ""})).prompt_spec
    assert words is not None
    assert silent is not None
    assert (words.sentence, silent.sentence) == ("", DEFAULT_PROMPT.sentence)


def test_built_in_styles_of_words_say_in_sentences_what_tokens_say() -> None:
    for entry in Catalog().entries():
        if entry.style.kind != "text":
            continue
        spec = to_style(entry.style, {"age": "young"}).prompt_spec
        assert spec is not None
        assert set(placeholders(spec.sentence)) == {"who", "traits"}, entry.style.id
        assert ", young, " in spec.sentence, entry.style.id
        assert spec.sentence.count(". ") >= 3, entry.style.id
        assert spec.sentence.startswith(("A ", "An ")), entry.style.id
        assert re.search(r", \{traits\}, ", spec.sentence), "an empty one leaves no comma behind"
        assert not re.search(r"[()\[\]<>]|,\s*[,.]", spec.sentence), entry.style.id


def test_the_look_of_a_style_of_words_is_that_of_its_picture() -> None:
    words = {name: each for name, each in INTO.items() if name not in ("passes", "engines")} | {"kind": "text"}
    file = StyleFile.model_validate({**words, "look": {"adapter": "ip_adapter_plus", "scale": 0.6}})
    spec = to_style(file).prompt_spec
    assert spec is not None
    assert (spec.look_adapter, spec.look_scale, spec.look_picture) == ("ip_adapter_plus", 0.6, None)
    plain = to_style(StyleFile.model_validate({**words, "picture": None})).prompt_spec
    assert plain is not None
    assert plain.look_adapter == ""


@pytest.mark.parametrize(
    "wrong", [{"kind": "text"}, {"kind": "text", "picture": None, "look": {}}, {"kind": "template", "look": {}}]
)
def test_a_picture_of_words_and_a_look_need_each_other(wrong: dict[str, object]) -> None:
    words = {name: each for name, each in INTO.items() if name not in ("passes", "engines")}
    with pytest.raises(ValueError, match="look"):
        StyleFile.model_validate({**words, **wrong})
