"""What came into the model store: `lock.json`, and the locks that keep two processes apart."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from portrait.errors import OperatorError

if TYPE_CHECKING:
    from portrait.ports import Progress  # brings numpy, which the command line does without until it works


@dataclass(frozen=True, slots=True)
class LockEntry:
    """What was recorded of one file when it came."""

    sha256: str
    size: int
    source: str = ""
    commit: str = ""


Lock = Mapping[str, Mapping[str, LockEntry]]
"""Model → file → what was recorded."""


class LockFile:
    """The record of one store."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self) -> dict[str, dict[str, LockEntry]]:
        """All that was recorded; raises `OperatorError` (`bad_lock`)."""
        path = self._folder / "lock.json"
        try:
            read: dict[str, Any] = json.loads(path.read_text("utf-8"))["models"]
            return {model: {name: LockEntry(**told) for name, told in files.items()} for model, files in read.items()}
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise OperatorError(
                "bad_lock", f"{path} cannot be read ({error}): mend it, or delete it and pull again."
            ) from error

    def record(self, model: str, file: str, locked: LockEntry, *, only_if_new: bool = False) -> None:
        """Write down what came; with `fresh`, only if nothing was written down before."""
        with self.exclusive("lock.json"):
            lock = self.read()
            files = lock.setdefault(model, {})
            if only_if_new and file in files:
                return
            files[file] = locked
            told = {name: {each: asdict(entry) for each, entry in kept.items()} for name, kept in sorted(lock.items())}
            staged = self._folder / ".partial" / "lock.json"
            staged.parent.mkdir(exist_ok=True)
            staged.write_text(json.dumps({"models": told}, indent=1) + "\n", "utf-8")
            staged.replace(self._folder / "lock.json")

    @contextlib.contextmanager
    def exclusive(self, name: str, progress: "Progress | None" = None) -> Iterator[None]:
        """Be the only process at work on this name; says so while it waits for another one."""
        import filelock

        folder = self._folder / ".locks"
        folder.mkdir(parents=True, exist_ok=True)
        held = filelock.FileLock(folder / name)
        while True:
            try:
                held.acquire(timeout=0.5)
                break
            except filelock.Timeout:
                if progress is not None:
                    progress(0, 0, f"waiting for another pull of {name}")
        try:
            yield
        finally:
            held.release()
