"""The styles in a folder: list and read them."""

import importlib.util
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from portrait.errors import OperatorError, UserError
from templates.schema import StyleFile, read

BUILTIN = Path(__file__).parent / "builtin"
"""The styles that come with the project."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A style and the folder it lies in."""

    style: StyleFile
    folder: Path

    def picture(self) -> Path | None:
        """The picture's file, or None for a style without one; raises `OperatorError` (`bad_style`) when it is gone."""
        place = self.style.picture
        if place is None:
            return None
        path = self.folder / place.file if place.file else _packaged(place.package, place.path)
        if not path.is_file():
            raise OperatorError("bad_style", f"The picture {path.name} of the style {self.style.id} is missing.")
        return path


@dataclass(frozen=True, slots=True)
class Catalog:
    """The styles of some folders: each style is a folder with a style.toml in it; the first of an id counts."""

    folders: tuple[Path, ...] = (BUILTIN,)

    def entries(self) -> list[Entry]:
        """Every style, by id."""
        found: dict[str, Entry] = {}
        for folder in self.folders:
            for path in sorted(folder.glob("*/style.toml")):
                entry = Entry(read(path), path.parent)
                found.setdefault(entry.style.id, entry)
        return [found[name] for name in sorted(found)]

    def find(self, name: str) -> Entry:
        """One style by its id; raises `UserError` (`unknown_style`) that lists those that exist."""
        entries = {entry.style.id: entry for entry in self.entries()}
        if name not in entries:
            known = ", ".join(entries)
            raise UserError(
                "unknown_style", f"There is no style {name!r}, and no picture of that name. Styles: {known}."
            )
        return entries[name]


def add(source: Path, folder: Path) -> Entry:
    """Copy a style's folder into `folder`, whole or not at all; links and what is hidden stay behind.

    Raises `UserError` (`style_exists`), `OperatorError` (`bad_style`, `cannot_write`).
    """
    entry = Entry(read(source / "style.toml"), source)
    entry.picture()
    place = folder / entry.style.id
    if place.exists():
        raise UserError(
            "style_exists", f"There is a style {entry.style.id} already. Remove it first, or choose another id."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".add.", dir=folder) as desk:
            staged = Path(desk) / entry.style.id
            staged.mkdir()
            for file in source.iterdir():
                if file.is_file() and not file.is_symlink() and not file.name.startswith("."):
                    shutil.copyfile(file, staged / file.name)
            staged.rename(place)
    except OSError as error:
        raise OperatorError("cannot_write", f"The style cannot be written to {folder}: {error.strerror}.") from error
    return Entry(entry.style, place)


def _packaged(package: str, path: str) -> Path:
    """A file inside an installed package, found without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise OperatorError("bad_style", f"The package {package}, which holds a style's picture, is not installed.")
    return Path(spec.origin).parent / path
