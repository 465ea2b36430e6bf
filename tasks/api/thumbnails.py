"""Thumbnails of pictures for pages, cached in memory: within a bound, and no longer than their files exist."""

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TypeAlias

import PIL.Image

from pipelines import image_io
from portrait.errors import UserError

MAX_CACHE_BYTES = 32_000_000
"""Bytes cached in a process: more than a thousand thumbnails as a page of photos has them."""
MAX_CONCURRENT_DECODES = 2
"""Pictures decoded at once in a process. The whole picture is decoded before it is reduced, unless it is a JPEG: 14 bytes of
memory a pixel for RGB, 22 with transparency and 26 for 16-bit grey, so up to 3 GB at the 120 MP that are accepted."""
JPEG_QUALITY = 88
_Key: TypeAlias = tuple[Path, int, int, int]


@dataclass(frozen=True, slots=True)
class ThumbnailCache:
    """JPEG thumbnails by file and side; the least recently used are evicted first."""

    max_bytes: int = MAX_CACHE_BYTES
    _cache: OrderedDict[_Key, bytes] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _decoding: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(MAX_CONCURRENT_DECODES))

    def jpeg(self, path: Path, side: int) -> bytes:
        """A JPEG of the picture whose long side has at most `side` pixels.

        Raises `UserError` (`not_found`, `unreadable`, `too_large`).
        """
        found = self._cached(path, side)
        if found is not None:
            return found
        with self._decoding:
            # Another request may have rendered this very picture while this one waited.
            found = self._cached(path, side)
            return self._render(path, side) if found is None else found

    def _cached(self, path: Path, side: int) -> bytes | None:
        key = _key(path, side)
        with self._lock:
            if key not in self._cache:
                return None
            self._cache.move_to_end(key)
            return self._cache[key]

    def _render(self, path: Path, side: int) -> bytes:
        key, content = _key(path, side), BytesIO()
        PIL.Image.fromarray(image_io.read(path, side).image).save(content, "JPEG", quality=JPEG_QUALITY)
        with self._lock:
            self._cache[key] = content.getvalue()
            for stale in [each for each in self._cache if not each[0].exists()]:
                del self._cache[stale]  # thumbnails of an erased picture go with it
            while sum(map(len, self._cache.values())) > self.max_bytes:
                self._cache.popitem(last=False)
        return content.getvalue()


def file_not_found() -> UserError:
    """The error for a picture whose file does not exist."""
    return UserError("not_found", "The file is not there.")


def _key(path: Path, side: int) -> _Key:
    """The cache key: another file at the same path is another picture; raises `UserError` (`not_found`)."""
    try:
        state = path.stat()
    except OSError as error:
        raise file_not_found() from error
    return path, state.st_mtime_ns, state.st_size, side
