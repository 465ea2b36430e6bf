"""One call of a stock pipeline, assembled from what each identity and control has to say."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import PIL.Image
import torch
from numpy.typing import NDArray

from pipelines.diffusion.base.lease import Lease
from pipelines.diffusion.sampling import img2img, schedulers
from portrait.arrays import Image
from portrait.generation.options import GenerationOptions
from portrait.generation.parameters import GenerationParameters

FREEU = {"sd15": {"s1": 0.9, "s2": 0.2, "b1": 1.5, "b2": 1.6}, "sdxl": {"s1": 0.9, "s2": 0.2, "b1": 1.3, "b2": 1.4}}
"""What FreeU's authors propose, by family."""

Tensors = dict[str, Any]
Callback = Callable[[int, Tensors], None]


@dataclass(frozen=True, slots=True, eq=False)
class ControlNetUnit:
    """A control network with what it is shown."""

    network: Any
    image: Image
    scale: float
    start: float = 0.0
    end: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Conditioning:
    """What one identity or control adds to a call."""

    arguments: Mapping[str, Any] = field(default_factory=dict)
    controlnets: Sequence[ControlNetUnit] = ()
    callback: Callback | None = None
    """Called after each step with its number and the tensors it named; changes them in place."""
    tensors: Sequence[str] = ()
    facts: Mapping[str, object] = field(default_factory=dict)
    """For the recipe; JSON."""


def generate_image(
    lease: Lease,
    drawing: GenerationParameters,
    conditionings: Sequence[Conditioning],
    on_step: Callable[[int], None],
    preview: Callable[[Any], None] | None = None,
) -> NDArray[np.float32]:
    """One picture H×W×3, 0..1; `tell` hears after each step how many are done, and may raise; `peek` sees the latents."""
    return to_unit_range(_run_pipeline(lease, drawing, conditionings, on_step, preview))


def generate_latents(
    lease: Lease, drawing: GenerationParameters, conditionings: Sequence[Conditioning], on_step: Callable[[int], None]
) -> torch.Tensor:
    """What is drawn when `drawing.until` is reached, 1×4×h×w."""
    return _run_pipeline(lease, drawing, conditionings, on_step, None)[None]


def _run_pipeline(
    lease: Lease,
    drawing: GenerationParameters,
    conditionings: Sequence[Conditioning],
    on_step: Callable[[int], None],
    preview: Callable[[Any], None] | None,
) -> Any:
    """What the stock pipeline gives: a picture, or latents where the drawing ends before the last step."""
    technique = drawing.options
    spent = schedulers.resolve_preset(technique)
    guides = [guide for each in conditionings for guide in each.controlnets]
    networks = [guide.network for guide in guides]
    pipe = lease.get_pipeline(networks, technique.perturbed > 0, drawing.task)
    pipe.scheduler = schedulers.make_scheduler(spent.scheduler, dict(lease.loaded.source.config("scheduler")))
    with torch.no_grad():
        if drawing.start is not None and not drawing.steps_done:
            return img2img.vae_round_trip(pipe, drawing.start)
        arguments = (
            _prompt_arguments(lease, drawing)
            | _controlnet_arguments(guides, "image" if drawing.start is None else "control_image")
            | {k: v for each in conditionings for k, v in each.arguments.items()}
            | img2img.pipeline_arguments(drawing, pipe.vae_scale_factor)
        )
        after = _StepCallback(conditionings, on_step, drawing, spent.cutoff, preview)
        if after.ends_guidance:
            for network in (pipe.unet, *networks):
                lease.add_cleanup(network.register_forward_pre_hook(_match_batch, with_kwargs=True).remove)
        if technique.perturbed > 0:
            arguments["pag_scale"] = technique.perturbed
        if technique.freeu:
            pipe.enable_freeu(**FREEU[lease.family.name])
            lease.add_cleanup(pipe.disable_freeu)
        lease.loaded.set_active_loras(lease.active_loras)
        if drawing.until < 1:
            arguments["denoising_end"] = drawing.until
        return _call_pipeline(pipe, arguments, drawing, after)


