"""Crops and references of a set, whose pictures are decoded when they are first looked at.

Five references of 12 megapixels are 180 MB, and most portraits look at one of them; crops are looked at where somebody learns.
Files are opened at once: what was there when the set was read can be looked at, whatever becomes of its folder.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines import image_io
from portrait.arrays import Image
from portrait.errors import UserError
from portrait.types import Crop, Reference


class _OpenFile:
    """A file that is kept open until it is read or let go."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            os.close(self._descriptor)

    def read(self) -> bytes:
        """All of it, from its beginning."""
        with os.fdopen(os.dup(self._descriptor), "rb") as stream:
            stream.seek(0)
            return stream.read()


class _Stored:
    """Decodes what is missing of it."""

    __slots__ = ()
    _files: dict[str, _OpenFile]

    def __getattr__(self, name: str) -> Image:
        """A picture by the name of its field, decoded once; raises `UserError` (`broken_set`) where it is broken."""
        if name.startswith("_") or name not in self._files:
            raise AttributeError(name)
        file = self._files[name]
        try:
            image = image_io.decode(file.read(), file.path.name).image
        except (UserError, OSError) as error:
            raise UserError(
                "broken_set", f"{file.path} of a training set cannot be read. Prepare the photos again."
            ) from error
        object.__setattr__(self, name, image)
        self._files.pop(name, None)  # another thread may have been faster
        return image


class StoredReference(_Stored, Reference):  # pyrefly: ignore[bad-class-definition] -- itself no dataclass
    """A reference whose picture is in a file."""

    __slots__ = ("_files",)


class StoredCrop(_Stored, Crop):  # pyrefly: ignore[bad-class-definition] -- itself no dataclass
    """A crop whose pictures are in files."""

    __slots__ = ("_files",)


def stored_reference(file: Path, **fields: Any) -> Reference:
    """A reference by its file and its other fields; raises `OSError` where the file cannot be opened."""
    return _fill(object.__new__(StoredReference), fields, {"image": file})


def stored_crop(file: Path, before: Path | None, **fields: Any) -> Crop:
    """A crop by its files and its other fields; raises `OSError` where one cannot be opened."""
    files = {"image": file} | ({"before": before} if before else {})
    return _fill(object.__new__(StoredCrop), fields if before else {**fields, "before": None}, files)


def _fill(made: Any, fields: Mapping[str, Any], files: Mapping[str, Path]) -> Any:
    opened = {name: _OpenFile(path) for name, path in files.items()}
    for name, value in {**fields, "_files": opened}.items():
        object.__setattr__(made, name, value)
    return made
