"""Where the files of people lie in the data folder: paths named by ids, and never by user input.

DATA/owners/OWNER/people/PERSON/{selfies/ID, sets/SET/, identities/ID/, desks/JOB/} ·
DATA/owners/OWNER/jobs/JOB/01.jpg … · DATA/previews/JOB.jpg ·
DATA/styles/{published/STYLE/VERSION/, drafts/STYLE/EDITION/, tests/STYLE/EDITION/}: operators' styles ·
DATA/styles/samples/STYLE/VERSION/: sample people in a style ·
DATA/staging/JOB.TOKEN/: what a worker writes before its job is finished · DATA/trash/ERASURE/: what is being erased.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from portrait.errors import UserError


@dataclass(frozen=True, slots=True)
class Places:
    """Paths below `root`; each method raises `UserError` (`not_found`) for what is not an id."""

    root: Path

    def selfie(self, owner: str, person: str, selfie: str) -> Path:
        """The file of a photo, without a suffix: its content says what it is."""
        return self._person(owner, person) / "selfies" / checked_id(selfie)

    def training_set(self, owner: str, person: str, training_set: str) -> Path:
        """The folder of a training set."""
        return self._person(owner, person) / "sets" / checked_id(training_set)

    def identity(self, owner: str, person: str, identity: str) -> Path:
        """The folder of a trained identity."""
        return self._person(owner, person) / "identities" / checked_id(identity)

    def work_dir(self, owner: str, person: str, job: str) -> Path:
        """The folder of a training job's checkpoints, which outlive the worker; erased with the job's end or the person."""
        return self._person(owner, person) / "desks" / checked_id(job)

    def portraits(self, owner: str, job: str) -> Path:
        """The folder of a job's portraits."""
        return self._owner(owner) / "jobs" / checked_id(job)

    def portrait(self, owner: str, job: str, file: str) -> Path:
        """The file of one portrait."""
        return self.portraits(owner, job) / checked_id(file)

    def template(self, owner: str, template: str) -> Path:
        """The file of a picture that the owner uploaded, without a suffix."""
        return self._owner(owner) / "templates" / checked_id(template)

    def style(self, style: str, version: int) -> Path:
        """The folder of a published version; never erased, so that its portraits can be drawn again."""
        return self.styles / "published" / checked_id(style) / str(version)

    def draft(self, style: str, edition: str) -> Path:
        """The folder of one edition of a draft."""
        return self.styles / "drafts" / checked_id(style) / checked_id(edition)

    def style_test(self, style: str, edition: str) -> Path:
        """The folder of a draft's test drawings: 1.jpg …"""
        return self.styles / "tests" / checked_id(style) / checked_id(edition)

    def style_tests(self, style: str) -> Path:
        """The folder of all test drawings of a style's draft."""
        return self.styles / "tests" / checked_id(style)

    def style_samples(self, style: str, version: int) -> Path:
        """The folder of what a version looks like with sample people: 1.jpg …; not there until a worker has drawn them."""
        return self.styles / "samples" / checked_id(style) / str(version)

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
        return self.root / "previews" / f"{checked_id(job)}.jpg"

    def staging(self, job: str, token: str) -> Path:
        """The folder that the holder of a lease writes into before the job is finished."""
        return self.root / "staging" / f"{checked_id(job)}.{checked_id(token)}"

    def person(self, owner: str, person: str) -> Path:
        """The folder of a person."""
        return self._person(owner, person)

    def _trash(self, erasure: str) -> Path:
        return self.root / "trash" / checked_id(erasure)

    def _owner(self, owner: str) -> Path:
        return self.root / "owners" / checked_id(owner)

    def _person(self, owner: str, person: str) -> Path:
        return self._owner(owner) / "people" / checked_id(person)


def checked_id(id: str) -> str:
    """Return an id that is safe as a file name; raises `UserError` (`not_found`) for anything else."""
    if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,119}", id) or ".." in id:
        raise UserError("not_found", "That is not an id.")
    return id
