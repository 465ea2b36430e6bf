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
from pipelines.diffusion.base.loading import Source, find
from pipelines.diffusion.base.memory import Profile
from pipelines.diffusion.base.registry import families
from pipelines.diffusion.sampling import controlnet, img2img, pipeline_call, refiner, schedulers
from pipelines.diffusion.sampling.pipeline_call import Conditions
from pipelines.diffusion.sampling.previews import Peek
from pipelines.engines import Engines
from pipelines.model_store.store import Models
from pipelines.settings import Draw, Settings
from portrait.arrays import Image, Size
from portrait.errors import EngineError, OperatorError, UserError
from portrait.generation.edits import Edit
from portrait.generation.options import Technique
from portrait.generation.parameters import Drawing
from portrait.images import edit_canvas
from portrait.images.edit_canvas import EditCanvas
from portrait.ports import Control, Identifier, Progress
from portrait.types import Candidate, Identity, PortraitRequest

ASPECT = (7, 9)
"""Width to height where nobody asked: 896×1152, the nearest to 4:5 of the sizes that SDXL was trained at."""
LONGEST = 1.34
"""Longest side that is drawn, over the base's own: SDXL knows up to 1344 pixels; beyond, bodies double."""
PACKAGES = ("torch", "diffusers", "transformers", "peft")


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """One request with all choices made, and all of it found to be possible."""

    person: Identity
    base: Source
    identifiers: Sequence[tuple[str, Identifier]]
    drawing: Drawing
    scheduler: str
    looks: Sequence[tuple[str, Path, float]]
    """LoRAs beside the person's, by name, with strengths: a style's own, and the one that lets few steps suffice."""
    size: Size
    """Of the portrait; it may be drawn smaller or larger."""
    sheet: EditCanvas | None = None
    """The picture that it begins from, laid out."""
    plain: str = ""
    """The prompt without words that were learned, for a refiner."""

    @property
    def refined(self) -> bool:
        """Whether a refiner draws the end; what begins from a picture goes without."""
        return self.drawing.technique.refiner > 0 and self.drawing.task == "text"

    def finished(self, drawn: Image) -> Image:
        """The portrait, of what was drawn."""
        return controlnet.covering(drawn, self.size) if self.sheet is None else self.sheet.put(drawn)


