"""Pictures made small for pages, kept for whoever asks next: within bounds, and no longer than their files."""

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TypeAlias

import PIL.Image

from pipelines import image_io as door
from portrait.errors import UserError

KEPT = 32_000_000
"""Bytes that are kept in a process: more than a thousand pictures as a page of photos shows them."""
AT_ONCE = 2
"""Pictures that are decoded at once in a process: a large one takes 360 MB until it is small."""
QUALITY = 88
_Key: TypeAlias = tuple[Path, int, int, int]


@dataclass(frozen=True, slots=True)
class Reduced:
    """Small JPEGs by file and side; those that nobody asked for go first."""

    most: int = KEPT
    _kept: OrderedDict[_Key, bytes] = field(default_factory=OrderedDict)
    _looking: threading.Lock = field(default_factory=threading.Lock)
    _decoding: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(AT_ONCE))

    def jpeg(self, path: Path, side: int) -> bytes:
        """The picture with a long side of at most so many pixels.

        Raises `UserError` (`not_found`, `unreadable`, `too_large`).
        """
        found = self._found(path, side)
        if found is not None:
            return found
        with self._decoding:
            # Whoever waited here may have waited for this very picture.
            found = self._found(path, side)
            return self._made(path, side) if found is None else found

    def _found(self, path: Path, side: int) -> bytes | None:
        key = _key(path, side)
        with self._looking:
            if key not in self._kept:
                return None
            self._kept.move_to_end(key)
            return self._kept[key]

    def _made(self, path: Path, side: int) -> bytes:
        key, content = _key(path, side), BytesIO()
        PIL.Image.fromarray(door.read(path, side).image).save(content, "JPEG", quality=QUALITY)
        with self._looking:
            self._kept[key] = content.getvalue()
            for gone in [each for each in self._kept if not each[0].exists()]:
                del self._kept[gone]  # what was forgotten is forgotten here too
            while sum(map(len, self._kept.values())) > self.most:
                self._kept.popitem(last=False)
        return content.getvalue()


def not_there() -> UserError:
    """That the file of a picture is gone."""
    return UserError("not_found", "The file is not there.")


def _key(path: Path, side: int) -> _Key:
    """Another file at the same place is another picture; raises `UserError` (`not_found`)."""
    try:
        state = path.stat()
    except OSError as error:
        raise not_there() from error
    return path, state.st_mtime_ns, state.st_size, side
