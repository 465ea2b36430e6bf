"""FlowLab: trains the flow world's base on a stranger with the product's own trainer, and draws by reference, LoRA or both."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from diffusers.pipelines.flux2.pipeline_flux2_klein import Flux2KleinPipeline

from pipelines.diffusion.base.loading import load_pipeline, open_base
from portrait.arrays import Image
from tests.faceworld import captions, flow_drawing, training, world
from tests.faceworld.people import Measurements, Stranger, measure
from tests.faceworld.train_flow import BASE
from tests.faceworld.training import Lab

STEPS, CLASS_SCENES, CLASS_IMAGES = 480, 32, 64
PRIOR = 0.3
"""Weight of prior preservation: at 1 some strangers are learned less well, and "a person" is held no better."""


def class_prompts() -> tuple[str, ...]:
    """Prompts of class images in many scenes: few of them would be told from the person's by their scenes alone."""
    scenes = world.scenes(CLASS_SCENES, torch.Generator().manual_seed(1))
    return tuple(captions.caption("a {class_word}", scenes, number) for number in range(CLASS_SCENES))


KNOBS = replace(
    training.KNOBS,
    steps=STEPS,
    rate=4e-3,
    exam=replace(training.KNOBS.exam, every=120, held_out=1, steps=12, guidance=flow_drawing.GUIDANCE),
    prior=replace(
        training.KNOBS.prior, weight=PRIOR, images=CLASS_IMAGES, prompts=class_prompts(), guidance=flow_drawing.GUIDANCE
    ),
)
"""Fewer examinations than the U-Net of the other world takes; 240 steps are too few for some strangers."""


@dataclass(frozen=True, slots=True, eq=False)
class FlowLab(Lab):
    """Trains on strangers and measures the results, in the flow world."""

    base: Path = BASE

    def draw(
        self, who: Stranger, name: str, weights: Path | None, first: int = 0, reference: Image | None = None
    ) -> list[Image]:
        """`name` in each test scene, with a LoRA, a reference, both or neither; seeds from `first` on."""
        pipe = pipeline(self.base)
        if weights is not None:
            pipe.load_lora_weights(str(weights.parent), weight_name=weights.name)
        prompts = who.prompts(name)
        return flow_drawing.draw(pipe, prompts, range(first, first + len(prompts)), reference)

    def measured_by_reference(self, who: Stranger, name: str, weights: Path | None, first: int = 0) -> Measurements:
        """Measurements of images drawn with the first picture of the stranger as reference, and a LoRA or none."""
        reference = flow_drawing.enlarge(who.pictures()[0])
        return measure(self.draw(who, name, weights, first, reference), who, self.gauges)


def pipeline(base: Path = BASE) -> Flux2KleinPipeline:
    """The stock pipeline of the flow world."""
    pipe = load_pipeline(open_base("flow", base), torch.float32)
    assert isinstance(pipe, Flux2KleinPipeline)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def without_prior() -> training.TrainSettings:
    """Settings without prior preservation."""
    return replace(KNOBS, prior=replace(KNOBS.prior, weight=0.0), exam=replace(KNOBS.exam, every=0))
