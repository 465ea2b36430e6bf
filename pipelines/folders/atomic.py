"""Writes files and folders atomically and durably: under a temporary name beside their place first, then renamed.

What a call has returned from survives a power cut: content, names and folders are flushed to the disk before and after the
renaming. New files and folders have the mode that the process's umask leaves them; what is replaced keeps its own.
"""

import ctypes
import json
import os
import secrets
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from portrait.errors import OperatorError

_EXCHANGE = 2
"""Linux's RENAME_EXCHANGE and macOS's RENAME_SWAP: two names are swapped in one step."""
_WORKING_FOLDER = -100
"""Linux's AT_FDCWD."""


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
def reported_reading(folder: Path) -> Iterator[None]:
    """Raise `OperatorError` (`no_permission`) where the block may not read `folder`, before anybody calls it broken."""
    try:
        yield
    except PermissionError as error:
        sentence = f"{folder} may not be read: it belongs to another user. Change its permissions or its group."
        raise OperatorError("no_permission", sentence) from error


def read_json(path: Path) -> Any:
    """Return what a JSON file says; raises `OSError`, and `ValueError` for whatever is no JSON that can be read."""
    try:
        return json.loads(path.read_text("utf-8"))
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


@contextmanager
def replace_file(path: Path, make_folder: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path` to write to; it is renamed to `path` unless the block raises.

    The temporary name is unique, so that two writers of one file do not mix their bytes. Without `make_folder` the folder must
    exist: one that was erased meanwhile stays erased. Raises `OSError`.
    """
    if make_folder:
        path.parent.mkdir(parents=True, exist_ok=True)
    staged = _make_name(path, ".part")
    try:
        yield staged
        sync_file(staged)
        _keep_mode(path, staged)
        staged.replace(path)
        sync_folder(path.parent)
    finally:
        with suppress(OSError):
            staged.unlink(missing_ok=True)


@contextmanager
def replace_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder to fill; it takes the place of `folder` unless the block raises. Raises `OSError`."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    staged = _make_name(folder, "")
    staged.mkdir()
    try:
        yield staged
        move_folder(staged, folder)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def move_folder(staged: Path, folder: Path) -> None:
    """Move a complete folder to `folder` on the same disk, in place of what is there. Raises `OSError`.

    On Linux and macOS an earlier folder is exchanged in one step. Where the file system cannot do that (some network disks)
    it is renamed away first: for a moment there is none. A process that is killed leaves the earlier one beside `staged`.
    """
    sync_tree(staged)
    _keep_mode(folder, staged)
    if not folder.exists():
        staged.rename(folder)
    elif exchange(staged, folder):
        shutil.rmtree(staged, ignore_errors=True)
    else:
        old = _make_name(staged, ".old")
        folder.rename(old)
        staged.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    sync_folder(folder.parent)


def exchange(one: Path, other: Path) -> bool:
    """Swap the names of two files or folders of one disk in one step; False where the system cannot. Raises `OSError`."""
    with suppress(AttributeError, OSError):
        library = ctypes.CDLL(None, use_errno=True)
        first, second = os.fsencode(one), os.fsencode(other)
        if sys.platform == "darwin":
            return library.renamex_np(first, second, _EXCHANGE) == 0
        if sys.platform == "linux":
            return library.renameat2(_WORKING_FOLDER, first, _WORKING_FOLDER, second, _EXCHANGE) == 0
    return False


def sync_tree(folder: Path) -> None:
    """Flush every file and folder below `folder`, and itself, to the disk. Raises `OSError`."""
    for place, _, names in os.walk(folder, topdown=False):
        for name in names:
            sync_file(Path(place, name))
        sync_folder(Path(place))


def sync_file(path: Path) -> None:
    """Flush a file's content to the disk; links are passed over. Raises `OSError`."""
    if path.is_file() and not path.is_symlink():
        _sync(path)


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk: what was renamed or removed in it stays so. Raises `OSError`."""
    _sync(folder)


def _sync(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _make_name(place: Path, suffix: str) -> Path:
    """Make an unused hidden name beside `place`, on the same disk."""
    return place.with_name(f".{place.name[:40]}.{secrets.token_hex(4)}{suffix}")


def _keep_mode(earlier: Path, staged: Path) -> None:
    """Give what is to replace a file or folder the permissions of it."""
    if earlier.exists() and not earlier.is_symlink():
        mode = stat.S_IMODE(earlier.stat().st_mode)
        if stat.S_IMODE(staged.stat().st_mode) != mode:
            staged.chmod(mode)
