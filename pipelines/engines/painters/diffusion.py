"""Diffusion: generates portraits with a diffusion base and one or several identity adapters; for styles of kind `text`."""

import importlib.metadata
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipelines import model_requirements
from pipelines.diffusion.base import checkpoint_files, checksums, device, memory, prompts
from pipelines.diffusion.base.lease import Lease, LoadedBase
from pipelines.diffusion.base.loading import BaseSource, find_base
from pipelines.diffusion.base.memory import MemoryProfile
from pipelines.diffusion.base.registry import all_families
from pipelines.diffusion.sampling import controlnet, generation_options, img2img, pipeline_call, refiner, schedulers
from pipelines.diffusion.sampling.pipeline_call import Conditioning
from pipelines.diffusion.sampling.previews import LatentPreview
from pipelines.engines import Engines
from pipelines.model_store.store import ModelStore
from pipelines.settings import DrawSettings, Settings
from portrait.arrays import Image, Size
from portrait.errors import EngineError, OperatorError, UserError
from portrait.generation.options import GenerationOptions, PromptSpec, check_seed
from portrait.generation.parameters import GenerationParameters, native_size
from portrait.images import edit_canvas
from portrait.images.edit_canvas import EditCanvas
from portrait.images.resize import crop_to_fill
from portrait.ports import ControlPreprocessor, IdentityAdapter, Progress
from portrait.types import Candidate, Identity, PortraitRequest

ASPECT = (7, 9)
"""Width to height where a request gives no size: 896×1152, the nearest to 4:5 of the sizes that SDXL was trained at."""
PACKAGES = ("torch", "diffusers", "transformers", "peft")


