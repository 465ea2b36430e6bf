"""The command line as a person and as a program meet it, on real engines."""

import json
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import skimage.data

from app.commands import doctor
from pipelines.engines import Engines, status
from pipelines.model_store.store import ModelStore
from portrait.errors import Cancelled, EngineError, OperatorError, UserError
from tasks.settings import load
from tests import selfies
from tests.app.cli_runner import by_name, document, process, run
from tests.fakes import save
from tests.pipelines.test_image_io import bomb, broken, encoded


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of everything that people drop into a folder."""
    folder = tmp_path_factory.mktemp("photos")
    photo = selfies.astronaut()
    for kind, content in broken(photo).items():
        (folder / f"broken {kind}.jpg").write_bytes(content)
    (folder / "bomb.png").write_bytes(bomb())
    (folder / "coffee.jpg").write_bytes(encoded(skimage.data.coffee(), "JPEG"))
    (folder / "group.jpg").write_bytes(encoded(selfies.group(), "JPEG"))
    (folder / "good.jpg").write_bytes(encoded(photo, "JPEG", quality=95))
    variants = {
        "spa ce 'quote\" .png": selfies.rolled(photo, 8),
        "emoji 🎉.png": selfies.rolled(photo, -8),
        "line\nbreak.png": selfies.rolled(photo, 14),
        "--json": selfies.rolled(photo, 20),
    }
    for name, image in variants.items():
        save(folder / name, image)
    for mode in ("CMYK", "P", "L", "LA"):
        moved = PIL.Image.fromarray(selfies.rolled(photo, {"CMYK": 3, "P": -3, "L": 5, "LA": -14}[mode]))
        moved.convert(mode).save(folder / f"{mode}.{'jpg' if mode == 'CMYK' else 'png'}")
    (folder / ".hidden").write_text("not looked at")
    (folder / "subfolder").mkdir()
    return folder


@pytest.fixture(scope="module")
def prepared(folder: Path, engines: Engines, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `portrait prepare` tells of one of everything."""
    answer = run("prepare", folder, "-o", tmp_path_factory.mktemp("prepared") / "set", "--json")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return document(answer)


def test_one_of_everything(prepared: dict[str, Any]) -> None:
    told = by_name(prepared)
    for name, (verdict, codes) in told.items():
        if name.startswith("broken"):
            assert (verdict, codes) == ("refuse", ["unreadable"]), name
    assert told["bomb.png"] == ("refuse", ["too_large"])
    assert told["coffee.jpg"] == ("refuse", ["no_face"])
    assert told["group.jpg"][0] == "refuse"
    assert told["group.jpg"][1][0] == "several_faces"
    good = [
        "good.jpg",
        "spa ce 'quote\" .png",
        "emoji 🎉.png",
        "line\nbreak.png",
        "--json",
        "CMYK.jpg",
        "P.png",
        "L.png",
        "LA.png",
    ]
    assert {name: told[name] for name in good} == {name: ("use", []) for name in good}
    assert ".hidden" not in told
    assert Path(prepared["set"]).name == "set"
    assert (Path(prepared["set"]) / "report.html").is_file()


def test_make_judges_them_as_prepare_does(folder: Path, prepared: dict[str, Any], tmp_path: Path) -> None:
    names = ("good.jpg", "--json", "CMYK.jpg", "coffee.jpg", "group.jpg", "bomb.png", "broken half a jpeg.jpg")
    (tmp_path / "some").mkdir()
    for name in names:
        (tmp_path / "some" / name).write_bytes((folder / name).read_bytes())
    answer = document(run("make", tmp_path / "some", "--style", "studio-grey", "-o", tmp_path / "out", "--json"))
    assert by_name(answer) == {name: by_name(prepared)[name] for name in names}
    assert answer["set"] == str(tmp_path / "out" / "set")
    (drawn,) = answer["portraits"]
    assert drawn["likeness"]["distance"] <= 0.35


@pytest.mark.usefixtures("engines")
def test_a_person_reads_sentences(folder: Path, tmp_path: Path) -> None:
    answer = process("prepare", folder / "good.jpg", folder / "coffee.jpg", "-o", tmp_path / "set")
    assert answer.returncode == 0
    assert "1 used, 0 in reserve, 1 not used." in answer.stdout
    assert "No face was found" in " ".join(answer.stdout.split())
    assert "The photos seem to show: young, smiling." in " ".join(answer.stdout.split())
    assert answer.stderr == ""


