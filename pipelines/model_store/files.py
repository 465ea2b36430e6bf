"""The files of the model store on disk: where they lie, whether they are what was published, and how one is installed."""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pipelines.folders import atomic
from pipelines.model_store.download import DISK_FULL, DownloadedFile
from pipelines.model_store.lock import Lock, LockEntry, LockFile
from pipelines.model_store.manifest import Model, ModelFile
from portrait.errors import OperatorError

FileCondition = Literal["ok", "changed", "missing", "unverified"]


class ModelFiles:
    """The folder of a store with its lock file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lock = LockFile(folder)

    def path(self, model: Model, name: str) -> Path:
        """Return where a file of a model lies, or would lie."""
        return self.folder / model.name / name

    @property
    def partial(self) -> Path:
        """Folder of downloads that are not complete."""
        return self.folder / ".partial"

    def staging(self, model: Model, file: ModelFile) -> Path:
        """Return where a file is downloaded to before it is verified."""
        return self.partial / model.name / file.name.replace("/", "__")

    def any_of(self, model: Model) -> bool:
        """Whether any file of a model is here."""
        return any(self.path(model, file.name).is_file() for file in model.files)

    def is_present(self, model: Model, file: ModelFile, lock: Lock) -> bool:
        """Whether a file is here with the right size; it is not hashed."""
        path, size = self.path(model, file.name), self.expected(model, file, lock).size
        return path.is_file() and (not size or path.stat().st_size == size)

    def size(self, model: Model, lock: Lock) -> int:
        """Return the bytes of a model's files as known from manifest, lock or disk; 0 when any is unknown."""
        sizes = []
        for file in model.files:
            path = self.path(model, file.name)
            sizes.append(self.expected(model, file, lock).size or (path.stat().st_size if path.is_file() else 0))
        return sum(sizes) if all(sizes) else 0

    @staticmethod
    def expected(model: Model, file: ModelFile, lock: Lock) -> LockEntry:
        """Return the hash and size that a file must have: the manifest's first, else those recorded when it was downloaded."""
        entry = lock.get(model.name, {}).get(file.name, LockEntry("", 0))
        if file.sha256 and file.sha256 != entry.sha256:
            return LockEntry(file.sha256, file.size)
        return replace(entry, size=file.size or entry.size)

    def condition(self, model: Model, file: ModelFile, lock: Lock) -> FileCondition:
        """Hash a file and compare it with what is expected."""
        path, expected = self.path(model, file.name), self.expected(model, file, lock)
        if not path.is_file():
            return "missing"
        if not expected.sha256:
            return "unverified"
        return "ok" if self.is_present(model, file, lock) and sha256(path) == expected.sha256 else "changed"

    def install(self, downloaded: DownloadedFile, model: Model, file: ModelFile, source: str) -> None:
        """Record a verified file, then move it to its place; in this order, so that no file is here unrecorded."""
        with downloaded.path.open("rb+") as written:
            os.fsync(written.fileno())
        self.lock.record(
            model.name,
            file.name,
            LockEntry(downloaded.sha256, downloaded.path.stat().st_size, source, downloaded.commit),
        )
        target = self.path(model, file.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        downloaded.path.replace(target)
        atomic.sync_folder(target.parent)

    @contextlib.contextmanager
    def clean_staging(self, model: Model) -> Iterator[None]:
        """Keep a model's staging after a network failure, to resume from; remove it after a full disk or a wrong hash."""
        try:
            yield
        except OSError:
            shutil.rmtree(self.partial / model.name, ignore_errors=True)
            raise
        except OperatorError as error:
            if error.code == "hash_mismatch":
                shutil.rmtree(self.partial / model.name, ignore_errors=True)
            raise

    @contextlib.contextmanager
    def disk_errors(self) -> Iterator[None]:
        """Turn `OSError` into `OperatorError` (`disk_full`, `store_failed`)."""
        try:
            yield
        except OSError as error:
            if error.errno in DISK_FULL:
                sentence = f"The disk of {self.folder} is full: free some space, then run the command again."
                raise OperatorError("disk_full", sentence) from error
            raise OperatorError("store_failed", f"The model store {self.folder} cannot be written: {error}.") from error


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
