"""Draws people into templates with a diffusion base: fusion, then the whole face, then its border, eyes and mouth.

Every pass draws at the base's own size, whatever the template's, begins from what the one before it left, and comes back
through its mask alone: outside of the masks the template stays as it was, to the bit. Each person is drawn by their own
means; nobody's LoRA or photos are near when somebody else is drawn.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any, cast

import numpy as np

from pipelines.diffusion.base import prompts
from pipelines.diffusion.sampling import controlnet
from pipelines.engines import Engines
from pipelines.engines import status as status_of
from pipelines.engines.painters import diffusion
from pipelines.engines.painters.diffusion import Diffusion, GenerationPlan
from pipelines.engines.painters.fusion import Fusion, crop_to_size
from pipelines.model_store.store import ModelStore
from pipelines.settings import DrawSettings, Settings
from portrait.arrays import Image, Mask
from portrait.errors import OperatorError, UserError
from portrait.faces.geometry import move, move_face, size_of
from portrait.fusion.inpainting import (
    PassAreas,
    Window,
    are_adjacent,
    blend_back,
    merge_masks,
    pass_areas,
    window_around_faces,
)
from portrait.generation.options import ControlInput, GenerationOptions
from portrait.generation.parameters import GenerationParameters
from portrait.generation.passes import DEFAULT_PROMPT, STEPS, Passes, control_scales, with_strengths
from portrait.images.color import Floats, blend, match_tone
from portrait.ports import ControlPreprocessor, Parser, Progress
from portrait.types import Candidate, Identity, PortraitRequest, StylePicture

TOGETHER = "people"
"""Who is drawn where two people meet: neither of them."""
FACE_PASSES = {"face": "Drawing face {}", "ring": "Drawing the border, eyes and mouth of face {}"}

PASS_ORDER = ("face", "ring", "seam")
BLANK = np.zeros((1, 1, 3), np.uint8)

StepCallback = Callable[[int], None]
RecipeFacts = dict[str, object]


@dataclass(frozen=True, slots=True, eq=False)
class FacePlan:
    """One face of a template, who is to be seen there, and all that was decided about it."""

    number: int
    plan: GenerationPlan
    window: Window
    areas: PassAreas
    controls: Mapping[str, Mapping[str, float]]
    """Controls with their scales, by pass."""


@dataclass(frozen=True, slots=True, eq=False)
class SeamPlan:
    """Where two people meet; drawn as nobody."""

    number: int
    """Of the face on the left."""
    plan: GenerationPlan
    window: Window
    share: Mask
    controls: Mapping[str, float]


@dataclass(frozen=True, slots=True, eq=False)
class InpaintPlan:
    """A request with all choices made, and all of it found to be possible."""

    request: PortraitRequest
    picture: StylePicture
    passes: Passes
    faces: Sequence[FacePlan]
    """From left to right."""
    seams: Sequence[SeamPlan]

    @property
    def steps(self) -> int:
        """Of one candidate."""
        drawn = [
            _pass_parameters(sitting.plan, name, self.passes) for sitting in self.faces for name in self.active_passes
        ]
        return sum(
            _step_count(each)
            for each in (*drawn, *(_pass_parameters(seam.plan, "seam", self.passes) for seam in self.seams))
        )

    @property
    def active_passes(self) -> list[str]:
        """The passes that a face is drawn by."""
        return [name for name in FACE_PASSES if getattr(self.passes, name) > 0]


class PassControls:
    """What passes follow: controls whose networks are here, drawn of the picture that a pass begins from."""

    def __init__(self, settings: Settings, models: ModelStore, control: Callable[[str], ControlPreprocessor]) -> None:
        self._settings, self._models, self._control = settings, models, control

    def scales_of(self, passes: Passes, name: str, family: str) -> dict[str, float]:
        """Controls of a pass with their scales: those it needs, and of the others those that can be followed here.

        Raises `OperatorError` (`missing_model`).
        """
        if getattr(passes, name) == 0:
            return {}
        wanted = control_scales(passes, name, family)
        needed = [ControlInput(kind, BLANK, scale) for kind, scale in wanted.items() if kind in passes.needs]
        controlnet.check_controls(needed, family, self._models)
        return {kind: scale for kind, scale in wanted.items() if kind in passes.needs or self._is_ready(kind, family)}

    def draw_inputs(self, follows: Mapping[str, float], start: Image) -> tuple[ControlInput, ...]:
        """Each control's picture; a crop in which no body is seen has no pose to follow."""
        found = []
        for kind, scale in follows.items():
            try:
                found.append(ControlInput(kind, self._control(kind).process(start), scale, drawn=True))
            except UserError as error:
                if error.code != "no_pose":
                    raise
        return tuple(found)

    def _is_ready(self, kind: str, family: str) -> bool:
        return controlnet.has_network(kind, family, self._models) and not status_of(
            "controls", kind, self._settings, self._models
        )


