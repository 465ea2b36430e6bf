import json
from pathlib import Path

import pytest

from app.commands.evaluate import list_pictures, read_prompts
from portrait.errors import UserError
from tests import selfies
from tests.app.cli_runner import document, run
from tests.fakes import save


def test_a_folder_is_measured_and_its_page_lies_beside_the_pictures(tmp_path: Path) -> None:
    save(tmp_path / "0.png", selfies.astronaut())
    (tmp_path / "portraits.json").write_text("{}")
    answer = document(run("evaluate", tmp_path, "--json"))
    assert answer["measures"]["sharpness"]["faces"] == 1
    assert answer["measures"]["sharpness"]["value"] > 0.2
    assert [each["name"] for each in answer["pictures"]] == ["0.png"]
    assert answer["missing"]["likeness"] == "Name the person with --person SET."
    assert (tmp_path / "evaluation.html").read_text().count("<figure>") == 1


def test_a_folder_without_pictures_is_told(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    assert document(run("evaluate", tmp_path, "--json"))["error"]["code"] == "no_photos"
    with pytest.raises(UserError, match="no folder"):
        list_pictures(tmp_path / "nowhere")


def test_prompts_are_one_for_all_one_for_each_or_by_name(tmp_path: Path) -> None:
    file, names = tmp_path / "prompts", ["a.png", "b.png"]
    file.write_text("a portrait\n")
    assert read_prompts(file, names) == {"a.png": "a portrait", "b.png": "a portrait"}
    file.write_text("one\n\ntwo\n")
    assert read_prompts(file, names) == {"a.png": "one", "b.png": "two"}
    file.write_text(json.dumps({"b.png": "two"}))
    assert read_prompts(file, names) == {"b.png": "two"}


@pytest.mark.parametrize("text", ["one\ntwo\nthree", "{broken", '{"a.png": 3}', ""])
def test_prompts_that_fit_no_picture_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "prompts").write_text(text)
    with pytest.raises(UserError) as caught:
        read_prompts(tmp_path / "prompts", ["a.png", "b.png"])
    assert caught.value.code == "bad_prompts"
