"""Every code that the service sends and a page can show has its sentence in each language."""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.words import translation
from pipelines.model_requirements import unsupported_control_message
from pipelines.model_store.store import ModelStore
from pipelines.settings import ModelStoreSettings
from portrait import uses
from portrait.photos.reasons import TIPS
from tasks.api.routes.styles import NO_WORKER
from tasks.queue.worker import NOT_SERVED
from templates import facechain, imported, importers, lint, prompt_styles

ROOT = Path(__file__).parents[3]
OTHERS = [code for code in translation.LANGUAGES if code != translation.FALLBACK]
NEVER_SHOWN = {
    **dict.fromkeys(
        (
            "bad_certificate",
            "bad_prompts",
            "bad_skin",
            "folder_taken",
            "no_place",
            "no_such_folder",
            "not_alive",
            "not_started",
            "port_taken",
            "self_test_failed",
            "which_photo",
        ),
        "the command line alone raises it, about its own options",
    ),
    **dict.fromkeys(
        (
            "bad_backup",
            "bad_journal",
            "copy_failed",
            "no_journal",
            "no_ledger",
            "not_empty",
            "older_ledger",
            "still_running",
        ),
        "`portrait db` alone raises it",
    ),
    "bad_ledger": "the service does not start",
    "newer_ledger": "the service does not start",
}
"""Codes that no page can show, with the reason."""


def documented_codes() -> set[str]:
    return set(re.findall(r"^\| `([a-z_]+)` \|", (ROOT / "docs" / "errors.md").read_text("utf-8"), re.M))


@pytest.mark.parametrize("language", translation.LANGUAGES)
def test_every_error_that_a_page_can_show_has_a_sentence(language: str) -> None:
    own = {key.removeprefix("error.") for key in translation.own_messages(language) if key.startswith("error.")}
    assert documented_codes() - own == set(NEVER_SHOWN)
    assert own - documented_codes() == set()


@pytest.mark.parametrize("language", translation.LANGUAGES)
def test_every_code_of_photos_styles_and_models_has_a_sentence(language: str) -> None:
    keys = translation.own_messages(language)
    wanted = {f"tip.{code}" for code in TIPS} | {f"opens.{code}" for code in uses.OPENINGS}
    wanted |= {f"finding.{code}" for code in lint_codes()} | {f"phase.{phase}" for phase in phases()}
    assert wanted - set(keys) == set()


def lint_codes() -> set[str]:
    source = Path(lint.__file__).read_text("utf-8")
    return set(re.findall(r'(?:_error|_warning|Finding)\(\s*"([a-z_]+)"', source))


def phases() -> set[str]:
    """The first word of what long work says that it does; see `tasks.queue.runner`."""
    calls = [
        node
        for path in (ROOT / "pipelines").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and re.search(r"progress$|step_reporter$", ast.unparse(node.func))
    ]
    texts = [text for call in calls for argument in call.args for text in _texts(argument)]
    return {text.split(" ")[0].lower() for text in texts if text[:1].isupper()}


def _texts(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.JoinedStr):
        node = node.values[0]
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value


@pytest.mark.parametrize("language", OTHERS)
def test_every_explanation_of_a_style_can_be_translated(language: str) -> None:
    sentences = list(sentences_of(Path(lint.__file__), _is_tip))
    for module in (importers, imported, facechain, prompt_styles):
        sentences += sentences_of(Path(str(module.__file__)), _is_why)
    assert len(sentences) > 40
    assert [each for each in sentences if translation.translate_sentence(language, each) == each] == []


@pytest.mark.parametrize("language", OTHERS)
def test_every_sentence_on_models_and_workers_can_be_translated(language: str, tmp_path: Path) -> None:
    settings = ModelStoreSettings(folder=tmp_path)
    store = ModelStore(settings)
    models = [each.model for each in store.list()]
    sentences = [text for model in models for text in (model.purpose, model.note, *store.missing(model.name)) if text]
    sentences += [NO_WORKER, NOT_SERVED.format("gpu"), unsupported_control_message("color", "sdxl", store)]
    assert len(sentences) > 100
    assert [each for each in sentences if translation.translate_sentence(language, each) == each] == []


def _is_tip(call: ast.Call) -> bool:
    return ast.unparse(call.func) in {"_error", "_warning", "Finding"}


def _is_why(call: ast.Call) -> bool:
    return ast.unparse(call.func) == "Skipped"


def sentences_of(path: Path, wanted: Callable[[ast.Call], bool]) -> Iterator[str]:
    """The last argument of each such call, with 7 in place of each value."""
    for function in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(function, ast.FunctionDef):
            continue
        assigned: dict[str, list[ast.expr]] = {}
        for node in ast.walk(function):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                assigned.setdefault(node.targets[0].id, []).append(node.value)
        for node in ast.walk(function):
            if isinstance(node, ast.Call) and wanted(node):
                last = node.args[-1]
                for each in assigned.get(last.id, []) if isinstance(last, ast.Name) else [last]:
                    yield from _filled(each)


def _filled(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else "7" for part in node.values)


def test_a_sentence_keeps_its_values_in_another_language() -> None:
    sentence = "Its shorter side has 300 pixels; take one with 512."
    assert translation.translate_sentence("zh", sentence) == "短边只有 300 像素，请使用 512 像素以上的图片。"
    assert translation.translate_sentence("en", sentence) == sentence
    assert translation.translate_sentence("zh", "Something new.") == "Something new."