class Inpaint:
    """Draws people into templates, each by what is known of them."""

    def __init__(
        self, fusion: Fusion, painter: Diffusion, parser: Parser, guides: PassControls, knobs: DrawSettings
    ) -> None:
        self._fusion, self._painter, self._parser = fusion, painter, parser
        self._controls, self._settings = guides, knobs

    def paint(self, request: PortraitRequest, progress: Progress) -> list[Candidate]:
        """Exactly `request.count` candidates, one seed each; see `portrait.ports.Painter`."""
        order = self.plan(request)
        total = max(1, request.count * order.steps)
        meter = _StepCounter(progress, total)
        begun = self._fusion.paint_first(replace(request, size=None), meter.before_first_step, request.count)
        candidates = []
        for at, fused in enumerate(begun):
            image, told, joined = fused.image, {}, []
            for sitting in order.faces:
                image, told[str(sitting.number)] = self._draw_face(image, order, sitting, at, meter)
            for seam in order.seams:
                image, facts = self._draw_seam(image, order, seam, at, meter)
                joined.append(facts)
            boxes = [order.picture.faces[sitting.number - 1].box for sitting in order.faces]
            variation = {**fused.variation, "seed": float(request.seed + at)}
            drawn: RecipeFacts = {
                "passes": asdict(order.passes),
                "faces": told,
                **({"seams": joined} if joined else {}),
            }
            size = request.size
            candidates.append(
                Candidate(crop_to_size(image, size, boxes), fused.reference_names, variation, facts=drawn)
            )
        progress(total, total, "Drawn")
        return candidates

    def check_models(self, request: PortraitRequest, drawn: Mapping[str, Any]) -> None:
        """See `portrait.ports.Recalling`; every pass must follow the controls that it followed then."""
        order = self.plan(request)
        for sitting in order.faces:
            told = drawn.get("faces", {}).get(str(sitting.number), {})
            for name, facts in told.items():
                follows = sitting.controls[name]
                if facts.get("follows", follows) != follows:
                    raise _controls_differ(facts["follows"], follows)
                shown = tuple(ControlInput(kind, BLANK, scale) for kind, scale in follows.items())
                technique = replace(sitting.plan.parameters.options, hints=shown)
                drawing = replace(sitting.plan.parameters, options=technique)
                self._painter.check_plan_models(replace(sitting.plan, parameters=drawing), facts)

    def plan(self, request: PortraitRequest) -> InpaintPlan:
        """Make the choices and check them, before a weight is read; raises what a painter and an identity raise."""
        picture = self._fusion.check(request)
        technique = request.options or GenerationOptions(preset=self._settings.preset)
        if technique.control_inputs:
            raise UserError("bad_technique", "A template is its own hint. Leave hints out, or choose a style of words.")
        scene = request.style.prompt_spec or DEFAULT_PROMPT
        passes = with_strengths(request.style.passes or Passes(), {**scene.strengths, **technique.strengths})
        sittings = [self._plan_face(request, number, passes, technique) for number in sorted(request.people)]
        pairs = pairwise(sittings) if passes.seam > 0 else ()
        boxes = [face.box for face in picture.faces]
        seams = [
            self._plan_seam((one, other), picture, prompts.fill_template(scene.prompt, TOGETHER), passes)
            for one, other in pairs
            if are_adjacent(boxes[one.number - 1], boxes[other.number - 1])
        ]
        return InpaintPlan(request, picture, passes, sittings, seams)

    def _plan_face(
        self, request: PortraitRequest, number: int, passes: Passes, technique: GenerationOptions
    ) -> FacePlan:
        """What one face takes; the person alone is in its plan."""
        person, picture = request.people[number], self._fusion.check(request)
        face = picture.faces[number - 1]
        style = replace(request.style, prompt_spec=request.style.prompt_spec or DEFAULT_PROMPT)
        told = replace(technique, identities=self._identities(technique, person))
        plan = self._painter.plan(replace(request, people={1: person}, style=style, size=None, options=told))
        window = window_around_faces([face.box], size_of(picture.image), plan.base.native_side, plan.base.size_multiple)
        inside = move_face(face, window.picture_to_window())
        part = np.ascontiguousarray(picture.image[window.slices])
        found = pass_areas(self._parser.parse(part, inside), inside, passes.fusion)
        landmarks = move(face.landmarks[:, :2], window.picture_to_drawing())
        drawing = replace(
            plan.parameters, size=window.size, options=replace(plan.parameters.options, landmarks=landmarks)
        )
        family = plan.base.family.name
        follows = {name: self._controls.scales_of(passes, name, family) for name in FACE_PASSES}
        return FacePlan(number, replace(plan, parameters=drawing), window, found, follows)

    def _plan_seam(
        self, pair: tuple[FacePlan, FacePlan], picture: StylePicture, prompt: str, passes: Passes
    ) -> SeamPlan:
        """The borders of two neighbours, in one window that holds both."""
        boxes, plan = [picture.faces[each.number - 1].box for each in pair], pair[0].plan
        window = window_around_faces(boxes, size_of(picture.image), plan.base.native_side, plan.base.size_multiple)
        share = merge_masks(window, [(each.window, each.areas.border) for each in pair])
        technique = replace(plan.parameters.options, landmarks=None)
        drawing = replace(plan.parameters, size=window.size, prompt=prompt, options=technique)
        nobody = replace(plan, identities=(), parameters=drawing)
        return SeamPlan(
            pair[0].number, nobody, window, share, self._controls.scales_of(passes, "seam", plan.base.family.name)
        )

    def _identities(self, technique: GenerationOptions, person: Identity) -> tuple[str, ...]:
        """Where several ways are named, whoever was not learned is told by the others."""
        named = technique.identities or self._settings.identities
        learned = person.lora is not None or person.tokens is not None
        return tuple(name for name in named if learned or name != "lora") or named

    def _draw_face(
        self, image: Image, order: InpaintPlan, sitting: FacePlan, at: int, meter: "_StepCounter"
    ) -> tuple[Image, RecipeFacts]:
        """All passes of one face; the picture as it is then."""
        passes, facts = order.passes, {}
        places, found = sitting.window.slices, sitting.areas
        template = order.picture.image[places]
        for name in order.active_passes:
            share = getattr(found, name)
            if not share.any():
                continue
            drawing = _pass_parameters(sitting.plan, name, passes, (order.request.seed + at, sitting.number))
            plan, follows = replace(sitting.plan, parameters=drawing), sitting.controls[name]
            tell = meter.step_reporter(FACE_PASSES[name].format(sitting.number), image)
            before = image[places]
            drawn, kept, told = self._draw_window(before, plan, sitting.window, share, follows, tell)
            facts[name] = {**told, "strength": drawing.strength, "follows": dict(follows)}
            meter.add(_step_count(drawing))
            skin, drawn = found.skin * share, np.clip(drawn + 0.5, 0, 255).astype(np.uint8)
            drawn = match_tone(drawn, skin, template, skin, passes.tone, found.toned)
            part = blend_back(before, drawn.astype(np.float32), kept, share)
            image = _replace_window(image, sitting.window, part)
            if name == "face" and passes.fusion > 0:
                fused = self._fusion.paint_face(image, order.request, sitting.number, at)
                image = _replace_window(image, sitting.window, blend(image[places], fused[places], found.fused))
        return image, facts

    def _draw_seam(
        self, image: Image, order: InpaintPlan, seam: SeamPlan, at: int, meter: "_StepCounter"
    ) -> tuple[Image, RecipeFacts]:
        """The picture with the borders of two neighbours drawn together; only what changes is taken."""
        drawing = _pass_parameters(seam.plan, "seam", order.passes, (order.request.seed + at, seam.number))
        before, plan = image[seam.window.slices], replace(seam.plan, parameters=drawing)
        tell = meter.step_reporter("Drawing where two people meet", image)
        drawn, kept, facts = self._draw_window(before, plan, seam.window, seam.share, seam.controls, tell)
        meter.add(_step_count(drawing))
        # Two people are drawn smaller than one: what the network keeps is finer in the picture than in the drawing.
        part = blend_back(before, before + drawn - kept, before.astype(np.float32), seam.share)
        return _replace_window(image, seam.window, part), {
            **facts,
            "strength": drawing.strength,
            "follows": dict(seam.controls),
        }

    def _draw_window(
        self,
        before: Image,
        plan: GenerationPlan,
        window: Window,
        share: Mask,
        follows: Mapping[str, float],
        tell: StepCallback,
    ) -> tuple[Floats, Floats, RecipeFacts]:
        """The window drawn, the window as the network gives it back undrawn, both 0..255, and what it took."""
        start = window.resize_for_drawing(before)
        technique = replace(plan.parameters.options, hints=self._controls.draw_inputs(follows, start))
        drawing = replace(plan.parameters, start=start, mask=window.drawing_mask(share), options=technique)
        pixels, facts = self._painter.draw(replace(plan, parameters=drawing), tell)
        still = replace(drawing, mask=None, strength=0.0, options=replace(technique, hints=()))
        kept, _ = self._painter.draw(replace(plan, identities=(), loras=(), parameters=still), tell)
        return window.resize_for_picture(pixels), window.resize_for_picture(kept), facts


