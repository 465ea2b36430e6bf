"""What keeps a job from being drawn: words, people who may be children, faces that are never drawn.

The API asks before a job is placed, the worker again before it draws: somebody may have been blocked meanwhile.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from pipelines.folders import training_sets
from pipelines.guards import words
from pipelines.settings import Settings
from portrait.types import TrainingSet
from tasks.files import Files
from tasks.jobs import Job
from tasks.ledger.ledger import Ledger

DRAWN = ("generate", "train", "test")
"""Kinds of jobs that draw people, or learn how to."""


@dataclass(frozen=True, slots=True)
class JobGuards:
    """The guards of an installation over its ledger."""

    settings: Settings
    ledger: Ledger
    files: Files

    def check(self, job: Job, people: Collection[str] = ()) -> None:
        """Raise `UserError` for a job that may not be done: `guardian_needed`, `words_refused`, `person_blocked`.

        `people`: ids of those in it, beside those whom its parameters name. Raises `OperatorError` (`bad_settings`) for a list
        of names that cannot be read.
        """
        if job.kind not in DRAWN:
            return
        named = [*dict(job.params.get("people") or {}).values(), job.params.get("person")]
        persons = {*people, *(str(each) for each in named if each)}
        age = self.settings.guards.age
        if age:
            self.ledger.ages.require(persons, self.settings.guards_closed)
        said = words.texts_of(job.params)
        if said:
            words.check(self.settings.guards, said, age and self.ledger.ages.may_be_children(persons))
        if self.ledger.blocked_people.any():
            self.ledger.blocked_people.check(self._faces(job))

    def check_training_set(self, training: TrainingSet) -> None:
        """Raise `UserError` (`person_blocked`) for somebody who is never drawn."""
        self.ledger.blocked_people.check([training.mean_embeddings])

    def may_preview(self, owner: str, person: str, training_set: str) -> bool:
        """Whether a style may be shown with somebody's own photo: nobody waits for a guardian, and the face is not blocked."""
        if self.waiting([person]):
            return False
        if not self.ledger.blocked_people.any():
            return True
        mean = self._mean(owner, person, training_set)
        return mean is None or not self.ledger.blocked_people.has([mean])

    def waiting(self, persons: Collection[str]) -> set[str]:
        """The people among them whose parent or guardian is asked and has not agreed."""
        return self.ledger.ages.waiting(persons, self.settings.guards_closed) if self.settings.guards.age else set()

    def _faces(self, job: Job) -> list[Mapping[str, Sequence[float]]]:
        """The mean embeddings of everybody in a job; of a set that is not there any more nothing is known."""
        rows = [
            self.ledger.people.identity(job.owner, str(id)) for id in dict(job.params.get("identities") or {}).values()
        ]
        sets = {row.training_set: row.person for row in rows}
        if job.params.get("training_set"):
            sets[str(job.params["training_set"])] = str(job.params["person"])
        means = [self._mean(job.owner, person, id) for id, person in sets.items()]
        return [mean for mean in means if mean is not None]

    def _mean(self, owner: str, person: str, training_set: str) -> Mapping[str, Sequence[float]] | None:
        folder = self.files.training_set(owner, person, training_set)
        self.files.fetch(folder / training_sets.DESCRIPTION_FILE)
        return training_sets.read_mean(folder)
