"""Learned people are listed, shown, exported, and gone on from."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.compat import terminal
from tests.compat.comparing import recipe_of, stored

pytestmark = pytest.mark.usefixtures("new_home")


def test_they_are_listed(old_files: Path) -> None:
    listed = terminal.answer("identities", "list", old_files)["identities"]
    assert [(Path(each["folder"]).name, each["trigger"], each["base"]["name"]) for each in listed] == [
        ("identity", "sks", "tiny"),
        ("identity-token", "<sks>", "tiny"),
    ]


def test_one_is_shown_as_it_was_described(old_files: Path) -> None:
    shown = terminal.answer("identities", "show", old_files / "identity")
    before = stored("identity/identity.json")
    assert {name: shown[name] for name in before if name in shown} == {
        name: before[name] for name in before if name in shown
    }
    assert set(before) - set(shown) == {"likeness", "losses"}


@pytest.mark.parametrize(("names", "file"), [("webui", "lora-webui.safetensors"), ("diffusers", "lora.safetensors")])
def test_its_lora_is_exported(old_files: Path, tmp_path: Path, names: str, file: str) -> None:
    terminal.answer(
        "identities", "export", old_files / "identity", "-o", tmp_path / "one.safetensors", "--names", names
    )
    assert (tmp_path / "one.safetensors").read_bytes() == (old_files / "identity" / file).read_bytes()


def test_one_is_deleted_and_nothing_else(old_files: Path, tmp_path: Path) -> None:
    shutil.copytree(old_files / "identity", tmp_path / "identity")
    terminal.answer("identities", "delete", tmp_path / "identity")
    assert list(tmp_path.glob("identity*")) == []


@pytest.mark.networks
def test_a_lesson_goes_on_from_one_and_its_result_is_merged_with_it(old_files: Path, tmp_path: Path) -> None:
    start, more = old_files / "identity", tmp_path / "more"
    few = ("--steps", "2", "--rank", "2", "--batch", "1")
    made = terminal.answer("train", old_files / "set", "--base", "tiny", "--from", start, "-o", more, *few)
    assert (made["steps"], made["base"]["hash"]) == (2, stored("identity/identity.json")["base"]["hash"])
    merged = terminal.answer("identities", "merge", start, more, "-o", tmp_path / "both")
    assert stored("identity/identity.json")["id"] in merged["merged"]


@pytest.mark.networks
def test_the_same_lesson_teaches_the_same(old_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTRAIT_TRAIN__FLIPS", "true")  # the former default
    few = ("--steps", "4", "--rank", "2", "--batch", "1", "--rate", "0.02")
    made = terminal.answer("train", old_files / "set", "--base", "tiny", "-o", tmp_path / "again", *few)
    before = stored("identity/identity.json")
    assert {name: made[name] for name in ("base", "settings", "training_set")} == {
        name: before[name] for name in ("base", "settings", "training_set")
    }
    one, other = (load_file(folder / "lora.safetensors") for folder in (old_files / "identity", tmp_path / "again"))
    assert set(one) == set(other)
    assert all(np.allclose(one[name], other[name], atol=1e-3) for name in one)


def test_the_base_is_the_one_that_was_learned_on_and_drawn_with(old_files: Path) -> None:
    weights = (old_files / "tiny-base" / "unet" / "diffusion_pytorch_model.safetensors").read_bytes()
    named = {stored(f"{folder}/identity.json")["base"]["hash"] for folder in ("identity", "identity-token")}
    files = ("portraits/text-film-1.png", "portraits-token/text-noir-1.png")
    named |= {recipe_of(old_files / file)["drawn"]["base_hash"] for file in files}
    assert named == {hashlib.sha256(weights).hexdigest()}
