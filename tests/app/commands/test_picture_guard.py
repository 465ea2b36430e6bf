"""The guard of pictures on the command line: photos, pictures, portraits, styles; and what `portrait doctor` says of it."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.commands import doctor
from pipelines.settings import GuardSettings, ModelStoreSettings, Settings
from tests import guard_network, selfies
from tests.app.cli_runner import by_name, document, run
from tests.fakes import save

BLOCKED = "This picture may not be used here. Choose another one."


@pytest.fixture
def store(home: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation with the embedded models and a guard of the test's."""
    monkeypatch.setenv("PORTRAIT_GUARDS__PICTURES", "open_nsfw")
    link_models(settings.models.folder, home / "models")
    return home


def link_models(origin: Path, models: Path) -> None:
    """Have another store hold what one holds, but for the guard."""
    models.mkdir(parents=True)
    for each in origin.iterdir():
        if each.name != "open_nsfw":
            (models / each.name).symlink_to(each)


def code_of(*words: object) -> tuple[str, str]:
    error = document(run(*words, "--json"))["error"]
    return error["code"], error["message"]


def test_every_door_is_shut_and_says_so(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guard_network.write_for_bright(store)
    me = save(tmp_path / "me.png", selfies.astronaut())
    white = save(tmp_path / "white.png", np.full((400, 400, 3), 255, np.uint8))
    prepared = document(run("prepare", me, white, "-o", tmp_path / "set", "--json"))
    assert by_name(prepared) == {"me.png": ("use", []), "white.png": ("refuse", ["blocked"])}
    code, message = code_of("prepare", white, "-o", tmp_path / "other")
    assert (code, message) == ("no_usable_photos", f"The photo cannot be used. {BLOCKED}")
    link_models(store / "models", tmp_path / "models")
    monkeypatch.setenv("PORTRAIT_MODELS__FOLDER", str(tmp_path / "models"))
    guard_network.write(tmp_path, 0.9)
    make = ("make", tmp_path / "set", "--size", "128x160", "-o", tmp_path / "out", "--style")
    code, message = code_of(*make, "studio-grey")
    assert (code, message.split(".")[0]) == ("blocked", "What was drawn may not be delivered")
    assert code_of(*make, me) == ("blocked", BLOCKED)
    assert code_of("idphoto", white, "--out", tmp_path / "id") == ("blocked", BLOCKED)
    assert [path.name for path in (tmp_path / "out").rglob("studio-*")] == []


def test_a_style_with_a_picture_that_may_not_be_used_is_not_published(store: Path, tmp_path: Path) -> None:
    guard_network.write_for_bright(store)
    folder = tmp_path / "white"
    folder.mkdir()
    save(folder / "picture.png", np.full((1400, 1400, 3), 255, np.uint8))
    (folder / "style.toml").write_text(
        'schema = 1\nid = "white"\nkind = "studio"\ntitle = "White"\nlicence = "CC0-1.0"\ncredit = "me"\n'
        'picture = { file = "picture.png" }\n'
    )
    checked = run("styles", "check", folder, "--json")
    found = document(checked)["error"]["details"] if "details" in document(checked)["error"] else document(checked)
    assert "picture_blocked" in checked.stdout, found
    assert run("styles", "add", folder, "--json").returncode == 0
    assert "picture_blocked" in run("styles", "publish", "white", "--json").stdout
    save(folder / "picture.png", np.full((1400, 1400, 3), 90, np.uint8))
    assert "picture_blocked" not in run("styles", "check", folder, "--json").stdout


@pytest.mark.parametrize("wrong", ["missing", "off"])
def test_without_a_guard_nothing_is_drawn_commercially(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    monkeypatch.setenv("PORTRAIT_PROFILE", "commercial")
    if wrong == "off":
        monkeypatch.setenv("PORTRAIT_GUARDS__PICTURES", "")
    me = save(tmp_path / "me.png", selfies.astronaut())
    code, message = code_of("make", me, "--style", "studio-grey", "--size", "128x160", "-o", tmp_path)
    assert code == "guard_missing"
    assert 'guards.missing = "open"' in message
    assert not (tmp_path / "studio-grey-1.jpg").exists()


def checks(settings: Settings) -> dict[str, tuple[bool, bool, str]]:
    return {each.name: (each.ok, each.needed, each.found) for each in doctor._guards(settings)}


def test_doctor_says_which_guards_are_real(tmp_path: Path) -> None:
    given = Settings(models=ModelStoreSettings(tmp_path / "models"))
    assert checks(given)["Guard of pictures"] == (False, False, "none: pictures pass unjudged")
    assert checks(given)["Guard of drawings"] == (False, False, "none: drawings pass it unseen")
    always = replace(given, draw=replace(given.draw, guard="always"))
    assert checks(always)["Guard of drawings"][:2] == (False, True)
    closed = replace(given, profile="commercial")
    assert checks(closed)["Guard of pictures"] == (False, True, "none: no picture is taken or delivered")
    guard_network.write(tmp_path, math.nan)
    assert checks(closed)["Guard of pictures"][:2] == (False, True), "a file that fails is no guard"
    guard_network.write(tmp_path / "other", 0.9)
    good = replace(given, models=ModelStoreSettings(tmp_path / "other" / "models"), guards=GuardSettings(threshold=0.7))
    assert checks(good)["Guard of pictures"] == (True, False, "open_nsfw, from 0.7 on")
    (mend,) = (each.mend for each in doctor._guards(given) if each.name == "Guard of pictures")
    assert "portrait models pull open_nsfw" in mend
