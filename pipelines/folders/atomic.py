"""Writes files and folders atomically: under a temporary name beside their place first, then renamed."""

import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from portrait.errors import OperatorError


def write_file(path: Path, content: bytes | str) -> Path:
    """Write a file, text as UTF-8, and its folders; raises `OperatorError` (`cannot_write`)."""
    with reported(f"{path} cannot be written"), replace_file(path) as staged:
        staged.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@contextmanager
def reported(fault: str) -> Iterator[None]:
    """Raise `OperatorError` (`cannot_write`) for an `OSError` of the block: the fault in words, and the system's reason."""
    try:
        yield
    except OSError as error:
        raise OperatorError("cannot_write", f"{fault}: {error.strerror}.") from error


@contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` to write to; it is renamed to `path` unless the block raises.

    The temporary name is unique, so that two writers of one file do not mix their bytes. Raises `OSError`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name[:40]}.{secrets.token_hex(4)}.part")
    try:
        yield staged
        staged.replace(path)
    finally:
        with suppress(OSError):
            staged.unlink(missing_ok=True)


@contextmanager
def replace_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder to fill; it takes the place of `folder` unless the block raises. Raises `OSError`.

    An earlier `folder` is renamed away first: for a moment there is none, and a process killed in it leaves the earlier one
    in a hidden folder beside the place.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    staged = _make_sibling(folder)
    try:
        yield staged
        staged.chmod(0o755)  # mkdtemp's 0700 would hide it from the group that may read its parent
        if folder.exists():
            old = _make_sibling(folder)
            folder.rename(old / "old")
            staged.rename(folder)
            shutil.rmtree(old, ignore_errors=True)
        else:
            staged.rename(folder)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _make_sibling(folder: Path) -> Path:
    """Make an empty hidden folder beside `folder`, on the same disk."""
    return Path(tempfile.mkdtemp(prefix=f".{folder.name[:40]}.", dir=folder.parent))
