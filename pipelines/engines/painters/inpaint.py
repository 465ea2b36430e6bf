"""Inpaint: draws people into templates by fusion, a face pass, a boundary pass (border, eyes, mouth) and seam passes.

The boundary pass is called `ring` in styles and recipes. Every pass generates a window at the base's own size, starts from the
result of the one before it, and is blended back through its mask alone: outside of the masks the template stays as it was, to
the bit. Each face is generated with its own person's adapters and nobody else's.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any, cast

import numpy as np

from pipelines.diffusion.base import prompts
from pipelines.diffusion.sampling import controlnet, generation_options
from pipelines.engines import Engines
from pipelines.engines import status as status_of
from pipelines.engines.painters import diffusion, numbers_drawn
from pipelines.engines.painters.diffusion import Diffusion, GenerationPlan
from pipelines.engines.painters.fusion import Fusion, crop_to_size
from pipelines.model_store.store import ModelStore
from pipelines.settings import DrawSettings, Settings
from portrait.arrays import Image, Mask
from portrait.errors import OperatorError, UserError
from portrait.faces.geometry import image_size, transform_face, transform_points
from portrait.fusion.inpainting import (
    PassAreas,
    Window,
    are_adjacent,
    blend_back,
    merge_masks,
    pass_areas,
    window_around_faces,
)
from portrait.generation.options import ControlInput, GenerationOptions, PromptSpec
from portrait.generation.parameters import GenerationParameters, no_step, steps_of
from portrait.generation.passes import DEFAULT_PROMPT, STEPS, Passes, control_scales, with_strengths
from portrait.images.color import Floats, blend, match_tone
from portrait.ports import ControlPreprocessor, Parser, Progress
from portrait.types import Candidate, Identity, PortraitRequest, StylePicture

SEAM_SUBJECT = "people"
"""Who a seam pass draws: nobody in particular."""
FACE_PASSES = {"face": "Drawing face {}", "ring": "Drawing the border, eyes and mouth of face {}"}
"""Passes of a face in their order, with what progress says of them."""
PASS_ORDER = ("face", "ring", "seam")
"""Their index is part of the seed: it must not change."""
BLANK = np.zeros((1, 1, 3), np.uint8)

StepCallback = Callable[[int], None]
RecipeFacts = dict[str, object]


@dataclass(frozen=True, slots=True, eq=False)
class FacePlan:
    """One face of a template, the person drawn there, and everything decided about its passes."""

    number: int
    """Of the face in the template, from 1."""
    plan: GenerationPlan
    """With this person alone."""
    window: Window
    areas: PassAreas
    controls: Mapping[str, Mapping[str, float]]
    """Scales of control inputs, by pass and control."""


@dataclass(frozen=True, slots=True, eq=False)
class SeamPlan:
    """Where two people meet: the borders of two faces, generated together without identity adapters."""

    number: int
    """Of the left face."""
    plan: GenerationPlan
    window: Window
    mask: Mask
    """0..1, as large as the window: both borders."""
    controls: Mapping[str, float]
    """Scales of control inputs, by control."""


@dataclass(frozen=True, slots=True, eq=False)
class InpaintPlan:
    """A request with all choices made, and checked to be possible."""

    request: PortraitRequest
    picture: StylePicture
    passes: Passes
    faces: Sequence[FacePlan]
    """From left to right."""
    seams: Sequence[SeamPlan]

    @property
    def steps(self) -> int:
        """Sampling steps of one candidate."""
        return sum(steps_of(parameters.steps, parameters.strength) for _, parameters in self.drawn_passes)

    @property
    def drawn_passes(self) -> list[tuple[str, GenerationParameters]]:
        """Name and parameters of every pass of a candidate, without its start picture."""
        named = [(name, face.plan) for face in self.faces for name in self.active_passes]
        named += [("seam", seam.plan) for seam in self.seams]
        return [(name, _pass_parameters(plan, name, self.passes)) for name, plan in named]

    @property
    def active_passes(self) -> list[str]:
        """The passes of a face whose strength is above 0."""
        return [name for name in FACE_PASSES if getattr(self.passes, name) > 0]


class PassControls:
    """Control inputs of passes, made from the picture that a pass starts from, where their networks are installed."""

    def __init__(self, settings: Settings, models: ModelStore, control: Callable[[str], ControlPreprocessor]) -> None:
        self._settings, self._models, self._control = settings, models, control

    def scales_of(self, passes: Passes, name: str, family: str) -> dict[str, float]:
        """Scales of a pass's controls: those that the style needs, and of the others those whose models are installed.

        Raises `OperatorError` (`missing_model`).
        """
        if getattr(passes, name) == 0:
            return {}
        scales = control_scales(passes, name, family)
        needed = [ControlInput(kind, BLANK, scale) for kind, scale in scales.items() if kind in passes.needs]
        controlnet.check_controls(needed, family, self._models)
        return {kind: scale for kind, scale in scales.items() if kind in passes.needs or self._is_ready(kind, family)}

    def draw_inputs(self, scales: Mapping[str, float], start: Image) -> tuple[ControlInput, ...]:
        """The control images of a start picture; `pose` is left out where no body is found."""
        inputs = []
        for kind, scale in scales.items():
            try:
                inputs.append(ControlInput(kind, self._control(kind).process(start), scale, preprocessed=True))
            except UserError as error:
                if error.code != "no_pose":
                    raise
        return tuple(inputs)

    def _is_ready(self, kind: str, family: str) -> bool:
        return controlnet.has_network(kind, family, self._models) and not status_of(
            "controls", kind, self._settings, self._models
        )


class Inpaint:
    """Draws people into templates, each with their own identity adapters."""

    def __init__(
        self, fusion: Fusion, painter: Diffusion, parser: Parser, controls: PassControls, settings: DrawSettings
    ) -> None:
        self._fusion, self._painter, self._parser = fusion, painter, parser
        self._controls, self._settings = controls, settings

    def paint(self, request: PortraitRequest, progress: Progress) -> list[Candidate]:
        """Exactly `request.count` candidates, one seed each; see `portrait.ports.Painter`."""
        return list(self.draw_each(request, progress))

    def draw_each(self, request: PortraitRequest, progress: Progress) -> Iterator[Candidate]:
        """The candidates of `paint` one by one; see `portrait.ports.StreamingPainter`. No lease is held between two."""
        self._fusion.check(request)
        request, skin_facts = self._fusion.lead_over(request)
        plan = self.plan(request)
        numbers = numbers_drawn(request, request.count)
        total = max(1, len(numbers) * plan.steps)
        steps = _StepCounter(progress, total)
        drawn = self._fusion.draw_led(replace(request, size=None), steps.before_first_step, request.count)
        for number, fused in zip(numbers, list(drawn), strict=False):  # fewer where the people give fewer
            image, face_facts, seam_facts = fused.image, {}, []
            for face_plan in plan.faces:
                image, face_facts[str(face_plan.number)] = self._draw_face(image, plan, face_plan, number, steps)
            for seam in plan.seams:
                image, of_seam = self._draw_seam(image, plan, seam, number, steps)
                seam_facts.append(of_seam)
            boxes = [plan.picture.faces[face_plan.number - 1].box for face_plan in plan.faces]
            variation = {**fused.variation, "seed": float(request.seed + number)}
            facts: RecipeFacts = {
                "passes": asdict(plan.passes),
                "faces": face_facts,
                **({"seams": seam_facts} if seam_facts else {}),
                **skin_facts,
            }
            yield Candidate(crop_to_size(image, request.size, boxes), fused.reference_names, variation, facts=facts)
        progress(total, total, "Drawn")

    def check_models(self, request: PortraitRequest, facts: Mapping[str, Any]) -> None:
        """See `portrait.ports.ReproduciblePainter`; every pass must use the controls that the recipe records."""
        plan = self.plan(request)
        for face_plan in plan.faces:
            recorded = facts.get("faces", {}).get(str(face_plan.number), {})
            for name, pass_facts in recorded.items():
                controls = face_plan.controls[name]
                if pass_facts.get("follows", controls) != controls:
                    raise _controls_differ(pass_facts["follows"], controls)
                inputs = tuple(ControlInput(kind, BLANK, scale) for kind, scale in controls.items())
                options = replace(face_plan.plan.parameters.options, control_inputs=inputs)
                parameters = replace(face_plan.plan.parameters, options=options)
                self._painter.check_plan_models(replace(face_plan.plan, parameters=parameters), pass_facts)

    def plan(self, request: PortraitRequest) -> InpaintPlan:
        """Make all choices and check them before weights are read; raises what painters and identity adapters raise."""
        picture = self._fusion.check(request)
        options = request.options or GenerationOptions(preset=self._settings.preset)
        generation_options.check_template(options)
        spec = request.style.prompt_spec or DEFAULT_PROMPT
        passes = with_strengths(request.style.passes or Passes(), {**spec.strengths, **options.strengths})
        faces = [self._plan_face(request, number, passes, options) for number in sorted(request.people)]
        pairs = pairwise(faces) if passes.seam > 0 else ()
        boxes = [face.box for face in picture.faces]
        seams = [
            self._plan_seam((one, other), picture, spec, passes)
            for one, other in pairs
            if are_adjacent(boxes[one.number - 1], boxes[other.number - 1])
        ]
        plan = InpaintPlan(request, picture, passes, faces, seams)
        if request.drawn is None:  # a recipe is drawn again as it was
            _check_steps(plan)
        return plan

    def _plan_face(self, request: PortraitRequest, number: int, passes: Passes, options: GenerationOptions) -> FacePlan:
        """The plan of one face, with its person alone."""
        person, picture = request.people[number], self._fusion.check(request)
        face = picture.faces[number - 1]
        style = replace(request.style, prompt_spec=request.style.prompt_spec or DEFAULT_PROMPT)
        own_options = replace(options, identities=self._identities(options, person))
        plan = self._painter.plan(replace(request, people={1: person}, style=style, size=None, options=own_options))
        window = window_around_faces(
            [face.box], image_size(picture.image), plan.base.start_side, plan.base.size_multiple
        )
        inside = transform_face(face, window.picture_to_window())
        part = np.ascontiguousarray(picture.image[window.slices])
        areas = pass_areas(self._parser.parse(part, inside), inside, passes.fusion)
        landmarks = transform_points(face.landmarks[:, :2], window.picture_to_drawing())
        parameters = replace(
            plan.parameters, size=window.size, options=replace(plan.parameters.options, landmarks=landmarks)
        )
        family = plan.base.family.name
        controls = {name: self._controls.scales_of(passes, name, family) for name in FACE_PASSES}
        return FacePlan(number, replace(plan, parameters=parameters), window, areas, controls)

    def _plan_seam(
        self, pair: tuple[FacePlan, FacePlan], picture: StylePicture, spec: PromptSpec, passes: Passes
    ) -> SeamPlan:
        """The plan of a seam: the borders of two neighbours, in one window that holds both."""
        boxes, plan = [picture.faces[each.number - 1].box for each in pair], pair[0].plan
        window = window_around_faces(boxes, image_size(picture.image), plan.base.start_side, plan.base.size_multiple)
        mask = merge_masks(window, [(each.window, each.areas.border) for each in pair])
        options = replace(plan.parameters.options, landmarks=None)
        prompt = prompts.fill_template(generation_options.with_sentence(spec, plan.base).prompt, SEAM_SUBJECT)
        parameters = replace(plan.parameters, size=window.size, prompt=prompt, options=options)
        without_identity = replace(plan, identities=(), parameters=parameters)
        return SeamPlan(
            pair[0].number,
            without_identity,
            window,
            mask,
            self._controls.scales_of(passes, "seam", plan.base.family.name),
        )

    def _identities(self, options: GenerationOptions, person: Identity) -> tuple[str, ...]:
        """Names of identity adapters for a person; without `lora` for a person who has none, where others are named."""
        names = options.identities or self._settings.identities
        has_lora = person.lora is not None or person.tokens is not None
        return tuple(name for name in names if has_lora or name != "lora") or names

    def _draw_face(
        self, image: Image, plan: InpaintPlan, face_plan: FacePlan, candidate: int, steps: "_StepCounter"
    ) -> tuple[Image, RecipeFacts]:
        """The picture after all passes of one face, and their facts by pass."""
        passes, facts = plan.passes, {}
        slices, areas = face_plan.window.slices, face_plan.areas
        template = plan.picture.image[slices]
        for name in plan.active_passes:
            mask = areas.face if name == "face" else areas.boundary
            if not mask.any():
                continue
            parameters = _pass_parameters(
                face_plan.plan, name, passes, (plan.request.seed + candidate, face_plan.number)
            )
            generation, controls = replace(face_plan.plan, parameters=parameters), face_plan.controls[name]
            on_step = steps.step_reporter(FACE_PASSES[name].format(face_plan.number), image)
            before = image[slices]
            generated, round_trip, pass_facts = self._draw_window(
                before, generation, face_plan.window, mask, controls, on_step
            )
            facts[name] = {**pass_facts, "strength": parameters.strength, "follows": dict(controls)}
            steps.add(steps_of(parameters.steps, parameters.strength))
            skin, generated = areas.skin * mask, np.clip(generated + 0.5, 0, 255).astype(np.uint8)
            generated = match_tone(generated, skin, template, skin, passes.tone, areas.toned)
            part = blend_back(before, generated.astype(np.float32), round_trip, mask)
            image = _replace_window(image, face_plan.window, part)
            if name == "face" and passes.fusion > 0:
                fused = self._fusion.paint_face(image, plan.request, face_plan.number, candidate)
                image = _replace_window(image, face_plan.window, blend(image[slices], fused[slices], areas.fused))
        return image, facts

    def _draw_seam(
        self, image: Image, plan: InpaintPlan, seam: SeamPlan, candidate: int, steps: "_StepCounter"
    ) -> tuple[Image, RecipeFacts]:
        """The picture after a seam pass, of which only the change is taken, and its facts."""
        parameters = _pass_parameters(seam.plan, "seam", plan.passes, (plan.request.seed + candidate, seam.number))
        before, generation = image[seam.window.slices], replace(seam.plan, parameters=parameters)
        on_step = steps.step_reporter("Drawing where two people meet", image)
        generated, round_trip, facts = self._draw_window(
            before, generation, seam.window, seam.mask, seam.controls, on_step
        )
        steps.add(steps_of(parameters.steps, parameters.strength))
        # Two people are generated smaller than one: what stays the same is finer in the picture than in the generated window.
        part = blend_back(before, before + generated - round_trip, before.astype(np.float32), seam.mask)
        return _replace_window(image, seam.window, part), {
            **facts,
            "strength": parameters.strength,
            "follows": dict(seam.controls),
        }

    def _draw_window(
        self,
        before: Image,
        plan: GenerationPlan,
        window: Window,
        mask: Mask,
        controls: Mapping[str, float],
        on_step: StepCallback,
    ) -> tuple[Floats, Floats, RecipeFacts]:
        """The window generated, the window after a VAE round trip, both H×W×3 0..255, and the facts of the generation."""
        start = window.resize_for_drawing(before)
        options = replace(plan.parameters.options, control_inputs=self._controls.draw_inputs(controls, start))
        parameters = replace(plan.parameters, start=start, mask=window.drawing_mask(mask), options=options)
        pixels, facts = self._painter.draw(replace(plan, parameters=parameters), on_step)
        unchanged = replace(parameters, mask=None, strength=0.0, options=replace(options, control_inputs=()))
        round_trip, _ = self._painter.draw(replace(plan, identities=(), loras=(), parameters=unchanged), on_step)
        return window.resize_for_picture(pixels), window.resize_for_picture(round_trip), facts


class _StepCounter:
    """Progress over the sampling steps of all passes."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def before_first_step(self, done: int, total: int, doing: str, preview: Image | None = None) -> None:
        """A `Progress` for the work before the first step."""
        self._progress(0, self._total, doing, preview)

    def step_reporter(self, doing: str, preview: Image) -> StepCallback:
        """A callback for the steps of the next pass."""
        return lambda done: self._progress(self._done + done, self._total, doing, preview)

    def add(self, steps: int) -> None:
        """Count the steps of a finished pass."""
        self._done += steps


