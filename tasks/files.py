"""The data folder: paths of selfies, sets and portraits, named by ids and never by user input; writing and erasing them.

DATA/owners/OWNER/people/PERSON/{selfies/ID, sets/SET/, identities/ID/, desks/JOB/} ·
DATA/owners/OWNER/jobs/JOB/01.jpg … · DATA/previews/JOB.jpg ·
DATA/styles/{published/STYLE/VERSION/, drafts/STYLE/EDITION/, tests/STYLE/EDITION/}: operators' styles ·
DATA/styles/samples/STYLE/VERSION/: sample people in a style ·
DATA/staging/JOB.TOKEN/: what a worker writes before its job is finished · DATA/trash/ERASURE/: what is being erased.
"""

import errno
import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pipelines.folders import atomic
from portrait.errors import OperatorError, PortraitError, UserError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REFUSED = {errno.EACCES, errno.EPERM}


@dataclass(frozen=True, slots=True)
class SavedFile:
    """A file that was written completely."""

    path: Path
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Files:
    """The data folder at `root`."""

    root: Path

    def selfie(self, owner: str, person: str, selfie: str) -> Path:
        """The file of a photo, without a suffix: its content says what it is."""
        return self._person(owner, person) / "selfies" / _checked_id(selfie)

    def training_set(self, owner: str, person: str, training_set: str) -> Path:
        """The folder of a training set."""
        return self._person(owner, person) / "sets" / _checked_id(training_set)

    def identity(self, owner: str, person: str, identity: str) -> Path:
        """The folder of a trained identity."""
        return self._person(owner, person) / "identities" / _checked_id(identity)

    def work_dir(self, owner: str, person: str, job: str) -> Path:
        """The folder of a training job's checkpoints, which outlive the worker; erased with the job's end or the person."""
        return self._person(owner, person) / "desks" / _checked_id(job)

    def portraits(self, owner: str, job: str) -> Path:
        """The folder of a job's portraits."""
        return self._owner(owner) / "jobs" / _checked_id(job)

    def portrait(self, owner: str, job: str, file: str) -> Path:
        """The file of one portrait."""
        return self.portraits(owner, job) / _checked_id(file)

    def template(self, owner: str, template: str) -> Path:
        """The file of a picture that the owner uploaded, without a suffix."""
        return self._owner(owner) / "templates" / _checked_id(template)

    def style(self, style: str, version: int) -> Path:
        """The folder of a published version; never erased, so that its portraits can be drawn again."""
        return self.styles / "published" / _checked_id(style) / str(version)

    def draft(self, style: str, edition: str) -> Path:
        """The folder of one edition of a draft."""
        return self.styles / "drafts" / _checked_id(style) / _checked_id(edition)

    def style_test(self, style: str, edition: str) -> Path:
        """The folder of a draft's test drawings: 1.jpg …"""
        return self.styles / "tests" / _checked_id(style) / _checked_id(edition)

    def style_tests(self, style: str) -> Path:
        """The folder of all test drawings of a style's draft."""
        return self.styles / "tests" / _checked_id(style)

    def style_samples(self, style: str, version: int) -> Path:
        """The folder of what a version looks like with sample people: 1.jpg …; not there until a worker has drawn them."""
        return self.styles / "samples" / _checked_id(style) / str(version)

    @property
    def styles(self) -> Path:
        """The folder of operators' styles."""
        return self.root / "styles"

    @property
    def incoming(self) -> Path:
        """The folder of uploads that are not complete yet."""
        return self.root / "incoming"

    def preview(self, job: str) -> Path:
        """The preview of a running job; removed when it ends."""
        return self.root / "previews" / f"{_checked_id(job)}.jpg"

    def staging(self, job: str, token: str) -> Path:
        """The folder that the holder of a lease writes into before the job is finished."""
        return self.root / "staging" / f"{_checked_id(job)}.{_checked_id(token)}"

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

    def discard(self, path: Path, erasure: str) -> None:
        """Move a file or folder to an erasure's trash, in one step, so that nobody reads half of a person; raises `OSError`."""
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

    def person(self, owner: str, person: str) -> Path:
        """The folder of a person."""
        return self._person(owner, person)

    def erase_job(self, owner: str, job: str) -> list[str]:
        """Erase a job's portraits and preview; returns the erased paths."""
        preview = self.preview(job)
        there = [str(preview.relative_to(self.root))] if preview.exists() else []
        preview.unlink(missing_ok=True)
        return self._erase(self.portraits(owner, job)) + there

    def erase_draft(self, style: str, edition: str) -> list[str]:
        """Erase an edition of a draft; returns the erased paths."""
        return self._erase(self.draft(style, edition))

    def erase_tests(self, style: str) -> list[str]:
        """Erase the test drawings of a draft; returns the erased paths."""
        return self._erase(self.styles / "tests" / _checked_id(style))

    def staging_folders(self) -> list[tuple[str, str, Path]]:
        """List the staging folders: job, token, folder."""
        found = sorted((self.root / "staging").glob("*.*"))
        return [(path.name.split(".")[0], path.name.split(".")[1], path) for path in found]

    def work_dirs(self) -> list[tuple[str, str, Path]]:
        """List the folders of training checkpoints: owner, job, folder."""
        found = sorted((self.root / "owners").glob("*/people/*/desks/*"))
        return [(path.parts[-5], path.name, path) for path in found]

    def style_work_dirs(self) -> list[Path]:
        """List the temporary folders in which styles are unpacked."""
        return sorted(self.styles.glob(".desk.*"))

    def previews(self) -> list[tuple[str, Path]]:
        """List the previews: job, file."""
        return [(path.stem, path) for path in sorted((self.root / "previews").glob("*.jpg"))]

    def owned(self) -> Iterator[tuple[str, str, Path]]:
        """List what people and owners have: kind, id and path; the kind is the folder that it lies in."""
        of_person = [f"people/*/{each}/*" for each in ("selfies", "sets", "identities")]
        for pattern in ("people/*", *of_person, "jobs/*", "templates/*"):
            for path in sorted((self.root / "owners").glob(f"*/{pattern}")):
                if not path.name.startswith("."):
                    yield path.parent.name, path.name, path

    def unfinished(self) -> Iterator[Path]:
        """List what was begun to be written and is not in place yet: uploads, and files and folders under temporary names."""
        yield from sorted(self.incoming.glob("*"))
        yield from sorted((self.root / "previews").glob(".*"))
        yield from sorted((self.root / "owners").rglob(".*"))

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

    def _trash(self, erasure: str) -> Path:
        return self.root / "trash" / _checked_id(erasure)

    def _owner(self, owner: str) -> Path:
        return self.root / "owners" / _checked_id(owner)

    def _person(self, owner: str, person: str) -> Path:
        return self._owner(owner) / "people" / _checked_id(person)

    def _erase(self, folder: Path) -> list[str]:
        erased = [str(path.relative_to(self.root)) for path in sorted(folder.rglob("*")) if not path.is_dir()]
        if folder.exists():
            # Moved away first, in one step, so that nobody reads half of a person.
            aside = self.root / "staging" / f"erased.{os.urandom(8).hex()}"
            aside.parent.mkdir(parents=True, exist_ok=True)
            folder.rename(aside)
            shutil.rmtree(aside)
        return erased


def publish(staged: Path, place: Path) -> None:
    """Move a staged folder into place, over whatever an unfinished job left there; call it under the lease.

    A second call does nothing: after a commit whose success was not seen, the folder is in place already.
    """
    try:
        if not staged.exists() and place.exists():
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        atomic.move_folder(staged, place)
    except OSError as error:
        raise disk_error(error) from error


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


def _checked_id(id: str) -> str:
    """Return an id that is safe as a file name; raises `UserError` (`not_found`) for anything else."""
    if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,119}", id) or ".." in id:
        raise UserError("not_found", "That is not an id.")
    return id
