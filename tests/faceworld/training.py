"""Lab: trains the base on a stranger with the product's own trainer, and generates images with a stock pipeline."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline

from pipelines.diffusion.base import lora
from pipelines.diffusion.base.loading import load_pipeline, open_base
from pipelines.diffusion.training import validation
from pipelines.diffusion.training.checkpoints import CheckpointStore
from pipelines.diffusion.training.merge_loras import merge
from pipelines.engines.trainers.dreambooth import Dreambooth
from pipelines.settings import PriorSettings, TrainSettings, ValidationSettings
from portrait.arrays import Image
from portrait.training import TrainingJob, TrainingResult
from tests.faceworld import drawing, words
from tests.faceworld.meters import SAME_PERSON, Finder, Meters
from tests.faceworld.people import Measurements, Stranger, measure, training_set
from tests.faceworld.train import BASE

STEPS, VALIDATE_EVERY = 300, 25
KNOBS = TrainSettings(
    steps=STEPS,
    rank=16,
    rate=7e-3,
    schedule="cosine",
    batch=4,
    flips=False,
    device="cpu",
    exam=ValidationSettings(
        every=VALIDATE_EVERY,
        # Scenes in the words of this world; its people are called nothing but "person".
        prompts=(
            "a photo of {who}, in a green shirt, in a pink room",
            "a photo of {who}, in a white shirt, at night",
            "a photo of {who}, in a purple shirt, in front of a white wall",
            "a photo of {who}, in a yellow shirt, under a blue sky",
        ),
        negative="",
        seeds=1,
        held_out=2,
        steps=12,
        guidance=drawing.GUIDANCE,
        patience=0,
    ),
    prior=PriorSettings(
        weight=1.0,
        images=32,
        # Others in scenes too: what holds "a person" alone does not hold "a person, in a red shirt".
        prompts=(
            "a photo of a {class_word}",
            "a photo of a {class_word}, in a red shirt, in a green field",
            "a photo of a {class_word}, in a blue shirt, on a grey street, wearing a hat",
            "a photo of a {class_word}, in a black shirt, in the desert, smiling",
        ),
        steps=12,
        guidance=drawing.GUIDANCE,
    ),
)
"""So small a model trains at seventy times the rate of a published one, within 300 steps."""
SOMEBODY = f"{words.RARE} person"
ANYBODY = "a person"


@dataclass(frozen=True, slots=True, eq=False)
class Lab:
    """Trains on strangers and measures the results."""

    gauges: Meters
    folder: Path
    """Class images are cached here, and every training has a folder."""
    base: Path = BASE

    def train(self, who: Stranger, name: str, knobs: TrainSettings = KNOBS) -> tuple[TrainingResult, CheckpointStore]:
        """Train in a folder `name`; returns the result and the checkpoints."""
        work_dir = self.folder / name
        work_dir.mkdir()
        trainer = Dreambooth(
            lambda base: open_base(base, self.base), lambda: Finder(self.gauges), knobs, self.folder / "class-pictures"
        )
        return trainer.train(
            TrainingJob(training_set(who, self.gauges), "faceworld", work_dir), quiet
        ), CheckpointStore(work_dir)

    def draw(self, who: Stranger, name: str, weights: Path | None, first: int = 0) -> list[Image]:
        """`name` in each test scene, with a LoRA or without; seeds from `first` on."""
        pipe = load_pipeline(open_base("faceworld", BASE), torch.float32)
        assert isinstance(pipe, StableDiffusionPipeline)
        pipe.set_progress_bar_config(disable=True)
        if weights is not None:
            pipe.load_lora_weights(str(weights.parent), weight_name=weights.name)
        prompts = who.prompts(name)
        return drawing.draw(pipe, prompts, range(first, first + len(prompts)))

    def measured(self, who: Stranger, name: str, weights: Path | None, first: int = 0) -> Measurements:
        """Measurements of images generated like that."""
        return measure(self.draw(who, name, weights, first), who, self.gauges)

    def similarity(self, who: Stranger, weights: Mapping[str, torch.Tensor]) -> float:
        """Similarity of the stranger generated with weights that are in no file yet."""
        file = lora.save_weights(dict(weights), self.folder / "tried.safetensors")
        return self.measured(who, SOMEBODY, file).similarity


def merged_similarity(
    studio: Lab, who: Stranger, result: TrainingResult, store: CheckpointStore
) -> tuple[float, dict[int, float]]:
    """Similarity of the merge that the trainer made, and of each of its parts."""
    few = validation.neighbours_to_merge(result.validations, KNOBS.exam.best, validation.MERGE_TOLERANCE * SAME_PERSON)
    steps = [validated.step for validated in few]
    parts = {step: store.load_step(step) for step in steps}
    together = merge(list(parts.values()), [1 / len(parts)] * len(parts))
    return studio.similarity(who, together), {step: studio.similarity(who, part) for step, part in parts.items()}


def without_prior(knobs: TrainSettings = KNOBS) -> TrainSettings:
    """Settings without prior preservation, for as long as a leak takes."""
    alone = replace(knobs, prior=replace(knobs.prior, weight=0.0), exam=replace(knobs.exam, every=0))
    # Constant at the full rate for so long nothing that can draw is left.
    return replace(alone, steps=400, schedule="constant", rate=4e-3)


def quiet(done: int, total: int, doing: str, preview: Image | None = None) -> None:
    """A progress that does nothing."""