@pytest.mark.usefixtures("engines")
def test_what_is_said_of_the_person_stands_in_captions_and_is_kept_for_the_folder(folder: Path, tmp_path: Path) -> None:
    def caption(*more: str) -> str:
        answer = document(run("prepare", folder / "good.jpg", "-o", tmp_path / "set", *more, "--json"))
        assert answer["offered_traits"] == {"age": "young", "expression": "smiling"}
        return (tmp_path / "set/crops/0001.txt").read_text().strip()

    assert caption("--traits", "With glasses, smiling") == "a photo of sks person, with glasses, smiling"
    assert caption() == "a photo of sks person, with glasses, smiling"
    assert caption("--traits", "") == "a photo of sks person"
    refused = run("prepare", folder / "good.jpg", "-o", tmp_path / "set", "--traits", "tall", "--json")
    assert document(refused)["error"]["code"] == "bad_trait"


@pytest.mark.usefixtures("engines")
@pytest.mark.parametrize("turns", [1, 2, 3])
def test_sideways_without_exif_is_turned_upright(tmp_path: Path, turns: int) -> None:
    picture = PIL.Image.fromarray(selfies.astronaut()).rotate(90 * turns, expand=True)
    picture.save(tmp_path / "turned.png")
    answer = document(run("prepare", tmp_path / "turned.png", "-o", tmp_path / "set", "--json"))
    assert by_name(answer)["turned.png"] == ("use", [])
    with PIL.Image.open(tmp_path / "set/references/01.jpg") as reference:
        upright = np.asarray(reference, float)
    assert np.abs(upright - selfies.astronaut()).mean() < 4