class _StepCounter:
    """Counts the steps of all drawings as one."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def before_first_step(self, done: int, total: int, doing: str, preview: Image | None = None) -> None:
        """Progress of what comes before the first step."""
        self._progress(0, self._total, doing, preview)

    def step_reporter(self, doing: str, shown: Image) -> StepCallback:
        """What the steps of the next drawing are told to."""
        return lambda done: self._progress(self._done + done, self._total, doing, shown)

    def add(self, steps: int) -> None:
        """A drawing of so many steps is done."""
        self._done += steps


def _pass_parameters(
    plan: GenerationPlan, name: str, passes: Passes, seeds: tuple[int, int] = (0, 0)
) -> GenerationParameters:
    """The drawing of a pass before its picture is known; `seeds` are the candidate's and the number of the face.

    Each drawing has noise of its own: the same noise twice in one place burns in.
    """
    technique = plan.parameters.options
    steps = technique.steps or STEPS.get(technique.preset, {}).get(name, plan.parameters.steps)
    seed = np.random.SeedSequence([*seeds, PASS_ORDER.index(name)]).generate_state(1)[0]
    return replace(plan.parameters, steps=steps, strength=getattr(passes, name), seed=int(seed))


def _step_count(drawing: GenerationParameters) -> int:
    """Steps that a drawing takes when it begins from a picture."""
    return int(drawing.steps * drawing.strength)


def _controls_differ(before: Mapping[str, float], now: Mapping[str, float]) -> OperatorError:
    then, here = (", ".join(sorted(each)) or "nothing" for each in (before, now))
    return OperatorError(
        "model_differs",
        f"This portrait was drawn following {then}; here {here} would be followed. Pull the control networks it had, "
        "or take away those it had not.",
    )


def _replace_window(image: Image, window: Window, part: Image) -> Image:
    """The picture with a window of it replaced."""
    out = image.copy()
    out[window.slices] = part
    return out


def make(settings: Settings, models: ModelStore, engines: Engines) -> Inpaint:
    """Nothing is loaded until something is drawn; raises `OperatorError` (`missing_model`) where there is no base at all."""
    fusion, painter = cast(Fusion, engines.painter("fusion")), cast(Diffusion, engines.painter("diffusion"))
    return Inpaint(fusion, painter, engines.parser(), PassControls(settings, models, engines.control), settings.draw)


def status(settings: Settings, models: ModelStore) -> list[str]:
    """A base of any family is enough to begin with; which controls are missing depends on it."""
    return diffusion.status(settings, models)
