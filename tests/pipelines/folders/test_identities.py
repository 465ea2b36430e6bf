"""An identity's folder: whole or not there, read back, exported, merged in words, deleted."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipelines.folders import identities
from pipelines.pages import identity
from portrait.errors import UserError
from portrait.training import TrainingResult, ValidationResult
from portrait.types import Crop, TrainingSet
from tests import fakes

VALIDATION = ValidationResult(100, 0.41, 1.0, 0.3, False)
PICTURE = fakes.picture(1, 1, 80)
TRAINING = TrainingSet(
    (Crop(PICTURE, "a photo of <sks> person", "1.png"),), (), {"dlib": np.ones(4, np.float32)}, (), "sks", "person"
)


def make_training_result(work_dir: Path) -> TrainingResult:
    """What came of a lesson, with files that hold nothing real."""
    work_dir.mkdir(exist_ok=True)
    for name in ("lora", "webui"):
        (work_dir / name).write_bytes(name.encode())
    return TrainingResult(
        lora=work_dir / "lora",
        kohya_lora=work_dir / "webui",
        tokens=None,
        steps=200,
        chosen="step 100",
        trigger="sks",
        losses=tuple(0.5 / (1 + step) for step in range(200)),
        validations=(VALIDATION, replace(VALIDATION, step=200, distance=0.5)),
        test_results={"step 100": VALIDATION},
        sample_images=(("a photo of <sks> person", PICTURE),),
        notes=("It stopped early & well.",),
        facts={
            "family": "sd15",
            "base": "small",
            "base_hash": "ab" * 32,
            "rank": 4,
            "unet": {},
            "packages": {"torch": "2.13"},
            "settings": {"seed": 3},
            "seconds": 12.5,
        },
    )


def write(folder: Path, work_dir: Path) -> identities.StoredIdentity:
    result = make_training_result(work_dir)
    description = identities.make_description(result, TRAINING)
    page = identity.render(description, result, TRAINING)
    assert result.lora is not None
    assert result.kohya_lora is not None
    return identities.write(
        folder, description, {identities.LORA_FILE: result.lora, identities.WEBUI_FILE: result.kohya_lora}, page
    )


def test_an_identity_is_read_back(tmp_path: Path) -> None:
    stored = write(tmp_path / "ann", tmp_path / "desk")
    assert sorted(path.name for path in stored.folder.iterdir()) == [
        "identity.json",
        "lora-webui.safetensors",
        "lora.safetensors",
        "report.html",
    ]
    identity = identities.read(stored.folder).identity
    assert (identity.trigger, identity.class_word, identity.base) == ("sks", "person", "small")
    assert identity.lora == stored.folder / "lora.safetensors"
    assert identity.tokens is None
    assert identity.mean_embeddings["dlib"].tolist() == [1, 1, 1, 1]
    description = json.loads((stored.folder / "identity.json").read_text())
    assert {"schema", "base", "rank", "steps", "settings", "packages", "scores", "trigger"} <= description.keys()
    assert description["base"] == {"name": "small", "family": "sd15", "hash": "ab" * 32}
    assert description["scores"]["held_out"]["step 100"]["distance"] == 0.41


def test_the_page_shows_curves_and_pictures_and_escapes_words(tmp_path: Path) -> None:
    page = (write(tmp_path / "ann", tmp_path / "desk").folder / "report.html").read_text()
    assert page.count("<polyline") == 2
    assert page.count("<img") == 2
    assert "&lt;sks&gt;" in page
    assert "<sks>" not in page
    assert "(taken)" in page
    assert "early &amp; well" in page
    assert "http" not in page.replace("http-equiv", "")


def test_an_earlier_identity_is_replaced_and_other_things_are_left_alone(tmp_path: Path) -> None:
    write(tmp_path / "ann", tmp_path / "desk")
    write(tmp_path / "ann", tmp_path / "desk")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ann", "desk"]
    with pytest.raises(UserError) as caught:
        write(tmp_path / "desk", tmp_path / "other")
    assert caught.value.code == "folder_taken"
    assert (tmp_path / "desk/lora").is_file()


def test_list_export_and_delete(tmp_path: Path) -> None:
    write(tmp_path / "people/ann", tmp_path / "desk")
    write(tmp_path / "people/bob", tmp_path / "desk")
    (tmp_path / "people/broken").mkdir()
    (tmp_path / "people/broken/identity.json").write_text("{}")
    assert [each.folder.name for each in identities.list_identities(tmp_path / "people")] == ["ann", "bob"]
    assert identities.list_identities(tmp_path / "nowhere") == []
    file = identities.export_lora(tmp_path / "people/ann", tmp_path / "out/ann.safetensors", "webui")
    assert file.read_bytes() == b"webui"
    with pytest.raises(UserError, match="there already"):
        identities.export_lora(tmp_path / "people/ann", file, "diffusers")
    assert identities.delete(tmp_path / "people/ann")[0] == "identity.json"
    assert [path.name for path in (tmp_path / "people").iterdir() if path.name.startswith((".", "ann"))] == []
    with pytest.raises(UserError) as caught:
        identities.delete(tmp_path / "out")
    assert caught.value.code == "not_found"
    assert file.exists()


@pytest.mark.parametrize("text", ["", "{", "{}", '{"schema": 9}', "[]"])
def test_what_is_no_identity_says_so(tmp_path: Path, text: str) -> None:
    (tmp_path / "identity.json").write_text(text)
    with pytest.raises(UserError) as caught:
        identities.read(tmp_path)
    assert caught.value.code == "broken_identity"


@pytest.mark.parametrize("likeness", [[10**400], [3.5e38], [float("nan")], 3.5e38, [[1.0]], ["a"]])
def test_an_identity_whose_vectors_are_no_vectors_says_so(tmp_path: Path, likeness: object) -> None:
    stored = write(tmp_path / "ann", tmp_path / "desk")
    content = {**stored.description, "likeness": {"dlib": likeness}}
    (stored.folder / identities.DESCRIPTION_FILE).write_text(json.dumps(content))
    with pytest.raises(UserError) as caught:
        identities.read(stored.folder)
    assert caught.value.code == "broken_identity"


@pytest.mark.parametrize("name", [identities.LORA_FILE, identities.TOKENS_FILE])
def test_an_identity_that_lost_a_part_of_what_was_learned_says_so(tmp_path: Path, name: str) -> None:
    stored = write(tmp_path / "ann", tmp_path / "desk")
    (stored.folder / identities.TOKENS_FILE).write_bytes(b"rows")
    content = {**stored.description, "settings": {"lora": True, "token": True}}
    (stored.folder / identities.DESCRIPTION_FILE).write_text(json.dumps(content))
    assert identities.read(stored.folder).identity.tokens is not None
    (stored.folder / name).unlink()
    with pytest.raises(UserError, match=f"lost its {name}") as caught:
        identities.read(stored.folder)
    assert caught.value.code == "broken_identity"


def test_only_identities_of_one_base_are_merged(tmp_path: Path) -> None:
    one = write(tmp_path / "ann", tmp_path / "desk")
    both = identities.make_merged_description([one, one], [0.25, 0.75], "id")
    assert both["steps"] == 400
    assert both["likeness"]["dlib"] == [1, 1, 1, 1]
    stranger = identities.StoredIdentity(
        one.folder, {**one.description, "base": {**one.description["base"], "hash": "cd"}}
    )
    renamed = identities.StoredIdentity(one.folder, {**one.description, "trigger": "abc"})
    for parts in ([one], [one, stranger], [one, renamed]):
        with pytest.raises(UserError) as caught:
            identities.make_merged_description(parts, [1.0], "id")
        assert caught.value.code == "cannot_merge"


@pytest.mark.parametrize("place", ["pytorch_lora_weights.safetensors", "."], ids=["the file", "its folder"])
def test_a_lora_of_another_program_is_to_be_imported(tmp_path: Path, place: str) -> None:
    (tmp_path / "pytorch_lora_weights.safetensors").write_bytes(b"factors")
    with pytest.raises(UserError, match=r"weights\.safetensors is a LoRA .* `portrait identities import`") as caught:
        identities.read(tmp_path / place)
    assert caught.value.code == "broken_identity"
    (tmp_path / "identity.json").write_text("{}")
    with pytest.raises(UserError, match="not a whole identity"):
        identities.read(tmp_path)
