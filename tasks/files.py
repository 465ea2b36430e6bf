"""The files of people: written, fetched where they are read, listed and erased; see `tasks.storage.places` for their paths.

With object storage `owners`, `previews` and `styles` are kept there under the same names, and the data folder is a cache of one
machine: what is read is fetched first, what was written is kept before the row that names it is committed. All else is each
machine's own.
"""

import errno
import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pipelines.folders import atomic
from portrait.errors import OperatorError, PortraitError, UserError
from tasks.settings import TaskSettings
from tasks.storage.folder import FolderStorage
from tasks.storage.places import Places
from tasks.storage.storage import Storage

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REFUSED = {errno.EACCES, errno.EPERM}
_STORED = ("owners", "previews", "styles")
"""Folders of the data folder that the storage keeps; what lies in others is this machine's."""
_IS_FIXED = re.compile(
    r"owners/[^/]+/(jobs|templates)/.*"
    r"|owners/[^/]+/people/[^/]+/selfies/.*"
    r"|styles/(published|drafts|samples)/.*"
)
"""Keys of what never changes once a row names it."""


@dataclass(frozen=True, slots=True)
class SavedFile:
    """A file that was written completely."""

    path: Path
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Owned:
    """Something that lies in the data folder and has a row in the ledger."""

    kind: str
    """The folder that it lies in: `people`, `selfies`, `sets`, `identities`, `jobs`, `templates`."""
    id: str
    owner: str
    path: Path
    changed: float
    """When it was last written, seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Files(Places):
    """The data folder at `root`, and the storage that keeps its files; they are kept in the folder itself without one."""

    bucket: Storage | None = None

    @property
    def storage(self) -> Storage:
        """What keeps the files, under their paths below `root`."""
        return self.bucket or FolderStorage(self.root)

    def save(self, chunks: Iterable[bytes], path: Path, most: int) -> SavedFile:
        """Write a stream to a file, completely or not at all.

        Raises `UserError` (`too_large`) beyond `most` bytes, `OperatorError` (`disk_full`, `cannot_write`).
        """
        digest, size = hashlib.sha256(), 0
        try:
            with atomic.replace_file(path) as staged, staged.open("xb") as file:
                for chunk in chunks:
                    size += len(chunk)
                    if size > most:
                        raise UserError("too_large", f"The file is larger than {most // 1_000_000} MB.")
                    digest.update(chunk)
                    file.write(chunk)
        except OSError as error:
            raise disk_error(error) from error
        return SavedFile(path, size, digest.hexdigest())

    def fetch(self, path: Path) -> Path:
        """Have a file here that is to be read; returns its path. Where nothing is kept nothing lies there.

        This and what follows raise `OperatorError` (`storage_unreachable`).
        """
        self.storage.fetch_file(self._key(path), path, self._is_fixed(path))
        return path

    def fetch_folder(self, folder: Path) -> Path:
        """Have a folder here that is to be read; returns its path. Where nothing is kept there is none."""
        self.storage.fetch_folder(self._key(folder), folder, self._is_fixed(folder))
        return folder

    def keep(self, path: Path, headers: Mapping[str, str] | None = None) -> Path:
        """Keep a file that was written, or a folder as it is now; before the row that names it is committed."""
        if self._is_stored(path):
            self.storage.put(self._key(path), path, headers)
        return path

    def upload(self, staged: Path, place: Path) -> None:
        """Send a staged folder ahead, so that `publish` has little left to do while it holds the ledger."""
        self.storage.put(self._key(place), staged)

    def publish(self, staged: Path, place: Path) -> None:
        """Move a staged folder into place, over whatever an unfinished job left there; call it under the lease.

        A second call does nothing: after a commit whose success was not seen, the folder is in place already.
        """
        if not staged.exists() and (place.exists() or self.names(place)):
            return
        try:
            self.storage.put(self._key(place), staged)
            if self._is_copied_later(place):
                shutil.rmtree(staged)
                return
            place.parent.mkdir(parents=True, exist_ok=True)
            atomic.move_folder(staged, place)
        except OSError as error:
            raise disk_error(error) from error

    def publish_file(self, staged: Path, place: Path, headers: Mapping[str, str] | None = None) -> None:
        """Move a staged file into place as `publish` does; `headers` as for `Storage.put`."""
        try:
            if self.bucket is not None:
                self.storage.put(self._key(place), staged, headers)
                return
            if not staged.exists() and place.exists():
                return
            if not place.parent.is_dir():
                place.parent.mkdir(parents=True, exist_ok=True)
                atomic.sync_folder(place.parent.parent)
            staged.replace(place)
            atomic.sync_folder(place.parent)
        except OSError as error:
            raise disk_error(error) from error

    def exists(self, path: Path) -> bool:
        """Whether a file is kept."""
        return self.storage.find(self._key(path)) is not None

    def names(self, folder: Path) -> list[str]:
        """Names of what lies in a folder, sorted."""
        return sorted({path.relative_to(folder).parts[0] for path in self.contents(folder)})

    def contents(self, path: Path) -> list[Path]:
        """A file, or all files in a folder and its folders; they need not be here yet."""
        found = [self.root / each.key for each in self.storage.list(self._key(path))]
        return found or ([path] if self.exists(path) else [])

    def read(self, path: Path) -> bytes | None:
        """The content of a file as it is now; None where there is none."""
        return self.storage.read(self._key(path))

    def link(self, path: Path, seconds: int) -> str:
        """A signed address of a file for so many seconds; empty where they are 0, and where files have no addresses."""
        return self.storage.link(self._key(path), seconds) if seconds else ""

    def samples(self, style: str, version: int) -> int | None:
        """How many sample people are shown in a version; None where none have been drawn yet."""
        folder = self.fetch_folder(self.style_samples(style, version))
        return len(list(folder.glob("[1-9].jpg"))) if folder.exists() else None

    def forget_copies(self, owner: str) -> bool:
        """Remove this machine's copies of an owner's files but those in use; returns whether any are left."""
        try:
            return self.storage.forget(self._owner(owner))
        except UserError:
            return False  # a name from before such names were refused: nothing can lie there

    def remove(self, path: Path) -> None:
        """Remove a file or folder, here and where it is kept; raises `OSError`."""
        if self._is_stored(path):
            self.storage.remove(self._key(path))
        with suppress(FileNotFoundError):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def check(self) -> None:
        """Raise `OperatorError` where files can be neither read nor written now."""
        FolderStorage(self.root).check()
        self.storage.check()

    def discard(self, path: Path, erasure: str) -> None:
        """Move a file or folder to an erasure's trash, in one step, so that nobody reads half of a person; raises `OSError`.

        In a bucket nothing can be moved: there it is removed at once.
        """
        if self._is_stored(path):
            self.storage.remove(self._key(path))
        place = self._trash(erasure) / os.urandom(8).hex()
        while path.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):  # whoever does the same was faster, or has just emptied the trash
                path.rename(place)
                atomic.sync_folder(path.parent)

    def empty_trash(self, erasure: str) -> None:
        """Erase what was moved to an erasure's trash; raises `OSError`."""
        folder = self._trash(erasure)
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(FileNotFoundError):
            if folder.exists():
                shutil.rmtree(folder)  # raises what was in the way
            atomic.sync_folder(folder.parent)

    def erase_job(self, owner: str, job: str) -> list[str]:
        """Erase a job's portraits and preview; returns the erased paths."""
        return self._erase(self.portraits(owner, job)) + self._erase(self.preview(job))

    def erase_draft(self, style: str, edition: str) -> list[str]:
        """Erase an edition of a draft; returns the erased paths."""
        return self._erase(self.draft(style, edition))

    def erase_tests(self, style: str) -> list[str]:
        """Erase the test drawings of a draft; returns the erased paths."""
        return self._erase(self.style_tests(style))

    def staging_folders(self) -> list[tuple[str, str, Path]]:
        """List the staging folders: job, token, folder."""
        found = sorted((self.root / "staging").glob("*.*"))
        return [(path.name.split(".")[0], path.name.split(".")[1], path) for path in found]

    def work_dirs(self) -> list[Owned]:
        """List the folders of training checkpoints; `id` is that of the job."""
        return list(self._owned(("owners/*/people/*/desks/*",), "work"))

    def style_work_dirs(self) -> list[Path]:
        """List the temporary folders in which styles are unpacked."""
        return sorted(self.styles.glob(".desk.*"))

    def previews(self) -> list[tuple[Path, float]]:
        """List the previews, and when each was written."""
        return [(self.root / key, changed) for key, changed in self.storage.items(("previews/*.jpg",))]

    def owned(self, sweep: str = "") -> Iterator[Owned]:
        """List what people and owners have; with the name of a `sweep` perhaps a part of it, see `Storage.items`."""
        of_person = [f"people/*/{each}/*" for each in ("selfies", "sets", "identities")]
        patterns = [f"owners/*/{each}" for each in ("people/*", *of_person, "jobs/*", "templates/*")]
        return self._owned(patterns, sweep)

    def written_portraits(self, since: float, sweep: str = "") -> Iterator[tuple[Path, list[str]]]:
        """List the folders of jobs that were written since then, with names of files in them; `sweep` as for `owned`."""
        if self.bucket is None:
            jobs = self._owned(("owners/*/jobs/*",), sweep)
            yield from ((each.path, self.names(each.path)) for each in jobs if each.changed > since)
            return
        found: dict[Path, list[str]] = {}  # no list for each job: a bucket has told the files already
        for key, changed in self.storage.items(("owners/*/jobs/*/*",), sweep):
            if changed > since:
                found.setdefault((self.root / key).parent, []).append(key.rpartition("/")[2])
        yield from found.items()

    def unfinished(self) -> Iterator[Path]:
        """List what was begun to be written and is not in place yet: uploads, and files and folders under temporary names."""
        yield from sorted(self.incoming.glob("*"))
        yield from sorted((self.root / "previews").glob(".*"))
        yield from sorted((self.root / "owners").rglob(".*"))
        yield from sorted(each for each in (self.root / "styles").glob("*/*/.*"))

    def erase_empty_folders(self, owner: str) -> None:
        """Remove the owner's folders, in which nothing lies any more; those in which something lies stay."""
        try:
            folder = self._owner(owner)
        except UserError:
            return  # a name from before such names were refused: it has no folder
        for place in sorted((each for each in folder.rglob("*") if each.is_dir()), reverse=True):
            with suppress(OSError):
                place.rmdir()
        with suppress(OSError):
            folder.rmdir()

    def _erase(self, path: Path) -> list[str]:
        erased = [self._key(each) for each in self.contents(path)]
        self.storage.remove(self._key(path))
        if path.exists():
            # Moved away first, in one step, so that nobody reads half of a person.
            aside = self.root / "staging" / f"erased.{os.urandom(8).hex()}"
            aside.parent.mkdir(parents=True, exist_ok=True)
            path.rename(aside)
            self.remove(aside)
        return erased

    def _owned(self, patterns: Sequence[str], sweep: str) -> Iterator[Owned]:
        for key, changed in self.storage.items(patterns, sweep):
            parts = key.split("/")
            yield Owned(parts[-2], parts[-1], parts[1], self.root / key, changed)

    def _key(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def _is_stored(self, path: Path) -> bool:
        parts = path.relative_to(self.root).parts
        return parts[0] in _STORED and not any(part.startswith(".") for part in parts)

    def _is_fixed(self, path: Path) -> bool:
        return bool(_IS_FIXED.fullmatch(self._key(path)))

    def _is_copied_later(self, place: Path) -> bool:
        """Whether a published folder leaves no copy: the row may yet not be committed, and nobody asks again about it then."""
        return self.bucket is not None and self._is_fixed(place)


def open_files(tasks: TaskSettings) -> Files:
    """The data folder of an installation, with the object storage of its settings; raises `OperatorError`
    (`missing_library`)."""
    if not tasks.storage.url:
        return Files(tasks.data)
    try:
        from tasks.storage.s3 import open_s3
    except ModuleNotFoundError as error:
        sentence = "Object storage needs a package that is not here: pip install 'portrait[s3]'."
        raise OperatorError("missing_library", sentence) from error
    return Files(tasks.data, open_s3(tasks.storage, tasks.data))


def disk_error(error: OSError) -> PortraitError:
    """Convert an `OSError` into `disk_full`, `no_permission` or `cannot_write`, without a path."""
    if error.errno in _REFUSED:
        sentence = (
            "The data folder belongs to another user: it may not be read or written. Run all services as one user, or name a "
            "group that they share: tasks.files.group."
        )
        return OperatorError("no_permission", sentence)
    if error.errno in _FULL:
        return OperatorError("disk_full", f"The disk is full ({error.strerror}). Free some space and try again.")
    return OperatorError("cannot_write", f"The data folder cannot be written: {error.strerror}.")
