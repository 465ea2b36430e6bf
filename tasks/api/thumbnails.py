"""Thumbnails of pictures for pages, cached in memory: within a bound, and no longer than their files exist."""

import threading
from collections import OrderedDict
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from portrait.errors import UserError
from tasks.api.picture_pool import PicturePool, Scene

SIDES = (64, 96, 128, 192, 256, 320, 480, 640, 800, 1024, 1280, 1600, 2048)
"""Long sides that are made: each costs a decoding of the picture."""
MAX_CACHE_BYTES = 32_000_000
"""Bytes cached in a process: more than a thousand thumbnails as a page of photos has them."""
MAX_REFUSALS = 1000
"""Files remembered that cannot be decoded: what costs much to find out is found out once."""
_File: TypeAlias = tuple[Path, int, int]
_Key: TypeAlias = tuple[_File, int, Scene | None]


def made_side(asked: int) -> int:
    """The largest of `SIDES` that is not longer than what is asked for."""
    return max(side for side in SIDES if side <= max(asked, SIDES[0]))


@dataclass(frozen=True, slots=True)
class ThumbnailCache:
    """JPEG thumbnails by file and side; the least recently used are evicted first."""

    max_bytes: int = MAX_CACHE_BYTES
    pool: PicturePool = field(default_factory=PicturePool)
    _cache: OrderedDict[_Key, bytes] = field(default_factory=OrderedDict)
    _pending: "dict[_Key, Future[bytes]]" = field(default_factory=dict)
    _refused: OrderedDict[_File, UserError] = field(default_factory=OrderedDict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def find(self, path: Path, side: int, scene: Scene | None = None) -> bytes | None:
        """A thumbnail that was made before; raises `UserError` (`not_found`, and what it was refused with)."""
        key = _file(path), made_side(side), scene
        with self._lock:
            if key[0] in self._refused:
                raise self._refused[key[0]]
            if key in self._cache:
                self._cache.move_to_end(key)
            return self._cache.get(key)

    def request(self, path: Path, side: int, owner: str, scene: Scene | None = None) -> "Future[bytes]":
        """A JPEG of the picture whose long side has at most `side` pixels, in the turn of its `owner`; waits for nothing.

        With a `scene` the picture is a person's cut-out, which is painted into it. Raises `UserError` (`not_found`, `busy`),
        the future also `unreadable`, `too_large`, `no_permission`, and `not_found` where the cut-out does not fit the scene.
        """
        key = _file(path), made_side(side), scene
        with self._lock:
            found = self.find(path, side, scene)
            if found is not None:
                done: Future[bytes] = Future()
                done.set_result(found)
                return done
            if key in self._pending:
                return self._pending[key]
            future = self.pool.submit(path, key[1], owner, scene)
            self._pending[key] = future
        future.add_done_callback(lambda made: self._keep(key, made))
        return future

    def jpeg(self, path: Path, side: int, owner: str = "") -> bytes:
        """What `request` makes, waited for; raises what it and its future raise."""
        return self.request(path, side, owner).result()

    def forget_erased(self) -> None:
        """Drop the thumbnails of pictures whose files are gone."""
        with self._lock:
            for stale in [each for each in self._cache if not each[0][0].exists()]:
                del self._cache[stale]

    def clear(self) -> None:
        """Drop every thumbnail: what another process is erasing may lie in the data folder for a moment more."""
        with self._lock:
            self._cache.clear()

    def close(self) -> None:
        """End the processes that decode."""
        self.pool.close()

    def _keep(self, key: _Key, made: "Future[bytes]") -> None:
        error = None if made.cancelled() else made.exception()
        with self._lock:
            self._pending.pop(key, None)
            if isinstance(error, UserError) and error.code in ("unreadable", "too_large"):
                self._refused[key[0]] = error
                while len(self._refused) > MAX_REFUSALS:
                    self._refused.popitem(last=False)
            if error is not None or made.cancelled():
                return
            self._cache[key] = made.result()
            self.forget_erased()  # it may have been erased meanwhile
            while sum(map(len, self._cache.values())) > self.max_bytes:
                self._cache.popitem(last=False)


def file_not_found() -> UserError:
    """The error for a picture whose file does not exist."""
    return UserError("not_found", "The file is not there.")


def _file(path: Path) -> _File:
    """The path with what tells that another file lies there now; raises `UserError` (`not_found`)."""
    try:
        state = path.stat()
    except OSError as error:
        raise file_not_found() from error
    return path, state.st_mtime_ns, state.st_size
