"""Catalogue of style folders: lists, finds and copies styles."""

import os
import shutil
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from portrait.errors import OperatorError, UserError
from templates.package_pictures import find_picture
from templates.schema import StyleFile, read_style

BUILTIN = Path(__file__).parent / "builtin"
"""The styles that come with the project."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A style and the folder of its files."""

    style: StyleFile
    folder: Path

    def picture(self) -> Path | None:
        """Path of the picture, or None for a style without one; raises `OperatorError` (`bad_style`) where it is missing."""
        place = self.style.picture
        if place is None:
            return None
        if not place.file:
            try:
                return find_picture(place.package, place.path)
            except OperatorError as error:
                sentence = f"The picture of the style {self.style.id} is missing. {error.message}"
                raise OperatorError("bad_style", sentence) from error
        path = self.folder / place.file
        if not path.is_file():
            raise OperatorError("bad_style", f"The picture {path.name} of the style {self.style.id} is missing.")
        return path


@dataclass(frozen=True, slots=True)
class Catalog:
    """The styles in some folders: each style is a folder with a style.toml; the first folder that has an id wins."""

    folders: tuple[Path, ...] = (BUILTIN,)

    def entries(self) -> list[Entry]:
        """Every style, sorted by id."""
        found: dict[str, Entry] = {}
        for folder in self.folders:
            for place in sorted(each.path for each in os.scandir(folder)) if folder.is_dir() else ():
                if (entry := _read_unless_known(place)) is not None:
                    found.setdefault(entry.style.id, entry)
        return [found[name] for name in sorted(found)]

    def find(self, name: str) -> Entry:
        """The style with an id; raises `UserError` (`unknown_style`), whose message lists the ids that exist."""
        entries = {entry.style.id: entry for entry in self.entries()}
        if name not in entries:
            sentence = f"There is no style {name!r}, and no picture of that name. Styles: {', '.join(entries)}."
            raise UserError("unknown_style", sentence)
        return entries[name]


def _read_unless_known(folder: str) -> Entry | None:
    """The style of a folder, read and validated once as long as its file does not change; raises as `read_style`.

    None where there is no style.toml. Folders are strings: lists of all styles are asked for often.
    """
    try:
        found = os.stat(f"{folder}/style.toml")  # noqa: PTH116 -- a `Path` takes four times as long
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return Entry(read_style(Path(folder, "style.toml")), Path(folder))  # which says what is wrong with it
    return _read(folder, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=1024)
def _read(folder: str, changed: int, size: int) -> Entry:
    return Entry(read_style(Path(folder, "style.toml")), Path(folder))


def add_style(source: Path, folder: Path) -> Entry:
    """Copy a style's folder into `folder`, completely or not at all; without links and hidden files.

    Raises `UserError` (`style_exists`), `OperatorError` (`bad_style`, `cannot_write`).
    """
    entry = Entry(read_style(source / "style.toml"), source)
    entry.picture()
    place = folder / entry.style.id
    if place.exists():
        sentence = f"There is a style {entry.style.id} already. Remove it first, or choose another id."
        raise UserError("style_exists", sentence)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".add.", dir=folder) as work_dir:
            staged = Path(work_dir) / entry.style.id
            staged.mkdir()
            for file in source.iterdir():
                if file.is_file() and not file.is_symlink() and not file.name.startswith("."):
                    shutil.copyfile(file, staged / file.name)
            staged.rename(place)
    except OSError as error:
        raise OperatorError("cannot_write", f"The style cannot be written to {folder}: {error.strerror}.") from error
    return Entry(entry.style, place)
