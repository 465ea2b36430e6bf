"""SDXL's refiner: a second model that samples the last steps, which add detail (SDXL's paper, 2.5: the last 20 of 100).

It has neither LoRAs nor face adapters, so the more steps it takes the less alike a portrait is. It and the base need not be on
the GPU at once: where both do not fit, each waits in main memory for its turn.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from diffusers import StableDiffusionXLImg2ImgPipeline
from numpy.typing import NDArray

from pipelines.diffusion.base import checkpoint_files, device, memory, prompts
from pipelines.diffusion.base.lease import Lease
from pipelines.diffusion.base.parts.latents import latent_scaling
from pipelines.diffusion.base.source import BaseSource
from pipelines.diffusion.sampling import decoding, pipeline_call, schedulers
from pipelines.diffusion.sampling.pipeline_call import Conditioning, StepCallback
from portrait.errors import UserError, broken_model
from portrait.generation.options import GenerationOptions
from portrait.generation.parameters import GenerationParameters

MODEL, FAMILY = "sdxl_refiner", "sdxl"
MIN_SHARE, MAX_SHARE = 0.05, 0.5
"""Share of the steps; with half of them it gives another picture."""


class Refiner:
    """The refiner, loaded."""

    def __init__(self, folder: Path, dtype: torch.dtype) -> None:
        """Load it from a hub folder; raises `EngineError` (`broken_model`)."""
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

    def refine(
        self, latents: torch.Tensor, parameters: GenerationParameters, on_step: StepCallback
    ) -> NDArray[np.float32]:
        """The image H×W×3, 0..1, from latents that were sampled up to `parameters.until`."""
        return self._draw(latents, parameters, on_step, {"denoising_start": parameters.until})

    def redraw(self, parameters: GenerationParameters, on_step: StepCallback) -> NDArray[np.float32]:
        """The image H×W×3, 0..1, from `parameters.start` at `parameters.strength`."""
        if parameters.start is None:
            raise ValueError("a picture to begin from is needed")
        start = PIL.Image.fromarray(parameters.start)
        return self._draw(start, parameters, on_step, {"strength": parameters.strength})

    def _draw(
        self,
        start: torch.Tensor | PIL.Image.Image,
        parameters: GenerationParameters,
        on_step: StepCallback,
        arguments: Mapping[str, float],
    ) -> NDArray[np.float32]:
        pipe, sampling = self.pipeline, schedulers.resolve_preset(parameters.options, parameters.facts)
        pipe.scheduler = schedulers.make_scheduler(sampling.scheduler, dict(pipe.scheduler.config))
        last: Any = start

        def after_step(pipe: Any, step: int, time: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            nonlocal last
            last = tensors["latents"]
            on_step(pipeline_call.steps_after(pipe.scheduler, parameters, step + 1))
            return tensors

        with torch.no_grad():
            image = pipe(
                prompt=prompts.strip_weights(parameters.prompt),
                negative_prompt=prompts.strip_weights(parameters.negative),
                image=start,
                num_inference_steps=parameters.steps,
                **arguments,
                guidance_scale=parameters.guidance,
                generator=torch.Generator("cpu").manual_seed(parameters.seed),
                output_type="np",
                callback_on_step_end=after_step,
            ).images[0]
        return decoding.finish_image(pipe, image, last, latent_scaling(pipe.vae.config))


def check_refiner(options: GenerationOptions, base: BaseSource) -> None:
    """Raise `UserError` (`bad_technique`) for a share, base or scheduler that it cannot continue from."""
    share = options.refiner
    if share and not MIN_SHARE <= share <= MAX_SHARE:
        raise UserError("bad_technique", f"The refiner draws {MIN_SHARE:g} to {MAX_SHARE:g} of the steps.")
    if share:
        check_model(base, schedulers.resolve_preset(options).scheduler)


def check_model(base: BaseSource, scheduler: str) -> None:
    """Raise `UserError` (`bad_technique`) for a base or scheduler that the refiner cannot continue from."""
    if base.family.name != FAMILY:
        raise UserError(
            "bad_technique",
            f"The refiner goes on from bases of the family {FAMILY} alone, not from {base.name} ({base.family.name}): leave it "
            "out, or choose another base.",
        )
    if scheduler == "lcm":
        raise UserError("bad_technique", "The refiner goes on from many steps: choose the preset balanced or best.")


def generate_refined(
    lease: Lease,
    refiner: Refiner,
    prompt: str,
    parameters: GenerationParameters,
    conditionings: Sequence[Conditioning],
    on_step: StepCallback,
) -> NDArray[np.float32]:
    """An image H×W×3, 0..1, whose last steps the refiner samples; `prompt` is its prompt, without trained tokens.

    `conditionings` are for the base alone; `on_step` gets the number of steps done by both.
    """
    of_base = 0

    def count_step(done: int) -> None:
        nonlocal of_base
        of_base = done
        on_step(done)

    latents = pipeline_call.generate_latents(lease, parameters, conditionings, count_step)
    with refiner_on_device(lease, refiner):
        return refiner.refine(latents, replace(parameters, prompt=prompt), lambda done: on_step(of_base + done))


def redraw(
    lease: Lease, refiner: Refiner, parameters: GenerationParameters, on_step: StepCallback
) -> NDArray[np.float32]:
    """`Refiner.redraw` on the device; `parameters.prompt` is the refiner's own, without trained tokens."""
    with refiner_on_device(lease, refiner):
        return refiner.redraw(parameters, on_step)


@contextmanager
def refiner_on_device(lease: Lease, refiner: Refiner) -> Iterator[None]:
    """Have the refiner on the device, and the base in main memory meanwhile where both do not fit."""
    loaded, target, profile = lease.loaded, lease.device, lease.loaded.profile
    if profile in memory.OFFLOADED:
        loaded.free_device()
        memory.place_pipeline(refiner.pipeline, profile, target)
        try:
            yield
        finally:
            refiner.pipeline.maybe_free_model_hooks()
        return
    needed = memory.WORKING_MEMORY["full"] * weight_bytes(refiner.pipeline)
    swaps = target.type == "cuda" and device.free_memory(target) < needed
    if swaps:
        loaded.move(torch.device("cpu"))
        device.release_memory(target)
    try:
        refiner.pipeline.to(target)
        yield
    finally:
        if swaps:
            refiner.pipeline.to("cpu")
            device.release_memory(target)
            loaded.move(target)


def weight_bytes(pipeline: Any) -> float:
    """Bytes of a pipeline's weights."""
    parts = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
    return float(sum(weight.nbytes for part in parts for weight in part.parameters()))
