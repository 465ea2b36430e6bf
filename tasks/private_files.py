"""Who may read what the installation writes: its own user, and a group that the settings name.

Photos of faces, and what was learned of them, are nobody else's. One umask, set at the start of each process, gives every file
its mode: the database, logs, photos, sets, portraits, models.
"""

import errno
import os
import shutil
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from portrait.errors import OperatorError

PARTS = (
    *("data", "models", "logs", "broker", "cache", "marks"),
    *("ledger.db", "ledger.db-wal", "ledger.db-shm", "ledger.db.lock", "errors.log"),
)
"""What the program itself makes in `$PORTRAIT_HOME`."""


@dataclass(frozen=True, slots=True)
class FileSettings:
    """Who may read the files beside the user that runs the program."""

    group: str = ""
    """Name of a group whose members may read: files get the mode 0640 and folders 0750 instead of 0600 and 0700."""
    group_writes: bool = False
    """Whether the group may write as well (0660, 0770): for services that run as several users of one group."""

    @property
    def umask(self) -> int:
        """The permissions that new files and folders do not have."""
        if not self.group:
            return 0o077
        return 0o007 if self.group_writes else 0o027


def prepare_process(settings: FileSettings, paths: Iterable[Path] = ()) -> None:
    """Set the umask of this process and its children, and give files and folders that are there already the same modes.

    Of a folder itself, not of what lies in it: a folder that nobody may enter is enough. What belongs to another user, or is
    not the program's alone (a home folder, `/tmp`), is left as it is; files made in it are private nevertheless.

    Raises `OperatorError` (`bad_settings`) for a group that does not exist or that the user is not in.
    """
    os.umask(settings.umask)
    for path in paths:
        if _is_ours(path):
            _set_mode(path, settings)


def installation_paths(home: Path, data: Path) -> list[Path]:
    """The files and folders of an installation whose modes `prepare_process` sets; what is linked in may be others' too."""
    return [home, *(home / name for name in PARTS if not (home / name).is_symlink()), data]


def check_readable(paths: Iterable[Path]) -> None:
    """Raise `OperatorError` (`no_permission`) when a file is there that this process may not read.

    Called before work on files of the data folder, so that nobody takes a file of another user for a broken one.
    """
    for path in paths:
        try:
            with path.open("rb"):
                pass
        except PermissionError as error:
            sentence = (
                "Files of the data folder may not be read by the user of this process. Run all services as one user, or name "
                "a group that they share: tasks.files.group."
            )
            raise OperatorError("no_permission", sentence) from error
        except OSError:
            continue  # whoever reads it says what is wrong


def _is_ours(path: Path) -> bool:
    """Whether a file or folder exists and is this user's for the program alone."""
    try:
        found = path.stat()
    except OSError:
        return False
    shared = found.st_mode & stat.S_ISVTX or path in (Path(path.anchor), _users_home())
    return found.st_uid == os.geteuid() and not shared


def _users_home() -> Path | None:
    """The home of this user, whom a container may know by a number alone."""
    try:
        return Path.home()
    except RuntimeError:
        return None


def _set_mode(path: Path, settings: FileSettings) -> None:
    """Take away what the umask would; with a group, hand it to the group, and what is made in a folder later too."""
    mode = stat.S_IMODE(path.stat().st_mode) & ~settings.umask
    if settings.group:
        try:
            shutil.chown(path, group=settings.group)
        except (LookupError, PermissionError) as error:
            sentence = (
                f"Files cannot be given to the group {settings.group} (tasks.files.group): it does not exist, or the user of "
                "this process is not in it."
            )
            raise OperatorError("bad_settings", sentence) from error
        mode |= (0o777 if path.is_dir() else 0o666) & ~settings.umask & 0o070
        mode |= stat.S_ISGID if path.is_dir() else 0
    try:
        path.chmod(mode)
    except OSError as error:
        if error.errno not in (
            errno.EPERM,
            errno.EACCES,
            errno.EROFS,
            errno.ENOTSUP,
        ):  # a disk without modes, or to be read alone
            raise
