"""Trains an identity from a training set, or merges identities, and writes the result to a folder with its page."""

import hashlib
import math
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
    """Trains a base model on a person."""

    trainer: Trainer

    def plan(self, job: TrainingJob) -> TrainingPlan:
        """Return the plan: steps, batch, resolution, memory and time."""
        return self.trainer.plan(job)

    def __call__(self, job: TrainingJob, folder: Path, progress: Progress) -> StoredIdentity:
        """Train and write the identity to `folder`, after which the job's `work_dir` may go.

        Raises `UserError` (`folder_taken`).
        """
        if not identities.is_available(folder):
            raise UserError("folder_taken", f"{folder} holds other things. Name a new or empty folder.")
        result = self.trainer.train(job, progress)
        description = identities.make_description(result, job.training)
        given = {
            identities.LORA_FILE: result.lora,
            identities.WEBUI_FILE: result.kohya_lora,
            identities.TOKENS_FILE: result.tokens,
        }
        files = {name: file for name, file in given.items() if file is not None}
        return identities.write(folder, description, files, identity.render(description, result, job.training))

    def merge(
        self, parts: Sequence[StoredIdentity], shares: Sequence[float], folder: Path, work_dir: Path
    ) -> StoredIdentity:
        """Merge identities of one person: LoRA updates and tokens averaged by `shares`, which are scaled to sum to one.

        Raises `UserError` (`cannot_merge`, `broken_identity`, `folder_taken`).
        """
        if len(shares) != len(parts) or not all(0 < share < math.inf for share in shares):
            raise UserError("cannot_merge", "Give one share above 0 for each identity.")
        total = sum(shares)
        weights = [share / total for share in shares]
        description = identities.make_merged_description(parts, weights, "")
        lora, kohya_lora, tokens = self.trainer.merge([each.identity for each in parts], weights, description, work_dir)
        description["id"] = hashlib.sha256(lora.read_bytes()).hexdigest()[:16]
        files = {identities.LORA_FILE: lora, identities.WEBUI_FILE: kohya_lora}
        files |= {identities.TOKENS_FILE: tokens} if tokens is not None else {}
        return identities.write(folder, description, files, identity.render(description, None, None))
