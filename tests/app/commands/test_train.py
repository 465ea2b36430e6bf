"""`portrait train` and `portrait identities` on tiny bases, as a person and as a program meet them."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from pipelines.folders import training_sets
from tests import tiny
from tests.app.cli_runner import document, process, run
from tests.pipelines.engines import tiny_training

QUICK = ("--steps", "3", "--rank", "4", "--rate", "0.01", "--batch", "1")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a training set and both bases."""
    folder = tmp_path_factory.mktemp("train")
    training_sets.write(tiny_training.training_set(), folder / "set")
    tiny.sd15(folder / "sd15")
    tiny.sdxl(folder / "sdxl")
    return folder


@pytest.fixture(autouse=True)
def here(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In that folder, with an installation of its own, on one thread."""
    for name in [name for name in os.environ if name.startswith("PORTRAIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PORTRAIT_HOME", str(place / "home"))
    monkeypatch.setenv("PORTRAIT_TRAIN__EXAM__EVERY", "0")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(place)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_from_a_set_to_an_identity_and_on(place: Path) -> None:
    answer = process("train", "set", "--base", "sdxl", "-o", "ann", *QUICK, "--json")
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
    more = run("train", "set", "--base", "sdxl", "-o", "bob", "--from", "ann", *QUICK, "--seed", "5", "--json")
    assert more.returncode == 0, more.stderr
    merged = run("identities", "merge", "ann", "bob", "-o", "both", "--json")
    assert merged.returncode == 0, merged.stderr
    assert set(document(merged)["merged"].values()) == {0.5}
    listed = document(run("identities", "list", ".", "--json"))
    assert [Path(each["folder"]).name for each in listed["identities"]] == ["ann", "bob", "both"]
    assert "sks person on sdxl" in run("identities", "show", "both").stdout
    exported = run("identities", "export", "both", "-o", "both.safetensors")
    assert exported.returncode == 0, exported.stderr
    assert (place / "both.safetensors").read_bytes() == (place / "both/lora-webui.safetensors").read_bytes()
    assert run("identities", "delete", "both").returncode == 0
    assert not (place / "both").exists()


def test_a_plan_and_wrong_wishes(place: Path) -> None:
    plan = document(run("train", "set", "--base", "sd15", "--plan", "--json"))
    assert (plan["steps"], plan["side"], plan["device"]) == (600, 64, "cpu")
    assert plan["memory"] > 0
    for words, code, status in (
        (("set", "--base", "nothing", "-o", "x"), "unknown_base", 4),
        (("sd15", "--base", "sd15", "-o", "x"), "broken_set", 3),
        (("set", "--base", "sd15"), "no_place", 3),
        (("set", "--base", "sd15", "-o", "sdxl"), "folder_taken", 3),
    ):
        answer = run("train", *words, "--json")
        assert document(answer)["error"]["code"] == code
        assert answer.returncode == status


def test_a_base_becomes_a_file_and_a_folder_again(place: Path) -> None:
    answer = run("models", "convert", "sd15", "-o", "one.safetensors", "--json")
    assert answer.returncode == 0, answer.stderr
    assert document(answer)["written"] == "one.safetensors"
    again = run("models", "convert", "one.safetensors", "-o", "folder", "--json")
    assert document(again)["error"]["code"] == "bad_base", "nothing here says how the file is built"
