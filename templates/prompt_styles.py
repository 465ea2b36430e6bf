"""Styles that are a prompt and a negative one: AUTOMATIC1111's `styles.csv`, and Fooocus' JSON files, many styles in each."""

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from portrait.photos.names import as_text
from templates.imported import MAX_PROMPT, MAX_TEXT_BYTES, Collected, Skipped, read_text

MOST = 2_000
"""Styles of one file."""
WHO = "{who}, {traits}"
PLACE = "{prompt}"
"""Where these tools put what a person types; a style without it is put behind that."""


def is_list(content: Any) -> bool:
    """Whether a parsed JSON file is a list of such styles, as Fooocus has them."""
    return isinstance(content, list) and bool(content) and all(_is_style(each) for each in content)


def take_list(path: Path, content: list[Mapping[str, Any]], collected: Collected) -> None:
    """Take a list of Fooocus' in: styles for SDXL."""
    styles = (
        (str(each.get("name") or ""), str(each.get("prompt") or ""), str(each.get("negative_prompt") or ""))
        for each in content
    )
    _take_all(path, styles, "fooocus", ("sdxl",), collected)


def take_csv(path: Path, collected: Collected) -> None:
    """Take a `styles.csv` in: styles for any base that reads prompts."""
    try:
        text = read_text(path) if path.stat().st_size <= MAX_TEXT_BYTES else ""
        rows = csv.DictReader(io.StringIO(text, newline=""))
        columns = {str(name).strip().casefold(): str(name) for name in rows.fieldnames or ()}
        styles = list(_rows(rows, columns)) if "name" in columns and columns.keys() & {"prompt", "text"} else None
    except (OSError, UnicodeError, csv.Error):
        styles = None
    if styles is None:
        why = "not a styles.csv: its first line names no name and prompt"
        collected.skipped.append(Skipped(as_text(path.name), "", why))
        return
    _take_all(path, iter(styles), "a1111", (), collected)


def _is_style(each: Any) -> bool:
    return isinstance(each, dict) and "name" in each and ("prompt" in each or "negative_prompt" in each)


def _rows(rows: "csv.DictReader[str]", columns: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Name, prompt and negative prompt of each row; the earliest files had a column `text`."""
    names = ["name", "prompt" if "prompt" in columns else "text", "negative_prompt"]
    for row in rows:
        name, prompt, negative = (str(row.get(columns.get(each, "")) or "") for each in names)
        yield name, prompt, negative


def _take_all(
    path: Path, styles: Iterator[tuple[str, str, str]], tool: str, families: tuple[str, ...], collected: Collected
) -> None:
    why = "files of prompts name none: write it into each style.toml"
    collected.skipped.append(Skipped(as_text(path.name), "licence", why))
    for number, (name, prompt, negative) in enumerate(styles, 1):
        source = f"{as_text(path.name)}: {name or number}"[:120]
        if number > MOST:
            why = f"more than {MOST} styles in one file; the rest was left"
            collected.skipped.append(Skipped(as_text(path.name), "", why))
            return
        if not (prompt.strip() or negative.strip()):
            collected.skipped.append(Skipped(source, "", "it has no words"))
            continue
        _take(source, (name or as_text(path.stem), prompt, negative), tool, families, collected)


def _take(source: str, texts: tuple[str, str, str], tool: str, families: tuple[str, ...], collected: Collected) -> None:
    name, prompt, negative = texts
    # What marks the place of a person's words is no brace of the style's own.
    parts = prompt.split(PLACE, 1)
    before, loras = collected.words(source, "prompt", parts[0] if len(parts) == 2 else "")
    after, more = collected.words(source, "prompt", parts[-1], MAX_PROMPT - len(before))
    against, _ = collected.words(source, "negative_prompt", negative)
    joint = "" if not after else after if after[0] in ".;:!?" else f", {after}"
    content: dict[str, Any] = {
        "id": collected.free_id(name),
        "kind": "text",
        "title": name[:80],
        "titles": {} if name.isascii() else {"zh": name[:80]},
        "prompt": f"{before} {WHO}{joint}".strip(),
        "negative": against,
        "families": families,
        "loras": [{**each, "base": "".join(families)} for each in (*loras, *more)][:4],
        "tags": (tool,),
    }
    collected.add(source, content)
