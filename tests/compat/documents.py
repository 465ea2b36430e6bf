"""JSON documents of the program by their fields, and how facts are written down."""

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CHANGING = {"used", "seconds_left", "place"}
"""Fields of answers that change by themselves."""


def parts(document: Any, place: str = "") -> set[str]:
    """Fields of a JSON document as `a.b[].c`."""
    if isinstance(document, Mapping):
        named = {f"{place}.{name}" if place else name: each for name, each in document.items()}
        return set(named).union(*(parts(each, below) for below, each in named.items()))
    if isinstance(document, list):
        return set().union(*(parts(each, f"{place}[]") for each in document))
    return set()


def empty(document: Any, place: str = "") -> set[str]:
    """Where a JSON document has an empty list, an empty object or null: nothing is said there of what lies below."""
    if isinstance(document, Mapping) and document:
        named = {f"{place}.{name}" if place else name: each for name, each in document.items()}
        return set().union(*(empty(each, below) for below, each in named.items()))
    if isinstance(document, list) and document:
        return set().union(*(empty(each, f"{place}[]") for each in document))
    return {place} if document in (None, [], {}) else set()


def said(answer: Any) -> Any:
    """What an address of the API answered: JSON, or the data of its events; without what changes by itself."""
    if answer.headers["content-type"].startswith("text/event-stream"):
        lines = [line.partition(":")[2].strip() for line in answer.text.splitlines() if line.startswith("data:")]
        return [_still(json.loads(line)) for line in lines]
    return _still(answer.json())


def _still(document: Any) -> Any:
    if isinstance(document, Mapping):
        return {name: _still(each) for name, each in document.items() if name not in CHANGING}
    return [_still(each) for each in document] if isinstance(document, list) else document


def export(content: bytes) -> dict[str, Any]:
    """What lies in the zip that people take home, and the fields of its records; reports apart."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        records = json.loads(archive.read("records.json"))
        return {
            "files": sorted(name for name in archive.namelist() if not name.endswith("report.html")),
            "records": sorted(parts(records)),
        }


def written(path: Path, facts: Mapping[str, Any]) -> None:
    """Write facts with one line for each name."""
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(each, ensure_ascii=False)}" for name, each in facts.items())
    path.write_text(f"{{\n{lines}\n}}\n", "utf-8")