def _pass_parameters(
    plan: GenerationPlan, name: str, passes: Passes, seeds: tuple[int, int] = (0, 0)
) -> GenerationParameters:
    """The parameters of a pass without its start picture; `seeds` are the candidate's seed and the number of the face.

    Each pass has its own noise: the same noise twice in one place burns in.
    """
    options = plan.parameters.options
    of_preset = {} if plan.parameters.facts.steps else STEPS.get(options.preset, {})
    steps = options.steps or of_preset.get(name, plan.parameters.steps)
    seed = np.random.SeedSequence([*seeds, PASS_ORDER.index(name)]).generate_state(1)[0]
    return replace(plan.parameters, steps=steps, strength=getattr(passes, name), seed=int(seed))


def _check_steps(plan: InpaintPlan) -> None:
    """Raise `UserError` (`bad_technique`) for a pass that would do no step."""
    for name, parameters in plan.drawn_passes:
        if not steps_of(parameters.steps, parameters.strength):
            raise UserError("bad_technique", f"The pass {name}: {no_step(parameters.steps, parameters.strength)}")


def _controls_differ(before: Mapping[str, float], current: Mapping[str, float]) -> OperatorError:
    then, here = (", ".join(sorted(each)) or "nothing" for each in (before, current))
    return OperatorError(
        "model_differs",
        f"This portrait was drawn following {then}; here {here} would be followed. Pull the control networks it had, "
        "or take away those it had not.",
    )


def _replace_window(image: Image, window: Window, part: Image) -> Image:
    """The picture with the pixels of a window replaced."""
    out = image.copy()
    out[window.slices] = part
    return out


def make(settings: Settings, models: ModelStore, engines: Engines) -> Inpaint:
    """The painter; nothing is loaded until it draws."""
    fusion, painter = cast(Fusion, engines.painter("fusion")), cast(Diffusion, engines.painter("diffusion"))
    return Inpaint(fusion, painter, engines.parser(), PassControls(settings, models, engines.control), settings.draw)


def status(settings: Settings, models: ModelStore) -> list[str]:
    """What is missing of any base; which control networks are missing depends on the base."""
    return diffusion.status(settings, models)
