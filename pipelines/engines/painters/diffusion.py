"""Draws people with a diffusion base, told who they are by one or several identities; for styles of the kind `text`."""

import importlib.metadata
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines import model_requirements
from pipelines.diffusion.base import checksums, device, memory, prompts
from pipelines.diffusion.base.lease import Lease, LoadedBase
from pipelines.diffusion.base.loading import BaseSource, find_base
from pipelines.diffusion.base.memory import MemoryProfile
from pipelines.diffusion.base.registry import all_families
from pipelines.diffusion.sampling import controlnet, img2img, pipeline_call, refiner, schedulers
from pipelines.diffusion.sampling.pipeline_call import Conditioning
from pipelines.diffusion.sampling.previews import LatentPreview
from pipelines.engines import Engines
from pipelines.model_store.store import ModelStore
from pipelines.settings import DrawSettings, Settings
from portrait.arrays import Image, Size
from portrait.errors import EngineError, OperatorError, UserError
from portrait.generation.edits import Edit
from portrait.generation.options import GenerationOptions
from portrait.generation.parameters import GenerationParameters
from portrait.images import edit_canvas
from portrait.images.edit_canvas import EditCanvas
from portrait.ports import ControlPreprocessor, IdentityAdapter, Progress
from portrait.types import Candidate, Identity, PortraitRequest

ASPECT = (7, 9)
"""Width to height where nobody asked: 896×1152, the nearest to 4:5 of the sizes that SDXL was trained at."""
LONGEST = 1.34
"""Longest side that is drawn, over the base's own: SDXL knows up to 1344 pixels; beyond, bodies double."""
PACKAGES = ("torch", "diffusers", "transformers", "peft")


@dataclass(frozen=True, slots=True, eq=False)
class GenerationPlan:
    """One request with all choices made, and all of it found to be possible."""

    person: Identity
    base: BaseSource
    identities: Sequence[tuple[str, IdentityAdapter]]
    parameters: GenerationParameters
    scheduler: str
    loras: Sequence[tuple[str, Path, float]]
    """LoRAs beside the person's, by name, with strengths: a style's own, and the one that lets few steps suffice."""
    portrait_size: Size
    """Of the portrait; it may be drawn smaller or larger."""
    canvas: EditCanvas | None = None
    """The picture that it begins from, laid out."""
    refiner_prompt: str = ""
    """The prompt without words that were learned, for a refiner."""

    @property
    def uses_refiner(self) -> bool:
        """Whether a refiner draws the end; what begins from a picture goes without."""
        return self.parameters.options.refiner > 0 and self.parameters.task == "text"

    def to_portrait(self, drawn: Image) -> Image:
        """The portrait, of what was drawn."""
        return controlnet.crop_to_fill(drawn, self.portrait_size) if self.canvas is None else self.canvas.put(drawn)


