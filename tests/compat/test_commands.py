"""Commands, names and formats that people type or write are still understood."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.compat import facts, program, terminal
from tests.compat.comparing import missing, stored


def test_every_command_is_there_with_its_arguments_and_options() -> None:
    assert missing(stored("commands.json"), facts.commands()) == []


def test_no_command_asks_for_more_than_before() -> None:
    before, now = stored("commands.json"), facts.commands()
    wanted = {
        name: {word for part in each.values() for word, told in part.items() if told["required"]}
        for name, each in now.items()
    }
    known = {name: {word for part in each.values() for word in part} for name, each in before.items()}
    assert {name: sorted(wanted[name] - known[name]) for name in before if wanted[name] - known[name]} == {}


def test_engines_bear_the_names_that_settings_and_commands_use() -> None:
    assert missing(stored("engines.json"), program.engine_names()) == []


def test_backdrops_stand_in_the_order_that_their_seeds_depend_on() -> None:
    before = stored("names.json")["backdrops"]
    assert program.backdrop_names()[: len(before)] == before


def test_error_codes_are_documented_in_their_branches() -> None:
    assert missing(stored("errors.json"), facts.errors()) == []


def test_the_app_serves_the_same_addresses_and_knows_its_cookies() -> None:
    assert missing(stored("names.json")["addresses"], program.addresses()) == []
    assert program.cookies() == stored("names.json")["cookies"]


@pytest.mark.usefixtures("new_home")
def test_models_have_the_same_names_and_files() -> None:
    now = {each["name"]: each["files"] for each in terminal.answer("models", "list")["models"]}
    assert missing(stored("names.json")["models"], now) == []


def test_what_came_into_the_model_store_is_known(
    new_home: Path, old_files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORTRAIT_MODELS__FOLDER", str(new_home / "models"))
    shutil.copytree(old_files / "models", new_home / "models")
    recorded = json.loads((old_files / "models" / "lock.json").read_text("utf-8"))["models"]
    sizes = {name: sum(file["size"] for file in files.values()) for name, files in recorded.items()}
    listed = {each["name"]: each["size"] for each in terminal.answer("models", "list")["models"]}
    assert {name: listed[name] for name in sizes} == sizes
    assert terminal.refusal("models", "check") == "model_files_wrong"


@pytest.mark.usefixtures("new_home")
def test_rules_of_id_photos_have_the_same_names_and_sizes() -> None:
    now = {each["id"]: each["pixels"] for each in terminal.answer("idphoto", "--list")["presets"]}
    assert missing(stored("names.json")["presets"], now) == []


@pytest.mark.usefixtures("new_home")
def test_built_in_styles_are_there_in_no_older_version() -> None:
    now = {each["id"]: each["version"] for each in terminal.answer("styles", "list")["styles"]}
    before: dict[str, int] = stored("names.json")["styles"]
    assert {id: version for id, version in before.items() if now.get(id, 0) < version} == {}


@pytest.mark.usefixtures("new_home")
def test_a_style_file_may_say_what_it_could_say() -> None:
    schema: dict[str, Any] = terminal.answer("styles", "schema")
    now, before = facts.fields(schema, schema.get("$defs", {})), stored("names.json")["style.toml"]
    assert sorted(set(before) - set(now)) == []
    assert sorted(name for name, required in now.items() if required and not before.get(name, False)) == []
