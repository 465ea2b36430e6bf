"""One call of a stock pipeline, assembled from the conditioning of each identity adapter and control."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import PIL.Image
import torch
from numpy.typing import NDArray

from pipelines.diffusion.base.family import ControlNetUnit, Family
from pipelines.diffusion.base.lease import Lease
from pipelines.diffusion.base.parts.latents import LatentFormat
from pipelines.diffusion.sampling import decoding, img2img, schedulers
from portrait.arrays import Image
from portrait.generation.options import GenerationOptions
from portrait.generation.parameters import GenerationParameters

IMAGE_EMBEDS = "ip_adapter_image_embeds"
"""The pipelines' argument for image embeddings, a list with one tensor for each IP-Adapter."""

Tensors = dict[str, Any]
Callback = Callable[[int, Tensors], None]
StepCallback = Callable[[int], None]
"""Gets the number of steps done, and may raise."""


@dataclass(frozen=True, slots=True, eq=False)
class Conditioning:
    """What one identity adapter or control adds to a pipeline call."""

    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Of the stock pipeline, each of them by one conditioning; with `prompt_embeds` the prompt is not encoded again."""
    controlnets: Sequence[ControlNetUnit] = ()
    references: Sequence[Image] = ()
    """Pictures that the base draws from, beside those of other conditionings, in their order."""
    callback: Callback | None = None
    """Called after each step, maybe several times, with its number and the tensors of `tensors`; changes them in place."""
    tensors: Sequence[str] = ()
    facts: Mapping[str, object] = field(default_factory=dict)
    """For the recipe; JSON."""


def generate_image(
    lease: Lease,
    parameters: GenerationParameters,
    conditionings: Sequence[Conditioning],
    on_step: StepCallback,
    preview: Callable[[Any], None] | None = None,
) -> NDArray[np.float32]:
    """One image H×W×3, 0..1; `on_step` gets the number of steps done and may raise, `preview` gets the latents."""
    return decoding.to_unit_range(_run_pipeline(lease, parameters, conditionings, on_step, preview))


def generate_latents(
    lease: Lease, parameters: GenerationParameters, conditionings: Sequence[Conditioning], on_step: StepCallback
) -> torch.Tensor:
    """The latents 1×4×h×w when `parameters.until` of the steps are done."""
    return _run_pipeline(lease, parameters, conditionings, on_step, None)[None]


def _run_pipeline(
    lease: Lease,
    parameters: GenerationParameters,
    conditionings: Sequence[Conditioning],
    on_step: StepCallback,
    preview: Callable[[Any], None] | None,
) -> Any:
    """What the stock pipeline returns: an image, or latents where it ends before the last step."""
    options = parameters.options
    family, base = lease.family, lease.loaded.source
    sampling = schedulers.resolve_preset(options, parameters.facts, family.presets)
    units = [unit for each in conditionings for unit in each.controlnets]
    networks = [unit.network for unit in units]
    pipe = lease.get_pipeline(networks, options.perturbed > 0, parameters.task)
    own = dict(base.config("scheduler"))
    pipe.scheduler = schedulers.make_scheduler(sampling.scheduler, own, parameters.facts)
    with torch.no_grad():
        if parameters.start is not None and not parameters.steps_done:
            return img2img.vae_round_trip(pipe, parameters.start, family.latents(pipe.vae))
        given = _join_arguments(conditionings)
        arguments = merge(
            given,
            {} if "prompt_embeds" in given else _prompt_arguments(lease, parameters),
            family.control_arguments(parameters.task, units) if units else {},
            _reference_arguments(lease, parameters, conditionings),
            img2img.pipeline_arguments(parameters, family, base.geometry.cell),
            family.guidance_arguments(parameters.guidance),
        )
        # The mask that such a U-Net takes beside the latents stays as many as guidance made of it.
        nine = family.denoiser == "unet" and base.denoiser_config["in_channels"] == img2img.INPAINT_CHANNELS
        callback = _StepCallback(conditionings, on_step, parameters, 1.0 if nine else sampling.cutoff, preview, family)
        if callback.ends_guidance and family.guides_in_batches:
            for network in (lease.loaded.denoiser, *networks):
                lease.add_cleanup(network.register_forward_pre_hook(_match_batch, with_kwargs=True).remove)
        if options.perturbed > 0:
            arguments["pag_scale"] = options.perturbed
        if options.skip_layer_guidance > 0:
            arguments |= family.skip_layer_arguments(options.skip_layer_guidance, base.denoiser_config)
        if options.guidance_rescale > 0:
            arguments["guidance_rescale"] = options.guidance_rescale
        if options.freeu:
            pipe.enable_freeu(**family.freeu_scales)
            lease.add_cleanup(pipe.disable_freeu)
        lease.loaded.set_active_loras(lease.active_loras)
        if parameters.until < 1:
            arguments["denoising_end"] = parameters.until
        redecoded = parameters.task in family.redecoded_tasks
        return _call_pipeline(pipe, arguments, parameters, callback, family.latents(pipe.vae), redecoded)


def _call_pipeline(
    pipe: Any,
    arguments: Mapping[str, Any],
    parameters: GenerationParameters,
    callback: "_StepCallback",
    form: LatentFormat,
    redecoded: bool = False,
) -> Any:
    """What the pipeline draws; `redecoded`: decoded by `form`."""
    vae, dtype = pipe.vae, pipe.vae.dtype
    given = dict(arguments)
    if "strength" not in inspect.signature(pipe.__call__).parameters:
        given.pop("strength", None)  # it draws all anew, and less was refused
    devices = [pipe._execution_device] if pipe._execution_device.type == "cuda" else []
    try:
        # Some stock pipelines encode control images by chance that is not the generator's.
        with torch.random.fork_rng(devices):
            torch.manual_seed(parameters.seed)
            drawn = pipe(
                **given,
                num_inference_steps=parameters.steps,
                generator=torch.Generator("cpu").manual_seed(parameters.seed),
                output_type="np" if parameters.until == 1 and not redecoded else "latent",
                callback_on_step_end=callback,
                callback_on_step_end_tensor_inputs=callback.names,
            ).images[0]
    finally:
        if vae.dtype != dtype:
            vae.to(dtype)  # some stock pipelines leave it in float32, and others cannot draw with it then
    if parameters.until < 1:
        return drawn
    drawn = decoding.decode(pipe, callback.latents, form) if redecoded else drawn
    return decoding.finish_image(pipe, drawn, callback.latents, form)


def face_embeds(embedding: NDArray[np.float32], lease: Lease, guided: bool) -> torch.Tensor:
    """A face embedding as `ip_adapter_image_embeds`: 1×1×1×width, preceded by zeros when guided."""
    embeds = torch.from_numpy(embedding).to(lease.device, lease.dtype)[None, None, None]
    return torch.cat([torch.zeros_like(embeds), embeds]) if guided else embeds


def uses_guidance(parameters: GenerationParameters) -> bool:
    """Whether classifier-free guidance is on, so that batches have an unconditional half."""
    return parameters.guidance > parameters.guided_above and not parameters.embeds_guidance


def strength_of(options: GenerationOptions, name: str, default: float) -> float:
    """The strength that the options give for `name`, else the default."""
    return float(options.strengths.get(name, default))


def merge(*parts: Mapping[str, Any]) -> dict[str, Any]:
    """All parts as one; raises RuntimeError for a name that two of them give, of which one would not be heard."""
    merged: dict[str, Any] = {}
    for name, value in (item for part in parts for item in part.items()):
        if name in merged:
            raise RuntimeError(f"{name} is given twice")
        merged[name] = value
    return merged


def steps_after(scheduler: Any, parameters: GenerationParameters, calls: int) -> int:
    """Steps done, as they were asked for, after that many calls of the U-Net.

    Schedulers of second order call it twice a step but for the last, PNDM once more in all or several times at first.
    """
    skipped = (parameters.steps - parameters.steps_done) * getattr(scheduler, "order", 1)
    most = max(len(scheduler.timesteps) - skipped, parameters.steps_done)
    return calls * parameters.steps_done // most


def _join_arguments(conditionings: Sequence[Conditioning]) -> dict[str, Any]:
    """The arguments of all conditionings; image embeddings of several IP-Adapters are one list, in their order."""
    parts = [{name: each for name, each in part.arguments.items() if name != IMAGE_EMBEDS} for part in conditionings]
    embeds = [each for part in conditionings for each in part.arguments.get(IMAGE_EMBEDS, ())]
    return merge(*parts, {IMAGE_EMBEDS: embeds} if embeds else {})


def _prompt_arguments(lease: Lease, parameters: GenerationParameters) -> dict[str, Any]:
    if lease.family.reads_references:
        negative = {"negative_prompt": parameters.negative or " "} if uses_guidance(parameters) else {}
        return {"prompt": parameters.prompt, **negative}
    if not lease.family.guides_in_batches and not uses_guidance(parameters):
        # A second run of a language model for a prompt that nobody reads would cost more than a step.
        return lease.family.prompt_arguments(lease.encode_prompt(parameters.prompt), None)
    positive, negative = lease.encode_prompts(parameters.prompt, parameters.negative, parameters.options.clip_skip)
    return lease.family.prompt_arguments(positive, negative)


def _reference_arguments(
    lease: Lease, parameters: GenerationParameters, conditionings: Sequence[Conditioning]
) -> dict[str, Any]:
    pictures = [PIL.Image.fromarray(each) for part in conditionings for each in part.references]
    return lease.family.reference_arguments(parameters.task, pictures)


class _StepCallback:
    """Runs at the end of each step: callbacks of the conditionings, end of guidance, preview, progress."""

    def __init__(
        self,
        conditionings: Sequence[Conditioning],
        on_step: StepCallback,
        parameters: GenerationParameters,
        cutoff: float,
        preview: Callable[[Any], None] | None,
        family: Family,
    ) -> None:
        self._conditionings, self._on_step, self._preview = conditionings, on_step, preview
        self._family = family
        self.ends_guidance = uses_guidance(parameters) and cutoff < 1 and not parameters.options.perturbed
        """Whether guidance ends before the last step."""
        self._parameters = parameters
        self._last_guided_step = max(1, round(cutoff * parameters.steps_done))
        self.latents: Any = None
        """Of the last step, 1×channels×h×w."""
        self.names = sorted({"latents", *(name for each in conditionings for name in each.tensors)})

    def __call__(self, pipe: Any, step: int, time: Any, tensors: Tensors) -> Tensors:
        done = steps_after(pipe.scheduler, self._parameters, step + 1)
        for each in self._conditionings:
            if each.callback is not None and done > 0:
                each.callback(done - 1, tensors)
        if self.ends_guidance and done == self._last_guided_step:
            pipe._guidance_scale = self._parameters.guided_above
        # A mask that was made for both halves of a batch makes two of one when guidance has ended.
        latents = tensors["latents"][:1]
        self.latents = self._family.unpack(latents, self._parameters.size)
        if self._preview is not None:
            self._preview(self.latents)
        self._on_step(done)
        return {**tensors, "latents": latents}


def _match_batch(network: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """A forward pre-hook: when guidance has ended, cut conditioning to the batch, which is its second, conditional half.

    Not every stock pipeline reads back what a callback changes; the inputs of the networks are the same in all of them.
    """
    sample = args[0] if args else kwargs["sample" if "sample" in kwargs else "hidden_states"]
    batch = int(sample.shape[0])

    def cut(each: Any) -> Any:
        return each[-batch:] if isinstance(each, torch.Tensor) and each.dim() > 1 else each

    conditions = kwargs.get("added_cond_kwargs")
    if conditions:
        kwargs["added_cond_kwargs"] = {name: cut(each) for name, each in conditions.items()}
    for name in ("encoder_hidden_states", "pooled_projections", "controlnet_cond"):
        if name in kwargs:
            kwargs[name] = cut(kwargs[name])
    return args, kwargs