class Diffusion:
    """Draws people with a base that stays loaded."""

    def __init__(
        self,
        bases: Callable[[str], Source],
        identifier: Callable[[str], Identifier],
        control: Callable[[str], Control],
        models: Models,
        knobs: Draw,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bases, self._identifier, self._control = bases, identifier, control
        self._models, self._knobs = models, knobs
        self._loaded: LoadedBase | None = None
        self._now, self._used = now, 0.0
        self._refiner: refiner.Refiner | None = None
        self._prints = checksums.Prints()

    def paint(self, request: PortraitRequest, progress: Progress) -> list[Candidate]:
        """Exactly `request.count` candidates, one seed each; see `portrait.ports.Painter`."""
        plan = self.plan(request)
        candidates: list[Candidate] = []
        peek = Peek(plan.base.family.colours)
        for number in range(request.count):
            each = replace(plan, drawing=replace(plan.drawing, seed=plan.drawing.seed + number))
            pixels, facts = self.draw(each, _telling(progress, each, number, request.count, peek), peek)
            image = np.asarray((pixels * 255).round(), np.uint8)
            variation = {"seed": float(each.drawing.seed)}
            drawn_from = {1: plan.person.references[0].name} if plan.person.references else {}
            candidates.append(Candidate(plan.finished(image), drawn_from, variation, facts=facts))
            peek.image = candidates[-1].image
        return candidates

    def plan(self, request: PortraitRequest) -> Plan:
        """Make the choices and check them, before a weight is read; see `portrait.ports.Identifier.check`."""
        scene, person = request.style.scene, request.people[1]
        if scene is None:
            raise OperatorError("no_scene", f"The style {request.style.id} does not say what is to be drawn.")
        technique = request.technique or Technique(preset=self._knobs.preset)
        base = self._bases(technique.base or person.base or self._knobs.base)
        if scene.families and base.family.name not in scene.families:
            raise UserError(
                "wrong_family", f"This style is for {', '.join(scene.families)}; {base.name} is {base.family.name}."
            )
        technique = replace(technique, strengths={**scene.strengths, **technique.strengths})
        chosen = self._chosen(technique, person)
        identifiers = [(name, self._identifier(name)) for name in chosen]
        words = person.class_word or "person"
        for _, each in identifiers:
            words = each.words(person, words)
            each.check(person, base)
        controlnet.check(technique.hints, base.family.name, self._models)
        refiner.check(technique, base.family.name)
        if technique.refiner:
            self._models.folder(refiner.MODEL)
        spent = schedulers.spending(technique)
        sheet = None if request.edit is None else edit_canvas.lay_out(request.edit, base.side)
        size = sheet.window if sheet is not None else request.size or _usual(base)
        drawing = Drawing(
            prompt=prompts.filled(scene.prompt, words, technique.traits),
            negative=scene.negative,
            size=(wide := _drawn(size, base)),
            seed=request.seed,
            steps=spent.steps,
            guidance=spent.guidance,
            technique=replace(
                technique,
                base=base.name,
                identities=chosen,
                hints=controlnet.drawn(technique.hints, wide, self._control),
            ),
        )
        if request.edit is not None and sheet is not None:
            drawing = _begun(drawing, request.edit, sheet)
        looks = [(model, _weights(self._models.folder(model)), strength) for model, strength in scene.loras]
        if spent.quick:
            model = f"lcm_{base.family.name}"
            looks.append((model, _weights(self._models.folder(model)), 1.0))
        plain = prompts.filled(scene.prompt, person.class_word or "person", technique.traits)
        plan = Plan(person, base, identifiers, drawing, spent.scheduler, looks, size, sheet, plain)
        img2img.check(base, drawing, _controlled(plan))
        return plan

    def draw(
        self, plan: Plan, tell: Callable[[int], None], peek: Callable[[Any], None] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, object]]:
        """One drawing H×W×3, 0..1, and what it took; steps down once where memory runs out.

        `peek` is shown the latents after each step.
        Raises `EngineError` (`out_of_memory`), `UserError` (`bad_technique`).
        """
        img2img.check(plan.base, plan.drawing, _controlled(plan))
        try:
            return self._draw(plan, tell, peek)
        except (RuntimeError, MemoryError) as error:
            if not device.short_of_memory(error):
                raise
            why = str(error).split("\n", 1)[0]
        less = memory.smaller(self._loaded.profile) if self._loaded is not None else None
        if less is None:
            raise _too_small(why)
        self._load(plan.base, less)
        try:
            return self._draw(plan, tell, peek)
        except (RuntimeError, MemoryError) as error:
            if not device.short_of_memory(error):
                raise
            raise _too_small(str(error).split("\n", 1)[0]) from error

    def same(self, request: PortraitRequest, drawn: Mapping[str, Any]) -> None:
        """See `portrait.ports.Recalling`."""
        self.alike(self.plan(request), drawn)

    def alike(self, plan: Plan, drawn: Mapping[str, Any]) -> None:
        """Raise `OperatorError` (`model_differs`) unless a plan takes the files that a recipe's facts name."""
        self._prints.compare(self._files(plan), drawn)

    def rest(self) -> None:
        """Let the base go, with all that was loaded for it, when nothing was drawn for `draw.idle_minutes`."""
        idle = self._knobs.idle_minutes * 60
        if idle and self._loaded is not None and self._now() - self._used >= idle:
            self.close()

    def close(self) -> None:
        """Let the base go."""
        if self._loaded is not None:
            self._loaded.close()
            self._loaded = None
        self._refiner = None

    def _draw(
        self, plan: Plan, tell: Callable[[int], None], peek: Callable[[Any], None] | None
    ) -> tuple[NDArray[np.float32], dict[str, object]]:
        lent = self._base(plan.base)
        self._used = self._now()
        with lent.lease() as lease:
            for name, file, strength in plan.looks:
                lease.add_lora(f"look_{name}", str(file), strength)
            told = self._told(lease, plan)
            if plan.refined:
                drawing = replace(plan.drawing, until=1 - plan.drawing.technique.refiner)
                pixels = refiner.drawn(lease, self._second(lease), plan.plain, drawing, (told, tell))
            else:
                pixels = pipeline_call.draw(lease, plan.drawing, told, tell, peek)
            self._used = self._now()
            return pixels, self._facts(plan, told, lease)

    def _told(self, lease: Lease, plan: Plan) -> list[Conditions]:
        drawing = plan.drawing
        told = [each.prepare(lease, plan.person, drawing) for _, each in plan.identifiers]
        return [*told, controlnet.guides(lease, drawing.technique.hints, drawing.size, self._models, self._control)]

    def _chosen(self, technique: Technique, person: Identity) -> tuple[str, ...]:
        """Names of identities; what was learned comes first, so that others see its words."""
        named = technique.identities or self._knobs.identities
        if not named:
            named = ("lora",)
        return tuple(sorted(dict.fromkeys(named), key=lambda name: name != "lora"))

    def _second(self, lease: Lease) -> refiner.Refiner:
        if self._refiner is None:
            self._refiner = refiner.Refiner(self._models.folder(refiner.MODEL), lease.dtype)
        return self._refiner

    def _base(self, base: Source) -> LoadedBase:
        if self._loaded is None or self._loaded.source.path != base.path:
            self._load(base, None if self._knobs.memory == "auto" else self._knobs.memory)
        if self._loaded is None:
            raise EngineError("broken_model", f"The base model {base.name} was not loaded.")
        return self._loaded

    def _load(self, base: Source, profile: Profile | None) -> None:
        """Only one base at a time: two of SDXL would not fit most GPUs."""
        self.close()
        where = device.choose(self._knobs.device)
        dtype = device.precision(self._knobs.precision, where)
        profile = profile or memory.choose(base, dtype, where)
        self._loaded = LoadedBase(base, dtype, where, profile, self._knobs.compile)

    def _facts(self, plan: Plan, told: Sequence[Conditions], lease: Lease) -> dict[str, object]:
        """For the recipe."""
        facts: dict[str, object] = {
            "base": plan.base.name,
            "prompt": plan.drawing.prompt,
            "negative": plan.drawing.negative,
            "size": [plan.drawing.size.width, plan.drawing.size.height],
            "steps": plan.drawing.steps,
            "guidance": plan.drawing.guidance,
            "scheduler": plan.scheduler or "own",
            "looks": {name: strength for name, _, strength in plan.looks},
            "precision": str(lease.dtype).removeprefix("torch."),
            "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        }
        if plan.refined:
            facts["refiner"] = plan.drawing.technique.refiner
        for each in told:
            facts |= each.facts
        return facts | self._prints.all(self._files(plan))

    def _files(self, plan: Plan) -> dict[str, Path]:
        """Of every model that takes part, by name; see `prints`."""
        files, family = {checksums.BASE: plan.base.weights}, plan.base.family.name
        files |= {f"{checksums.BESIDE}{name}": file for name, file in plan.base.companions().items()}
        for name, _ in plan.identifiers:
            for model in model_requirements.MODELS.get(name, {}).get(family, ()):
                files |= checksums.named(model, self._models.folder(model))
        if plan.person.lora is not None and any(name == "lora" for name, _ in plan.identifiers):
            files[checksums.LORA] = plan.person.lora
        if plan.person.tokens is not None and any(name == "lora" for name, _ in plan.identifiers):
            files[f"learned/{plan.person.tokens.name}"] = plan.person.tokens
        files |= {f"{model}/{file.name}": file for model, file, _ in plan.looks}
        if plan.refined:
            files |= checksums.named(refiner.MODEL, self._models.folder(refiner.MODEL))
        return files | controlnet.files(plan.drawing.technique.hints, family, self._models)


def _telling(progress: Progress, plan: Plan, number: int, count: int, peek: Peek) -> Callable[[int], None]:
    steps = plan.drawing.done
    return lambda done: progress(number * steps + done, count * steps, "Drawing", peek.image)


def _weights(folder: Path) -> Path:
    """The file of a LoRA in the model store."""
    found = sorted(folder.glob("*.safetensors"))
    if not found:
        raise OperatorError(
            "missing_model", f"The model {folder.name} holds no LoRA: `portrait models check` says more."
        )
    return found[0]


def _controlled(plan: Plan) -> bool:
    """Whether control networks take part."""
    return bool(plan.drawing.technique.hints) or any(name == "instantid" for name, _ in plan.identifiers)


def _begun(drawing: Drawing, edit: Edit, sheet: EditCanvas) -> Drawing:
    """A drawing that begins from a picture, whose face stays where it is."""
    technique, size = drawing.technique, drawing.size
    if edit.face is not None:
        technique = replace(technique, landmarks=sheet.points(edit.face, size))
    start, mask = sheet.start(size), sheet.mask(size)
    prompt = f"{drawing.prompt}, {edit.words}" if edit.words else drawing.prompt
    return replace(drawing, prompt=prompt, technique=technique, start=start, mask=mask, strength=edit.strength)


def _usual(base: Source) -> Size:
    """7:9 with the area of the base's own square."""
    width, height = (round(base.side * share / 8 / base.step) * base.step for share in ASPECT)
    return Size(max(width, base.step), max(height, base.step))


def _drawn(size: Size, base: Source) -> Size:
    """What is drawn for a portrait of a size: the same shape, about as many pixels as the base was taught with."""
    scale = (base.side**2 / (size.width * size.height)) ** 0.5
    longest = base.side * LONGEST
    sides = [
        max(base.step, min(int(longest), round(side * scale / base.step) * base.step))
        for side in (size.width, size.height)
    ]
    return Size(*(side // base.step * base.step for side in sides))


def _too_small(why: str) -> EngineError:
    return EngineError(
        "out_of_memory",
        f"There is not enough memory to draw on this base ({why}). Choose a smaller base, or close other programs.",
    )


def make(settings: Settings, models: Models, engines: Engines) -> Diffusion:
    """Nothing is loaded until something is drawn; raises `OperatorError` (`missing_model`) where there is no base at all."""
    if status(settings, models):
        models.folder(settings.draw.base if settings.draw.base in _stored() else "sdxl")
    return Diffusion(
        lambda name: find(name, settings, models), engines.identifier, engines.control, models, settings.draw
    )


def status(settings: Settings, models: Models) -> list[str]:
    """A base of any family is enough."""
    if settings.bases:
        return []
    missing: list[Any] = [models.missing(name) for name in _stored()]
    return list(min(missing, key=len))


def _stored() -> Mapping[str, None]:
    """Names of the bases that the store knows."""
    return dict.fromkeys(family.name for family in families())
