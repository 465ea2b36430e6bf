"""Painter of studio portraits: a person cut out of a selfie and set before a backdrop; no diffusion model, no GPU.

No feature is invented: the person's pixels are levelled, enlarged, retouched and relit, and nothing else. One matte per
selfie serves every backdrop.
"""

import hashlib
import math
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

import cv2
import numpy as np

from pipelines.engines import Engines, matte_facts
from pipelines.engines.painters import numbers_drawn
from pipelines.memory import return_memory
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.arrays import Image, Mask, Size
from portrait.errors import OperatorError, UserError
from portrait.faces.geometry import RotatedRect, scaling_matrix, transform_face
from portrait.faces.skin import skin_mask
from portrait.images.color import balance_by_skin, expose, white_balance
from portrait.images.cut_out import measure_residue
from portrait.images.resize import resize, scaled_size
from portrait.ports import Matter, Progress
from portrait.studio import backdrops
from portrait.studio.backdrops import BackdropPicture
from portrait.studio.compositing import compose_portrait
from portrait.studio.composition import (
    FACE_SHARE,
    RULES,
    USUAL,
    Framing,
    compose,
    frame_portrait,
    levelling_angle,
)
from portrait.studio.subject import CutOut, Subject, fade_border, frame_person, make_subject, spread_foreground
from portrait.types import Candidate, Composition, Face, PortraitRequest, Reference, Style

SIZE = Size(1024, 1280)
"""Size of a portrait where the request gives none: 4:5, which prints and profile pages take."""
MAX_PIXELS = 16_000_000
"""Most pixels at which a portrait is composed; larger ones are enlarged from it, as no selfie holds more of a head."""
TIGHTNESS = (0.0, 0.09, -0.05, 0.15)
"""Relative head sizes of the candidates from one selfie; see `frame_portrait`."""
MIN_CANDIDATES = 2
"""Least number of candidates where there are that many selfies that serve equally well."""
OLD_BALANCE_STRENGTH, EXPOSURE_STRENGTH = 0.6, 0.8
"""Strength of the white balance of version 0.1.0 and of the exposure of the selfie: some of its own light remains."""
CACHED_BYTES = 64_000_000
"""Bytes of selfies, and of the same at portrait size, that are cached for further backdrops: four or five of 1024×1280, and
none of a portrait beyond some 7 megapixels, which would take 100 to 175 MB each."""
SILHOUETTE_FACE = 100
"""Height of the face in pixels of the reduced selfie in which a person's outline is found, to choose among selfies."""
MAX_RESIDUE = 0.3
"""What may stick to a cut-out, 0..1, before another selfie is preferred: a spot of a tenth of the face's width."""
METHOD = 2
"""How portraits are framed and lit now; recipes say it. 1, which no recipe says, is that of version 0.1.0: head and shoulders
alone, selfies in the order of their quality."""

_Key = TypeVar("_Key", bound=Hashable)
_Value = TypeVar("_Value")


class _LRUCache(Generic[_Key, _Value]):
    """The most recently used values, by key; `functools.lru_cache` would hold on to the full selfies as arguments."""

    def __init__(self, most: int, weigh: Callable[[_Value], int] = lambda value: 1) -> None:
        """The values that were not used for longest are dropped until all weigh `most` together at most."""
        self._most, self._weigh = most, weigh
        self._values: OrderedDict[_Key, _Value] = OrderedDict()

    def get(self, key: _Key, make: Callable[[], _Value]) -> _Value:
        """The cached value of a key, or the one that `make` gives, which is cached."""
        value = self._values[key] if key in self._values else make()
        self._values[key] = value
        self._values.move_to_end(key)
        while sum(map(self._weigh, self._values.values())) > self._most:
            self._values.popitem(last=False)
        return value

    def clear(self) -> None:
        """Drop every value."""
        self._values.clear()


@dataclass(frozen=True, slots=True)
class _CutOutKey:
    """What a cut-out depends on."""

    name: str
    fingerprint: str
    shrink: float
    aspect: float
    """Width over height of the portraits that it can serve."""
    least: float
    """Smallest face share of these."""
    method: int
    matte: str


@dataclass(frozen=True, slots=True, eq=False)
class _FramedSelfie:
    """A selfie that can be framed."""

    cut_out: CutOut
    framing: Framing
    name: str
    rank: int
    """Place of the composition among those that suit, 0 the preferred one."""