class Diffusion:
    """Draws people with a base that stays loaded."""

    def __init__(
        self,
        bases: Callable[[str], BaseSource],
        identifier: Callable[[str], IdentityAdapter],
        control: Callable[[str], ControlPreprocessor],
        models: ModelStore,
        knobs: DrawSettings,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bases, self._identity, self._control = bases, identifier, control
        self._models, self._settings = models, knobs
        self._loaded: LoadedBase | None = None
        self._now, self._used = now, 0.0
        self._refiner: refiner.Refiner | None = None
        self._checksums = checksums.WeightChecksums()

    def paint(self, request: PortraitRequest, progress: Progress) -> list[Candidate]:
        """Exactly `request.count` candidates, one seed each; see `portrait.ports.Painter`."""
        plan = self.plan(request)
        candidates: list[Candidate] = []
        peek = LatentPreview(plan.base.family.latent_rgb_factors)
        for number in range(request.count):
            each = replace(plan, parameters=replace(plan.parameters, seed=plan.parameters.seed + number))
            pixels, facts = self.draw(each, _step_reporter(progress, each, number, request.count, peek), peek)
            image = np.asarray((pixels * 255).round(), np.uint8)
            variation = {"seed": float(each.parameters.seed)}
            drawn_from = {1: plan.person.references[0].name} if plan.person.references else {}
            candidates.append(Candidate(plan.to_portrait(image), drawn_from, variation, facts=facts))
            peek.image = candidates[-1].image
        return candidates

    def plan(self, request: PortraitRequest) -> GenerationPlan:
        """Make the choices and check them, before a weight is read; see `portrait.ports.Identifier.check`."""
        scene, person = request.style.prompt_spec, request.people[1]
        if scene is None:
            raise OperatorError("no_scene", f"The style {request.style.id} does not say what is to be drawn.")
        technique = request.options or GenerationOptions(preset=self._settings.preset)
        base = self._bases(technique.base or person.base or self._settings.base)
        if scene.families and base.family.name not in scene.families:
            raise UserError(
                "wrong_family", f"This style is for {', '.join(scene.families)}; {base.name} is {base.family.name}."
            )
        technique = replace(technique, strengths={**scene.strengths, **technique.strengths})
        chosen = self._identity_names(technique, person)
        identifiers = [(name, self._identity(name)) for name in chosen]
        words = person.class_word or "person"
        for _, each in identifiers:
            words = each.describe(person, words)
            each.check(person, base)
        controlnet.check_controls(technique.control_inputs, base.family.name, self._models)
        refiner.check_refiner(technique, base.family.name)
        if technique.refiner:
            self._models.folder(refiner.MODEL)
        spent = schedulers.resolve_preset(technique)
        sheet = None if request.edit is None else edit_canvas.lay_out(request.edit, base.native_side)
        size = sheet.window if sheet is not None else request.size or _default_size(base)
        drawing = GenerationParameters(
            prompt=prompts.fill_template(scene.prompt, words, technique.traits),
            negative=scene.negative,
            size=(wide := _drawn(size, base)),
            seed=request.seed,
            steps=spent.steps,
            guidance=spent.guidance,
            options=replace(
                technique,
                base=base.name,
                identities=chosen,
                hints=controlnet.prepare_inputs(technique.control_inputs, wide, self._control),
            ),
        )
        if request.edit is not None and sheet is not None:
            drawing = _start_from_canvas(drawing, request.edit, sheet)
        looks = [(model, _lora_file(self._models.folder(model)), strength) for model, strength in scene.loras]
        if spent.lcm:
            model = f"lcm_{base.family.name}"
            looks.append((model, _lora_file(self._models.folder(model)), 1.0))
        plain = prompts.fill_template(scene.prompt, person.class_word or "person", technique.traits)
        plan = GenerationPlan(person, base, identifiers, drawing, spent.scheduler, looks, size, sheet, plain)
        img2img.check_supported(base, drawing, _uses_controlnets(plan))
        return plan

    def draw(
        self, plan: GenerationPlan, tell: Callable[[int], None], peek: Callable[[Any], None] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, object]]:
        """One drawing H×W×3, 0..1, and what it took; steps down once where memory runs out.

        `peek` is shown the latents after each step.
        Raises `EngineError` (`out_of_memory`), `UserError` (`bad_technique`).
        """
        img2img.check_supported(plan.base, plan.parameters, _uses_controlnets(plan))
        try:
            return self._draw(plan, tell, peek)
        except (RuntimeError, MemoryError) as error:
            if not device.is_out_of_memory(error):
                raise
            why = str(error).split("\n", 1)[0]
        less = memory.next_smaller(self._loaded.profile) if self._loaded is not None else None
        if less is None:
            raise _out_of_memory(why)
        self._load_base(plan.base, less)
        try:
            return self._draw(plan, tell, peek)
        except (RuntimeError, MemoryError) as error:
            if not device.is_out_of_memory(error):
                raise
            raise _out_of_memory(str(error).split("\n", 1)[0]) from error

    def check_models(self, request: PortraitRequest, drawn: Mapping[str, Any]) -> None:
        """See `portrait.ports.Recalling`."""
        self.check_plan_models(self.plan(request), drawn)

    def check_plan_models(self, plan: GenerationPlan, drawn: Mapping[str, Any]) -> None:
        """Raise `OperatorError` (`model_differs`) unless a plan takes the files that a recipe's facts name."""
        self._checksums.require_unchanged(self._model_files(plan), drawn)

    def rest(self) -> None:
        """Let the base go, with all that was loaded for it, when nothing was drawn for `draw.idle_minutes`."""
        idle = self._settings.idle_minutes * 60
        if idle and self._loaded is not None and self._now() - self._used >= idle:
            self.close()

    def close(self) -> None:
        """Let the base go."""
        if self._loaded is not None:
            self._loaded.close()
            self._loaded = None
        self._refiner = None

    def _draw(
        self, plan: GenerationPlan, tell: Callable[[int], None], peek: Callable[[Any], None] | None
    ) -> tuple[NDArray[np.float32], dict[str, object]]:
        lent = self._get_base(plan.base)
        self._used = self._now()
        with lent.lease() as lease:
            for name, file, strength in plan.loras:
                lease.load_lora(f"look_{name}", str(file), strength)
            told = self._conditionings(lease, plan)
            if plan.uses_refiner:
                drawing = replace(plan.parameters, until=1 - plan.parameters.options.refiner)
                pixels = refiner.generate_refined(
                    lease, self._get_refiner(lease), plan.refiner_prompt, drawing, (told, tell)
                )
            else:
                pixels = pipeline_call.generate_image(lease, plan.parameters, told, tell, peek)
            self._used = self._now()
            return pixels, self._recipe_facts(plan, told, lease)

    def _conditionings(self, lease: Lease, plan: GenerationPlan) -> list[Conditioning]:
        drawing = plan.parameters
        told = [each.prepare(lease, plan.person, drawing) for _, each in plan.identities]
        return [
            *told,
            controlnet.load_controlnets(
                lease, drawing.options.control_inputs, drawing.size, self._models, self._control
            ),
        ]

    def _identity_names(self, technique: GenerationOptions, person: Identity) -> tuple[str, ...]:
        """Names of identities; what was learned comes first, so that others see its words."""
        named = technique.identities or self._settings.identities
        if not named:
            named = ("lora",)
        return tuple(sorted(dict.fromkeys(named), key=lambda name: name != "lora"))

    def _get_refiner(self, lease: Lease) -> refiner.Refiner:
        if self._refiner is None:
            self._refiner = refiner.Refiner(self._models.folder(refiner.MODEL), lease.dtype)
        return self._refiner

    def _get_base(self, base: BaseSource) -> LoadedBase:
        if self._loaded is None or self._loaded.source.path != base.path:
            self._load_base(base, None if self._settings.memory == "auto" else self._settings.memory)
        if self._loaded is None:
            raise EngineError("broken_model", f"The base model {base.name} was not loaded.")
        return self._loaded

    def _load_base(self, base: BaseSource, profile: MemoryProfile | None) -> None:
        """Only one base at a time: two of SDXL would not fit most GPUs."""
        self.close()
        where = device.choose_device(self._settings.device)
        dtype = device.choose_dtype(self._settings.precision, where)
        profile = profile or memory.choose_profile(base, dtype, where)
        self._loaded = LoadedBase(base, dtype, where, profile, self._settings.compile)

    def _recipe_facts(self, plan: GenerationPlan, told: Sequence[Conditioning], lease: Lease) -> dict[str, object]:
        """For the recipe."""
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
        for each in told:
            facts |= each.facts
        return facts | self._checksums.for_recipe(self._model_files(plan))

    def _model_files(self, plan: GenerationPlan) -> dict[str, Path]:
        """Of every model that takes part, by name; see `prints`."""
        files, family = {checksums.BASE: plan.base.weights_file}, plan.base.family.name
        files |= {f"{checksums.COMPANION_PREFIX}{name}": file for name, file in plan.base.companion_files().items()}
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
    progress: Progress, plan: GenerationPlan, number: int, count: int, peek: LatentPreview
) -> Callable[[int], None]:
    steps = plan.parameters.steps_done
    return lambda done: progress(number * steps + done, count * steps, "Drawing", peek.image)


