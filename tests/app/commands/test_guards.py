"""The guards of commands: a child's photos, faces that the installation never draws, words."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from app.cli import app
from app.terminal.portraits import check_set, check_words
from pipelines.engines.attributes.dlib import DlibAttributes
from pipelines.folders import training_sets
from pipelines.guards import ages
from pipelines.settings import Settings
from portrait.errors import UserError
from portrait.generation.edits import Edit
from portrait.generation.options import GenerationOptions
from portrait.ports import Attributes
from portrait.types import PortraitRequest, Style
from tasks.ledger.ledger import open_ledger
from tasks.ledger.privacy.blocked_people import BlockedPersonRow
from tests import selfies
from tests.app.cli_runner import document, run

SMALL = ("--style", "studio-grey", "--size", "256x320", "--json")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training set of the astronaut, whose photos ask for nobody."""
    folder = tmp_path_factory.mktemp("me")
    (folder / "me.jpg").write_bytes(selfies.jpeg(selfies.astronaut()))
    answer = document(run("prepare", folder, "-o", folder / "set", "--json"))
    assert answer["asks_guardian"] is False
    return folder / "set"


def asking(prepared: Path, folder: Path) -> Path:
    """A copy of the set, as if its photos asked for a guardian."""
    training_sets.write(replace(training_sets.read(prepared), asks_guardian=True), folder)
    return folder


def test_a_childs_photos_are_drawn_after_a_guardian_agreed(prepared: Path, tmp_path: Path) -> None:
    child = asking(prepared, tmp_path / "set")
    refused = run("make", child, *SMALL, "-o", tmp_path / "out")
    assert refused.returncode == 3
    error = document(refused)["error"]
    assert error["code"] == "guardian_needed"
    assert "--guardian NAME" in error["message"]
    assert not list((tmp_path / "out").glob("*.jpg"))
    # A style that is not there: nothing is drawn, which takes time, and the guard was passed.
    passed = run("make", child, "--style", "none", "--json", "-o", tmp_path / "out", "--guardian", "Bea")
    assert document(passed)["error"]["code"] == "unknown_style"
    assert ages.read(child) == ages.Answer("Bea"), "nobody is asked again"


def test_an_id_photo_of_a_set_asks_too(prepared: Path, tmp_path: Path) -> None:
    child = asking(prepared, tmp_path / "set")
    refused = run("idphoto", child, "--out", tmp_path / "out", "--json")
    assert document(refused)["error"]["code"] == "guardian_needed"
    assert not (tmp_path / "out").exists()


@pytest.fixture
def child_photo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A photo by itself, whose face the network takes for a child's."""
    monkeypatch.setattr(DlibAttributes, "estimate", lambda *_: Attributes(female=0.5, age=9.0, minor=0.9))
    (tmp_path / "me.jpg").write_bytes(selfies.jpeg(selfies.astronaut()))
    return tmp_path / "me.jpg"


def idphoto(*given: object) -> dict[str, Any]:
    """What `portrait idphoto` answers in this process."""
    return json.loads(CliRunner().invoke(app, ["idphoto", *map(str, given), "--json"]).stdout)


def test_an_id_photo_of_a_photo_that_was_never_judged_asks_too(child_photo: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    error = idphoto(child_photo, "--out", out)["error"]
    assert error["code"] == "guardian_needed"
    assert "portrait idphoto" in error["message"]
    assert not out.exists()
    both = idphoto(child_photo, "--out", out, "--guardian", "Bea", "--adult")
    assert both["error"]["code"] == "guardian_needed"
    assert idphoto(child_photo, "--out", out, "--guardian", "Bea")["idphotos"]
    assert idphoto(child_photo, "--out", out, "--adult")["idphotos"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["me.jpg", "out"], "a photo has no place for an answer"


def test_an_id_photo_of_a_set_notes_the_answer(prepared: Path, tmp_path: Path) -> None:
    child = asking(prepared, tmp_path / "set")
    assert idphoto(child, "--out", tmp_path / "out", "--guardian", "Bea")["idphotos"]
    assert ages.read(child) == ages.Answer("Bea")


def test_training_asks_too(prepared: Path, tmp_path: Path) -> None:
    child = asking(prepared, tmp_path / "set")
    refused = run("train", child, "-o", tmp_path / "identity", "--json")
    assert document(refused)["error"]["code"] == "guardian_needed"


def test_preparing_again_keeps_the_answer(prepared: Path, tmp_path: Path) -> None:
    ages.note(asking(prepared, tmp_path / "set"), ages.Answer(adult=True))
    assert run("prepare", prepared.parent / "me.jpg", "-o", tmp_path / "set", "--json").returncode == 0
    assert ages.read(tmp_path / "set") == ages.Answer(adult=True)


def test_whom_the_installation_never_draws_is_not_drawn_by_commands(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mean = json.loads((prepared / "set.json").read_text())["likeness"]
    monkeypatch.setenv("PORTRAIT_TASKS__DATABASE", f"sqlite:///{tmp_path / 'ledger.db'}")
    training = training_sets.read(prepared)
    check_set(Settings(), training, prepared)
    assert not (tmp_path / "ledger.db").exists(), "a home without a ledger stays without one"
    ledger = open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    check_set(Settings(), training, prepared)
    ledger.blocked_people.add(BlockedPersonRow("blocked_1", "a letter", "op", 1.0, mean))
    refused = run("make", prepared, *SMALL, "-o", tmp_path / "out")
    assert document(refused)["error"]["code"] == "person_blocked"
    for photo in (prepared, prepared.parent / "me.jpg"):
        assert idphoto(photo, "--out", tmp_path / "out")["error"]["code"] == "person_blocked"
    ledger.blocked_people.remove("blocked_1")
    ledger.close()
    check_set(Settings(), training, prepared)


def test_words_of_traits_and_edits_are_looked_at() -> None:
    request = PortraitRequest({}, Style("film", 1, "text", "Film"), seed=0, count=1)
    check_words(Settings(), request)
    said = replace(request, options=GenerationOptions(traits="topless"))
    edited = replace(request, edit=Edit("change", selfies.astronaut(), "", 0.5, "naked"))
    for each in (said, edited):
        with pytest.raises(UserError, match="may not be drawn"):
            check_words(Settings(), each)
    mild = replace(request, options=GenerationOptions(traits="in a bikini"))
    check_words(Settings(), mild)
    with pytest.raises(UserError):
        check_words(Settings(), mild, child=True)
