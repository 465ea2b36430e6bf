"""The command `portrait` in this process, with its answers as JSON."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from typer.testing import CliRunner

from tests.compat import documents, program
from tests.compat.comparing import stored

GROUPS = ("styles", "identities", "models", "keys")
"""Commands with commands below."""


def name_of(words: Sequence[str]) -> str:
    """Which command that is; a plan is told in another way than a lesson."""
    return " ".join([*words[: 2 if words[0] in GROUPS else 1], *(each for each in words if each == "--plan")])


def as_json(words: Sequence[object]) -> list[str]:
    """A command whose answer is JSON; that of one is anyway."""
    given = [str(word) for word in words]
    return given if name_of(given) == "styles schema" else [*given, "--json"]


def answer(*words: object) -> dict[str, Any]:
    """What a command answers; every field that it once answered with is there."""
    given = as_json(words)
    said = CliRunner().invoke(program.command_line(), given, catch_exceptions=False)
    assert said.exit_code == 0, said.stdout + said.stderr
    document = json.loads(said.stdout)
    assert lost(stored("documents.json").get(name_of(given), ()), document) == []
    return document


def lost(before: Iterable[str], document: dict[str, Any]) -> list[str]:
    """Fields that a document does not have any more; below an empty list nobody can know."""
    unknown = tuple(f"{place}{sign}" for place in documents.empty(document) for sign in (".", "[]"))
    return [name for name in before if name not in documents.parts(document) and not name.startswith(unknown)]


def refusal(*words: object) -> str:
    """The code of the error that a command ends with."""
    said = CliRunner().invoke(program.command_line(), as_json(words))
    assert said.exit_code != 0, said.stdout
    return json.loads(said.stdout)["error"]["code"]
