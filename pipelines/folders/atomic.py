"""Files and folders that appear whole or not at all: written beside their place first, then moved into it."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from portrait.errors import OperatorError


def write_file(path: Path, content: bytes | str) -> Path:
    """Write a file, text as UTF-8, and its folders; raises `OperatorError` (`cannot_write`)."""
    staged = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        staged.write_bytes(content.encode() if isinstance(content, str) else content)
        staged.replace(path)
    except OSError as error:
        with suppress(OSError):
            staged.unlink(missing_ok=True)
        raise OperatorError("cannot_write", f"{path} cannot be written: {error.strerror}.") from error
    return path


@contextmanager
def replace_folder(folder: Path) -> Iterator[Path]:
    """An empty folder to fill; at the end it takes the place of `folder`. Raises `OSError`."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    staged = _beside(folder)
    try:
        yield staged
        staged.chmod(0o755)  # mkdtemp's 0700 would hide it from the group that may read its parent
        if folder.exists():
            old = _beside(folder)
            folder.rename(old / "old")
            staged.rename(folder)
            shutil.rmtree(old, ignore_errors=True)
        else:
            staged.rename(folder)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _beside(folder: Path) -> Path:
    return Path(tempfile.mkdtemp(prefix=f".{folder.name[:40]}.", dir=folder.parent))
