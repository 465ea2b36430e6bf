from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from portrait.arrays import Size
from portrait.types import Box, Face, Pose
from templates import lint
from templates.catalog import Catalog
from templates.lint import DetectedFaces, Finding, Installed
from templates.schema import StyleFile
from templates.traits import fill_traits, placeholders

TEXT = {
    "schema": 1,
    "id": "mine",
    "kind": "text",
    "title": "Mine",
    "licence": "CC0-1.0",
    "prompt": "portrait of {who}, {age} {gender} {glasses}, {traits}, in a garden",
}
TEMPLATE = {"schema": 1, "id": "mine", "kind": "template", "title": "Mine", "picture": {"file": "a.jpg"}, "licence": "CC0-1.0",
            "credit": "me"}  # fmt: skip


def style(change: Mapping[str, object] | None = None, start: Mapping[str, object] = TEXT) -> StyleFile:
    return StyleFile.model_validate({**start, **(change or {})})


def codes(found: list[Finding]) -> set[str]:
    assert all(each.tip.endswith(".") for each in found)
    return {each.code for each in found}


def face(left: float = 100, width: float = 120, yaw: float = 0) -> Face:
    box = Box(left, 100, left + width, 100 + width * 1.2)
    return Face(box, np.zeros((5, 2), np.float32), None, {}, Pose(yaw, 0, 0), 1.0)


def test_a_good_style_has_nothing_wrong() -> None:
    assert lint.lint_fields(style()) == []
    assert lint.lint_picture(style(start=TEMPLATE), DetectedFaces(Size(800, 800), (face(),))) == []


def test_people_in_a_backdrop_are_told_and_none_are_needed() -> None:
    studio = style({"kind": "studio"}, TEMPLATE)
    assert lint.lint_picture(studio, DetectedFaces(Size(800, 800), ())) == []
    found = lint.lint_picture(studio, DetectedFaces(Size(400, 800), (face(width=20),)))
    assert [(each.code, each.level) for each in found] == [("picture_small", "error"), ("picture_people", "warning")]


def test_an_id_photo_names_a_rule_and_a_colour_that_there_are() -> None:
    start = {"schema": 1, "id": "mine", "kind": "idphoto", "title": "Mine", "preset": "icao", "licence": "CC0-1.0"}
    here = Installed(presets=frozenset({"icao"}), colours=frozenset({"white"}))
    for background in ("", "white", "kept", "#a0b0c0"):
        assert lint.lint_fields(style({"background": background}, start), here) == []
    wrong = style({"background": "purple", "preset": "moon"}, start)
    assert codes(lint.lint_fields(wrong, here)) == {"preset_unknown", "background_unknown"}
    assert lint.lint_fields(wrong) == []
    for change in ({"preset": ""}, {"prompt": "{who}"}, {"refiners": [{"name": "skin"}]}, {"background": "#xyz"}):
        with pytest.raises(ValueError, match=r"preset|background"):
            style(change, start)
    with pytest.raises(ValueError, match="only an ID photo"):
        style({"preset": "icao"})


def test_the_built_in_styles_have_nothing_wrong() -> None:
    from portrait.studio.backdrops import NAMES

    here = Installed(
        backdrops=frozenset(NAMES), engines=frozenset({"studio", "fusion"}), sentences=frozenset({"klein"})
    )
    for entry in Catalog().entries():
        assert lint.lint_fields(entry.style, here) == [], entry.style.id
        assert lint.lint_picture_file(entry.picture(), entry.style) == []


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"prompt": "{who} in {colour} light"}, "unknown_placeholder"),
        ({"negative": "{who} {blur}"}, "unknown_placeholder"),
        ({"prompt": "{who} in a {garden"}, "broken_placeholder"),
        ({"prompt": "a garden"}, "no_person"),
        ({"sentence": "A portrait in a garden."}, "no_person"),
        ({"sentence": "A portrait of {who} in {colour} light."}, "unknown_placeholder"),
        ({"sentence": "A portrait of {who} in a (red scarf:1.2)."}, "sentence_weights"),
        ({"sentence": "A portrait of {who}.<lora:film>"}, "sentence_weights"),
        ({"sentence": "A portrait of {who} as Tom Cruise."}, "real_person"),
        ({"licence": "LicenseRef-unknown"}, "licence_missing"),
        ({"licence": " "}, "licence_missing"),
        ({"traits": {"hat": {"default": "red", "choices": ["blue"]}}}, "bad_default"),
        ({"strengths": {"lora": 1.4}}, "strength_range"),
        ({"strengths": {"instantid": 1.9}}, "strength_range"),
        ({"strengths": {"ring": 1.2}}, "strength_range"),
        ({"strengths": {"lroa": 0.7}}, "strength_unknown"),
        ({"strengths": {"photomaker": 0.2}}, "strength_merge_step"),
        ({"loras": [{"model": "film", "strength": 1.5, "base": "sdxl"}]}, "strength_range"),
        ({"loras": [{"model": "film"}]}, "lora_base_unknown"),
        ({"loras": [{"model": "film", "base": "sd15"}], "families": ["sdxl"]}, "lora_other_base"),
        ({"prompt": "{who} as Scarlett   Johansson"}, "real_person"),
        ({"prompt": "{who}, Beyoncé_Knowles style"}, "real_person"),
        ({"traits": {"like": {"choices": ["Tom Cruise"]}}}, "real_person"),
        ({"prompt": "{who}, NSFW"}, "unsafe_word"),
        ({"titles": {"zh": "性感写真"}}, "unsafe_word"),
        ({"title": "Nude"}, "unsafe_word"),
        ({"prompt": "{who}, without clothes"}, "unsafe_word"),
        ({"sentence": "A portrait of {who}, n u d e."}, "unsafe_word"),
    ],
)
def test_planted_faults_are_found(change: dict[str, object], code: str) -> None:
    assert codes(lint.lint_fields(style(change))) == {code}


