"""A settings file with every key and variables of the environment come to the values that they came to."""

import json
import tomllib
from pathlib import Path
from typing import Any

from tests.compat import facts, program
from tests.compat.comparing import missing, stored


def flat(tree: dict[str, Any], place: str = "") -> dict[str, Any]:
    """Values by key, `prepare.most`."""
    found: dict[str, Any] = {}
    for name, each in tree.items():
        found |= flat(each, f"{place}{name}.") if isinstance(each, dict) else {f"{place}{name}": each}
    return found


def test_the_stored_file_names_a_key_of_every_section_and_no_usual_value(old_files: Path) -> None:
    told = flat(tomllib.loads((old_files / "settings" / "portrait.toml").read_text("utf-8")))
    usual = {name: each.get("default") for name, each in stored("settings.json").items() if "*" not in name}
    of_the_environment = {"models.hub_token", "tasks.database", "tasks.broker"}
    names = {name for name in told if not name.startswith("bases.")}
    assert names == set(usual) - of_the_environment
    same = {name for name in names if told[name] == usual[name]}
    assert same <= {"engines.mattes", "engines.trainers"}, "of these there is one alone"


def test_file_and_environment_give_the_same_values(old_files: Path) -> None:
    environment: dict[str, str] = json.loads((old_files / "settings" / "environment.json").read_text("utf-8"))
    values = stored("settings/values.json")
    assert missing(values, program.settings(environment)) == []


def test_every_key_has_the_same_types_values_and_default() -> None:
    # Recipes without a matte are drawn with the former default all the same; faces are not mirrored in training any more.
    assert missing(stored("settings.json"), facts.settings()) == [
        " engines.mattes default: 'selfie' became 'modnet'",
        " tasks.lease.losses default: 10 became 5",
        " train.flips default: True became False",
    ]
