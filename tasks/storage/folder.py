"""Files that stay where they are written, in the data folder: nothing is copied."""

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from portrait.errors import OperatorError
from tasks.storage.storage import StoredFile


@dataclass(frozen=True, slots=True)
class FolderStorage:
    """A folder of this machine, or one that all machines share."""

    root: Path

    def put(self, key: str, path: Path, headers: Mapping[str, str] | None = None) -> None:
        """Nothing: it is kept where it was written."""

    def fetch_file(self, key: str, path: Path, fixed: bool = False) -> None:
        """Nothing: it is there."""

    def fetch_folder(self, key: str, path: Path, fixed: bool = False) -> None:
        """Nothing: it is there."""

    def read(self, key: str) -> bytes | None:
        """The content of a file; None where there is none."""
        try:
            return (self.root / key).read_bytes()
        except FileNotFoundError:
            return None

    def remove(self, key: str) -> None:
        """Nothing: whoever asks removes the file itself."""

    def find(self, key: str) -> StoredFile | None:
        """A file; None where there is none."""
        try:
            found = (self.root / key).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        if stat.S_ISDIR(found.st_mode):
            return None
        return StoredFile(key, found.st_size, str(found.st_mtime_ns), found.st_mtime)

    def list(self, key: str) -> Iterator[StoredFile]:
        """All files in a folder and its folders, sorted by key; hidden names are left out."""
        for path in sorted((self.root / key).rglob("*")):
            relative = path.relative_to(self.root)
            if not any(part.startswith(".") for part in relative.parts) and not path.is_dir():
                found = self.find(relative.as_posix())
                if found is not None:
                    yield found

    def items(self, patterns: Sequence[str], sweep: str = "") -> Iterator[tuple[str, float]]:
        """Files and folders whose keys match a pattern, with when they were last changed."""
        for pattern in patterns:
            for path in sorted(self.root.glob(pattern)):
                with suppress(FileNotFoundError):
                    if not path.name.startswith("."):
                        yield path.relative_to(self.root).as_posix(), path.stat().st_mtime

    def forget(self, path: Path) -> bool:
        """Nothing: a folder holds no copies."""
        return False

    def link(self, key: str, seconds: int) -> str:
        """Empty: a folder has no addresses."""
        return ""

    def check(self) -> None:
        """Raise `OperatorError` (`cannot_write`) where the folder is not there or may not be written."""
        if not (self.root.is_dir() and os.access(self.root, os.W_OK)):
            raise OperatorError("cannot_write", "The data folder cannot be written.")
