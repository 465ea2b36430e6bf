"""`portrait models merge`: a base from two, taken into the store under a name, or written to a place."""

import json
from pathlib import Path

import pytest

from pipelines.diffusion.base.loading import find_base
from pipelines.model_store.store import ModelStore
from tasks.settings import load
from tests import tiny
from tests.app.cli_runner import document, run


@pytest.fixture
def bases(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two tiny bases of one family, in an installation of its own."""
    tiny.sdxl(tmp_path / "a", seed=1)
    tiny.sdxl(tmp_path / "b", seed=2)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_merge_is_a_base_of_its_own(bases: Path) -> None:
    command = ("models", "merge", "./a", "./b", "--how", "slerp", "--blocks", "0.5,0,1,0.5,0.2", "--json")
    refused = run(*command, "-o", "blend")
    assert json.loads(refused.stdout)["error"]["code"] == "bad_merge", "no licence is known"
    answer = run(*command, "-o", "blend", "--licence", "CC0-1.0", "--commercial", "yes")
    assert answer.returncode == 0, answer.stderr
    assert document(answer) == {"merged": "blend", "kept": []}
    settings = load()
    models = ModelStore(settings.models)
    assert [(model.name, model.family) for model in models.of_kind("base") if model.own] == [("blend", "sdxl")]
    assert find_base("blend", settings, models).family.name == "sdxl"
    assert not list(settings.models.folder.glob(".merge-*"))


def test_a_merge_is_written_to_a_place_and_faults_are_told(bases: Path) -> None:
    assert run("models", "merge", "./a", "./b", "--alpha", "0.3", "-o", "./c", "--json").returncode == 0
    assert (bases / "c" / "model_index.json").is_file()
    cases = [
        (("./a", "./b", "-o", "./c"), "folder_taken"),
        (("./a", "./b", "-o", "./d", "--alpha", "0.3", "--blocks", "1,0"), "bad_blocks"),
        (("./a", "./b", "-o", "./d", "--blocks", "1,0"), "bad_blocks"),
        (("./a", "nothing", "-o", "./d"), "unknown_base"),
    ]
    for words, code in cases:
        answer = run("models", "merge", *words, "--json")
        assert json.loads(answer.stdout)["error"]["code"] == code
