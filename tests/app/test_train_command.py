"""`portrait train` and `portrait identities` on tiny bases, as a person and as a program meet them."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipelines import sets
from tests import tiny
from tests.pipelines.engines import lessons

PORTRAIT = Path(sys.executable).with_name("portrait")
QUICK = ("--steps", "3", "--rank", "4", "--rate", "0.01", "--batch", "1")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a training set and both bases."""
    folder = tmp_path_factory.mktemp("train")
    sets.write(lessons.photos(), folder / "set")
    tiny.sd15(folder / "sd15")
    tiny.sdxl(folder / "sdxl")
    return folder


def run(place: Path, *words: object) -> subprocess.CompletedProcess[str]:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PORTRAIT_")},
        "PORTRAIT_HOME": str(place / "home"),
        "PORTRAIT_TRAIN__EXAM__EVERY": "0",
        "OMP_NUM_THREADS": "1",
    }
    command = [str(PORTRAIT), *[str(word) for word in words]]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=place, timeout=600)


def document(answer: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert "Traceback" not in answer.stderr
    return json.loads(answer.stdout)


def test_from_a_set_to_an_identity_and_on(place: Path) -> None:
    answer = run(place, "train", "set", "--base", "sdxl", "-o", "ann", *QUICK, "--json")
    assert answer.returncode == 0, answer.stderr
    made = document(answer)
    assert (made["base"]["family"], made["steps"], made["rank"], made["trigger"]) == ("sdxl", 3, 4, "sks")
    assert sorted(path.name for path in (place / "ann").iterdir()) == [
        "identity.json",
        "lora-webui.safetensors",
        "lora.safetensors",
        "report.html",
    ]
    assert not (place / ".ann.lesson").exists()
    more = run(place, "train", "set", "--base", "sdxl", "-o", "bob", "--from", "ann", *QUICK, "--seed", "5", "--json")
    assert more.returncode == 0, more.stderr
    merged = run(place, "identities", "merge", "ann", "bob", "-o", "both", "--json")
    assert merged.returncode == 0, merged.stderr
    assert set(document(merged)["merged"].values()) == {0.5}
    listed = document(run(place, "identities", "list", ".", "--json"))
    assert [Path(each["folder"]).name for each in listed["identities"]] == ["ann", "bob", "both"]
    assert "sks person on sdxl" in run(place, "identities", "show", "both").stdout
    exported = run(place, "identities", "export", "both", "-o", "both.safetensors")
    assert exported.returncode == 0, exported.stderr
    assert (place / "both.safetensors").read_bytes() == (place / "both/lora-webui.safetensors").read_bytes()
    assert run(place, "identities", "delete", "both").returncode == 0
    assert not (place / "both").exists()


def test_a_plan_and_wrong_wishes(place: Path) -> None:
    plan = document(run(place, "train", "set", "--base", "sd15", "--plan", "--json"))
    assert (plan["steps"], plan["side"], plan["device"]) == (600, 64, "cpu")
    assert plan["memory"] > 0
    for words, code, status in (
        (("set", "--base", "nothing", "-o", "x"), "unknown_base", 4),
        (("sd15", "--base", "sd15", "-o", "x"), "broken_set", 3),
        (("set", "--base", "sd15"), "no_place", 3),
        (("set", "--base", "sd15", "-o", "sdxl"), "folder_taken", 3),
    ):
        answer = run(place, "train", *words, "--json")
        assert document(answer)["error"]["code"] == code
        assert answer.returncode == status


def test_a_base_becomes_a_file_and_a_folder_again(place: Path) -> None:
    answer = run(place, "models", "convert", "sd15", "-o", "one.safetensors", "--json")
    assert answer.returncode == 0, answer.stderr
    assert document(answer)["written"] == "one.safetensors"
    again = run(place, "models", "convert", "one.safetensors", "-o", "folder", "--json")
    assert document(again)["error"]["code"] == "bad_base", "nothing here says how the file is built"
