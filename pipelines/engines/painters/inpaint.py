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
from pipelines.engines.painters.diffusion import Diffusion, Plan
from pipelines.engines.painters.fusion import Fusion, sized
from pipelines.model_store.store import Models
from pipelines.settings import Draw, Settings
from portrait.arrays import Image, Mask
from portrait.errors import OperatorError, UserError
from portrait.faces.geometry import move, move_face, size_of
from portrait.fusion.inpainting import Areas, Window, areas, around, laid, near, settled
from portrait.generation.options import Hint, Technique
from portrait.generation.parameters import Drawing
from portrait.generation.passes import STEPS, USUAL, Passes, followed, with_strengths
from portrait.images.color import Floats, blend, match_tone
from portrait.ports import Control, Parser, Progress
from portrait.types import Candidate, Identity, PortraitRequest, StylePicture

TOGETHER = "people"
"""Who is drawn where two people meet: neither of them."""
DOING = {"face": "Drawing face {}", "ring": "Drawing the border, eyes and mouth of face {}"}

ORDER = ("face", "ring", "seam")
BLANK = np.zeros((1, 1, 3), np.uint8)

Tell = Callable[[int], None]
Facts = dict[str, object]


@dataclass(frozen=True, slots=True, eq=False)
class Sitting:
    """One face of a template, who is to be seen there, and all that was decided about it."""

    number: int
    plan: Plan
    window: Window
    areas: Areas
    follows: Mapping[str, Mapping[str, float]]
    """Controls with their scales, by pass."""


@dataclass(frozen=True, slots=True, eq=False)
class Seam:
    """Where two people meet; drawn as nobody."""

    number: int
    """Of the face on the left."""
    plan: Plan
    window: Window
    share: Mask
    follows: Mapping[str, float]


@dataclass(frozen=True, slots=True, eq=False)
class Order:
    """A request with all choices made, and all of it found to be possible."""

    request: PortraitRequest
    picture: StylePicture
    passes: Passes
    sittings: Sequence[Sitting]
    """From left to right."""
    seams: Sequence[Seam]

    @property
    def steps(self) -> int:
        """Of one candidate."""
        drawn = [_begun(sitting.plan, name, self.passes) for sitting in self.sittings for name in self.drawn]
        return sum(_done(each) for each in (*drawn, *(_begun(seam.plan, "seam", self.passes) for seam in self.seams)))

    @property
    def drawn(self) -> list[str]:
        """The passes that a face is drawn by."""
        return [name for name in DOING if getattr(self.passes, name) > 0]


class Guides:
    """What passes follow: controls whose networks are here, drawn of the picture that a pass begins from."""

    def __init__(self, settings: Settings, models: Models, control: Callable[[str], Control]) -> None:
        self._settings, self._models, self._control = settings, models, control

    def followed(self, passes: Passes, name: str, family: str) -> dict[str, float]:
        """Controls of a pass with their scales: those it needs, and of the others those that can be followed here.

        Raises `OperatorError` (`missing_model`).
        """
        if getattr(passes, name) == 0:
            return {}
        wanted = followed(passes, name, family)
        needed = [Hint(kind, BLANK, scale) for kind, scale in wanted.items() if kind in passes.needs]
        controlnet.check(needed, family, self._models)
        return {kind: scale for kind, scale in wanted.items() if kind in passes.needs or self._ready(kind, family)}

    def drawn(self, follows: Mapping[str, float], start: Image) -> tuple[Hint, ...]:
        """Each control's picture; a crop in which no body is seen has no pose to follow."""
        found = []
        for kind, scale in follows.items():
            try:
                found.append(Hint(kind, self._control(kind).draw(start), scale, drawn=True))
            except UserError as error:
                if error.code != "no_pose":
                    raise
        return tuple(found)

    def _ready(self, kind: str, family: str) -> bool:
        return controlnet.here(kind, family, self._models) and not status_of(
            "controls", kind, self._settings, self._models
        )


