"""The lock file of the model store (`lock.json`: hash, size and source of each file), and locks between processes."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.folders import atomic
from portrait.errors import OperatorError

if TYPE_CHECKING:
    import filelock

    from portrait.ports import Progress  # brings numpy, which the command line does without until it works


@dataclass(frozen=True, slots=True)
class LockEntry:
    """What was recorded of one file when it was downloaded or imported; the fields are the keys of `lock.json`."""

    sha256: str
    size: int
    source: str = ""
    commit: str = ""


Lock = Mapping[str, Mapping[str, LockEntry]]
"""By model, then by file name."""


class LockFile:
    """The lock file of one model store."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self) -> dict[str, dict[str, LockEntry]]:
        """Return every entry; raises `OperatorError` (`bad_lock`)."""
        path = self._folder / "lock.json"
        try:
            read: dict[str, Any] = json.loads(path.read_text("utf-8"))["models"]
            return {
                model: {name: LockEntry(**content) for name, content in files.items()} for model, files in read.items()
            }
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise OperatorError(
                "bad_lock", f"{path} cannot be read ({error}): mend it, or delete it and pull again."
            ) from error

    def record(self, model: str, file: str, entry: LockEntry, *, only_if_new: bool = False) -> None:
        """Record a file; with `only_if_new`, only if it has no entry yet."""
        with self.exclusive("lock.json"):
            lock = self.read()
            files = lock.setdefault(model, {})
            if only_if_new and file in files:
                return
            files[file] = entry
            self._write(lock)

    def forget(self, model: str) -> None:
        """Take the entries of a model out, so that other files may take their place."""
        with self.exclusive("lock.json"):
            lock = self.read()
            if lock.pop(model, None) is not None:
                self._write(lock)

    def _write(self, lock: Lock) -> None:
        content = {name: {key: asdict(each) for key, each in entries.items()} for name, entries in sorted(lock.items())}
        with atomic.replace_file(self._folder / "lock.json") as staged:
            staged.write_text(json.dumps({"models": content}, indent=1) + "\n", "utf-8")

    def take(self, name: str) -> "filelock.BaseFileLock | None":
        """Take the lock of a name, for any thread to let go; None where somebody holds it."""
        import filelock

        lock = filelock.FileLock(self._place(name), mode=self._mode(), thread_local=False)
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            return None
        return lock

    @contextlib.contextmanager
    def exclusive(self, name: str, progress: "Progress | None" = None) -> Iterator[None]:
        """Hold the lock of a name between processes; `progress` reports the wait for another one."""
        import filelock

        lock = filelock.FileLock(self._place(name), mode=self._mode())
        while True:
            try:
                lock.acquire(timeout=0.5)
                break
            except filelock.Timeout:
                if progress is not None:
                    progress(0, 0, f"waiting for another pull of {name}")
        try:
            yield
        finally:
            lock.release()

    def _place(self, name: str) -> Path:
        folder = self._folder / ".locks"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / name

    def _mode(self) -> int:
        return (self._folder / ".locks").stat().st_mode & 0o660  # a group that may write takes part