@pytest.mark.usefixtures("engines")
def test_reads_from_a_folder_it_may_not_write(folder: Path, tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir()
    (locked / "good.jpg").write_bytes((folder / "good.jpg").read_bytes())
    locked.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        answer = run("prepare", locked, "-o", tmp_path / "set", "--json")
    finally:
        locked.chmod(stat.S_IRWXU)
    assert by_name(document(answer)) == {"good.jpg": ("use", [])}


@pytest.mark.usefixtures("engines")
def test_include_and_exclude_by_name(folder: Path, tmp_path: Path) -> None:
    photos = [folder / "good.jpg", folder / "emoji 🎉.png", folder / "group.jpg"]
    answer = run(
        "prepare", *photos, "-o", tmp_path / "set", "--include", "group.jpg", "--exclude", "emoji 🎉.png", "--json"
    )
    told = by_name(document(answer))
    assert told["group.jpg"][0] == "use"
    assert told["emoji 🎉.png"] == ("spare", ["excluded"])


@pytest.mark.usefixtures("engines")
@pytest.mark.parametrize("photos", [["coffee.jpg"], ["coffee.jpg", "bomb.png", "broken empty.jpg"]])
def test_nothing_usable_is_the_users_to_mend(folder: Path, tmp_path: Path, photos: Sequence[str]) -> None:
    answer = run("prepare", *[folder / name for name in photos], "-o", tmp_path / "set", "--json")
    assert answer.returncode == 3
    told = document(answer)
    assert told["error"]["code"] == "no_usable_photos"
    assert len(told["photos"]) == len(photos)
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize(
    ("words", "code"),
    [(["empty"], "no_photos"), (["nowhere"], "not_found"), (["a.jpg", "--include", "b.jpg"], "not_found")],
)
def test_wrong_paths_are_one_sentence(home: Path, tmp_path: Path, words: list[str], code: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.jpg").write_bytes(b"")
    paths = [str(tmp_path / words[0]), *words[1:]]
    answer = run("prepare", *paths, "-o", tmp_path / "set", "--json")
    assert answer.returncode == 3
    assert document(answer)["error"]["code"] == code
    human = run("prepare", *paths, "-o", tmp_path / "set")
    assert (human.stdout, human.returncode) == ("", 3)
    assert len(human.stderr.strip().splitlines()) == 1


def test_without_models_it_says_what_to_pull(home: Path, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(encoded(selfies.astronaut(), "JPEG"))
    answer = run("prepare", tmp_path / "a.jpg", "-o", tmp_path / "set", "--json")
    assert answer.returncode == 4
    told = document(answer)["error"]
    assert told["code"] == "missing_model"
    assert "portrait models pull" in told["message"]


def test_unknown_engine_says_which_exist(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.jpg").write_bytes(b"")
    monkeypatch.setenv("PORTRAIT_ENGINES__FACES", "yolo")
    answer = run("prepare", tmp_path / "a.jpg", "-o", tmp_path / "s", "--json")
    assert answer.returncode == 4
    assert "blazeface, scrfd" in document(answer)["error"]["message"]


def test_usage_is_exit_code_2() -> None:
    assert process("prepare").returncode == 2
    assert run("no-such-command").returncode == 2


@pytest.mark.usefixtures("engines")
def test_output_that_cannot_be_written(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    answer = run("prepare", folder / "good.jpg", "-o", tmp_path / "file" / "set", "--json")
    assert answer.returncode == 4
    assert document(answer)["error"]["code"] == "cannot_write"
    answer = run("prepare", folder / "good.jpg", "-o", tmp_path / "file", "--json")
    assert document(answer)["error"]["code"] == "folder_taken"


def test_doctor_names_what_is_missing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ask_here(engines: Sequence[str]) -> tuple[list[list[str]], str]:
        """In this process, where the libraries are loaded already; the next test asks as `portrait doctor` does."""
        settings, places = load(), [engine.split("/") for engine in engines]
        return [status(folder, name, settings, ModelStore(settings.models)) for folder, name in places], ""

    monkeypatch.setattr("app.commands.doctor._query_engines", ask_here)
    answer = run("doctor", "--json")
    assert answer.returncode == 4
    told = document(answer)
    assert told["error"]["code"] == "not_ready"
    checks = {each["name"]: each for each in told["checks"]}
    assert not checks["Engine faces/blazeface"]["ok"]
    assert "portrait models pull blazeface" in checks["Engine faces/blazeface"]["mend"]
    assert checks["OpenCV"]["ok"]
    assert checks["Packages"]["ok"]
    assert not checks["Engine faces/scrfd"]["needed"]


@pytest.mark.usefixtures("engines")
def test_doctor_is_content_where_all_is_there_and_no_library_says_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")
    asked, said = doctor._query_engines, list[str]()

    def query(engines: list[str]) -> tuple[list[list[str]], str]:
        answered, last = asked(engines)
        assert len(answered) == len(engines)
        said.append(last)
        return answered, last

    monkeypatch.setattr(doctor, "_query_engines", query)
    answer = run("doctor", "--json")
    assert answer.returncode == 0, answer.stdout
    assert document(answer)["ok"]
    assert said == ["no message"], "the process that imports every engine is silent"


@pytest.mark.usefixtures("engines")
def test_demo_shows_good_and_bad_photos(tmp_path: Path) -> None:
    answer = run("demo", "--out", tmp_path, "--json")
    assert answer.returncode == 0, answer.stderr
    told = by_name(document(answer))
    used = [name for name, (verdict, _) in told.items() if verdict == "use"]
    assert len(used) >= 7
    assert {codes[0] for _, codes in told.values() if codes} >= {"blurred", "dark", "duplicate", "no_face"}
    assert Path(document(answer)["report"]).is_file()
    portraits = {Path(each["file"]).stem: each for each in document(answer)["portraits"]}
    assert len(portraits) == 6
    assert all(each["likeness"]["distance"] < 0.15 for name, each in portraits.items() if name != "group-1")
    assert portraits["group-1"]["likeness"]["distance"] < 0.5
    assert portraits["studio-cool-close-1"]["recipe"]["drawn"]["composition"] == "close"
    broken = {rule["rule"] for rule in portraits["idphoto-passport-1"]["recipe"]["drawn"]["rules"] if not rule["ok"]}
    assert broken == {"smile", "mouth_open"}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UserError("a", "b"), 3),
        (OperatorError("a", "b"), 4),
        (EngineError("a", "b"), 5),
        (Cancelled(), 130),
        (RuntimeError("bug"), 5),
    ],
)
def test_each_branch_has_its_exit_code(
    home: Path, error: Exception, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    from app.terminal.errors import cli_output

    with pytest.raises(SystemExit) as caught, cli_output(True):
        raise error
    assert caught.value.code == code
    assert "error" in json.loads(capsys.readouterr().out)
    if isinstance(error, RuntimeError):
        assert "RuntimeError: bug" in (home / "errors.log").read_text()