class Inpaint:
    """Draws people into templates, each by what is known of them."""

    def __init__(self, fusion: Fusion, painter: Diffusion, parser: Parser, guides: Guides, knobs: Draw) -> None:
        self._fusion, self._painter, self._parser = fusion, painter, parser
        self._guides, self._knobs = guides, knobs

    def paint(self, request: PortraitRequest, progress: Progress) -> list[Candidate]:
        """Exactly `request.count` candidates, one seed each; see `portrait.ports.Painter`."""
        order = self.plan(request)
        total = max(1, request.count * order.steps)
        meter = _Meter(progress, total)
        begun = self._fusion.first(replace(request, size=None), meter.waiting, request.count)
        candidates = []
        for at, fused in enumerate(begun):
            image, told, joined = fused.image, {}, []
            for sitting in order.sittings:
                image, told[str(sitting.number)] = self._sit(image, order, sitting, at, meter)
            for seam in order.seams:
                image, facts = self._join(image, order, seam, at, meter)
                joined.append(facts)
            boxes = [order.picture.faces[sitting.number - 1].box for sitting in order.sittings]
            variation = {**fused.variation, "seed": float(request.seed + at)}
            drawn: Facts = {"passes": asdict(order.passes), "faces": told, **({"seams": joined} if joined else {})}
            size = request.size
            candidates.append(Candidate(sized(image, size, boxes), fused.drawn_from, variation, facts=drawn))
        progress(total, total, "Drawn")
        return candidates

    def same(self, request: PortraitRequest, drawn: Mapping[str, Any]) -> None:
        """See `portrait.ports.Recalling`; every pass must follow the controls that it followed then."""
        order = self.plan(request)
        for sitting in order.sittings:
            told = drawn.get("faces", {}).get(str(sitting.number), {})
            for name, facts in told.items():
                follows = sitting.follows[name]
                if facts.get("follows", follows) != follows:
                    raise _followed_otherwise(facts["follows"], follows)
                shown = tuple(Hint(kind, BLANK, scale) for kind, scale in follows.items())
                technique = replace(sitting.plan.drawing.technique, hints=shown)
                drawing = replace(sitting.plan.drawing, technique=technique)
                self._painter.alike(replace(sitting.plan, drawing=drawing), facts)

    def plan(self, request: PortraitRequest) -> Order:
        """Make the choices and check them, before a weight is read; raises what a painter and an identity raise."""
        picture = self._fusion.check(request)
        technique = request.technique or Technique(preset=self._knobs.preset)
        if technique.hints:
            raise UserError("bad_technique", "A template is its own hint. Leave hints out, or choose a style of words.")
        scene = request.style.scene or USUAL
        passes = with_strengths(request.style.passes or Passes(), {**scene.strengths, **technique.strengths})
        sittings = [self._sitting(request, number, passes, technique) for number in sorted(request.people)]
        pairs = pairwise(sittings) if passes.seam > 0 else ()
        boxes = [face.box for face in picture.faces]
        seams = [
            self._seam((one, other), picture, prompts.filled(scene.prompt, TOGETHER), passes)
            for one, other in pairs
            if near(boxes[one.number - 1], boxes[other.number - 1])
        ]
        return Order(request, picture, passes, sittings, seams)

    def _sitting(self, request: PortraitRequest, number: int, passes: Passes, technique: Technique) -> Sitting:
        """What one face takes; the person alone is in its plan."""
        person, picture = request.people[number], self._fusion.check(request)
        face = picture.faces[number - 1]
        style = replace(request.style, scene=request.style.scene or USUAL)
        told = replace(technique, identities=self._identities(technique, person))
        plan = self._painter.plan(replace(request, people={1: person}, style=style, size=None, technique=told))
        window = around([face.box], size_of(picture.image), plan.base.side, plan.base.step)
        inside = move_face(face, window.inside())
        part = np.ascontiguousarray(picture.image[window.places])
        found = areas(self._parser.parse(part, inside), inside, passes.fusion)
        landmarks = move(face.landmarks[:, :2], window.to())
        drawing = replace(
            plan.drawing, size=window.size, technique=replace(plan.drawing.technique, landmarks=landmarks)
        )
        family = plan.base.family.name
        follows = {name: self._guides.followed(passes, name, family) for name in DOING}
        return Sitting(number, replace(plan, drawing=drawing), window, found, follows)

    def _seam(self, pair: tuple[Sitting, Sitting], picture: StylePicture, prompt: str, passes: Passes) -> Seam:
        """The borders of two neighbours, in one window that holds both."""
        boxes, plan = [picture.faces[each.number - 1].box for each in pair], pair[0].plan
        window = around(boxes, size_of(picture.image), plan.base.side, plan.base.step)
        share = laid(window, [(each.window, each.areas.border) for each in pair])
        technique = replace(plan.drawing.technique, landmarks=None)
        drawing = replace(plan.drawing, size=window.size, prompt=prompt, technique=technique)
        nobody = replace(plan, identifiers=(), drawing=drawing)
        return Seam(pair[0].number, nobody, window, share, self._guides.followed(passes, "seam", plan.base.family.name))

    def _identities(self, technique: Technique, person: Identity) -> tuple[str, ...]:
        """Where several ways are named, whoever was not learned is told by the others."""
        named = technique.identities or self._knobs.identities
        learned = person.lora is not None or person.tokens is not None
        return tuple(name for name in named if learned or name != "lora") or named

    def _sit(self, image: Image, order: Order, sitting: Sitting, at: int, meter: "_Meter") -> tuple[Image, Facts]:
        """All passes of one face; the picture as it is then."""
        passes, facts = order.passes, {}
        places, found = sitting.window.places, sitting.areas
        template = order.picture.image[places]
        for name in order.drawn:
            share = getattr(found, name)
            if not share.any():
                continue
            drawing = _begun(sitting.plan, name, passes, (order.request.seed + at, sitting.number))
            plan, follows = replace(sitting.plan, drawing=drawing), sitting.follows[name]
            tell = meter.telling(DOING[name].format(sitting.number), image)
            before = image[places]
            drawn, kept, told = self._drawn(before, plan, sitting.window, share, follows, tell)
            facts[name] = {**told, "strength": drawing.strength, "follows": dict(follows)}
            meter.passed(_done(drawing))
            skin, drawn = found.skin * share, np.clip(drawn + 0.5, 0, 255).astype(np.uint8)
            drawn = match_tone(drawn, skin, template, skin, passes.tone, found.toned)
            part = settled(before, drawn.astype(np.float32), kept, share)
            image = _with(image, sitting.window, part)
            if name == "face" and passes.fusion > 0:
                fused = self._fusion.over(image, order.request, sitting.number, at)
                image = _with(image, sitting.window, blend(image[places], fused[places], found.fused))
        return image, facts

    def _join(self, image: Image, order: Order, seam: Seam, at: int, meter: "_Meter") -> tuple[Image, Facts]:
        """The picture with the borders of two neighbours drawn together; only what changes is taken."""
        drawing = _begun(seam.plan, "seam", order.passes, (order.request.seed + at, seam.number))
        before, plan = image[seam.window.places], replace(seam.plan, drawing=drawing)
        tell = meter.telling("Drawing where two people meet", image)
        drawn, kept, facts = self._drawn(before, plan, seam.window, seam.share, seam.follows, tell)
        meter.passed(_done(drawing))
        # Two people are drawn smaller than one: what the network keeps is finer in the picture than in the drawing.
        part = settled(before, before + drawn - kept, before.astype(np.float32), seam.share)
        return _with(image, seam.window, part), {**facts, "strength": drawing.strength, "follows": dict(seam.follows)}

    def _drawn(
        self, before: Image, plan: Plan, window: Window, share: Mask, follows: Mapping[str, float], tell: Tell
    ) -> tuple[Floats, Floats, Facts]:
        """The window drawn, the window as the network gives it back undrawn, both 0..255, and what it took."""
        start = window.drawn(before)
        technique = replace(plan.drawing.technique, hints=self._guides.drawn(follows, start))
        drawing = replace(plan.drawing, start=start, mask=window.mask(share), technique=technique)
        pixels, facts = self._painter.draw(replace(plan, drawing=drawing), tell)
        still = replace(drawing, mask=None, strength=0.0, technique=replace(technique, hints=()))
        kept, _ = self._painter.draw(replace(plan, identifiers=(), looks=(), drawing=still), tell)
        return window.back(pixels), window.back(kept), facts


