import json
from pathlib import Path

import cv2
import pytest
from typer.testing import CliRunner

from app.cli import app
from portrait.ports import FaceFinder
from tests import selfies


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "me.png"
    cv2.imwrite(str(path), cv2.cvtColor(selfies.astronaut(), cv2.COLOR_RGB2BGR))
    return path


def test_presets_are_listed_with_their_sources() -> None:
    answer = json.loads(CliRunner().invoke(app, ["idphoto", "--list", "--json"]).stdout)
    assert {each["id"]: each["pixels"] for each in answer["presets"]}["us-passport"] == [600, 600]
    assert all(each["source"] for each in answer["presets"])


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (["--preset", "atlantis"], "unknown_preset"),
        (["--sheet", "a3"], "unknown_paper"),
        (["--background", "pink"], "bad_background"),
        (["--preset", "us-visa-online", "--sheet", "10x15"], "paper_too_small"),
    ],
)
def test_wrong_wishes_are_refused_before_any_work(photo: Path, given: list[str], code: str) -> None:
    answer = CliRunner().invoke(app, ["idphoto", str(photo), *given, "--json"])
    assert answer.exit_code == 3
    assert json.loads(answer.stdout)["error"]["code"] == code


def test_a_photo_that_is_not_there_is_told(tmp_path: Path, finder: FaceFinder) -> None:
    answer = CliRunner().invoke(app, ["idphoto", str(tmp_path / "gone.jpg"), "--json"])
    assert json.loads(answer.stdout)["error"]["code"] == "not_found"


def test_a_training_set_gives_its_best_reference(tmp_path: Path, finder: FaceFinder) -> None:
    (tmp_path / "photos").mkdir()
    for number, scale in enumerate((1.0, 1.4)):
        image = cv2.resize(selfies.astronaut(), None, fx=scale, fy=scale)
        cv2.imwrite(str(tmp_path / "photos" / f"{number}.png"), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    prepared = CliRunner().invoke(app, ["prepare", str(tmp_path / "photos"), "-o", str(tmp_path / "set"), "--json"])
    assert prepared.exit_code == 0, prepared.output
    answer = CliRunner().invoke(app, ["idphoto", str(tmp_path / "set"), "-o", str(tmp_path / "out"), "--json"])
    assert answer.exit_code == 0, answer.output
    assert json.loads(answer.stdout)["idphotos"][0]["preset"] == "icao"


def test_a_selfie_becomes_id_photos_and_sheets(photo: Path, tmp_path: Path, finder: FaceFinder) -> None:
    out = tmp_path / "out"
    given = [
        "idphoto",
        str(photo),
        "--preset",
        "us-passport",
        "--preset",
        "cn-visa-online",
        "--sheet",
        "a4",
        "-o",
        str(out),
    ]
    answer = CliRunner().invoke(app, [*given, "--json"])
    assert answer.exit_code == 0, answer.output
    document = json.loads(answer.stdout)
    assert document == json.loads((out / "idphotos.json").read_text())
    assert [each["preset"] for each in document["idphotos"]] == ["us-passport", "cn-visa-online"]
    assert {path.name for path in out.iterdir()} == {
        "us-passport.jpg", "us-passport-a4.jpg", "us-passport-a4.pdf",
        "cn-visa-online.jpg", "cn-visa-online-a4.jpg", "cn-visa-online-a4.pdf", "idphotos.json",
    }  # fmt: skip
    smile = next(rule for rule in document["idphotos"][0]["photo"] if rule["rule"] == "smile")
    assert not smile["ok"]
    assert smile["tip"]
    told = CliRunner().invoke(app, given)
    assert "You smile" in told.stdout
