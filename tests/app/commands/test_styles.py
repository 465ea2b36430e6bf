import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from app.cli import app
from app.terminal import styles
from pipelines.settings import Settings
from portrait.errors import UserError
from portrait.ports import FaceFinder
from tests import selfies

FAULTY = 'schema = 1\nid = "mine"\nkind = "text"\ntitle = "Mine"\nlicence = "?"\nprompt = "{who} {colour}, nsfw"\n'


def asked(*given: str) -> tuple[int, dict[str, Any]]:
    answer = CliRunner().invoke(app, ["styles", *given, "--json"])
    return answer.exit_code, json.loads(answer.stdout)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "style.toml").write_text(FAULTY)
    return folder


def test_planted_faults_are_found_and_mended(mine: Path, home: Path) -> None:
    code, answer = asked("check", str(mine), "--words")
    assert code == 4
    assert answer["error"]["code"] == "style_faults"
    found = {each["code"] for each in answer["styles"][0]["findings"]}
    assert found == {"licence_missing", "unknown_placeholder", "unsafe_word"}
    mended = FAULTY.replace('"?"', '"CC0-1.0"').replace(" {colour}, nsfw", " in a garden")
    (mine / "style.toml").write_text(mended)
    assert asked("check", str(mine), "--words") == (0, {"ok": True, "styles": [{"style": "mine", "findings": []}]})