class _Meter:
    """Counts the steps of all drawings as one."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def waiting(self, done: int, total: int, doing: str, preview: Image | None = None) -> None:
        """Progress of what comes before the first step."""
        self._progress(0, self._total, doing, preview)

    def telling(self, doing: str, shown: Image) -> Tell:
        """What the steps of the next drawing are told to."""
        return lambda done: self._progress(self._done + done, self._total, doing, shown)

    def passed(self, steps: int) -> None:
        """A drawing of so many steps is done."""
        self._done += steps


def _begun(plan: Plan, name: str, passes: Passes, seeds: tuple[int, int] = (0, 0)) -> Drawing:
    """The drawing of a pass before its picture is known; `seeds` are the candidate's and the number of the face.

    Each drawing has noise of its own: the same noise twice in one place burns in.
    """
    technique = plan.drawing.technique
    steps = technique.steps or STEPS.get(technique.preset, {}).get(name, plan.drawing.steps)
    seed = np.random.SeedSequence([*seeds, ORDER.index(name)]).generate_state(1)[0]
    return replace(plan.drawing, steps=steps, strength=getattr(passes, name), seed=int(seed))


def _done(drawing: Drawing) -> int:
    """Steps that a drawing takes when it begins from a picture."""
    return int(drawing.steps * drawing.strength)


def _followed_otherwise(before: Mapping[str, float], now: Mapping[str, float]) -> OperatorError:
    then, here = (", ".join(sorted(each)) or "nothing" for each in (before, now))
    return OperatorError(
        "model_differs",
        f"This portrait was drawn following {then}; here {here} would be followed. Pull the control networks it had, "
        "or take away those it had not.",
    )


def _with(image: Image, window: Window, part: Image) -> Image:
    """The picture with a window of it replaced."""
    out = image.copy()
    out[window.places] = part
    return out


def make(settings: Settings, models: Models, engines: Engines) -> Inpaint:
    """Nothing is loaded until something is drawn; raises `OperatorError` (`missing_model`) where there is no base at all."""
    fusion, painter = cast(Fusion, engines.painter("fusion")), cast(Diffusion, engines.painter("diffusion"))
    return Inpaint(fusion, painter, engines.parser(), Guides(settings, models, engines.control), settings.draw)


def status(settings: Settings, models: Models) -> list[str]:
    """A base of any family is enough to begin with; which controls are missing depends on it."""
    return diffusion.status(settings, models)