@pytest.mark.parametrize(
    "words",
    ["{who} in Sussex", "{who} on an adelean sea", "{who}, unisexual clothing", "{who}, essex", "{who}, {traits}"],
)
def test_words_within_words_are_no_findings(words: str) -> None:
    assert lint.lint_fields(style({"prompt": words})) == []


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({}, {"sentence_missing"}),
        ({"sentence": "A portrait of {who} in a garden."}, set()),
        ({"families": ["flux2"]}, {"sentence_missing"}),
        ({"bases": ["klein"]}, {"sentence_missing"}),
        ({"families": ["sdxl"]}, set()),
    ],
)
def test_a_style_for_bases_that_read_sentences_wants_them(change: dict[str, object], found: set[str]) -> None:
    here = Installed(bases={"klein": "flux2", "sdxl": "sdxl"}, sentences=frozenset({"klein"}))
    assert codes(lint.lint_fields(style(change), here)) == found
    assert lint.lint_fields(style(change), Installed(bases={"klein": "flux2", "sdxl": "sdxl"})) == []


def test_a_negative_prompt_may_name_blocked_words() -> None:
    assert lint.lint_fields(style({"negative": "nsfw, nude"})) == []


def test_what_is_not_installed_is_found_only_by_who_knows() -> None:
    given = style(
        {
            "loras": [{"model": "film", "base": "sdxl"}, {"model": "gone"}],
            "bases": ["juggernaut"],
            "engines": ["fancy"],
        }
    )
    assert "lora_missing" not in codes(lint.lint_fields(given))
    here = Installed(loras={"film": "sdxl"}, bases={"juggernaut": "sdxl"}, engines=frozenset({"studio"}))
    assert codes(lint.lint_fields(given, here)) == {"lora_missing", "engine_missing"}
    elsewhere = Installed(loras={"film": "sdxl", "gone": "sd15"}, bases={}, engines=frozenset({"fancy"}))
    assert codes(lint.lint_fields(given, elsewhere)) == {"lora_other_base", "base_missing"}
    studio = {"schema": 1, "id": "a", "kind": "studio", "title": "A", "backdrop": "pink", "licence": "CC0-1.0"}
    assert codes(lint.lint_fields(style(start=studio), Installed(backdrops=frozenset({"grey"})))) == {
        "backdrop_unknown"
    }


@pytest.mark.parametrize(
    ("detected", "change", "code"),
    [
        (DetectedFaces(Size(800, 800), ()), {}, "no_face"),
        (DetectedFaces(Size(400, 800), (face(),)), {}, "picture_small"),
        (DetectedFaces(Size(800, 800), (face(width=40),)), {}, "face_small"),
        (DetectedFaces(Size(800, 800), (face(yaw=-50),)), {}, "face_profile"),
        (DetectedFaces(Size(800, 800), (face(left=-5),)), {}, "face_cut"),
        (DetectedFaces(Size(800, 800), (face(),)), {"faces": 2}, "faces_missing"),
    ],
)
def test_faults_of_a_picture_are_found(detected: DetectedFaces, change: dict[str, object], code: str) -> None:
    assert codes(lint.lint_picture(style(change, TEMPLATE), detected)) == {code}


def test_passers_by_need_not_be_fit_for_anything() -> None:
    assert (
        lint.lint_picture(
            style(start=TEMPLATE), DetectedFaces(Size(800, 800), (face(), face(left=500, width=30, yaw=60)))
        )
        == []
    )


def test_a_small_face_is_a_warning_before_it_is_an_error() -> None:
    (found,) = lint.lint_picture(style(start=TEMPLATE), DetectedFaces(Size(800, 800), (face(width=60),)))
    assert (found.code, found.level) == ("face_small", "warning")


def test_another_picture_than_the_one_named_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"other")
    given = style({"picture": {"file": "a.jpg", "sha256": "0" * 64}}, TEMPLATE)
    assert codes(lint.lint_picture_file(tmp_path / "a.jpg", given)) == {"picture_changed"}


def test_a_style_without_a_credit_for_its_picture_is_warned_of() -> None:
    (found,) = lint.lint_fields(style({"credit": ""}, TEMPLATE))
    assert (found.code, found.level) == ("credit_missing", "warning")


def test_traits_fill_the_prompt_with_values_or_safe_defaults() -> None:
    given = style({"traits": {"hat": {"default": ""}}, "prompt": "{who}, {age} {gender}, {hat}, {glasses}, {traits}"})
    assert fill_traits(given.prompt, given, {}) == "{who}, person, {traits}"
    values = {"age": "elderly", "gender": "woman", "hat": "in a straw hat", "glasses": "with glasses"}
    assert fill_traits(given.prompt, given, values) == "{who}, elderly woman, in a straw hat, with glasses, {traits}"


@pytest.mark.parametrize("value", ["{who}", "(naked:1.4)", "<lora:x:1>", "[a|b]"])
def test_a_trait_cannot_add_placeholders_or_weights(value: str) -> None:
    given = style({"traits": {"hat": {"default": "plain"}}, "prompt": "{who}, {hat}, {gender}"})
    assert fill_traits(given.prompt, given, {"hat": value, "gender": value}) == "{who}, plain, person"


def test_placeholders_are_listed_once_in_their_order() -> None:
    assert placeholders("{b} {a} {b} {}") == ["b", "a", ""]
