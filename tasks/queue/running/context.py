"""A claimed job with the resources of its flow, and the protocol of the flows of a worker."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from portrait.arrays import Image
from portrait.ports import Progress
from tasks.files import Files
from tasks.jobs import Job
from tasks.ledger.ledger import Ledger
from tasks.ledger.queue import Outcome
from tasks.storage import transient
from tasks.styles.available import AvailableStyles


@dataclass(frozen=True, slots=True)
class Abilities:
    """The abilities of a worker, and what is missing for the others."""

    words: frozenset[str]
    """Abilities: `prepare`, `train:sdxl`, `draw:studio` …"""
    missing: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """By ability that it has not: what to install, one sentence each."""


@dataclass(frozen=True, slots=True)
class JobContext:
    """A claimed job with the resources that its flow uses."""

    job: Job
    ledger: Ledger
    files: Files
    staging: Path
    """A folder of this run, removed unless it is published."""
    progress: Progress
    now: Callable[[], float]
    names: dict[str, str] = field(default_factory=dict)
    """File names by id, filled by the flow: messages show them in place of the ids."""

    def upload(self, folder: str, place: Path) -> Path:
        """Send a staged folder ahead to where `publish` is to move it, however long the storage needs; returns it."""
        transient.retry(lambda: self.files.upload(self.staging / folder, place))
        return self.staging / folder

    def template(self, id: str) -> Path:
        """The file of a picture that the owner uploaded, to be read."""
        return self.files.fetch(self.files.template(self.job.owner, id))


@dataclass(frozen=True, slots=True)
class FlowResult:
    """The rows of a finished job, and the function that moves its staged files into place."""

    outcome: Outcome
    publish: Callable[[], None]


class Flows(Protocol):
    """The flows of a worker process."""

    def abilities(self) -> Abilities:
        """Find out which abilities are ready on this machine."""
        ...

    def __call__(self, context: JobContext) -> FlowResult:
        """Run the flow of a job; raises what the flow raises."""
        ...

    def release_idle(self) -> None:
        """Release models that were not used for long."""
        ...

    def forget(self) -> None:
        """Drop what is kept in memory of people between jobs: somebody was erased."""
        ...

    def draw_sample(self, styles: AvailableStyles, files: Files, able: Collection[str], progress: Progress) -> bool:
        """Draw the sample people in one style that has no samples yet; False where there is none."""
        ...

    def shows(self, image: Image) -> bool:
        """Whether a picture of what is not finished may be shown."""
        ...

    def close(self) -> None:
        """Close the engines."""
        ...
