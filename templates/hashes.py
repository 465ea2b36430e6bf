"""What a style is, apart from its number: its lines and files as hashes."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from portrait.errors import OperatorError
from templates.catalog import Entry
from templates.schema import StyleFile

PREVIEW = "preview.jpg"
"""Beside a style.toml: what the style looks like; not part of what it is."""


def seal(entry: Entry) -> str:
    """The hash of what a style is: every line but version and status, and every file but its preview."""
    told = entry.style.model_dump(mode="json", by_alias=True, exclude={"version", "status"})
    files = {file.name: hash_of(file) for file in files_of(entry.folder)}
    return hashlib.sha256(json.dumps([told, files], sort_keys=True).encode()).hexdigest()


def looked_at(entry: Entry) -> str:
    """What a look at a style depends on: its picture and what it needs from the installation."""
    style = entry.style
    try:
        picture = entry.picture()
    except OperatorError:
        picture = None
    seen = style.model_dump(mode="json", include={"faces", "loras", "bases", "engines", "families"})
    return hashlib.sha256(json.dumps([seen, picture and hash_of(picture)], sort_keys=True).encode()).hexdigest()


def pinned(entry: Entry) -> StyleFile:
    """The style with the hash of its picture, if it has none and the picture is there."""
    place = entry.style.picture
    if place is None or place.sha256 or not place.file or not (entry.folder / place.file).is_file():
        return entry.style
    hashed = place.model_copy(update={"sha256": hash_of(entry.folder / place.file)})
    return entry.style.model_copy(update={"picture": hashed})


def files_of(folder: Path) -> Iterator[Path]:
    """A style's files apart from style.toml and preview."""
    for file in sorted(folder.iterdir()) if folder.is_dir() else ():
        ours = file.name.startswith(".") or file.name in {"style.toml", PREVIEW}
        if file.is_file() and not file.is_symlink() and not ours:
            yield file


def hash_of(path: Path) -> str:
    """The SHA-256 of a file's bytes."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
