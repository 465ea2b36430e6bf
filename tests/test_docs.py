"""What the docs name is there: commands with their options, links, error codes."""

import itertools
import re
import shlex
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from app.cli import app
from pipelines import model_requirements
from pipelines.model_store.store import ModelStore
from pipelines.settings import ModelStoreSettings
from portrait.generation.abilities import Abilities

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
PROGRAMS = sorted(
    path for name in ("app", "tasks", "pipelines", "templates", "portrait") for path in (ROOT / name).rglob("*.py")
)


def commands(text: str) -> list[str]:
    """What stands in code, inline or in a block, and begins with the program's name."""
    blocks = re.findall(r"^```.*?^```", text, re.M | re.S)
    lines = [line.split("   #")[0] for block in blocks for line in block.splitlines()]
    return [
        *re.findall(r"`(portrait [a-z][^`]*)`", re.sub(r"\s*\n\s*", " ", text)),
        *(match[1] for line in lines if (match := re.match(r"(?:\w+=\$\()?(portrait [a-z][^|>)]*)", line.strip()))),
    ]


def unknown(line: str) -> list[str]:
    """Words of a command line that no command or option bears."""
    words = shlex.split(line.replace("…", ""))[1:]
    found = get_command(app)
    while isinstance(below := getattr(found, "commands", None), dict) and words:
        name = words.pop(0)
        if re.search(r"[|A-Z]", name):
            return [each for each in name.split("|") if each.islower() and each not in below]
        if name not in below:
            return [name]
        found = below[name]
    options = {each for parameter in found.params for each in (*parameter.opts, *parameter.secondary_opts)}
    return [word for word in words if word.startswith("-") and word.split("=")[0] not in options]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_of_the_docs_exist_with_their_options(page: Path) -> None:
    assert {line: wrong for line in commands(page.read_text()) if (wrong := unknown(line))} == {}


def test_commands_that_messages_name_exist() -> None:
    named = {line for path in PROGRAMS for line in re.findall(r"`(portrait [a-z][^`{}]*)`", path.read_text())}
    assert len(named) > 20
    assert {line: wrong for line in named if (wrong := unknown(line))} == {}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_of_the_docs_lead_somewhere(page: Path) -> None:
    links = [link for link in re.findall(r"\]\(([^)#\s]+)", page.read_text()) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


def unexplained(command: Any, path: str) -> list[str]:
    """Arguments and options below a command that say nothing of themselves."""
    below = getattr(command, "commands", {})
    if below:
        return [each for name, one in below.items() for each in unexplained(one, f"{path} {name}")]
    return [f"{path} {parameter.name}" for parameter in command.params if not getattr(parameter, "help", None)]


def test_every_argument_and_option_says_what_it_is() -> None:
    assert unexplained(get_command(app), "portrait") == []


def test_documented_error_codes_are_ones_that_are_raised() -> None:
    programs = "\n".join(path.read_text() for path in PROGRAMS)
    documented = re.findall(r"^\| `([a-z_]+)` \|", (ROOT / "docs" / "errors.md").read_text(), re.M)
    assert documented == sorted(documented)
    assert [code for code in documented if f'"{code}"' not in programs] == []


def test_errors_are_raised_in_the_branches_that_are_documented() -> None:
    raised = re.compile(r"\b(UserError|OperatorError|EngineError)\(\s*\"([a-z_]+)\"")
    found = {(code, branch) for path in PROGRAMS for branch, code in raised.findall(path.read_text())}
    rows = re.findall(r"^\| `([a-z_]+)` \| ([A-Za-z, ]+) \|", (ROOT / "docs" / "errors.md").read_text(), re.M)
    documented = {(code, branch) for code, branches in rows for branch in branches.split(", ")}
    assert len(found) > 100
    assert found - documented == set()


def table(title: str) -> list[list[str]]:
    """The rows of the first table below a heading of CONTRIBUTING.md."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    below = re.split(rf"^#+ {re.escape(title)}.*$", text, maxsplit=1, flags=re.M)[1]
    lines = itertools.dropwhile(lambda line: not line.startswith("|"), below.splitlines())
    rows = itertools.takewhile(lambda line: line.startswith("|"), lines)
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in list(rows)[2:]]


@pytest.mark.parametrize("room", ["portrait", "pipelines", "templates", "tasks", "app", "tests"])
def test_every_module_is_in_a_room_and_every_room_is_there(room: str) -> None:
    files = [name for row in table(f"`{room}/`") for name in re.findall(r"`([\w./]+)`", row[0])]
    assert [name for name in files if not (ROOT / room / name).exists()] == []
    modules = {path.relative_to(ROOT / room) for path in (ROOT / room).rglob("*.py")} if room != "tests" else set()
    listed = {Path(name) for name in files}
    assert {path for path in modules if path.name[:2] != "__" and not listed & {path, *path.parents}} == set()


def test_answers_to_a_strangers_questions_exist() -> None:
    answers = {row[0]: re.findall(r"`([a-z]\w*/[\w./]+)`", row[1]) for row in table("Where is …?")}
    assert len(answers) >= 12
    assert [question for question, paths in answers.items() if not paths] == []
    assert [path for paths in answers.values() for path in paths if not (ROOT / path).exists()] == []


def test_the_glossary_is_short() -> None:
    assert 10 < len(table("Terms")) <= 25


def test_what_families_can_is_what_their_page_says() -> None:
    text, store = (ROOT / "docs" / "families.md").read_text(), ModelStore(ModelStoreSettings())
    lines = itertools.takewhile(
        lambda line: line.startswith("|"), itertools.dropwhile(lambda line: line[:1] != "|", text.splitlines())
    )
    header, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    families = [each.strip("`") for each in header[1:]]
    assert sorted(families) == model_requirements.family_names()
    for column, family in enumerate(families, 1):
        able = model_requirements.family_abilities(family)
        told = {re.findall(r"^`?([\w ]+)", row[0])[0].strip(): row[column] for row in rows}
        assert told == {
            **{each.name: shown(getattr(able, each.name)) for each in fields(Abilities)},
            "who is drawn": shown(filter_by(family, model_requirements.IDENTITY_MODELS)),
            "controls": shown(model_requirements.controls(family, store)),
            "a look": shown(bool(model_requirements.ip_adapters(family, store))),
        }, family


def filter_by(family: str, adapters: Iterable[str]) -> list[str]:
    """Those adapters that draw people on a family."""
    return [each for each in adapters if model_requirements.supports_identity(each, family)]


def shown(value: Any) -> str:
    """An ability as the table of families shows it."""
    if isinstance(value, list):
        return ", ".join(f"`{each}`" for each in value) or "–"
    return "yes" if value is True else str(value or "–")
