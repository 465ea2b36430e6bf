"""Models that are being added, or could not be: a small file each in the store's folder, which other processes read."""

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pipelines.folders import atomic
from pipelines.model_store.add import NewModel
from pipelines.model_store.lock import LockFile
from portrait.errors import Cancelled, OperatorError, PortraitError

if TYPE_CHECKING:
    import filelock

    from portrait.ports import Progress  # brings numpy, which the command line does without until it works

REPORT_SECONDS = 0.5
"""Seconds between two notes of the progress."""


@dataclass(frozen=True, slots=True)
class Addition:
    """A model on its way into the store."""

    name: str
    kind: str
    source: str
    started: float
    """Unix time."""
    licence: str = ""
    commercial: str = ""
    done: int = 0
    total: int = 0
    """Bytes; 0 where it is not known."""
    doing: str = ""
    code: str = ""
    """Code of the error that ended it."""
    message: str = ""
    state: Literal["running", "failed", "broken_off"] = "running"
    """`broken_off`: the process that did it ended; adding it again goes on from there."""


class Running:
    """A model that is being added by this process; fits `Progress`. Whoever deletes its note stops it."""

    def __init__(
        self, place: Path, addition: Addition, lock: "filelock.BaseFileLock", passed_on: "Progress | None"
    ) -> None:
        self._place, self._addition, self._lock, self._passed_on = place, addition, lock, passed_on
        self._noted = 0.0
        self._write()

    def __call__(self, done: int, total: int, doing: str, preview: object = None) -> None:
        """Note how far it is; raises `Cancelled`."""
        if self._passed_on is not None:
            self._passed_on(done, total, doing)
        if time.monotonic() - self._noted >= REPORT_SECONDS:
            if not self._place.exists():
                raise Cancelled
            self._addition = replace(self._addition, done=done, total=total, doing=doing)
            self._write()

    def end(self, error: BaseException | None, note_failure: bool) -> None:
        """Let go; with `note_failure`, why it failed stays noted."""
        if error is None or isinstance(error, Cancelled) or not note_failure:
            self._place.unlink(missing_ok=True)
        elif isinstance(error, PortraitError):
            self._addition = replace(self._addition, code=error.code, message=error.message, state="failed")
            self._write()
        self._lock.release()

    def _write(self) -> None:
        self._noted = time.monotonic()
        with atomic.replace_file(self._place) as staged:
            staged.write_text(json.dumps(asdict(self._addition)), "utf-8")


class Additions:
    """The notes of one store."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / ".adding"
        self._lock = LockFile(folder)

    def begin(self, new: NewModel, progress: "Progress | None" = None) -> Running:
        """Note that a model is being added; raises `OperatorError` (`model_busy`) where one of that name is already."""
        lock = self._lock.take(f"{new.name}.adding")
        if lock is None:
            raise OperatorError(
                "model_busy", f"{new.name} is being added already: `portrait models list` says how far it is."
            )
        try:
            begun = Addition(new.name, new.kind, new.source, time.time(), new.licence, new.commercial)
            return Running(self._place(new.name), begun, lock, progress)
        except BaseException:
            lock.release()
            raise

    def list(self) -> tuple[Addition, ...]:
        """Return what is being added and what could not be, the oldest first."""
        found = (self._read(path) for path in self._folder.glob("*.json"))
        return tuple(sorted((each for each in found if each), key=lambda each: each.started))

    def find(self, name: str) -> Addition | None:
        """Return the note of one model; None where there is none."""
        return self._read(self._place(name))

    def drop(self, name: str) -> bool:
        """Forget a model that could not be added, or stop adding it; returns whether there was a note."""
        known = self._place(name).exists()
        self._place(name).unlink(missing_ok=True)
        return known

    def _place(self, name: str) -> Path:
        return self._folder / f"{name}.json"

    def _read(self, path: Path) -> Addition | None:
        try:
            content: Mapping[str, Any] = json.loads(path.read_text("utf-8"))
            addition = Addition(**content)
        except (OSError, ValueError, TypeError):
            return None
        if addition.state == "running":
            lock = self._lock.take(f"{addition.name}.adding")
            if lock is not None:
                lock.release()
                return replace(addition, state="broken_off") if path.exists() else None
        return addition
