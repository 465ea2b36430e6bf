from pathlib import Path

import pytest

from portrait.errors import OperatorError
from templates.catalog import Catalog, add_style
from templates.lint import lint_fields
from templates.schema import StyleFile, group_of, json_schema, read_style, write_style
from templates.style import to_style

FULL = {
    "schema": 1, "id": "garden", "kind": "text", "version": 3, "title": "Garden", "titles": {"zh": "花园", "pt-BR": "Jardim"},
    "prompt": "{who}, {hat} in a garden\nat \"noon\"", "negative": "blur", "licence": "CC0-1.0", "mood": "calm",
    "author": "Anna", "status": "draft", "sentence": "A {who} in a garden.",
    "aspects": ["4:5", "1:1"], "engines": ["diffusion"], "bases": ["sdxl-base"], "families": ["sdxl"],
    "strengths": {"lora": 0.8}, "start_merge_step": 0.3, "loras": [{"model": "film", "strength": 0.6, "base": "sdxl"}],
    "traits": {"hat": {"default": "", "choices": ["with a hat"]}}, "carried": {"other": {"deep": [1, "a"]}}, "tags": ["fun"],
}  # fmt: skip


def test_a_style_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    style = StyleFile.model_validate(FULL)
    write_style(style, tmp_path / "style.toml")
    assert read_style(tmp_path / "style.toml") == style
    for entry in Catalog().entries():
        write_style(entry.style, tmp_path / "style.toml")
        assert read_style(tmp_path / "style.toml") == entry.style


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": ""},
        {"backdrop": "studio-grey"},
        {"status": "hidden"},
        {"aspects": ["4x5"]},
        {"titles": {"Chinese": "x"}},
        {"strengths": {"lora": 3}},
        {"traits": {"Hat!": {}}},
        {"loras": [{"strength": 1}]},
        {"loras": [{"model": "film", "source": "/etc/passwd"}]},
        {"picture": {"file": "a.jpg", "sha256": "xyz"}},
        {"passes": {"face": 0.5}},
        {"compositions": ["close"]},
    ],
)
def test_what_does_not_hold_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        StyleFile.model_validate({**FULL, **change})


def test_photomakers_strength_is_its_merge_step_as_in_version_0_1_0() -> None:
    plain = {name: each for name, each in FULL.items() if name != "start_merge_step"}
    old = to_style(StyleFile.model_validate({**plain, "strengths": {"lora": 0.8, "photomaker": 0.4}})).prompt_spec
    new = to_style(StyleFile.model_validate({**plain, "start_merge_step": 0.4})).prompt_spec
    assert old is not None
    assert old == new
    assert (old.strengths, old.start_merge_step) == ({"lora": 0.8}, 0.4)
    both = to_style(StyleFile.model_validate({**FULL, "strengths": {"photomaker": 0.4}})).prompt_spec
    assert both is not None
    assert both.start_merge_step == 0.3


STUDIO = {"schema": 1, "id": "hall", "kind": "studio", "title": "Hall", "backdrop": "studio-grey", "licence": "CC0-1.0"}


@pytest.mark.parametrize("names", [["closest"], ["close", "close"]])
def test_compositions_are_named_once_and_by_name(names: list[str]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        StyleFile.model_validate({**STUDIO, "compositions": names})


def test_a_studio_style_says_which_compositions_it_suits(tmp_path: Path) -> None:
    style = StyleFile.model_validate({**STUDIO, "compositions": ["half_figure", "close"]})
    write_style(style, tmp_path / "style.toml")
    assert to_style(read_style(tmp_path / "style.toml")).compositions == ("half_figure", "close")
    alone = StyleFile.model_validate({**STUDIO, "compositions": ["half_figure"]})
    assert [(each.code, each.level) for each in lint_fields(alone)] == [("composition_rare", "warning")]
    assert lint_fields(style) == []


def test_a_studio_style_may_have_a_picture_as_its_backdrop(tmp_path: Path) -> None:
    own = {**STUDIO, "backdrop": "", "picture": {"file": "picture.jpg"}, "blur": 0.5}
    style = StyleFile.model_validate(own)
    write_style(style, tmp_path / "style.toml")
    assert read_style(tmp_path / "style.toml") == style
    assert (to_style(style).backdrop, to_style(style).blur, group_of(style)) == ("", 0.5, "place")
    assert group_of(StyleFile.model_validate({**own, "group": "backdrop"})) == "backdrop"
    for change in ({"backdrop": "studio-grey"}, {"picture": None}, {"blur": 1.5}):
        with pytest.raises(ValueError, match=r"backdrop|blur"):
            StyleFile.model_validate({**own, **change})
    with pytest.raises(ValueError, match="blurred"):
        StyleFile.model_validate({**STUDIO, "blur": 0.5})


INTO = {
    "schema": 1, "id": "moon", "kind": "template", "title": "Moon", "picture": {"file": "a.jpg"}, "licence": "CC0-1.0",
    "engines": ["diffusion"], "prompt": "{who} in a space suit", "loras": [{"model": "film", "strength": 0.6}],
    "passes": {"face": 0.6, "seam": 0, "controls": {"tile": 0.5}, "needs": ["canny", "tile"]},
}  # fmt: skip


def test_a_template_that_is_drawn_into_is_read_back(tmp_path: Path) -> None:
    style = StyleFile.model_validate(INTO)
    write_style(style, tmp_path / "style.toml")
    assert read_style(tmp_path / "style.toml") == style


@pytest.mark.parametrize(
    "passes",
    [
        {"face": 1.2},
        {"ring": -0.1},
        {"controls": {"depth": 0.5}},
        {"controls": {"tile": 2}},
        {"needs": ["luck"]},
        {"eyes": 1},
    ],
)
def test_passes_that_do_not_hold_are_refused(passes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="passes"):
        StyleFile.model_validate({**INTO, "passes": passes})


def test_the_json_schema_knows_every_field() -> None:
    schema = json_schema()
    assert schema["$schema"].endswith("2020-12/schema")
    assert set(schema["properties"]) >= set(FULL) | {"backdrop", "picture", "faces", "retouch", "refiners", "credit"}
    assert schema["additionalProperties"] is False


def test_a_folder_is_added_completely_and_once(tmp_path: Path) -> None:
    source = tmp_path / "mine"
    source.mkdir()
    write_style(StyleFile.model_validate(FULL), source / "style.toml")
    (source / "notes.txt").write_text("x")
    (source / "link").symlink_to("/etc/passwd")
    entry = add_style(source, tmp_path / "styles")
    assert {each.name for each in entry.folder.iterdir()} == {"style.toml", "notes.txt"}
    assert [each.name for each in (tmp_path / "styles").iterdir()] == ["garden"]
    with pytest.raises(Exception, match="already"):
        add_style(source, tmp_path / "styles")
    (source / "style.toml").write_text("nonsense")
    with pytest.raises(OperatorError):
        add_style(source, tmp_path / "other")
    assert not (tmp_path / "other").exists()
