"""SHA-256 hashes of a style: of its content, its picture, and what its check depends on."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from portrait.errors import OperatorError
from templates.catalog import Entry
from templates.schema import StyleFile

PREVIEW = "preview.jpg"
"""Name of the preview beside a style.toml; not part of the content."""
ADDED = ("compositions", "skin", "group", "start_merge_step", "blur", "look", "sentence")
"""Fields that came after version 0.1.0: at their defaults they do not count, so that the hashes of then hold."""

ADDED_TO_LORAS = ("blocks", "source")
"""Likewise, of a style's LoRAs."""


def content_hash(entry: Entry) -> str:
    """Hash of a style's content: every field but version and status, and every file but its preview."""
    fields = entry.style.model_dump(mode="json", by_alias=True, exclude={"version", "status"})
    plain = {name for name in ADDED if getattr(entry.style, name) == StyleFile.model_fields[name].default}
    fields = {name: value for name, value in fields.items() if name not in plain}
    fields["loras"] = [
        {key: each[key] for key in each if each[key] or key not in ADDED_TO_LORAS} for each in fields["loras"]
    ]
    files = {file.name: file_hash(file) for file in asset_files(entry.folder)}
    return hashlib.sha256(json.dumps([fields, files], sort_keys=True).encode()).hexdigest()


def check_hash(entry: Entry) -> str:
    """Hash of what the check by a worker depends on: the picture and what the style needs of the installation."""
    style = entry.style
    try:
        picture = entry.picture()
    except OperatorError:
        picture = None
    needs = style.model_dump(mode="json", include={"faces", "loras", "bases", "engines", "families"})
    needs |= {"sentence": True} if style.sentence else {}
    return hashlib.sha256(json.dumps([needs, picture and file_hash(picture)], sort_keys=True).encode()).hexdigest()


def with_picture_hash(entry: Entry) -> StyleFile:
    """The style with the SHA-256 of its picture filled in, where it has none and the file exists."""
    place = entry.style.picture
    if place is None or place.sha256 or not place.file or not (entry.folder / place.file).is_file():
        return entry.style
    hashed = place.model_copy(update={"sha256": file_hash(entry.folder / place.file)})
    return entry.style.model_copy(update={"picture": hashed})


def asset_files(folder: Path) -> Iterator[Path]:
    """A style's files by name, without style.toml, preview, links and hidden files."""
    for file in sorted(folder.iterdir()) if folder.is_dir() else ():
        skipped = file.name.startswith(".") or file.name in {"style.toml", PREVIEW}
        if file.is_file() and not file.is_symlink() and not skipped:
            yield file


def file_hash(path: Path) -> str:
    """The SHA-256 of a file's bytes."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
