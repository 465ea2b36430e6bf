"""A small training set and a trainer on a tiny base, for tests and for the processes that tests kill."""

import sys
from dataclasses import replace
from pathlib import Path

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
"""Short, and nothing left to chance that a test does not ask for."""


class RecordedProgress:
    """A progress that remembers, and can stop the work when it hears some words."""

    def __init__(self, stop_at: str = "") -> None:
        self.told: list[tuple[int, int, str]] = []
        self.previews: list[Image] = []
        self._stop_at = stop_at

    def __call__(self, done: int, total: int, doing: str, preview: Image | None = None) -> None:
        from portrait.errors import Cancelled

        self.told.append((done, total, doing))
        if preview is not None:
            self.previews.append(preview)
        if self._stop_at and self._stop_at in f"{done} {doing}":
            raise Cancelled


def training_set(count: int = 3) -> TrainingSet:
    """A person of `tests.fakes`."""
    images = [fakes.picture(1, seed, 80) for seed in range(count)]
    crops = [Crop(image, "a photo of sks person", f"{at}.png") for at, image in enumerate(images)]
    return TrainingSet(tuple(crops), (), fakes.face(images[0]).embeddings, (), "sks", "person")


def trainer(hub: Path, knobs: TrainSettings, finder: FaceFinder | None = None) -> Dreambooth:
    """On the bases of a folder."""
    seeing = finder or fakes.FakeFinder()
    return Dreambooth(lambda name: loading.open_base(name, hub / name), lambda: seeing, knobs, hub / "cache")


def train(
    hub: Path, name: str, desk: Path, knobs: TrainSettings = PLAIN, progress: Progress | None = None, **more: object
) -> TrainingResult:
    """One lesson; `more` goes to the lesson."""
    desk.mkdir(parents=True, exist_ok=True)
    given = replace(TrainingJob(training_set(), name, desk), **more)  # type: ignore[arg-type] -- a lesson's own fields
    return trainer(hub, knobs).train(given, progress or RecordedProgress())


def training_run(
    hub: Path, name: str, knobs: TrainSettings, desk: Path, training: TrainingSet | None = None
) -> TrainingRun:
    """What a trainer decides before it begins."""
    given = TrainingJob(training or training_set(), name, desk)
    base = loading.open_base(name, hub / name)
    return TrainingRun(
        given, base, base.sha256(), trainer(hub, knobs).plan(given), knobs, hub / "cache", RecordedProgress()
    )


def overfit_loss(made: TrainingRun, weights: dict[str, torch.Tensor] | None) -> float:
    """Mean loss of the first photo on ten noise levels from 50 to 950 with two noises each, none of them used to learn.

    Before (None) or after learning. The latents are the means, without the spread of a VAE that has learned nothing.
    """
    learner, material = run.build_learner(made, None), run.build_dataset(made)
    if weights is not None:
        learner.load_weights(weights)
    photo = material.samples[0]
    mean = photo.moments[:1]
    latents = material.scaling.sample(mean, torch.zeros(1, *mean.shape[2:]))
    times = torch.arange(50, 1000, 100).repeat(2)
    noise = torch.randn(len(times), *latents.shape[1:], generator=torch.Generator().manual_seed(0))
    draw = NoisedBatch(latents.expand_as(noise), noise, times, [photo.caption] * len(times), [photo.sizes] * len(times))
    with torch.no_grad():
        return float(learner.batch_loss(draw))


if __name__ == "__main__":
    torch.set_num_threads(1)
    hub, name, desk, steps = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])

    def tell(done: int, total: int, doing: str, preview: Image | None = None) -> None:
        """Say each step where a parent can read it."""
        sys.stdout.write(f"{done} {doing}\n")
        sys.stdout.flush()

    train(hub, name, desk, replace(PLAIN, steps=steps, exam=ValidationSettings(every=8, steps=2, held_out=1)), tell)
