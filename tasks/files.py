"""Where selfies, sets and portraits lie, named by ids and never by what a person typed; and forgetting them.

DATA/owners/OWNER/people/PERSON/{selfies/ID, sets/SET/, identities/ID/, desks/JOB/} ·
DATA/owners/OWNER/jobs/JOB/01.jpg … · DATA/previews/JOB.jpg ·
DATA/styles/{published/STYLE/VERSION/, drafts/STYLE/EDITION/, tests/STYLE/EDITION/}: operators' styles ·
DATA/staging/JOB.TOKEN/: what a worker writes before it is settled.
"""

import errno
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from portrait.errors import OperatorError, PortraitError, UserError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(frozen=True, slots=True)
class Saved:
    """A file that was written whole."""

    path: Path
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Files:
    """The data folder."""

    root: Path

    def selfie(self, owner: str, person: str, selfie: str) -> Path:
        """The file of a photo, without a suffix: its content says what it is."""
        return self._person(owner, person) / "selfies" / _safe(selfie)

    def training_set(self, owner: str, person: str, training_set: str) -> Path:
        """The folder of a training set."""
        return self._person(owner, person) / "sets" / _safe(training_set)

    def identity(self, owner: str, person: str, identity: str) -> Path:
        """The folder of what was learned of a person."""
        return self._person(owner, person) / "identities" / _safe(identity)

    def desk(self, owner: str, person: str, job: str) -> Path:
        """What a lesson keeps from worker to worker: checkpoints. It goes when the lesson ends, or with the person."""
        return self._person(owner, person) / "desks" / _safe(job)

    def portraits(self, owner: str, job: str) -> Path:
        """The folder of what a job delivered."""
        return self._owner(owner) / "jobs" / _safe(job)

    def portrait(self, owner: str, job: str, file: str) -> Path:
        """The file of one portrait."""
        return self.portraits(owner, job) / _safe(file)

    def template(self, owner: str, template: str) -> Path:
        """The file of a picture that the owner brought, without a suffix."""
        return self._owner(owner) / "templates" / _safe(template)

    def style(self, style: str, version: int) -> Path:
        """The folder of a published version; it stays, so that what was drawn with it can be drawn again."""
        return self.styles / "published" / _safe(style) / str(version)

    def draft(self, style: str, edition: str) -> Path:
        """The folder of one edition of a draft."""
        return self.styles / "drafts" / _safe(style) / _safe(edition)

    def style_test(self, style: str, edition: str) -> Path:
        """The folder of what a draft was tried out with: 1.jpg …"""
        return self.styles / "tests" / _safe(style) / _safe(edition)

    @property
    def styles(self) -> Path:
        """Everything of operators' styles."""
        return self.root / "styles"

    @property
    def incoming(self) -> Path:
        """Where uploads lie until they are whole."""
        return self.root / "incoming"

    def preview(self, job: str) -> Path:
        """What a running job shows of itself; gone when it ends."""
        return self.root / "previews" / f"{_safe(job)}.jpg"

    def staging(self, job: str, token: str) -> Path:
        """Where the holder of a lease writes before it settles."""
        return self.root / "staging" / f"{_safe(job)}.{_safe(token)}"

    def save(self, chunks: Iterable[bytes], path: Path, most: int) -> Saved:
        """Write a stream whole or not at all.

        Raises `UserError` (`too_large`) beyond `most` bytes, `OperatorError` (`disk_full`, `cannot_write`).
        """
        digest, size = hashlib.sha256(), 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            number, name = tempfile.mkstemp(prefix=".", suffix=".part", dir=path.parent)
            staged = Path(name)
            try:
                with os.fdopen(number, "wb") as file:
                    for chunk in chunks:
                        size += len(chunk)
                        if size > most:
                            raise UserError("too_large", f"The file is larger than {most // 1_000_000} MB.")
                        digest.update(chunk)
                        file.write(chunk)
                    file.flush()
                    os.fsync(file.fileno())
                staged.replace(path)
            finally:
                staged.unlink(missing_ok=True)
        except OSError as error:
            raise refused(error) from error
        return Saved(path, size, digest.hexdigest())

    def erase_file(self, path: Path) -> list[str]:
        """Erase one file, and say what went."""
        if not path.exists():
            return []
        path.unlink()
        return [str(path.relative_to(self.root))]

    def erase_person(self, owner: str, person: str, jobs: Iterable[str] = ()) -> list[str]:
        """Erase a person's photos and sets, and what those jobs delivered; returns the files that went."""
        gone = self._erase(self._person(owner, person))
        for job in jobs:
            gone += self.erase_job(owner, job)
        return gone

    def erase_training_set(self, owner: str, person: str, training_set: str) -> list[str]:
        """Erase one training set; returns the files that went."""
        return self._erase(self.training_set(owner, person, training_set))

    def erase_job(self, owner: str, job: str) -> list[str]:
        """Erase what a job delivered and shows; returns the files that went."""
        return self._erase(self.portraits(owner, job)) + self.erase_file(self.preview(job))

    def erase_draft(self, style: str, edition: str) -> list[str]:
        """Erase an edition of a draft; returns the files that went."""
        return self._erase(self.draft(style, edition))

    def erase_tests(self, style: str) -> list[str]:
        """Erase what a draft was tried out with; returns the files that went."""
        return self._erase(self.styles / "tests" / _safe(style))

    def erase_owner(self, owner: str) -> list[str]:
        """Erase everything of an owner; returns the files that went."""
        return self._erase(self._owner(owner))

    def leftovers(self) -> list[tuple[str, str, Path]]:
        """Staging folders: job, token, folder."""
        found = sorted((self.root / "staging").glob("*.*"))
        return [(path.name.split(".")[0], path.name.split(".")[1], path) for path in found]

    def desks(self) -> list[tuple[str, str, Path]]:
        """What lessons left from worker to worker: owner, job, folder."""
        found = sorted((self.root / "owners").glob("*/people/*/desks/*"))
        return [(path.parts[-5], path.name, path) for path in found]

    def unpacked(self) -> list[Path]:
        """Folders in which styles are made ready before they have their place."""
        return sorted(self.styles.glob(".desk.*"))

    def previews(self) -> list[tuple[str, Path]]:
        """Previews: job, file."""
        return [(path.stem, path) for path in sorted((self.root / "previews").glob("*.jpg"))]

    def _owner(self, owner: str) -> Path:
        return self.root / "owners" / _safe(owner)

    def _person(self, owner: str, person: str) -> Path:
        return self._owner(owner) / "people" / _safe(person)

    def _erase(self, folder: Path) -> list[str]:
        gone = [str(path.relative_to(self.root)) for path in sorted(folder.rglob("*")) if not path.is_dir()]
        if folder.exists():
            # Out of reach first, in one step: nobody reads half of a person.
            aside = self.root / "staging" / f"erased.{os.urandom(8).hex()}"
            aside.parent.mkdir(parents=True, exist_ok=True)
            folder.rename(aside)
            shutil.rmtree(aside)
        return gone


def publish(staged: Path, place: Path) -> None:
    """Put a staged folder in its place; call it under the lease, where whatever is there was never settled.

    Done twice it is done once: after a commit that went astray the second call finds the folder in place.
    """
    try:
        if not staged.exists() and place.exists():
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.exists():
            shutil.rmtree(place)
        staged.rename(place)
    except OSError as error:
        raise refused(error) from error


def refused(error: OSError) -> PortraitError:
    """What the disk said, without saying where."""
    if error.errno in _FULL:
        return OperatorError("disk_full", f"The disk is full ({error.strerror}). Free some space and try again.")
    return OperatorError("cannot_write", f"The data folder cannot be written: {error.strerror}.")


def _safe(id: str) -> str:
    """An id as a name of a file; raises `UserError` (`not_found`): what is no id cannot be there."""
    if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,119}", id) or ".." in id:
        raise UserError("not_found", "That is not an id.")
    return id
