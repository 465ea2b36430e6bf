"""Families of base models, one module each, named after the family; `shared` is what several have in common.

What a family's file says in plain values is read here from its text, which is not run: that would load torch into processes
that never draw.
"""

import ast
import functools
import importlib
import importlib.util
import json
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from portrait.generation.abilities import Abilities


def family_names() -> list[str]:
    """Names of the families; imports none of their libraries."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.ispkg)


def family_abilities(name: str) -> Abilities:
    """What the bases of a family do; loads the family where its text does not say it in plain values."""
    written = next((each for each in _assigned(name, "abilities") if isinstance(each, ast.Call)), None)
    try:
        if written is not None and isinstance(written.func, ast.Name) and written.func.id == Abilities.__name__:
            return Abilities(**{str(each.arg): ast.literal_eval(each.value) for each in written.keywords})
    except (ValueError, TypeError):
        pass  # not in plain values
    return _load(name).abilities


def family_of_folder(folder: Path) -> str:
    """The family of a hub folder; empty where it is of none.

    Families whose bases name one pipeline are told apart by the width of the text that their denoisers attend to.
    """
    pipeline = pipeline_class(folder)
    named = [name for name in family_names() if pipeline in _pipeline_names(name)]
    if len(named) > 1:
        width = _read(folder / "unet" / "config.json").get("cross_attention_dim")
        widths = {name: _text_width(name) for name in named}
        named = [name for name in named if widths[name] == width] or [name for name in named if not widths[name]]
    return next(iter(named), "")


def pipeline_class(folder: Path) -> str:
    """The pipeline that a hub folder names; empty where it names none."""
    return str(_read(folder / "model_index.json").get("_class_name") or "")


def _read(file: Path) -> dict[str, Any]:
    """A configuration; empty where there is none that can be read, which loading says."""
    try:
        read = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return read if isinstance(read, dict) else {}


def _text_width(name: str) -> int:
    try:
        return int(ast.literal_eval(next(_assigned(name, "text_width"))))
    except (ValueError, TypeError, StopIteration):
        return int(_load(name).text_width)


def _pipeline_names(name: str) -> tuple[str, ...]:
    try:
        return tuple(ast.literal_eval(next(_assigned(name, "pipeline_names"))))
    except (ValueError, TypeError, StopIteration):
        return tuple(_load(name).pipeline_names)


def _load(name: str) -> Any:
    return importlib.import_module(f"{__name__}.{name}").FAMILY


def _assigned(name: str, attribute: str) -> Iterator[ast.expr]:
    """What is assigned to an attribute in a family's file, then in those files of this folder that it imports."""
    waiting, read = [f"{__name__}.{name}"], set[str]()
    while waiting:
        module = waiting.pop(0)
        spec = importlib.util.find_spec(module) if module not in read else None
        read.add(module)
        if spec is None or spec.origin is None:
            continue
        file = Path(spec.origin)
        tree = _parse(file, file.stat().st_mtime_ns)
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and attribute in {
                each.id for each in node.targets if isinstance(each, ast.Name)
            }:
                yield node.value
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{__name__}."):
                waiting.append(str(node.module))


@functools.lru_cache(maxsize=32)
def _parse(file: Path, changed: int) -> ast.Module:
    """The text of a file as it was when it was changed."""
    return ast.parse(file.read_text("utf-8"))
