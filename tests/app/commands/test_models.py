"""`portrait models` as it is typed: its words, its JSON, its exit codes."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from app.commands import doctor
from app.commands import models as command
from pipelines.model_store.download import Source
from pipelines.model_store.manifest import Manifest, Model, ModelFile
from pipelines.model_store.store import ModelStore
from pipelines.settings import ModelStoreSettings, Settings
from tests.model_server import write_lora

BYTES = b"weights"


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store with one known model and one for research only, which come from nowhere."""
    nowhere = (Source("url", "http://127.0.0.1:9/net.bin"),)
    known = ModelFile("net.bin", nowhere, hashlib.sha256(BYTES).hexdigest(), len(BYTES))
    research = Model(
        "lab", "draws", "LicenseRef-lab", "no", (ModelFile("lab.bin", nowhere),), note="For [research] only."
    )
    manifest = Manifest({"net": Model("net", "finds", "MIT", "yes", (known,), embedded=True), "lab": research})
    monkeypatch.setattr(
        command, "_model_store", lambda: ModelStore(ModelStoreSettings(folder=tmp_path / "models"), manifest)
    )
    return tmp_path / "models"


def run(*words: str) -> Result:
    return CliRunner().invoke(command.app, list(words))


def document(result: Result) -> dict[str, Any]:
    return json.loads(result.stdout)


def carried(folder: Path, **files: bytes) -> str:
    folder.mkdir()
    for name, data in files.items():
        (folder / name).with_suffix(".bin").write_bytes(data)
    return str(folder)


def test_list_tells_of_every_model() -> None:
    told = document(run("list", "--json"))["models"]
    assert [(model["name"], model["state"], model["commercial"]) for model in told] == [
        ("net", "missing", "yes"),
        ("lab", "missing", "no"),
    ]
    assert told[0]["size"] == len(BYTES)
    shown = run("list")
    assert shown.exit_code == 0
    assert "net" in shown.stdout


def test_licences_show_terms_and_notes() -> None:
    assert document(run("licences", "--json"))["licences"][1]["licence"] == "LicenseRef-lab"
    assert "[research]" in " ".join(run("licences").stdout.split())


def test_a_pull_that_fails_is_one_document_and_exit_code_4() -> None:
    failed = run("pull", "--json")
    assert failed.exit_code == 4
    assert document(failed)["error"]["code"] == "no_network"
    assert run("pull", "nut").exit_code == 4
    assert "These exist: net, lab" in " ".join(run("pull", "nut").stderr.split())


def test_import_then_check_then_pull_keeps(tmp_path: Path, store: Path) -> None:
    folder = carried(tmp_path / "usb", net=BYTES, lab=b"lab")
    imported = run("import", folder, "--json")
    assert imported.exit_code == 0
    assert {file["file"] for file in document(imported)["taken"]} == {"net.bin", "lab.bin"}
    assert (store / "net" / "net.bin").read_bytes() == BYTES
    assert {file["state"] for file in document(run("check", "--json"))["files"]} == {"ok"}
    assert document(run("pull", "--json"))["pulled"][0]["kept"] == ["net.bin"]
    pulled = run("pull", "lab")
    assert "LicenseRef-lab" in pulled.stdout
    assert "Not for commercial use. For [research] only." in pulled.stdout


def test_check_fails_when_a_file_is_changed(store: Path) -> None:
    (store / "net").mkdir(parents=True)
    (store / "net" / "net.bin").write_bytes(b"WEIGHTS")
    checked = run("check", "--json")
    assert checked.exit_code == 4
    assert document(checked)["error"]["code"] == "model_files_wrong"
    assert document(checked)["files"] == [{"model": "net", "file": "net.bin", "state": "changed"}]
    assert "changed  net/net.bin" in run("check").stdout


def test_import_of_a_wrong_file_is_refused_by_name(tmp_path: Path) -> None:
    folder = carried(tmp_path / "usb", net=b"other", photo=b"?")
    refused = run("import", folder, "--json")
    assert refused.exit_code == 4
    assert document(refused)["error"]["code"] == "import_refused"
    assert document(refused)["refused"][0]["path"] == "net.bin"
    assert document(refused)["unknown"] == ["photo.bin"]
    assert "refused  net.bin: its hash" in run("import", folder).stdout


def test_wrong_words_are_a_usage_error() -> None:
    assert run("import").exit_code == 2
    assert run("list", "--nonsense").exit_code == 2


def doctors(store: Path) -> list[tuple[str, bool, str, str]]:
    """What `portrait doctor` says of own models."""
    settings = Settings(models=ModelStoreSettings(folder=store))
    return [(each.name, each.ok, each.found, each.mend) for each in doctor._own_models(settings)]


WORDS = ("--licence", "CC-BY-4.0", "--commercial", "ask")


def test_a_model_of_ones_own_is_added_listed_checked_and_removed(tmp_path: Path, store: Path) -> None:
    lora = write_lora(tmp_path / "Film.safetensors", "sdxl")
    words = ("--kind", "lora", *WORDS, "--steps", "4", "--spacing", "trailing")
    added = run("add", "film-look", str(lora), *words, "--json")
    assert added.exit_code == 0
    told = document(added)["added"]
    assert (told["name"], told["kind"], told["family"], told["own"]) == ("film-look", "lora", "sdxl", True)
    assert (told["state"], told["facts"]) == ("here", {"steps": 4, "timestep_spacing": "trailing"})
    listed = document(run("list", "--json"))
    assert [each["name"] for each in listed["models"]] == ["net", "lab", "film-look"]
    assert listed["adding"] == []
    assert "lora sdxl (own)" in " ".join(run("list").stdout.split())
    assert document(run("licences", "--json"))["licences"][2]["licence"] == "CC-BY-4.0"
    assert document(run("check", "film-look", "--json"))["files"][0]["state"] == "ok"
    assert doctors(store) == [("Model film-look", True, "lora sdxl", "")]
    (store / "film-look" / "Film.safetensors").rename(tmp_path / "away")
    ((name, ready, _, mend),) = doctors(store)
    assert (name, ready) == ("Model film-look", False)
    assert "portrait models pull film-look" in mend
    (tmp_path / "away").rename(store / "film-look" / "Film.safetensors")
    again = run("add", "film-look", str(lora), *words, "--json")
    assert (again.exit_code, document(again)["error"]["code"]) == (4, "model_exists")
    assert run("add", "film-look", str(lora), *words, "--replace").stdout.startswith("film-look is here: LoRA for SDXL")
    wrong = run("add", "eyes", str(lora), "--kind", "vae", *words[2:])
    assert wrong.exit_code == 4
    assert "is a LoRA, not a VAE: add it with --kind lora" in " ".join(wrong.stderr.split())
    assert document(run("list", "--json"))["adding"] == []
    assert run("remove", "eyes").exit_code == 4
    assert run("remove", "net").exit_code == 4
    assert document(run("remove", "film-look", "--json")) == {"removed": "film-look"}
    assert not (store / "film-look").exists()
    assert run("add", "film").exit_code == 2


@pytest.mark.parametrize("fact", [f"steps={'9' * 400}", "steps=1001", f"max_guidance={'9' * 5000}", "guidance=nan"])
def test_a_fact_that_no_number_can_be_is_refused(tmp_path: Path, fact: str) -> None:
    lora = write_lora(tmp_path / "look.safetensors")
    refused = run("add", "look", str(lora), "--kind", "lora", *WORDS, "--fact", fact, "--json")
    assert refused.exit_code == 4
    assert document(refused)["error"]["code"] == "bad_model"
