"""A small training set and a trainer on a tiny base, for tests and for the processes that tests kill."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from pipelines.diffusion.base import loading
from pipelines.diffusion.training import run
from pipelines.diffusion.training.run import TrainingRun
from pipelines.diffusion.training.step import NoisedBatch
from pipelines.engines.trainers.dreambooth import Dreambooth
from pipelines.settings import TrainSettings, ValidationSettings
from portrait.arrays import Image
from portrait.ports import FaceFinder, Progress
from portrait.training import TrainingJob, TrainingResult
from portrait.types import Crop, TrainingSet
from tests import fakes

NO_VALIDATION = ValidationSettings(every=0)
PLAIN = TrainSettings(
    steps=12, rank=4, rate=1e-2, batch=1, min_snr=0, caption_drop=0, flips=False, checkpoint_every=5, exam=NO_VALIDATION
)
"""Short, with no randomness that a test does not ask for."""


class RecordedProgress:
    """A progress that records its reports, and can cancel the work at one that contains a text."""

    def __init__(self, stop_at: str = "") -> None:
        self.reports: list[tuple[int, int, str]] = []
        self.previews: list[Image] = []
        self._stop_at = stop_at

    def __call__(self, done: int, total: int, doing: str, preview: Image | None = None) -> None:
        from portrait.errors import Cancelled

        self.reports.append((done, total, doing))
        if preview is not None:
            self.previews.append(preview)
        if self._stop_at and self._stop_at in f"{done} {doing}":
            raise Cancelled


def training_set(count: int = 3) -> TrainingSet:
    """A person of `tests.fakes`."""
    images = [fakes.picture(1, seed, 80) for seed in range(count)]
    crops = [Crop(image, "a photo of sks person", f"{at}.png") for at, image in enumerate(images)]
    return TrainingSet(tuple(crops), (), fakes.face(images[0]).embeddings, (), "sks", "person")


def trainer(hub: Path, settings: TrainSettings, finder: FaceFinder | None = None) -> Dreambooth:
    """A trainer on the bases of a folder."""
    finder_used = finder or fakes.FakeFinder()
    return Dreambooth(lambda name: loading.open_base(name, hub / name), lambda: finder_used, settings, hub / "cache")


def train(
    hub: Path,
    name: str,
    work_dir: Path,
    settings: TrainSettings = PLAIN,
    progress: Progress | None = None,
    **more: Any,
) -> TrainingResult:
    """Train once; `more` are fields of the job."""
    work_dir.mkdir(parents=True, exist_ok=True)
    job = replace(TrainingJob(training_set(), name, work_dir), **more)
    return trainer(hub, settings).train(job, progress or RecordedProgress())


def training_run(
    hub: Path, name: str, settings: TrainSettings, work_dir: Path, training: TrainingSet | None = None
) -> TrainingRun:
    """A training run as the trainer makes it."""
    job = TrainingJob(training or training_set(), name, work_dir)
    base = loading.open_base(name, hub / name)
    return TrainingRun(
        job, base, base.sha256(), trainer(hub, settings).plan(job), settings, hub / "cache", RecordedProgress()
    )


def overfit_loss(of: TrainingRun, weights: dict[str, torch.Tensor] | None) -> float:
    """Mean loss of the first photo on ten noise levels from 50 to 950 with two noises each, none of them used in training.

    Before (None) or after training. The latents are the means, without the spread of an untrained VAE.
    """
    learner, dataset = run.build_learner(of, None), run.build_dataset(of)
    if weights is not None:
        learner.load_weights(weights)
    sample = dataset.samples[0]
    mean = sample.moments[:1]
    sure = mean.index_fill(1, torch.tensor(1), -60.0)
    latents = dataset.latents.sample(sure, torch.Generator())
    times = torch.arange(50, 1000, 100).repeat(2)
    noise = torch.randn(len(times), *latents.shape[1:], generator=torch.Generator().manual_seed(0))
    batch = NoisedBatch(
        latents.expand_as(noise), noise, times, [sample.captions[0]] * len(times), [sample.sizes] * len(times)
    )
    with torch.no_grad():
        return float(learner.batch_loss(batch))


if __name__ == "__main__":
    torch.set_num_threads(1)
    hub, name, work_dir, steps = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])

    def report(done: int, total: int, doing: str, preview: Image | None = None) -> None:
        """Print each step where a parent process can read it."""
        sys.stdout.write(f"{done} {doing}\n")
        sys.stdout.flush()

    train(
        hub, name, work_dir, replace(PLAIN, steps=steps, exam=ValidationSettings(every=8, steps=2, held_out=1)), report
    )
