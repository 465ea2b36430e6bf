"""`portrait licences` as it is typed: of an installation, and of one portrait."""

import json
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
from typer.testing import CliRunner

from app.cli import app
from pipelines.marks import xmp
from pipelines.model_requirements import models_of_recipe

DRAWN: dict[str, Any] = {
    "base": "sdxl",
    "base_hash": "0",
    "looks": {"lcm_sdxl": 1.0, "film": 0.7},
    "models": {"base/vae": "1", "photomaker/photomaker-v1.bin": "2", "learned/token": "3"},
    "packages": {"torch": "2"},
}
RECIPE: dict[str, Any] = {
    "schema": 1,
    "style": {"id": "text-garden", "version": 1, "kind": "text"},
    "people": {"1": "somebody"},
    "refiners": [{"name": "restoreformer", "strength": 0.5}, {"name": "skin", "strength": 0.5}],
    "drawn": DRAWN,
}
ATTACHMENT = "The uses that the licence lists in its Attachment A are forbidden with this picture"


def portrait(place: Path, recipe: dict[str, Any]) -> Path:
    PIL.Image.new("RGB", (64, 64)).save(place, xmp=xmp.packet("trainedAlgorithmicMedia", recipe))
    return place


def run(*words: str, code: int = 0) -> str:
    found = CliRunner().invoke(app, ["licences", *words], env={"COLUMNS": "250"})
    assert found.exit_code == code, found.output
    return found.stdout


def properties(component: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each["value"] for each in component["properties"]}


def test_the_bill_of_an_installation(home: Path) -> None:
    home.mkdir()
    place = home / "elsewhere"
    (home / "portrait.toml").write_text(
        f'[bases.mine]\npath = "{place}"\nlicence = "CC-BY-NC-4.0"\n[bases.other]\npath = "{place}"\n'
    )
    (home / "models" / "sdxl" / "unet").mkdir(parents=True)
    (home / "models" / "sdxl" / "unet" / "config.json").write_text("{}")
    bill = json.loads(run("--json"))
    assert (bill["bomFormat"], bill["specVersion"], bill["version"]) == ("CycloneDX", "1.6", 1)
    assert bill["metadata"]["component"]["name"] == "portrait"
    by_ref = {each["bom-ref"]: each for each in bill["components"]}
    assert len(by_ref) == len(bill["components"]), "each has a name of its own"
    models = {each["name"]: each for each in bill["components"] if each["type"] == "machine-learning-model"}
    assert set(models) == {"sdxl", "mine", "other"}
    assert models["sdxl"]["licenses"] == [{"license": {"name": "CreativeML-OpenRAIL++-M"}}]
    assert ATTACHMENT in properties(models["sdxl"])["portrait:use-limits"]
    assert [properties(models[name])["portrait:commercial"] for name in ("mine", "other")] == ["no", "ask"]
    assert by_ref["style:studio-warm@1"]["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    assert by_ref["font:Material Symbols Rounded@"]["type"] == "file"
    numpy = next(each for each in bill["components"] if each.get("purl", "").startswith("pkg:pypi/numpy@"))
    assert numpy["licenses"]
    assert numpy["version"]
    text = run()
    assert 'profile = "research"' in text
    assert "mine" in text
    assert "not stated" in text
    assert f"pictures that sdxl drew: {ATTACHMENT}" in text


def test_the_bill_of_a_portrait(home: Path, tmp_path: Path) -> None:
    file = portrait(tmp_path / "me.jpg", RECIPE)
    bill = json.loads(run(str(file), "--json"))
    assert bill["metadata"]["component"]["name"] == "me.jpg"
    found = {each["name"]: properties(each)["portrait:commercial"] for each in bill["components"]}
    assert found == {
        "text-garden": "yes",
        "sdxl": "yes",
        "lcm_sdxl": "yes",
        "film": "ask",
        "photomaker": "yes",
        "restoreformer": "yes",
    }
    text = run(str(file))
    assert f"pictures that sdxl, lcm_sdxl drew: {ATTACHMENT}" in text
    assert "blob/main/LICENSE.md" in text
    assert "Not known here" in text


def test_a_portrait_of_what_asks_for_nothing_has_nothing_to_hand_on(home: Path, tmp_path: Path) -> None:
    style = {"id": "picture-abc", "version": 1, "kind": "template"}
    file = portrait(tmp_path / "me.jpg", {"schema": 1, "style": style, "drawn": {"matte": "modnet 1"}})
    assert "modnet" in run(str(file))
    assert "A picture of one's own" in run(str(file))
    assert "handed on" not in run(str(file))


def test_a_file_without_a_recipe_is_told(home: Path, tmp_path: Path) -> None:
    PIL.Image.new("RGB", (8, 8)).save(tmp_path / "plain.jpg")
    assert json.loads(run(str(tmp_path / "plain.jpg"), "--json", code=3))["error"]["code"] == "no_recipe"


@pytest.mark.parametrize(
    ("drawn", "names"),
    [
        ({}, []),
        ({"faceswap": {"engine": "inswapper", "models": {"inswapper/a": "1", "buffalo_l/b": "2"}}}, ["inswapper", "buffalo_l"]),
        ({"refined": {"swap": {"people": {}, "faceswap": {"engine": "inswapper"}}}}, ["inswapper"]),
        ({"faces": {"1": {"face": {"base": "sd15", "vae": "soft"}}}, "seams": [{"base": "sd15", "few_steps": "lcm_sd15"}]},
         ["sd15", "soft", "lcm_sd15"]),
        ({"matte": "modnet 1", "embeddings": ["glow"]}, ["modnet", "glow"]),
    ],
)  # fmt: skip
def test_what_drew_is_read_from_recipes_of_all_kinds(drawn: dict[str, Any], names: list[str]) -> None:
    assert models_of_recipe({"drawn": drawn}) == names
