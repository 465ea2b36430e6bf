"""The training loop: steps, validation at intervals, checkpoints, and early stopping; `TrainingHistory` is its record."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch

from pipelines.diffusion.training import run, validation
from pipelines.diffusion.training.checkpoints import CheckpointStore
from pipelines.diffusion.training.dataset import Dataset
from pipelines.diffusion.training.run import TrainingRun
from pipelines.diffusion.training.sample_images import SampleGenerator, shows_nothing
from pipelines.diffusion.training.step import Learner
from pipelines.diffusion.training.validation import SampleImages, Validator
from portrait.arrays import Image
from portrait.errors import Cancelled
from portrait.training import ValidationResult

EMPTY = "showed nothing"
"""What a note says of pictures that are black or of one colour."""


@dataclass(slots=True)
class TrainingHistory:
    """What a run has recorded so far; stored in every checkpoint."""

    losses: list[float] = field(default_factory=list)
    """Of each step."""
    validations: list[ValidationResult] = field(default_factory=list)
    sample_images: SampleImages = ()
    """Of the last validation, with their prompts."""
    notes: list[str] = field(default_factory=list)
    """What the person should know."""

    @staticmethod
    def from_state(state: Mapping[str, Any] | None) -> "TrainingHistory":
        """The record that a checkpoint holds; an empty one for None."""
        if state is None:
            return TrainingHistory()
        images = tuple((prompt, image.numpy()) for prompt, image in state["sample_images"])
        results = [ValidationResult(**each) for each in state["validations"]]
        return TrainingHistory(list(state["losses"]), results, images, list(state.get("notes", [])))

    def note_empty(self, step: int, images: Sequence[Image]) -> None:
        """Note the first validation of which pictures showed nothing."""
        empty = sum(shows_nothing(image) for image in images)
        if empty and not any(EMPTY in note for note in self.notes):
            self.notes.append(
                f"{empty} of {len(images)} pictures of step {step} {EMPTY}: they were black, of one colour or no numbers. "
                'Learn at a lower rate (train.rate), or set train.precision to "float32".'
            )

    def to_state(self) -> dict[str, Any]:
        """As a checkpoint stores it: numbers, and images as tensors."""
        images = [(prompt, torch.from_numpy(np.ascontiguousarray(image))) for prompt, image in self.sample_images]
        return {
            "losses": list(self.losses),
            "validations": [asdict(result) for result in self.validations],
            "sample_images": images,
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True, eq=False)
class TrainingLoop:
    """Trains step by step; continues after the last step of its history."""

    run: TrainingRun
    store: CheckpointStore
    learner: Learner
    dataset: Dataset
    validator: Validator | None
    history: TrainingHistory

    def __call__(self) -> None:
        """Train until the last step or a plateau. Every step reports its progress, which may raise `Cancelled`."""
        settings, steps = self.run.settings, self.run.plan.steps
        started, first = time.monotonic(), len(self.history.losses)
        self.learner.denoiser.train()
        for step in range(first, steps):
            if self._has_plateaued():
                break
            self.history.losses.append(self.learner.train_step(self.dataset, step))
            done = step + 1
            validated = self._validate(done)
            if validated or done == steps or done % max(1, settings.checkpoint_every) == 0:
                self._save_state()
            left = (time.monotonic() - started) / (done - first) * (steps - done)
            preview = self.history.sample_images[0][1] if self.history.sample_images else None
            loss = f"{self.history.losses[-1]:.4f}"
            doing = f"Learning at loss {loss}, step {done} of {steps}, {_duration(left)} left"
            self._report(done, doing, preview)
        if self._has_plateaued() and len(self.history.losses) < steps:
            self.history.notes.append(f"It stopped at step {len(self.history.losses)}: nothing was gained any more.")

    def _report(self, done: int, doing: str, preview: Image | None) -> None:
        """Report the progress; where the training is to go on elsewhere or later, save its state first."""
        try:
            self.run.progress(done, self.run.plan.steps, doing, preview)
        except Cancelled as error:
            if error.code == "stopping":
                self._save_state()
            raise

    def _validate(self, done: int) -> bool:
        """Validate after `done` steps and store the weights, where validation is due; whether it was."""
        settings, steps = self.run.settings.exam, self.run.plan.steps
        if self.validator is None or (done % settings.every and done != steps):
            return False
        with sampling(self.run, self.learner) as generator:
            result, images = self.validator.validate(generator, done, self._report_validation(done))
        self.history.sample_images = images
        self.history.validations.append(result)
        self.history.note_empty(done, [image for _, image in images])
        self.store.save_step(done, self.learner.get_weights())
        return True

    def _report_validation(self, done: int) -> Callable[[int, int], None]:
        steps, progress = self.run.plan.steps, self.run.progress
        return lambda at, of: progress(done, steps, f"Examining step {done}, picture {at + 1} of {of}")

    def _has_plateaued(self) -> bool:
        patience, results = self.run.settings.exam.patience, self.history.validations
        return self.validator is not None and validation.has_plateaued(
            results, patience, self.validator.min_improvement
        )

    def _save_state(self) -> None:
        plan = {"batch": self.run.plan.batch, "checkpointing": self.run.plan.checkpointing}
        self.store.save_state({"plan": plan, **self.learner.state(), **self.history.to_state()})


@contextmanager
def sampling(of: TrainingRun, learner: Learner) -> Iterator[SampleGenerator]:
    """A generator that draws with the denoiser as it is now, in evaluation mode; training mode afterwards."""
    denoiser = learner.denoiser.eval()
    try:
        with learner.autocast():
            yield run.build_generator(of, denoiser, learner.text_embedder)
    finally:
        learner.denoiser.train()


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
