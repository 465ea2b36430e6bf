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
        (["--size", "90x120mm", "--sheet", "5in"], "paper_too_small"),
        (["--size", "35x45"], "bad_size"),
        (["--size", "3500x4500mm"], "bad_size"),
        (["--size", f"{'9' * 400}x45mm"], "bad_size"),
        (["--size", "0x45mm"], "bad_size"),
        (["--kilobytes", "few"], "bad_file_size"),
        (["--kilobytes", "50-20"], "bad_file_size"),
        (["--kilobytes", "9" * 400], "bad_file_size"),
        (["--sheet", "10x15", "--gap", "wide"], "bad_size"),
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


def test_an_own_size_goes_before_the_presets(photo: Path, tmp_path: Path, finder: FaceFinder) -> None:
    out = tmp_path / "out"
    given = [
        "--preset",
        "one-inch",
        "--size",
        "413x531px",
        "--dpi",
        "300",
        "--kilobytes",
        "20-50",
        "--background",
        "blue",
    ]
    answer = CliRunner().invoke(
        app, ["idphoto", str(photo), *given, "--sheet", "10x15", "--gap", "5mm", "-o", str(out), "--json"]
    )
    assert answer.exit_code == 0, answer.output
    made = json.loads(answer.stdout)["idphotos"][0]
    assert (made["pixels"], made["dpi"], made["background"]) == ([413, 531], 300, "blue")
    size = next(rule for rule in made["rules"] if rule["rule"] == "file_size")
    assert size["ok"]
    assert size["allowed"] == [20, 50]
    assert {path.name for path in out.iterdir()} == {
        "one-inch-413x531px.jpg", "one-inch-413x531px-10x15.jpg", "one-inch-413x531px-10x15.pdf", "idphotos.json",
    }  # fmt: skip


def test_a_photo_that_cuts_the_person_is_refused(tmp_path: Path, finder: FaceFinder) -> None:
    path = tmp_path / "close.png"
    cv2.imwrite(str(path), cv2.cvtColor(selfies.astronaut()[:195], cv2.COLOR_RGB2BGR))
    answer = CliRunner().invoke(app, ["idphoto", str(path), "-o", str(tmp_path / "out"), "--json"])
    assert answer.exit_code == 3
    assert json.loads(answer.stdout)["error"]["code"] == "no_shoulders"
    assert not (tmp_path / "out").exists()


def test_presets_that_nobody_compared_say_so() -> None:
    listed = json.loads(CliRunner().invoke(app, ["idphoto", "--list", "--json"]).stdout)["presets"]
    assert {each["checked"] is None for each in listed} == {True, False}
    assert "not compared" in " ".join(
        CliRunner().invoke(app, ["idphoto", "--list"], env={"COLUMNS": "250"}).stdout.split()
    )