def test_a_style_is_added_exported_and_imported_elsewhere(
    mine: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert asked("add", str(mine))[0] == 0
    assert "mine" in {each["id"] for each in asked("list")[1]["styles"]}
    assert asked("export", "mine", "studio-grey", "-o", str(tmp_path / "pack.zip"))[0] == 0
    assert asked("import", str(tmp_path / "pack.zip"))[1]["error"]["code"] == "style_exists"
    assert asked("import", str(tmp_path / "pack.zip"), "--replace")[0] == 0
    monkeypatch.setenv("PORTRAIT_HOME", str(tmp_path / "elsewhere"))
    assert [each["id"] for each in asked("import", str(tmp_path / "pack.zip"))[1]["styles"]] == ["mine", "studio-grey"]
    assert asked("show", "mine")[1]["style"]["folder"].startswith(str(tmp_path / "elsewhere" / "data" / "styles"))


def test_a_draft_is_checked_mended_published_and_retired(mine: Path, home: Path) -> None:
    assert asked("add", str(mine))[1]["styles"][0]["status"] == "draft"
    code, answer = asked("check", "mine")
    assert (code, answer["error"]["code"]) == (4, "style_faults")
    assert asked("publish", "mine")[1]["error"]["code"] == "style_faults"
    (mine / "style.toml").write_text(FAULTY.replace('"?"', '"CC0-1.0"').replace(" {colour}, nsfw", " in a garden"))
    assert asked("add", str(mine), "--replace")[0] == 0
    assert asked("check", "mine")[1]["ok"]
    assert asked("publish", "mine")[1]["version"] == 1
    assert asked("show", "mine")[1]["style"]["status"] == "published"
    asked("add", str(mine))
    assert asked("publish", "mine")[1]["version"] == 1, "the same again is no change"
    assert asked("stats", "mine")[1]["styles"][0]["uses"] == 0
    assert asked("stats")[1] == {"styles": []}
    assert asked("retire", "mine")[1]["retired"] == [1]
    assert asked("retire", "mine")[1]["retired"] == []
    assert "mine" not in {each["id"] for each in asked("list")[1]["styles"]}
    asked("add", str(mine))
    assert asked("remove", "mine")[0] == 0
    assert asked("remove", "mine")[1]["error"]["code"] == "unknown_style"


def test_listing_styles_makes_no_ledger(home: Path) -> None:
    assert "studio-grey" in {each["id"] for each in asked("list")[1]["styles"]}
    assert not (home / "ledger.db").exists()


@pytest.mark.networks
def test_a_draft_is_tried_out_on_three_people_and_drawn_once_published(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    monkeypatch.setenv("PORTRAIT_MODELS__FOLDER", str(settings.models.folder))
    (tmp_path / "grey").mkdir()
    toml = 'schema = 1\nid = "grey"\nkind = "studio"\ntitle = "Grey"\nbackdrop = "studio-grey"\nlicence = "CC0-1.0"\n'
    (tmp_path / "grey" / "style.toml").write_text(toml)
    asked("add", str(tmp_path / "grey"))
    code, answer = asked("test", "grey", "-o", str(tmp_path / "tried"))
    assert code == 0, answer
    assert [each["sitter"] for each in answer["samples"]] == ["astronaut", "third player", "fourth player"]
    assert all(each["distance"] < 0.6 for each in answer["samples"])
    assert sorted(path.name for path in (tmp_path / "tried").iterdir()) == ["1.jpg", "2.jpg", "3.jpg", "index.html"]
    assert asked("publish", "grey")[1]["version"] == 1
    (tmp_path / "me.png").write_bytes(cv2.imencode(".png", selfies.astronaut()[:, :, ::-1])[1].tobytes())
    out = ["-o", str(tmp_path / "out"), "--json"]
    made = CliRunner().invoke(app, ["make", str(tmp_path / "me.png"), "--style", "grey", "--size", "240x320", *out])
    first = json.loads(made.stdout)["portraits"][0]
    assert first["recipe"]["style"] == {"id": "grey", "version": 1, "kind": "studio"}
    (tmp_path / "grey" / "style.toml").write_text(toml.replace("Grey", "Warm").replace("studio-grey", "studio-warm"))
    asked("add", str(tmp_path / "grey"))
    assert asked("publish", "grey")[1]["version"] == 2
    asked("retire", "grey", "--version", "1")
    again = CliRunner().invoke(app, ["remake", first["file"], "--json"])
    remade = json.loads(again.stdout)["portraits"][0]["file"]
    once, redrawn = cv2.imread(first["file"]), cv2.imread(remade)
    assert once is not None
    assert np.array_equal(once, np.asarray(redrawn))


def test_a_folder_of_pictures_is_imported_and_what_was_left_is_told(home: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "suit.jpg"), cv2.cvtColor(selfies.astronaut(), cv2.COLOR_RGB2BGR))
    code, answer = asked("import", str(tmp_path / "suit.jpg"))
    assert code == 0
    assert [each["id"] for each in answer["styles"]] == ["suit"]
    assert answer["left"][0]["field"] == "licence"
    told = CliRunner().invoke(app, ["styles", "list"])
    assert "suit" in told.stdout


def test_faces_in_pictures_are_looked_for(tmp_path: Path, finder: FaceFinder) -> None:
    folder = tmp_path / "coffee"
    folder.mkdir()
    cv2.imwrite(str(folder / "a.png"), selfies.astronaut()[300:, :200].repeat(3, 0).repeat(3, 1))
    (folder / "style.toml").write_text(
        'schema = 1\nid = "coffee"\nkind = "template"\ntitle = "Coffee"\npicture = { file = "a.png" }\nlicence = "CC0-1.0"\n'
        'credit = "me"\n'
    )
    code, answer = asked("check", str(tmp_path))
    assert code == 4
    assert [each["code"] for each in answer["styles"][0]["findings"]] == ["no_face"]


def test_a_folder_without_styles_is_told(tmp_path: Path) -> None:
    assert asked("check", str(tmp_path))[1]["error"]["code"] == "not_found"


def test_the_schema_is_printed() -> None:
    answer = CliRunner().invoke(app, ["styles", "schema"])
    assert "prompt" in json.loads(answer.stdout)["properties"]


def test_a_draft_of_an_earlier_version_that_names_a_package_breaks_nothing_but_itself(mine: Path, home: Path) -> None:
    assert asked("add", str(mine))[0] == 0
    content = {"id": "mine", "title": "Mine", "kind": "template", "picture": {"package": "no.such", "path": "a.png"}}
    with closing(sqlite3.connect(home / "ledger.db")) as ledger:
        ledger.execute("UPDATE style_drafts SET content = ?", (json.dumps(content),))
        ledger.commit()
    code, answer = asked("list")
    listed = {each["id"]: each["status"] for each in answer["styles"]}
    assert (code, listed["mine"], listed["studio-grey"]) == (0, "broken", "published")
    code, answer = asked("check", "mine")
    assert (code, answer["error"]["code"]) == (4, "bad_style")
    assert "no.such" not in answer["error"]["message"]
    assert asked("add", str(mine), "--replace")[0] == 0
    assert {each["id"]: each["status"] for each in asked("list")[1]["styles"]}["mine"] == "draft"


def test_a_folder_that_names_a_package_is_refused(mine: Path, home: Path) -> None:
    (mine / "style.toml").write_text(
        FAULTY.replace('"text"', '"template"') + "picture = { package = 'six', path = 'six.py' }\n"
    )
    code, answer = asked("add", str(mine))
    assert (code, answer["error"]["code"]) == (4, "bad_style")
    assert "built-in" in answer["error"]["message"]


def test_folders_of_other_tools_come_one_after_the_other(home: Path, tmp_path: Path) -> None:
    for folder, side in (("one", 64), ("two", 80)):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / "1.jpg"), selfies.astronaut()[:side, :side])
    assert [each["id"] for each in asked("import", str(tmp_path / "one"))[1]["styles"]] == ["1"]
    assert [each["id"] for each in asked("import", str(tmp_path / "two"))[1]["styles"]] == ["1-2"]
    again = asked("import", str(tmp_path / "two"))[1]["error"]
    assert (again["code"], "1.jpg: here already, as 1-2" in again["message"]) == ("nothing_to_import", True)
    code, answer = asked("import", str(tmp_path / "two"), "--prefix", "beach", "--replace")
    assert (code, [each["id"] for each in answer["styles"]]) == (0, ["beach-1"])


def test_a_draft_is_called_a_draft_where_somebody_is_to_be_drawn_in_it(mine: Path, home: Path) -> None:
    assert asked("add", str(mine))[0] == 0
    with styles.open_available_styles() as available:
        with pytest.raises(UserError, match=r"mine is a draft.*portrait styles check mine") as caught:
            styles.find_style(available, "mine")
        assert caught.value.code == "unknown_style"
        with pytest.raises(UserError, match="There is no style 'theirs'"):
            styles.find_style(available, "theirs")
        assert styles.find_style(available, "studio-grey").style.id == "studio-grey"
