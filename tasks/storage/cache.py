"""The copies of stored files in the data folder of one machine: which version a copy is, and which copies go for others.

A copy carries its version in its modification time, a moment before 2007 that is computed from the ETag: it is renamed into
place with it, survives restarts, and is understood by all processes of the machine without a word between them.
"""

import hashlib
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tasks.telemetry import metrics

IN_USE = 60.0
"""Seconds for which a copy stays after it was asked for: whoever asked reads it by then, or holds it open."""
NOTED = 10
"""Seconds after which it is noted again that a copy is used."""
SPARE = 0.9
"""Share of the bound down to which copies are removed at once."""
WORK = "desks"
"""The folder of checkpoints; they are written as much as read, and go with their job."""
_NANOSECONDS = 10**9
_LATEST = 1 << 60
"""Nanoseconds since 1970 before which the modification times of copies lie; in July 2006."""


@dataclass(slots=True)
class Cache:
    """Copies below `root`, of `max_bytes` together; each process counts what it adds, and looks at all after a twentieth."""

    root: Path
    max_bytes: int
    _added: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def is_copy(self, path: Path, version: str, size: int) -> bool:
        """Whether the file at `path` is this version, complete."""
        try:
            found = path.stat()
        except OSError:
            return False
        return found.st_mtime_ns == mark_of(version) and found.st_size == size

    def mark(self, path: Path, version: str) -> None:
        """Note which version the file at `path` is, and that it was asked for now."""
        os.utime(path, ns=(time.time_ns(), mark_of(version)))

    def use(self, path: Path) -> None:
        """Note that a copy, or all in a folder of copies, was asked for now."""
        now = time.time_ns()
        for file in _files(path) if path.is_dir() else [path]:
            with suppress(OSError):
                found = file.stat()
                if now - found.st_atime_ns > NOTED * _NANOSECONDS:
                    os.utime(file, ns=(now, found.st_mtime_ns))

    def add(self, size: int) -> None:
        """Note that copies were added, and remove others where there are too many."""
        with self._lock:
            self._added += size
            if self._added < self.max_bytes / 20:
                return
            self._added = 0
        self.shrink()

    def shrink(self) -> int:
        """Remove the copies that were not asked for longest, down to the bound; returns the bytes that are left.

        Those of the last minute stay, even beyond the bound. What is no copy of a stored file is neither counted nor removed.
        """
        units = sorted(self._units(), key=lambda unit: unit.used)
        left, until = sum(unit.bytes for unit in units), time.time() - IN_USE
        wanted = self.max_bytes if left <= self.max_bytes else int(self.max_bytes * SPARE)
        for unit in units:
            if left <= wanted or unit.used > until:
                break
            left -= unit.remove()
        metrics.storage_cache_bytes(left)
        return left

    def forget(self, folder: Path) -> bool:
        """Remove the copies below a folder, but those of the last minute; returns whether any are left."""
        until, left = time.time() - IN_USE, False
        for unit in self._units(folder):
            if unit.used > until:
                left = True
            else:
                unit.remove()
        return left

    def _units(self, folder: Path | None = None) -> Iterator["_Unit"]:
        """What is removed together: single files of owners, whole folders of styles, which are read as one."""
        units: dict[Path, _Unit] = {}
        for path in _files(folder or self.root):
            parts = path.relative_to(self.root).parts
            if parts[0] not in ("owners", "styles") or WORK in parts[:-1]:
                continue
            with suppress(OSError):
                found = path.stat()
                if found.st_mtime_ns < _LATEST:
                    place = self.root.joinpath(*parts[:4]) if parts[0] == "styles" else path
                    unit = units.setdefault(place, _Unit(place))
                    unit.files.append(path)
                    unit.bytes += found.st_size
                    unit.used = max(unit.used, found.st_atime)
        yield from units.values()


@dataclass(slots=True)
class _Unit:
    """Copies that are removed together."""

    place: Path
    files: list[Path] = field(default_factory=list)
    bytes: int = 0
    used: float = 0.0
    """When one of them was last asked for, seconds since 1970."""

    def remove(self) -> int:
        """Remove them; returns their bytes."""
        if self.place in self.files:
            self.place.unlink(missing_ok=True)
        else:  # a folder is whole or gone
            hidden = self.place.with_name(f".{self.place.name[:40]}.{os.urandom(4).hex()}.old")
            with suppress(FileNotFoundError):
                self.place.rename(hidden)
            shutil.rmtree(hidden, ignore_errors=True)
        metrics.storage_cache("evicted", len(self.files))
        return self.bytes


def mark_of(version: str) -> int:
    """The modification time of copies of a version, nanoseconds since 1970; in whole microseconds, as some disks keep it."""
    number = int.from_bytes(hashlib.sha256(version.encode()).digest()[:8], "big") % _LATEST
    return max(_NANOSECONDS, number // 1000 * 1000)


def _files(folder: Path) -> Iterator[Path]:
    """All files below a folder, without hidden names."""
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(place, name) for name in names if not name.startswith("."))
