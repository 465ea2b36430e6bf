"""The stored files of people and styles, as a backup takes them; copied to another installation, and compared."""

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from pipelines.folders import atomic
from portrait.errors import OperatorError
from tasks.files import Files
from tasks.storage.storage import StoredFile

KEPT = ("owners", "styles")
"""What is kept; all else in a data folder is begun and not in place yet, or is being erased."""
CHECKPOINTS = "desks"
"""The folders of training checkpoints: a training whose worker is gone begins anew without them."""


def stored_files(files: Files) -> Iterator[StoredFile]:
    """Yield every file that is kept but checkpoints; raises `OperatorError` (`storage_unreachable`)."""
    for folder in _folders(files):
        for file in files.storage.list(folder):
            if CHECKPOINTS not in Path(file.key).parts:
                yield file


def _folders(files: Files) -> Iterator[str]:
    """What is listed at once: a bucket gives its list in pages, a folder that of each owner whole."""
    for name in KEPT:
        if files.bucket is not None:
            yield name
        else:
            yield from (key for key, _ in files.storage.items((f"{name}/*",)))


def require_no_files(files: Files) -> None:
    """Raise `OperatorError` (`not_empty`) where anything is kept."""
    if next(stored_files(files), None) is not None:
        sentence = (
            f"Files are kept already where {files.root} is the data folder. Name an empty one: nothing was written."
        )
        raise OperatorError("not_empty", sentence)


def copy_files(source: Files, target: Files) -> tuple[int, int]:
    """Copy what is kept to where nothing is, and compare each file as it can be read there; returns how many files and bytes.

    Raises `OperatorError`: `not_empty`, `copy_failed` where a file reads otherwise than it was written; `OSError`.
    """
    require_no_files(target)
    count = size = 0
    for file in stored_files(source):
        path, copied = source.fetch(source.root / file.key), target.root / file.key
        with atomic.replace_file(copied) as staged:
            shutil.copy2(path, staged)
        target.keep(copied)
        if (content := target.read(copied)) is None or hashlib.sha256(content).hexdigest() != hash_file(path):
            raise OperatorError(
                "copy_failed", f"{file.key} reads otherwise than what was copied. Check the disk or bucket."
            )
        if target.bucket is not None:
            copied.unlink()  # it is fetched where it is asked for
        count, size = count + 1, size + file.bytes
    return count, size


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file; raises `OSError`."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