@dataclass(frozen=True, slots=True)
class _Order:
    """What a request asks of the framing."""

    canvas: Size
    suited: tuple[Composition, ...]
    method: int
    matte: str
    """Name and version of the engine that makes the mattes."""
    matter: Matter = field(compare=False)

    def frame(self, person: Mask, face: Face, tightness: float = 0.0) -> Framing | None:
        """The framing of a person; None where no composition holds."""
        if self.method == 1:
            return frame_portrait(person, face, self.canvas, tightness)
        return compose(person, face, self.canvas, self.suited, tightness)


class Studio:
    """Paints people before backdrops."""

    def __init__(self, matter: Callable[[Mapping[str, object] | None], Matter]) -> None:
        """`matter` is given the facts of a recipe by which a portrait is drawn again, or None."""
        self._matter = matter
        self._silhouettes: _LRUCache[tuple[object, ...], Framing | None] = _LRUCache(64)
        self._cut_outs: _LRUCache[_CutOutKey, CutOut] = _LRUCache(CACHED_BYTES, lambda one: one.nbytes)
        self._subjects: _LRUCache[tuple[object, ...], Subject] = _LRUCache(CACHED_BYTES, lambda one: one.nbytes)

    def forget(self) -> None:
        """Drop every cut-out: photos of people who were erased are among them."""
        for cache in (self._silhouettes, self._cut_outs, self._subjects):
            cache.clear()

    def cut_out(
        self, references: Sequence[Reference], size: Size, suited: Sequence[Composition] = USUAL
    ) -> CutOut | None:
        """The person of the selfie from which a portrait of `size` is drawn first; None where no selfie can be framed."""
        matter = self._matter(None)
        order = _Order(size, tuple(suited), METHOD, matter.version, matter)
        try:
            return self._framed_selfies(references, order, 1)[0].cut_out
        except UserError:
            return None

    def paint(self, request: PortraitRequest, progress: Progress) -> list[Candidate]:
        """At least `request.count` candidates; see `portrait.ports.Painter`.

        Raises `UserError` (`no_shoulders`, `composition_missing`).
        """
        return list(self.draw_each(request, progress))

    def draw_each(self, request: PortraitRequest, progress: Progress) -> Iterator[Candidate]:
        """The candidates of `paint` one by one; see `portrait.ports.StreamingPainter`."""
        backdrop = _backdrop(request.style)
        person = request.people.get(1)
        if person is None or not person.references:
            raise UserError("no_reference", "A studio portrait needs at least one usable photo of the person.")
        size = request.size or SIZE
        method = METHOD if request.drawn is None else int(str(request.drawn.get("studio", 1)))
        matter = self._matter(request.drawn)
        order = _Order(_limit_size(size), request.style.compositions or USUAL, method, matter.version, matter)
        usable = self._framed_selfies(person.references, order, max(request.count, MIN_CANDIDATES))
        image: Image | None = None
        # Where there is a choice of selfies at least two are drawn: the better one is found by measuring.
        equal = sum(each.rank == usable[0].rank for each in usable)
        total = max(request.count, min(equal, MIN_CANDIDATES))
        numbers = numbers_drawn(request, total)
        count, left = len(usable), {number: usable[number % len(usable)] for number in numbers}
        del usable  # what takes much memory is let go when it is framed for the last time
        for done, number in enumerate(numbers):
            progress(done, len(numbers), "Drawing", image)
            name, residue = left[number].name, left[number].cut_out.residue
            tightness = TIGHTNESS[number // count % len(TIGHTNESS)]
            subject = self._cached_subject(left, number, order, tightness, request.style.retouch)
            seed, framing = request.seed + number, subject.framing
            image, before = compose_portrait(subject, backdrop, seed)
            if subject.nbytes > CACHED_BYTES:
                del subject
                return_memory()
            # One after the other: of a large portrait the smaller one is let go first.
            image = resize(image, (size.height, size.width), cv2.INTER_CUBIC)
            before = resize(before, (size.height, size.width), cv2.INTER_CUBIC)
            variation = {"backdrop_seed": float(seed), "head": framing.face_share}
            how = {} if method == 1 else {"studio": method, "composition": framing.composition}
            facts = {**how, **matte_facts(order.matter)}
            yield Candidate(image, {1: name}, variation, before, facts, {} if method == 1 else {"residue": residue})
        progress(len(numbers), len(numbers), "Drawing", image)

    def _framed_selfies(self, references: Sequence[Reference], order: _Order, most: int) -> list[_FramedSelfie]:
        """At most `most` selfies that can be framed: those with the widest composition first, and of them those that were
        cut out cleanly; raises `UserError`."""
        clean: list[_FramedSelfie] = []
        poor: list[_FramedSelfie] = []
        for reference, rough in self._ranked(references, order):
            cut_out = self._cached_cut_out(reference, order, rough)
            framing = order.frame(cut_out.alpha, cut_out.face)
            if framing is None:
                continue
            selfie = _FramedSelfie(cut_out, framing, reference.name, order.suited.index(framing.composition))
            (clean if cut_out.residue <= MAX_RESIDUE else poor).append(selfie)
            if len(clean) == most:
                break
        if clean or poor:
            # A selfie to whose cut-out the old room sticks is used where there is no other.
            return (
                sorted(clean, key=lambda each: each.rank) or sorted(poor, key=lambda each: each.cut_out.residue)[:most]
            )
        raise self._refusal(references, order)

    def _ranked(self, references: Sequence[Reference], order: _Order) -> list[tuple[Reference, Framing | None]]:
        """The selfies by the composition that their silhouettes allow, the preferred one first, with that framing."""
        if order.method == 1:
            return [(reference, None) for reference in references]
        rough = [(each, self._rough_framing(each, order)) for each in references]
        last = len(order.suited)
        return sorted(rough, key=lambda one: last if one[1] is None else order.suited.index(one[1].composition))

    def _rough_framing(self, reference: Reference, order: _Order) -> Framing | None:
        """The framing of a selfie by its silhouette alone, in pixels of a reduced selfie."""

        def frame() -> Framing | None:
            image, face = _reduce(reference, min(1.0, SILHOUETTE_FACE / max(reference.face.box.height, 1.0)))
            return order.frame(order.matter.silhouette(image, face), face)

        return self._silhouettes.get((reference.name, _fingerprint(reference), order), frame)

    def _refusal(self, references: Sequence[Reference], order: _Order) -> UserError:
        """Why no selfie can be framed, and what to do."""
        others = replace(order, suited=tuple(name for name in RULES if name not in order.suited))
        if others.suited and any(self._rough_framing(each, others) is not None for each in references):
            wanted = " or ".join(name.replace("_", " ") for name in order.suited)
            return UserError(
                "composition_missing",
                f"This style shows people as {wanted}, and none of these photos has room for that. Choose another style, "
                "or add a photo taken from further away, with head, shoulders and some space around them.",
            )
        return UserError(
            "no_shoulders",
            "These photos end too close to the face, so a portrait would show where the photo ends. "
            "Add one taken from a little further away, with the whole head and both shoulders in the picture.",
        )

    def _cached_cut_out(self, reference: Reference, order: _Order, rough: Framing | None) -> CutOut:
        # The selfie is reduced to what the framing needs; the rounding lets similar sizes share one matte.
        share = FACE_SHARE if rough is None else max(FACE_SHARE, rough.face_share)
        shrink = min(1.0, order.canvas.height * 1.05 * share / max(reference.face.box.height, 1.0))
        shrink = min(1.0, _round_up(shrink))
        aspect = max(0.8, _round_up(order.canvas.width / order.canvas.height))
        least = 0.8 * FACE_SHARE if order.method == 1 else 0.85 * min(RULES[name].least for name in order.suited)
        key = _CutOutKey(reference.name, _fingerprint(reference), shrink, aspect, least, order.method, order.matte)
        return self._cut_outs.get(key, lambda: _cut_out(reference, key, order.matter))

    def _cached_subject(
        self, left: dict[int, _FramedSelfie], number: int, order: _Order, tightness: float, retouch: float
    ) -> Subject:
        """The subject of candidate `number`, which is taken out of those that are `left`."""

        def frame() -> Subject:
            selfie = left.pop(number)
            cut_out = selfie.cut_out
            tight = order.frame(cut_out.alpha, cut_out.face, tightness) if tightness else None
            person = frame_person(cut_out, tight or selfie.framing, order.canvas)
            del selfie, cut_out
            return make_subject(person, retouch)

        return self._subjects.get((left[number].cut_out.key, order, tightness, retouch), frame)


def _backdrop(style: Style) -> str | BackdropPicture:
    """The name of a style's backdrop, or its picture; raises `OperatorError` (`unknown_backdrop`)."""
    if style.backdrop_picture is not None:
        return BackdropPicture(style.backdrop_picture, style.blur)
    if not backdrops.exists(style.backdrop):
        known = ", ".join(backdrops.NAMES)
        sentence = f"There is no backdrop {style.backdrop!r}. Choose one of {known}, or a colour as #dfe4ea."
        raise OperatorError("unknown_backdrop", sentence)
    return style.backdrop


def _round_up(value: float) -> float:
    """The next of the powers of two in quarter steps."""
    return float(2.0 ** (math.ceil(math.log2(value) * 4) / 4))


def _reduce(reference: Reference, shrink: float) -> tuple[Image, Face]:
    """The selfie `shrink` times as large, and its face there."""
    if shrink >= 1:
        return reference.image, reference.face
    size = scaled_size(reference.image.shape, shrink)
    image = np.asarray(cv2.resize(reference.image, size, interpolation=cv2.INTER_AREA), np.uint8)
    return image, transform_face(reference.face, scaling_matrix(shrink))


def _visible_part(face: Face, photo_size: Size, key: _CutOutKey) -> tuple[slice, slice]:
    """Rows and columns that any framing may show, with a margin so that their edge is not taken for the photo's."""
    roll = levelling_angle(face.pose.roll)
    tall = face.box.height / key.least
    centre = np.array(face.box.centre) + 0.1 * tall * np.array(
        [-math.sin(math.radians(roll)), math.cos(math.radians(roll))]
    )
    wide = tall * key.aspect * (1.2 if key.method == 1 else 1.6)
    place = (float(centre[0]), float(centre[1]))
    rolls = (roll,) if key.method == 1 else (roll, 0.0)
    corners = np.vstack([RotatedRect(place, wide, tall * 1.15, each).corners() for each in rolls])
    left, top = np.maximum(np.floor(corners.min(axis=0)), 0).astype(int)
    right, bottom = np.minimum(np.ceil(corners.max(axis=0)), (photo_size.width, photo_size.height)).astype(int)
    return slice(int(top), int(bottom)), slice(int(left), int(right))


def _cut_out(reference: Reference, key: _CutOutKey, matter: Matter) -> CutOut:
    """Cut the person out of a selfie, with white balance and exposure corrected."""
    image, face = _reduce(reference, key.shrink)
    # The matte is made from the full photo, so that people who stand beside are told apart by their faces.
    alpha = matter.matte(image, face)
    return_memory()
    residue = 0.0 if key.method == 1 else measure_residue(image, alpha, face)
    alpha = alpha if key.method == 1 else fade_border(alpha, face)
    rows, columns = _visible_part(face, Size(image.shape[1], image.shape[0]), key)
    image, alpha = np.ascontiguousarray(image[rows, columns]), np.ascontiguousarray(alpha[rows, columns])
    face = transform_face(face, np.array([[1, 0, -columns.start], [0, 1, -rows.start]], np.float64))
    skin = skin_mask(image, face)
    # A coloured wall is no coloured light: what version 0.1.0 took for one could turn skin orange.
    image = white_balance(image, skin, OLD_BALANCE_STRENGTH) if key.method == 1 else balance_by_skin(image, skin)
    expose(image, skin, EXPOSURE_STRENGTH, out=image)
    del skin
    cut_out = CutOut(spread_foreground(image, alpha, face), alpha, face, residue, key)
    return_memory()
    return cut_out


def _limit_size(size: Size) -> Size:
    """The size at which a portrait is composed: of at most `MAX_PIXELS`."""
    factor = min(1.0, math.sqrt(MAX_PIXELS / (size.width * size.height)))
    return Size(max(1, round(size.width * factor)), max(1, round(size.height * factor)))


def _fingerprint(reference: Reference) -> str:
    """A hash that differs between pictures of one name, and between two faces in one picture."""
    digest = hashlib.blake2b(reference.image[::7, ::7].tobytes(), digest_size=16)
    digest.update(reference.face.landmarks.tobytes())
    return digest.hexdigest()


def make(settings: Settings, models: ModelStore, engines: Engines) -> Studio:
    """The engine; the one that makes mattes is loaded with the first portrait."""
    return Studio(engines.matter)


def status(settings: Settings, models: ModelStore) -> list[str]:
    """Always empty: the engine has no model of its own."""
    return []
