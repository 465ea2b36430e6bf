"""A folder of FaceChain's styles, most of which name a LoRA: imported, told by which command each comes, and fetched."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from app.cli import app
from pipelines.model_store.store import ModelStore
from tasks.settings import load
from templates import facechain, importers, lint
from templates.catalog import Catalog
from tests.model_server import LORAS, Server, safetensors, serving

STYLES, WITH_LORA, FILES = 75, 68, 6


@pytest.fixture
def publisher(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with serving() as running:
        for number in range(FILES):
            place = f"/models/maker/look{number}/resolve/v1.0/Look%20{number}.safetensors"
            running.files[place] = safetensors(LORAS["sd15"])
        monkeypatch.setattr(facechain, "MODELSCOPE", running.url)
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """FaceChain's folder: one JSON file a style, a null where a style has no LoRA."""
    folder = tmp_path / "styles"
    folder.mkdir()
    for number in range(STYLES):
        file = number % FILES
        style: dict[str, Any] = {"name": f"Style {number}", "add_prompt_style": "warm light", "model_id": None}
        if number < WITH_LORA:
            style |= {"model_id": f"maker/look{file}", "revision": "v1.0", "bin_file": f"Look {file}.safetensors"}
        (folder / f"style{number}.json").write_text(json.dumps(style))
    return folder


def run(*words: str) -> dict[str, Any]:
    return json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)


def test_every_style_of_facechains_folder_finds_its_lora(folder: Path, publisher: Server, home: Path) -> None:
    home.mkdir()
    (home / "portrait.toml").write_text('[models]\nnetworks = ["127.0.0.0/8"]\n')
    imported = run("styles", "import", str(folder))
    assert len(imported["styles"]) == STYLES
    drafts = [run("styles", "show", style["id"])["style"]["loras"] for style in imported["styles"][:1]]
    names = {lora["model"] for style in imported["styles"] for lora in style["loras"]}
    assert (sum(bool(style["loras"]) for style in imported["styles"]), len(names)) == (WITH_LORA, FILES)
    assert drafts[0][0]["source"].endswith("/models/maker/look0/resolve/v1.0/Look%200.safetensors")
    findings = run("styles", "check", "style-0", "--words")["styles"][0]["findings"]
    (told,) = [each["tip"] for each in findings if each["code"] == "lora_missing"]
    command = shlex.split(told.partition("comes by `portrait ")[2].partition(" --licence")[0])
    terms = ("--licence", "MIT", "--commercial", "yes")
    assert run(*command, *terms)["added"]["name"] == imported["styles"][0]["loras"][0]["model"]

    publisher.files.popitem()
    again = run("styles", "import", str(folder), "--replace", "--fetch")

    reasons = [each["why"] for each in again["left"] if each["field"] == "loras"]
    assert (len(again["fetched"]), len(reasons)) == (FILES - 2, 1), reasons
    assert "answered 404" in reasons[0]
    (folder / "Look.safetensors").write_bytes(safetensors(LORAS["sd15"]))
    (last,) = names - {each.name for each in ModelStore(load().models).of_kind("lora")}
    run("models", "add", last, str(folder / "Look.safetensors"), "--kind", "lora", *terms)

    store = ModelStore(load().models)
    loras = {model.name: model.family for model in store.of_kind("lora") if not store.missing(model.name)}
    assert loras == dict.fromkeys(names, "sd15")
    importers.import_styles(folder, home / "drafts")
    styles = [entry.style for entry in Catalog((home / "drafts",)).entries()]
    assert len(styles) == STYLES
    for style in styles:
        owned = style.model_copy(update={"licence": "CC0-1.0"})
        assert lint.lint_fields(owned, lint.Installed(loras=loras)) == []
        assert all(store.weights_file(lora.model).is_file() for lora in style.loras)