def _lora_file(folder: Path) -> Path:
    """The file of a LoRA in the model store."""
    found = sorted(folder.glob("*.safetensors"))
    if not found:
        raise OperatorError(
            "missing_model", f"The model {folder.name} holds no LoRA: `portrait models check` says more."
        )
    return found[0]


def _uses_controlnets(plan: GenerationPlan) -> bool:
    """Whether control networks take part."""
    return bool(plan.parameters.options.control_inputs) or any(name == "instantid" for name, _ in plan.identities)


def _start_from_canvas(drawing: GenerationParameters, edit: Edit, sheet: EditCanvas) -> GenerationParameters:
    """A drawing that begins from a picture, whose face stays where it is."""
    technique, size = drawing.options, drawing.size
    if edit.face is not None:
        technique = replace(technique, landmarks=sheet.points(edit.face, size))
    start, mask = sheet.start(size), sheet.mask(size)
    prompt = f"{drawing.prompt}, {edit.extra_prompt}" if edit.extra_prompt else drawing.prompt
    return replace(drawing, prompt=prompt, options=technique, start=start, mask=mask, strength=edit.strength)


def _default_size(base: BaseSource) -> Size:
    """7:9 with the area of the base's own square."""
    width, height = (round(base.native_side * share / 8 / base.size_multiple) * base.size_multiple for share in ASPECT)
    return Size(max(width, base.size_multiple), max(height, base.size_multiple))


def _drawn(size: Size, base: BaseSource) -> Size:
    """What is drawn for a portrait of a size: the same shape, about as many pixels as the base was taught with."""
    scale = (base.native_side**2 / (size.width * size.height)) ** 0.5
    longest = base.native_side * LONGEST
    sides = [
        max(base.size_multiple, min(int(longest), round(side * scale / base.size_multiple) * base.size_multiple))
        for side in (size.width, size.height)
    ]
    return Size(*(side // base.size_multiple * base.size_multiple for side in sides))


def _out_of_memory(why: str) -> EngineError:
    return EngineError(
        "out_of_memory",
        f"There is not enough memory to draw on this base ({why}). Choose a smaller base, or close other programs.",
    )


def make(settings: Settings, models: ModelStore, engines: Engines) -> Diffusion:
    """Nothing is loaded until something is drawn; raises `OperatorError` (`missing_model`) where there is no base at all."""
    if status(settings, models):
        models.folder(settings.draw.base if settings.draw.base in _store_bases() else "sdxl")
    return Diffusion(
        lambda name: find_base(name, settings, models), engines.identity_adapter, engines.control, models, settings.draw
    )


def status(settings: Settings, models: ModelStore) -> list[str]:
    """A base of any family is enough."""
    if settings.bases:
        return []
    missing: list[Any] = [models.missing(name) for name in _store_bases()]
    return list(min(missing, key=len))


def _store_bases() -> Mapping[str, None]:
    """Names of the bases that the store knows."""
    return dict.fromkeys(family.name for family in all_families())
