"""Diffusion: generates portraits with a diffusion base and one or several identity adapters; for styles of kind `text`."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipelines import model_requirements
from pipelines.diffusion.base import checkpoint_files, checksums, device, memory, prompts
from pipelines.diffusion.base.lease import Lease, LoadedBase
from pipelines.diffusion.base.loading import choose_vae, find_base, find_base_to_draw_on
from pipelines.diffusion.base.loras import named_models
from pipelines.diffusion.base.memory import MemoryProfile
from pipelines.diffusion.base.source import BaseSource
from pipelines.diffusion.sampling import (
    controlnet,
    generation_options,
    img2img,
    ip_adapter,
    pipeline_call,
    refiner,
    schedulers,
    sdedit,
)
from pipelines.diffusion.sampling.pipeline_call import Conditioning
from pipelines.diffusion.sampling.plan import GenerationPlan, model_files, recipe_facts, require_same_sampling
from pipelines.diffusion.sampling.previews import LatentPreview
from pipelines.engines import Engines
from pipelines.engines.painters import numbers_drawn
from pipelines.model_store.store import ModelStore
from pipelines.settings import DrawSettings, Settings
from portrait.arrays import Size
from portrait.errors import EngineError, OperatorError, UserError
from portrait.generation.edits import Edit
from portrait.generation.options import GenerationOptions, LoraChoice, PromptSpec, check_seed
from portrait.generation.parameters import GenerationParameters, native_size
from portrait.images import edit_canvas
from portrait.images.edit_canvas import EditCanvas
from portrait.ports import ControlPreprocessor, IdentityAdapter, Progress
from portrait.types import Candidate, Identity, PortraitRequest

ASPECT = (7, 9)
"""Width to height where a request gives no size: 896×1152, the nearest to 4:5 of the sizes that SDXL was trained at."""


class Diffusion:
    """Generates portraits with a base that stays loaded between requests."""

    def __init__(
        self,
        bases: Callable[[str], BaseSource],
        identity: Callable[[str], IdentityAdapter],
        control: Callable[[str], ControlPreprocessor],
        models: ModelStore,
        settings: DrawSettings,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bases, self._identity, self._control = bases, identity, control
        self._models, self._settings = models, settings
        self._loaded: LoadedBase | None = None
        self._now, self._used = now, 0.0
        self._refiner: refiner.Refiner | None = None
        self._profiles: dict[Path, MemoryProfile] = {}
        """The profiles that bases had to be drawn on with when memory ran out, by their paths."""
        self._checksums = checksums.WeightChecksums()

    def paint(self, request: PortraitRequest, progress: Progress) -> list[Candidate]:
        """Exactly `request.count` candidates, one seed each; see `portrait.ports.Painter`."""
        return list(self.draw_each(request, progress))

    def draw_each(self, request: PortraitRequest, progress: Progress) -> Iterator[Candidate]:
        """The candidates of `paint` one by one; see `portrait.ports.StreamingPainter`. No lease is held between two."""
        plan = self.plan(request)
        preview = LatentPreview(plan.base.family.latent_rgb_factors)
        numbers = numbers_drawn(request, request.count)
        for done, number in enumerate(numbers):
            each = replace(plan, parameters=replace(plan.parameters, seed=plan.parameters.seed + number))
            pixels, facts = self.draw(each, _step_reporter(progress, each, done, len(numbers), preview), preview)
            image = np.asarray((pixels * 255).round(), np.uint8)
            variation = {"seed": float(each.parameters.seed)}
            reference_names = {1: plan.person.references[0].name} if plan.person.references else {}
            candidate = Candidate(plan.to_portrait(image), reference_names, variation, facts=facts)
            preview.image = candidate.image
            yield candidate

    def plan(self, request: PortraitRequest) -> GenerationPlan:
        """Make all choices and check them before weights are read; raises what `portrait.ports.IdentityAdapter.check` does."""
        spec, person = request.style.prompt_spec, request.people[1]
        if spec is None:
            raise OperatorError("no_scene", f"The style {request.style.id} does not say what is to be drawn.")
        check_seed(request.seed)
        options = request.options or GenerationOptions(preset=self._settings.preset)
        base = self._choose_base(options, spec, person)
        options, spec = generation_options.with_style(options, spec), generation_options.with_sentence(spec, base)
        spec = named_models.with_prompt_loras(spec, options, request.edit, self._models)
        names = generation_options.identity_names(request, options, self._settings.identities, base)
        model_requirements.check_identities(names)
        identities, description = self._check_identities(names, person, base)
        self._check_beside(options, base)
        options, facts = generation_options.with_few_steps(options, spec, base, self._models)
        sampling = schedulers.resolve_preset(options, facts, base.family.presets)
        side, canvas = _lay_out(request.edit, base)
        size = canvas.window if canvas is not None else request.size or _default_size(base)
        generated = native_size(size, side, base.size_multiple)
        parameters = GenerationParameters(
            prompt=prompts.fill_template(spec.prompt, description, options.traits),
            negative=spec.negative,
            size=generated,
            seed=request.seed,
            steps=sampling.steps,
            guidance=sampling.guidance,
            options=replace(
                options,
                base=base.name,
                identities=names,
                control_inputs=controlnet.prepare_inputs(options.control_inputs, generated, self._control),
            ),
            facts=facts,
            **_guidance_facts(base),
        )
        if request.edit is not None and canvas is not None:
            parameters = generation_options.with_edit(parameters, request.edit, canvas, description)
        if request.drawn is None:  # a recipe is drawn again as it was
            generation_options.check(parameters, sampling)
            generation_options.check_abilities(base, parameters.options, (parameters.prompt, parameters.negative))
            schedulers.check_schedule(sampling.scheduler, base.config("scheduler"), facts)
        few_steps = options.few_steps or (f"lcm_{base.family.name}" if sampling.lcm else "")
        loras = named_models.plan_loras(_given_loras(spec, few_steps), options.lora_weights, base, self._models)
        embeddings = named_models.plan_embeddings((parameters.prompt, parameters.negative), base, self._models)
        plain = prompts.fill_template(spec.prompt, person.class_word or "person", options.traits)
        plan = GenerationPlan(
            person, base, identities, parameters, sampling.scheduler, loras, size, canvas, plain, embeddings
        )
        _check_supported(plan, request.mode == "inpaint")
        return plan

    def _choose_base(self, options: GenerationOptions, spec: PromptSpec, person: Identity) -> BaseSource:
        """The base, with the VAE that was chosen; raises `UserError` (`wrong_family`) where the style is for others."""
        learned = "" if options.base else person.base
        base = (
            find_base_to_draw_on(learned, self._bases) if learned else self._bases(options.base or self._settings.base)
        )
        if spec.families and base.family.name not in spec.families:
            raise UserError(
                "wrong_family", f"This style is for {', '.join(spec.families)}; {base.name} is {base.family.name}."
            )
        return choose_vae(base, options.vae, self._models)

    def _check_beside(self, options: GenerationOptions, base: BaseSource) -> None:
        """Raise what keeps controls, the look and the refiner from being used on a base."""
        family = base.family.name
        controlnet.check_controls(options.control_inputs, family, self._models, f"{base.name} ({family})")
        ip_adapter.check_image_prompt(options.look, base, self._models)
        refiner.check_refiner(options, base)
        if options.refiner or (options.sdedit and options.sdedit_model == "refiner"):
            self._models.folder(refiner.MODEL)

    def _check_identities(
        self, names: Sequence[str], person: Identity, base: BaseSource
    ) -> tuple[list[tuple[str, IdentityAdapter]], str]:
        """The adapters by name, each able to draw the person, and what the prompt calls them."""
        identities = [(name, self._identity(name)) for name in names]
        description = person.class_word or "person"
        for _, each in identities:
            description = each.describe(person, description)
            each.check(person, base)
        return identities, description

    def draw(
        self, plan: GenerationPlan, on_step: Callable[[int], None], preview: Callable[[Any], None] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, object]]:
        """One image H×W×3, 0..1, and its facts for the recipe; again with ever smaller memory profiles when memory runs out.

        `on_step` gets the number of steps done after each, `preview` the latents. The profile that drew is kept for the base.
        Raises `EngineError` (`out_of_memory`, `empty_drawing`), `UserError` (`bad_technique`).
        """
        pixels, facts = self._draw_once(plan, on_step, preview)
        if plan.uses_sdedit:
            done = plan.parameters.steps_done
            again = sdedit.second_pass(plan, pixels)
            pixels, _ = self._draw_once(again, lambda more: on_step(done + more), preview)
        return pixels, facts

    def _draw_once(
        self, plan: GenerationPlan, on_step: Callable[[int], None], preview: Callable[[Any], None] | None
    ) -> tuple[NDArray[np.float32], dict[str, object]]:
        """One run of the sampler; see `draw`."""
        generation_options.check_supported(plan.base, plan.parameters, plan.uses_controlnets)
        profile: MemoryProfile | None = self._first_profile(plan)
        why = ""
        while profile is not None:
            try:
                drawn = self._draw(plan, profile, on_step, preview)
            except (RuntimeError, MemoryError) as error:
                if not device.is_out_of_memory(error):
                    raise
                why = str(error).split("\n", 1)[0]
            else:
                if why:
                    self._profiles[plan.base.path] = profile
                return drawn
            self.close()  # out here, where the error no longer holds what was on the device
            profile = memory.next_smaller(profile)
        self._profiles.pop(plan.base.path, None)
        raise _out_of_memory(why)

    def check_models(self, request: PortraitRequest, facts: Mapping[str, Any]) -> None:
        """See `portrait.ports.ReproduciblePainter`."""
        self.check_plan_models(self.plan(request), facts)

    def check_plan_models(self, plan: GenerationPlan, facts: Mapping[str, Any]) -> None:
        """Raise `OperatorError` (`model_differs`) unless a plan's model files and their facts are those of a recipe's facts."""
        require_same_sampling(plan, facts)
        self._checksums.require_unchanged(self._model_files(plan), facts)

    def unload_idle(self) -> None:
        """Unload the base, with everything loaded for it, when nothing was drawn for `draw.idle_minutes`."""
        idle = self._settings.idle_minutes * 60
        if idle and self._loaded is not None and self._now() - self._used >= idle:
            self.close()

    def forget(self) -> None:
        """Drop the LoRAs of people."""
        if self._loaded is not None:
            self._loaded.adapter_cache.clear()

    def close(self) -> None:
        """Unload the base and the refiner."""
        if self._loaded is not None:
            self._loaded.close()
            self._loaded = None
        self._refiner = None

    def _draw(
        self,
        plan: GenerationPlan,
        profile: MemoryProfile,
        on_step: Callable[[int], None],
        preview: Callable[[Any], None] | None,
    ) -> tuple[NDArray[np.float32], dict[str, object]]:
        loaded = self._get_base(plan.base, profile)
        self._used = self._now()
        with loaded.lease() as lease:
            if plan.redraws_by_refiner:
                parameters = replace(plan.parameters, prompt=plan.refiner_prompt)
                pixels = refiner.redraw(lease, self._get_refiner(lease), parameters, on_step)
                self._used = self._now()
                return pixels, {}
            for style_lora in plan.loras:
                lease.load_style_lora(style_lora.file, style_lora.choice)
            for embedding in plan.embeddings:
                lease.load_embedding(embedding.name, embedding.file)
            conditionings = self._conditionings(lease, plan)
            if plan.uses_refiner:
                parameters = replace(plan.parameters, until=1 - plan.parameters.options.refiner)
                pixels = refiner.generate_refined(
                    lease, self._get_refiner(lease), plan.refiner_prompt, parameters, conditionings, on_step
                )
            else:
                pixels = pipeline_call.generate_image(lease, plan.parameters, conditionings, on_step, preview)
            self._used = self._now()
            return pixels, self._recipe_facts(plan, conditionings, lease)

    def _conditionings(self, lease: Lease, plan: GenerationPlan) -> list[Conditioning]:
        parameters = plan.parameters
        conditionings = [each.prepare(lease, plan.person, parameters) for _, each in plan.identities]
        guided = pipeline_call.uses_guidance(parameters)
        return [
            Conditioning(references=() if parameters.edited is None else (parameters.edited,)),
            *conditionings,
            Conditioning(references=parameters.pictures),
            ip_adapter.load_image_prompt(lease, parameters.options.look, self._models, guided),
            controlnet.load_controlnets(
                lease, parameters.options.control_inputs, parameters.size, self._models, self._control
            ),
        ]

    def _get_refiner(self, lease: Lease) -> refiner.Refiner:
        if self._refiner is None:
            self._refiner = refiner.Refiner(self._models.folder(refiner.MODEL), lease.dtype)
        return self._refiner

    def _first_profile(self, plan: GenerationPlan) -> MemoryProfile:
        """The profile to begin with: of the loaded base, one that memory forced before, of the settings, or by free memory."""
        if self._loaded is not None and self._loaded.source.path == plan.base.path:
            return self._loaded.profile
        if plan.base.path in self._profiles:
            return self._profiles[plan.base.path]
        if self._settings.memory != "auto":
            return self._settings.memory
        self.close()  # what is free is asked next
        where = device.choose_device(self._settings.device)
        dtype = device.choose_dtype(self._settings.precision, where)
        beside = self._beside_bytes(plan, dtype) if where.type == "cuda" else 0.0
        return memory.choose_profile(plan.base, dtype, where, beside)

    def _beside_bytes(self, plan: GenerationPlan, dtype: torch.dtype) -> float:
        """Bytes of the plan's adapters and control networks; what ONNX Runtime reads is not on PyTorch's device."""
        of_base = (checksums.BASE, checksums.COMPANION_PREFIX, f"{refiner.MODEL}/")
        files = (each for name, each in self._model_files(plan).items() if not name.startswith(of_base))
        weights = (file for file in files if isinstance(file, Path) and file.suffix != ".onnx")
        return float(dtype.itemsize * sum(checkpoint_files.count_weights(file) for file in weights))

    def _get_base(self, base: BaseSource, profile: MemoryProfile) -> LoadedBase:
        """The base under a profile, loaded in place of another one: two of SDXL would not fit most GPUs."""
        loaded = self._loaded
        if loaded is None or loaded.source != base or loaded.profile != profile:
            self.close()
            where = device.choose_device(self._settings.device)
            dtype = device.choose_dtype(self._settings.precision, where)
            loaded = self._loaded = LoadedBase(base, dtype, where, profile, self._settings.compile)
        return loaded

    def _recipe_facts(
        self, plan: GenerationPlan, conditionings: Sequence[Conditioning], lease: Lease
    ) -> dict[str, object]:
        """What the recipe records of an image: settings, versions, hashes of model files."""
        facts = recipe_facts(plan, conditionings, lease.dtype)
        unread = plan.base.family.count_unread(lease.components, plan.parameters.prompt)
        if unread:
            facts["unread_tokens"] = unread
        return facts | self._checksums.for_recipe(self._model_files(plan))

    def _model_files(self, plan: GenerationPlan) -> dict[str, Path | Sequence[Path]]:
        dtype = device.choose_dtype(self._settings.precision, device.choose_device(self._settings.device))
        return model_files(plan, self._models, dtype)


def _guidance_facts(base: BaseSource) -> dict[str, Any]:
    """Fields of the parameters that say how a base is guided."""
    return {"embeds_guidance": base.embeds_guidance, "guided_above": base.family.guided_above}


def _step_reporter(
    progress: Progress, plan: GenerationPlan, drawn: int, count: int, preview: LatentPreview
) -> Callable[[int], None]:
    steps = plan.steps_done
    return lambda done: progress(drawn * steps + done, count * steps, "Drawing", preview.image)


def _check_supported(plan: GenerationPlan, inpainted: bool) -> None:
    """Raise `UserError` (`bad_technique`) for what no stock pipeline draws; `inpainted`: parts of a picture are drawn."""
    parameters = img2img.with_blank_start(plan.parameters) if inpainted else plan.parameters
    generation_options.check_supported(plan.base, parameters, plan.uses_controlnets)
    if plan.uses_sdedit:
        sdedit.check_sdedit(plan)


def _lay_out(edit: Edit | None, base: BaseSource) -> tuple[int, EditCanvas | None]:
    """Side of the square that is drawn of as many pixels, and an edit's canvas; raises `UserError` (`bad_edit`)."""
    if edit is None:
        return base.native_side, None
    generation_options.check_edit(edit, base)
    side = base.native_side if edit.kind == "instruct" else base.start_side
    return side, edit_canvas.lay_out(edit, side)