def _call_pipeline(
    pipe: Any, arguments: Mapping[str, Any], drawing: GenerationParameters, after: "_StepCallback"
) -> Any:
    vae, dtype = pipe.vae, pipe.vae.dtype
    try:
        return pipe(
            **arguments,
            num_inference_steps=drawing.steps,
            guidance_scale=drawing.guidance,
            generator=torch.Generator("cpu").manual_seed(drawing.seed),
            output_type="np" if drawing.until == 1 else "latent",
            callback_on_step_end=after,
            callback_on_step_end_tensor_inputs=after.names,
        ).images[0]
    finally:
        if vae.dtype != dtype:
            vae.to(dtype)  # some stock pipelines leave it in float32, and others cannot draw with it then


def to_unit_range(drawn: Any) -> NDArray[np.float32]:
    """A picture as numbers 0..1."""
    return np.nan_to_num(np.asarray(drawn, np.float32)).clip(0, 1)


def face_embeds(embedding: NDArray[np.float32], lease: Lease, guided: bool) -> torch.Tensor:
    """An embedding as an image adapter takes it: 1×1×1×width, before it nothing at all where there is guidance."""
    told = torch.from_numpy(embedding).to(lease.device, lease.dtype)[None, None, None]
    return torch.cat([torch.zeros_like(told), told]) if guided else told


def uses_guidance(drawing: GenerationParameters) -> bool:
    """Whether the unconditional half is computed at all."""
    return drawing.guidance > 1


def strength_of(technique: GenerationOptions, name: str, usual: float) -> float:
    """What was wished, or what is usual."""
    return float(technique.strengths.get(name, usual))


def _prompt_arguments(lease: Lease, drawing: GenerationParameters) -> dict[str, Any]:
    said, unsaid = lease.encode_prompts(drawing.prompt, drawing.negative, drawing.options.clip_skip)
    return dict(lease.family.prompt_arguments(said, unsaid))


def _controlnet_arguments(guides: Sequence[ControlNetUnit], picture: str) -> dict[str, Any]:
    """Pictures and scales of the control networks; a single one is told without a list, as stock pipelines want it.

    `picture` is what the pipeline calls their pictures.
    """
    if not guides:
        return {}
    told = {
        picture: [PIL.Image.fromarray(guide.image) for guide in guides],
        "controlnet_conditioning_scale": [float(guide.scale) for guide in guides],
        "control_guidance_start": [guide.start for guide in guides],
        "control_guidance_end": [guide.end for guide in guides],
    }
    return {name: each[0] for name, each in told.items()} if len(guides) == 1 else told


class _StepCallback:
    """What happens at the end of each step: identities have their say, guidance ends, progress is told."""

    def __init__(
        self,
        conditionings: Sequence[Conditioning],
        on_step: Callable[[int], None],
        drawing: GenerationParameters,
        cutoff: float,
        preview: Callable[[Any], None] | None,
    ) -> None:
        self._conditionings, self._on_step, self._preview = conditionings, on_step, preview
        self.ends_guidance = uses_guidance(drawing) and cutoff < 1 and not drawing.options.perturbed
        """Whether guidance ends before the drawing does."""
        self._last = max(1, round(cutoff * drawing.steps_done))
        self.names = sorted({"latents", *(name for each in conditionings for name in each.tensors)})

    def __call__(self, pipe: Any, step: int, time: Any, tensors: Tensors) -> Tensors:
        for each in self._conditionings:
            if each.callback is not None:
                each.callback(step, tensors)
        if self.ends_guidance and step + 1 == self._last:
            pipe._guidance_scale = 1.0
        # A mask that was made for both halves of a batch makes two of one when guidance has ended.
        latents = tensors["latents"][:1]
        if self._preview is not None:
            self._preview(latents)
        self._on_step(step + 1)
        return {**tensors, "latents": latents}


def _match_batch(network: Any, given: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """When guidance has ended, what a network is told follows the batch: what speaks for the person is the second half.

    Not every stock pipeline reads back what a callback changes; what the networks are given is the same in all of them.
    """
    batch = int((given[0] if given else named["sample"]).shape[0])

    def cut(each: Any) -> Any:
        return each[-batch:] if isinstance(each, torch.Tensor) and each.dim() > 1 else each

    told = named.get("added_cond_kwargs")
    if told:
        named["added_cond_kwargs"] = {name: cut(each) for name, each in told.items()}
    for name in ("encoder_hidden_states", "controlnet_cond"):
        if name in named:
            named[name] = cut(named[name])
    return given, named
