"""A training set to an identity: learn, tell on a page, keep."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.folders import identities
from pipelines.folders.identities import StoredIdentity
from pipelines.pages import identity
from portrait.errors import UserError
from portrait.ports import Progress, Trainer
from portrait.training import TrainingJob, TrainingPlan


@dataclass(frozen=True, slots=True)
class Train:
    """Teach a base model a person."""

    trainer: Trainer

    def plan(self, lesson: TrainingJob) -> TrainingPlan:
        """What it will take."""
        return self.trainer.plan(lesson)

    def __call__(self, lesson: TrainingJob, folder: Path, progress: Progress) -> StoredIdentity:
        """Learn and write the identity to `folder`; the lesson's desk may go afterwards."""
        if not identities.is_available(folder):
            raise UserError("folder_taken", f"{folder} holds other things. Name a new or empty folder.")
        result = self.trainer.train(lesson, progress)
        description = identities.make_description(result, lesson.training)
        given = {
            identities.LORA_FILE: result.lora,
            identities.WEBUI_FILE: result.kohya_lora,
            identities.TOKENS_FILE: result.tokens,
        }
        files = {name: file for name, file in given.items() if file is not None}
        return identities.write(folder, description, files, identity.render(description, result, lesson.training))

    def merge(
        self, parts: Sequence[StoredIdentity], shares: Sequence[float], folder: Path, desk: Path
    ) -> StoredIdentity:
        """One identity from several of one person: their updates averaged by shares, which are brought to sum to one.

        Raises `UserError` (`cannot_merge`, `folder_taken`).
        """
        if len(shares) != len(parts) or any(share <= 0 for share in shares):
            raise UserError("cannot_merge", "Give one share above 0 for each identity.")
        whole = sum(shares)
        even = [share / whole for share in shares]
        description = identities.make_merged_description(parts, even, "")
        loras = [each.folder / identities.LORA_FILE for each in parts]
        lora, webui = self.trainer.merge(loras, even, description, desk)
        description["id"] = hashlib.sha256(lora.read_bytes()).hexdigest()[:16]
        files = {identities.LORA_FILE: lora, identities.WEBUI_FILE: webui}
        return identities.write(folder, description, files, identity.render(description, None, None))