@dataclass(frozen=True, slots=True, eq=False)
class GenerationPlan:
    """One request with all choices made, and checked to be possible."""

    person: Identity
    base: BaseSource
    identities: Sequence[tuple[str, IdentityAdapter]]
    parameters: GenerationParameters
    scheduler: str
    loras: Sequence[tuple[str, Path, float]]
    """LoRAs beside the person's, with files and strengths: those of the style, and the LCM LoRA."""
    portrait_size: Size
    """Of the portrait; it may be generated smaller or larger."""
    canvas: EditCanvas | None = None
    """The picture that an edit starts from, laid out."""
    refiner_prompt: str = ""
    """The prompt without trained tokens and trigger words, for a refiner."""

    @property
    def uses_refiner(self) -> bool:
        """Whether a refiner samples the last steps; never in img2img."""
        return self.parameters.options.refiner > 0 and self.parameters.task == "text"

    def to_portrait(self, drawn: Image) -> Image:
        """The portrait at its size, from the generated image."""
        return crop_to_fill(drawn, self.portrait_size) if self.canvas is None else self.canvas.paste(drawn)


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
        for number in range(request.count):
            each = replace(plan, parameters=replace(plan.parameters, seed=plan.parameters.seed + number))
            pixels, facts = self.draw(each, _step_reporter(progress, each, number, request.count, preview), preview)
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
        base = self._bases(options.base or person.base or self._settings.base)
        if spec.families and base.family.name not in spec.families:
            raise UserError(
                "wrong_family", f"This style is for {', '.join(spec.families)}; {base.name} is {base.family.name}."
            )
        options = generation_options.with_style(options, spec)
        names = self._identity_names(options)
        model_requirements.check_identities(names)
        identities, description = self._check_identities(names, person, base)
        controlnet.check_controls(options.control_inputs, base.family.name, self._models)
        refiner.check_refiner(options, base.family.name)
        if options.refiner:
            self._models.folder(refiner.MODEL)
        sampling = schedulers.resolve_preset(options)
        canvas = None if request.edit is None else edit_canvas.lay_out(request.edit, base.native_side)
        size = canvas.window if canvas is not None else request.size or _default_size(base)
        generated = native_size(size, base.native_side, base.size_multiple)
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
        )
        if request.edit is not None and canvas is not None:
            parameters = generation_options.start_from_canvas(parameters, request.edit, canvas)
        if request.drawn is None:  # a recipe is drawn again as it was
            generation_options.check(parameters, sampling)
        loras = self._style_loras(spec, base.family.name, sampling.lcm)
        plain = prompts.fill_template(spec.prompt, person.class_word or "person", options.traits)
        plan = GenerationPlan(person, base, identities, parameters, sampling.scheduler, loras, size, canvas, plain)
        img2img.check_supported(base, parameters, _uses_controlnets(plan))
        return plan

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

    def _style_loras(self, spec: PromptSpec, family: str, lcm: bool) -> list[tuple[str, Path, float]]:
        """LoRAs of a style, and the family's LCM LoRA: model, file, strength."""
        models = [*spec.loras, *([(f"lcm_{family}", 1.0)] if lcm else [])]
        return [(model, _lora_file(self._models.folder(model)), strength) for model, strength in models]

    def draw(
        self, plan: GenerationPlan, on_step: Callable[[int], None], preview: Callable[[Any], None] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, object]]:
        """One image H×W×3, 0..1, and its facts for the recipe; again with ever smaller memory profiles when memory runs out.

        `on_step` gets the number of steps done after each, `preview` the latents. The profile that drew is kept for the base.
        Raises `EngineError` (`out_of_memory`, `empty_drawing`), `UserError` (`bad_technique`).
        """
        img2img.check_supported(plan.base, plan.parameters, _uses_controlnets(plan))
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
        """Raise `OperatorError` (`model_differs`) unless a plan's model files are those that a recipe's facts name."""
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
            for name, file, strength in plan.loras:
                lease.load_lora(f"style_{name}", str(file), strength)
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
        return [
            *conditionings,
            controlnet.load_controlnets(
                lease, parameters.options.control_inputs, parameters.size, self._models, self._control
            ),
        ]

    def _identity_names(self, options: GenerationOptions) -> tuple[str, ...]:
        """Names of identity adapters; `lora` comes first, so that the others see its trigger in the description."""
        names = options.identities or self._settings.identities
        if not names:
            names = ("lora",)
        return tuple(sorted(dict.fromkeys(names), key=lambda name: name != "lora"))

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
        if loaded is None or loaded.source.path != base.path or loaded.profile != profile:
            self.close()
            where = device.choose_device(self._settings.device)
            dtype = device.choose_dtype(self._settings.precision, where)
            loaded = self._loaded = LoadedBase(base, dtype, where, profile, self._settings.compile)
        return loaded

    def _recipe_facts(
        self, plan: GenerationPlan, conditionings: Sequence[Conditioning], lease: Lease
    ) -> dict[str, object]:
        """What the recipe records of an image: settings, versions, hashes of model files."""
        facts: dict[str, object] = {
            "base": plan.base.name,
            "prompt": plan.parameters.prompt,
            "negative": plan.parameters.negative,
            "size": [plan.parameters.size.width, plan.parameters.size.height],
            "steps": plan.parameters.steps,
            "guidance": plan.parameters.guidance,
            "scheduler": plan.scheduler or "own",
            "looks": {name: strength for name, _, strength in plan.loras},
            "precision": str(lease.dtype).removeprefix("torch."),
            "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        }
        if plan.uses_refiner:
            facts["refiner"] = plan.parameters.options.refiner
        for each in conditionings:
            facts = pipeline_call.merge(facts, each.facts)
        return facts | self._checksums.for_recipe(self._model_files(plan))

    def _model_files(self, plan: GenerationPlan) -> dict[str, Path | Sequence[Path]]:
        """Files of every model that takes part, by name; see `checksums.WeightChecksums.for_recipe`."""
        files: dict[str, Path | Sequence[Path]] = {checksums.BASE: plan.base.weights_files}
        family = plan.base.family.name
        dtype = device.choose_dtype(self._settings.precision, device.choose_device(self._settings.device))
        companions = plan.base.companion_files(dtype)
        files |= {f"{checksums.COMPANION_PREFIX}{name}": file for name, file in companions.items()}
        for name, _ in plan.identities:
            for model in model_requirements.IDENTITY_MODELS.get(name, {}).get(family, ()):
                files |= checksums.weight_files(model, self._models.folder(model))
        if plan.person.lora is not None and any(name == "lora" for name, _ in plan.identities):
            files[checksums.LORA] = plan.person.lora
        if plan.person.tokens is not None and any(name == "lora" for name, _ in plan.identities):
            files[f"learned/{plan.person.tokens.name}"] = plan.person.tokens
        files |= {f"{model}/{file.name}": file for model, file, _ in plan.loras}
        if plan.uses_refiner:
            files |= checksums.weight_files(refiner.MODEL, self._models.folder(refiner.MODEL))
        return files | controlnet.weight_files(plan.parameters.options.control_inputs, family, self._models)


def _step_reporter(
    progress: Progress, plan: GenerationPlan, number: int, count: int, preview: LatentPreview
) -> Callable[[int], None]:
    steps = plan.parameters.steps_done
    return lambda done: progress(number * steps + done, count * steps, "Drawing", preview.image)


def _lora_file(folder: Path) -> Path:
    """The LoRA file in a model's folder; raises `OperatorError` (`missing_model`)."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise OperatorError(
            "missing_model", f"The model {folder.name} holds no LoRA: `portrait models check` says more."
        )
    return files[0]


def _uses_controlnets(plan: GenerationPlan) -> bool:
    """Whether control networks take part."""
    return bool(plan.parameters.options.control_inputs) or any(name == "instantid" for name, _ in plan.identities)


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
    """A base of any family is enough, and one that is named by its place."""
    if settings.bases or Path(settings.draw.base).exists():
        return []
    missing: list[Any] = [models.missing(name) for name in _store_bases()]
    return list(min(missing, key=len))


def _store_bases() -> Mapping[str, None]:
    """Names of the bases that the model store can hold."""
    return dict.fromkeys(family.name for family in all_families())
