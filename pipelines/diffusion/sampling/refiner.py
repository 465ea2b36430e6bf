"""SDXL's refiner: a second base that draws the last steps, where only detail is left (SDXL's paper, 2.5: 80 and 20 of 100).

It knows neither LoRAs nor faces, so the more it draws the less alike a portrait is. It and the base need not be on the GPU
at once: where both do not fit, each waits in memory for its turn.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionXLImg2ImgPipeline
from numpy.typing import NDArray

from pipelines.diffusion.base import checkpoint_files, device, memory, prompts
from pipelines.diffusion.base.lease import Lease
from pipelines.diffusion.sampling import pipeline_call, schedulers
from pipelines.diffusion.sampling.pipeline_call import Conditioning
from portrait.errors import UserError, broken_model
from portrait.generation.options import GenerationOptions
from portrait.generation.parameters import GenerationParameters

MODEL, FAMILY = "sdxl_refiner", "sdxl"
MIN_SHARE, MAX_SHARE = 0.05, 0.5
"""Share of the steps; with half of them it is another picture."""

StepCallback = Callable[[int], None]


class Refiner:
    """The refiner, loaded."""

    def __init__(self, folder: Path, dtype: torch.dtype) -> None:
        """Raises `EngineError` (`broken_model`)."""
        half = any(folder.glob("unet/*.fp16.*"))
        try:
            self.pipeline: Any = StableDiffusionXLImg2ImgPipeline.from_pretrained(
                str(folder), dtype=dtype, local_files_only=True, variant="fp16" if half else None
            )
        except checkpoint_files.BROKEN as error:
            raise broken_model(folder, str(error).split("\n")[0]) from error
        self.pipeline.set_progress_bar_config(disable=True)
        for part in self.pipeline.components.values():
            if isinstance(part, torch.nn.Module):
                part.requires_grad_(False).eval()

    def refine(self, latents: torch.Tensor, drawing: GenerationParameters, tell: StepCallback) -> NDArray[np.float32]:
        """The picture H×W×3, 0..1, of latents that were drawn up to `drawing.until`."""
        pipe, spent = self.pipeline, schedulers.resolve_preset(drawing.options)
        pipe.scheduler = schedulers.make_scheduler(spent.scheduler, dict(pipe.scheduler.config))
        with torch.no_grad():
            drawn = pipe(
                prompt=prompts.strip_weights(drawing.prompt),
                negative_prompt=prompts.strip_weights(drawing.negative),
                image=latents,
                num_inference_steps=drawing.steps,
                denoising_start=drawing.until,
                guidance_scale=drawing.guidance,
                generator=torch.Generator("cpu").manual_seed(drawing.seed),
                output_type="np",
                callback_on_step_end=lambda pipe, step, time, tensors: (tell(step + 1), tensors)[1],
            ).images[0]
        return pipeline_call.to_unit_range(drawn)


def check_refiner(technique: GenerationOptions, family: str) -> None:
    """Raise `UserError` (`bad_technique`) for what it cannot go on from."""
    share = technique.refiner
    if share and not MIN_SHARE <= share <= MAX_SHARE:
        raise UserError("bad_technique", f"The refiner draws {MIN_SHARE:g} to {MAX_SHARE:g} of the steps.")
    if share and family != FAMILY:
        raise UserError("bad_technique", "The refiner goes on from bases of the family sdxl alone.")
    if share and schedulers.resolve_preset(technique).scheduler == "lcm":
        raise UserError("bad_technique", "The refiner goes on from many steps: choose the preset balanced or best.")


def generate_refined(
    lease: Lease,
    refiner: Refiner,
    plain: str,
    drawing: GenerationParameters,
    given: tuple[Sequence[Conditioning], StepCallback],
) -> NDArray[np.float32]:
    """A drawing of which the refiner makes the end; `plain` is its prompt, without words that were learned.

    `given` is what the base is told, and who hears how many steps are done.
    """
    told, tell = given
    counted: list[int] = []

    def first(done: int) -> None:
        counted.append(done)
        tell(done)

    latents = pipeline_call.generate_latents(lease, drawing, told, first)
    with refiner_on_device(lease, refiner):
        return refiner.refine(latents, replace(drawing, prompt=plain), lambda done: tell(len(counted) + done))


@contextmanager
def refiner_on_device(lease: Lease, refiner: Refiner) -> Iterator[None]:
    """Have the refiner where it computes, and the base out of its way where both do not fit."""
    base, where, profile = lease.loaded.pipeline, lease.device, lease.loaded.profile
    if profile in ("offload", "sequential"):
        base.maybe_free_model_hooks()
        memory.place_pipeline(refiner.pipeline, profile, where)
        try:
            yield
        finally:
            refiner.pipeline.maybe_free_model_hooks()
        return
    crowded = where.type == "cuda" and device.free_memory(where) < memory.WORKING_MEMORY["full"] * weight_bytes(
        refiner.pipeline
    )
    if crowded:
        base.to("cpu")
        device.release_memory(where)
    try:
        refiner.pipeline.to(where)
        yield
    finally:
        if crowded:
            refiner.pipeline.to("cpu")
            device.release_memory(where)
            base.to(where)


def weight_bytes(pipeline: Any) -> float:
    """Bytes of its weights."""
    parts = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
    return float(sum(weight.nbytes for part in parts for weight in part.parameters()))