def _given_loras(spec: PromptSpec, few_steps: str) -> list[LoraChoice]:
    """LoRAs of a style, and the one of few steps where it is not among them."""
    missing = few_steps and few_steps not in {each.model for each in spec.loras}
    return [*spec.loras, *([LoraChoice(few_steps)] if missing else [])]


def _default_size(base: BaseSource) -> Size:
    """7:9 with about the area of the base's native square."""
    width, height = (round(base.native_side * share / 8 / base.size_multiple) * base.size_multiple for share in ASPECT)
    return Size(max(width, base.size_multiple), max(height, base.size_multiple))


def _out_of_memory(why: str) -> EngineError:
    return EngineError(
        "out_of_memory",
        f"There is not enough memory to draw on this base ({why}). Choose a smaller base, or close other programs.",
    )


def make(settings: Settings, models: ModelStore, engines: Engines) -> Diffusion:
    """The painter; nothing is loaded until it draws. A request may name the place of its base, so none need be here yet."""
    return Diffusion(
        lambda name: find_base(name, settings, models), engines.identity_adapter, engines.control, models, settings.draw
    )


def status(settings: Settings, models: ModelStore) -> list[str]:
    """Any base of the store is enough, and one that is named by its place."""
    if settings.bases or Path(settings.draw.base).exists():
        return []
    return min((models.missing(model.name) for model in models.of_kind("base")), key=len, default=[])
