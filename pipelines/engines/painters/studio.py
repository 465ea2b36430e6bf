"""The photo studio: a person cut out of a selfie, before a painted backdrop; no diffusion model, no GPU.

No feature is invented: the person's pixels are levelled, enlarged, calmed and lit, and nothing else. One matte a selfie
serves every backdrop.
"""

import hashlib
import math
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Generic, TypeAlias, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.engines import Engines
from pipelines.model_store.store import Models
from pipelines.settings import Settings
from portrait.arrays import Image, Mask, Size
from portrait.errors import OperatorError, UserError
from portrait.faces.geometry import Frame, move_face, scaled
from portrait.faces.skin import retouch_skin, skin_mask
from portrait.images.color import expose, white_balance
from portrait.images.masks import face_size, foreground
from portrait.ports import Matter, Progress
from portrait.studio import backdrops
from portrait.studio.backdrops import LIGHTS, Light
from portrait.studio.composition import FACE_SHARE, Framing, frame_portrait, level
from portrait.studio.lens import GRAIN
from portrait.types import Candidate, Face, PortraitRequest, Reference

Floats = NDArray[np.float32]

SIZE = Size(1024, 1280)
"""Where neither request nor style asks for a size: 4:5, which prints and profile pages take."""
LARGEST = 16_000_000
"""Pixels at which a portrait is drawn at most; larger ones are enlarged from it, no selfie holds more of a head."""
LARGE = 4_000_000
"""Pixels beyond which only the last sitter is kept: at `LARGEST` one takes 230 MB."""
TIGHTNESS = (0.0, 0.09, -0.05, 0.15)
"""How candidates from one selfie differ in head size."""
CHOICE = 2
"""Candidates at least where there are that many usable selfies."""
WRAP = 0.010
"""Reach of the backdrop's light around the person's edge, over the picture's height."""
WRAPPED = 0.30
"""Share of the backdrop's colour at the very edge."""
RELIGHT = 0.055
"""Largest change of skin by the backdrop's light, as a factor of its sRGB value: about ΔE 3.5 on light skin."""
BALANCE, EXPOSURE = 0.6, 0.8
"""Strength of white balance and exposure of the selfie: some of its own light remains."""
PLATES, SITTERS = 8, 4
"""How many selfies, and how many of them at portrait size, are kept for further backdrops."""

_PlateKey: TypeAlias = tuple[str, str, float, float]
"""Name and fingerprint of a selfie, its reduction, and width over height of what it may be needed for."""

_Key = TypeVar("_Key", bound=Hashable)
_Value = TypeVar("_Value")


class _Kept(Generic[_Key, _Value]):
    """The last few results of a function, by key."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: OrderedDict[_Key, _Value] = OrderedDict()

    def get(self, key: _Key, make: Callable[[], _Value]) -> _Value:
        """The kept value, or a new one."""
        if key not in self._values:
            self._values[key] = make()
        self._values.move_to_end(key)
        while len(self._values) > self._most:
            self._values.popitem(last=False)
        return self._values[key]


@dataclass(frozen=True, slots=True, eq=False)
class _Plate:
    """A selfie cut out, at its own resolution or what the portrait needs of it."""

    front: Image
    """The person's colours, spread beyond the edge so that no old background is left in hair."""
    person: Mask
    face: Face
    key: _PlateKey


@dataclass(frozen=True, slots=True, eq=False)
class _Sitter:
    """A person at the portrait's size, before any backdrop."""

    plain: Image
    retouched: Image
    share: Mask
    skin: Mask
    face: Face
    framing: Framing
    noise: float
    """Standard deviation of the fine grain, levels of 255."""
    light: float
    """Side from which the face is lit in the selfie, -1 left … 1 right."""


class Studio:
    """Paints people before backdrops."""

    def __init__(self, matter: Callable[[], Matter]) -> None:
        self._matter = matter
        self._plates: _Kept[_PlateKey, _Plate] = _Kept(PLATES)
        self._sitters: _Kept[tuple[object, ...], _Sitter] = _Kept(SITTERS)
        self._large: _Kept[tuple[object, ...], _Sitter] = _Kept(1)

    def paint(self, request: PortraitRequest, progress: Progress) -> list[Candidate]:
        """At least `request.count` candidates; see `portrait.ports.Painter`. Raises `UserError` `no_shoulders`."""
        backdrop = request.style.backdrop
        if backdrop not in LIGHTS:
            known = ", ".join(backdrops.NAMES)
            raise OperatorError("unknown_backdrop", f"There is no backdrop {backdrop!r}. Choose one of: {known}.")
        person = request.people.get(1)
        if person is None or not person.references:
            raise UserError("no_reference", "A studio portrait needs at least one usable photo of the person.")
        size = request.size or SIZE
        canvas = _bounded(size)
        usable = self._usable(person.references, canvas, max(request.count, CHOICE))
        candidates: list[Candidate] = []
        # Where there is a choice of selfies two are drawn at least: the better is found by measuring, not by guessing.
        total = max(request.count, min(len(usable), CHOICE))
        for number in range(total):
            progress(number, total, "Drawing", candidates[-1].image if candidates else None)
            plate, name = usable[number % len(usable)]
            sitter = self._sitter(
                plate, canvas, TIGHTNESS[number // len(usable) % len(TIGHTNESS)], request.style.retouch
            )
            seed = request.seed + number
            image, before = _portrayed(sitter, backdrop, seed)
            variation = {"backdrop_seed": float(seed), "head": sitter.framing.face_share}
            candidates.append(Candidate(_sized(image, size), {1: name}, variation, _sized(before, size)))
        progress(total, total, "Drawing", candidates[-1].image)
        return candidates

    def _usable(self, references: tuple[Reference, ...], canvas: Size, most: int) -> list[tuple[_Plate, str]]:
        """The first selfies that can be framed, cut out."""
        found: list[tuple[_Plate, str]] = []
        for reference in references:
            plate = self._plate(reference, canvas)
            if frame_portrait(plate.person, plate.face, canvas) is not None:
                found.append((plate, reference.name))
            if len(found) == most:
                break
        if not found:
            raise UserError(
                "no_shoulders",
                "The shoulders are cut off in these photos, so a portrait would show where the photo ends. "
                "Add one taken from a little further away, with both shoulders in the picture.",
            )
        return found

    def _plate(self, reference: Reference, canvas: Size) -> _Plate:
        # The selfie is reduced to what the usual framing shows; the rounding lets near sizes share one matte.
        shrink = min(1.0, canvas.height * 1.05 * FACE_SHARE / max(reference.face.box.height, 1.0))
        shrink = min(1.0, 2.0 ** (math.ceil(math.log2(shrink) * 4) / 4))
        aspect = max(0.8, 2.0 ** (math.ceil(math.log2(canvas.width / canvas.height) * 4) / 4))
        key = (reference.name, _fingerprint(reference), shrink, aspect)
        return self._plates.get(key, lambda: _cut_out(reference, key, self._matter()))

    def _sitter(self, plate: _Plate, canvas: Size, tightness: float, retouch: float) -> _Sitter:
        key = (plate.key, canvas, tightness, retouch)
        kept = self._sitters if canvas.width * canvas.height <= LARGE else self._large
        return kept.get(key, lambda: _seated(plate, canvas, tightness, retouch))


def _part(face: Face, whole: Size, aspect: float) -> tuple[slice, slice]:
    """Rows and columns that any framing may show, with a margin so that their edge is not taken for the photo's."""
    roll = level(face.pose.roll)
    tall = face.box.height / (0.8 * FACE_SHARE)
    centre = np.array(face.box.centre) + 0.1 * tall * np.array(
        [-math.sin(math.radians(roll)), math.cos(math.radians(roll))]
    )
    corners = Frame((float(centre[0]), float(centre[1])), tall * aspect * 1.2, tall * 1.15, roll).corners()
    left, top = np.maximum(np.floor(corners.min(axis=0)), 0).astype(int)
    right, bottom = np.minimum(np.ceil(corners.max(axis=0)), (whole.width, whole.height)).astype(int)
    return slice(int(top), int(bottom)), slice(int(left), int(right))


def _cut_out(reference: Reference, key: _PlateKey, matter: Matter) -> _Plate:
    """The person of a selfie in their own light, without the background."""
    _, _, shrink, aspect = key
    image, face = reference.image, reference.face
    if shrink < 1:
        size = (max(1, round(image.shape[1] * shrink)), max(1, round(image.shape[0] * shrink)))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        face = move_face(face, scaled(shrink))
    # The matter is shown all of it: it must see the faces of people who stand beside.
    person = matter.matte(image, face)
    rows, columns = _part(face, Size(image.shape[1], image.shape[0]), aspect)
    image, person = np.ascontiguousarray(image[rows, columns]), np.ascontiguousarray(person[rows, columns])
    face = move_face(face, np.array([[1, 0, -columns.start], [0, 1, -rows.start]], np.float64))
    skin = skin_mask(image, face)
    image = expose(white_balance(image, skin, BALANCE), skin, EXPOSURE)
    unit = face_size(face)
    front = _inward(foreground(image, person, max(3, round(0.6 * unit))), person, unit)
    return _Plate(front, person, face, key)


def _inward(front: Image, person: Mask, unit: float) -> Image:
    """Edges take the colour of what lies just inside of them, in proportion to how transparent they are.

    What the estimate leaves of a bright old background in hair would be a halo before a dark backdrop.
    """
    solid = (person > 0.97).astype(np.float32)
    sigma = 0.045 * unit
    weight = _wide_blur(solid, sigma)
    inner = _wide_blur(front * solid[..., None], sigma) / np.maximum(weight, 1e-3)[..., None]
    # Loose hair is too far from anything solid to be told its colour.
    share = ((1 - person) * np.clip(weight * 8, 0, 1) * 0.8)[..., None]
    return np.asarray(front * (1 - share) + inner * share + 0.5, np.uint8)


def _seated(plate: _Plate, canvas: Size, tightness: float, retouch: float) -> _Sitter:
    """The person framed and enlarged to the portrait's size, with and without retouch."""
    framing = frame_portrait(plate.person, plate.face, canvas, tightness) or frame_portrait(
        plate.person, plate.face, canvas
    )
    if framing is None:
        raise UserError("no_shoulders", "The shoulders are cut off in this photo. Add one taken from further away.")
    matrix = framing.frame.to(canvas)
    enlarged = canvas.height / framing.frame.height
    size = (canvas.width, canvas.height)
    front = cv2.warpAffine(plate.front, matrix, size, flags=cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REPLICATE)
    # Framings are tried coarsely: a last sliver beyond the edge of the selfie goes on as its edge does.
    share = cv2.warpAffine(plate.person, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    face = move_face(plate.face, matrix)
    plain = _crisp(np.asarray(front, np.uint8), enlarged)
    share = np.asarray(np.clip(share, 0, 1), np.float32)
    if enlarged > 1.5:
        # Enlarged steps of the old pixels would show along smooth outlines.
        share = np.asarray(cv2.GaussianBlur(share, (0, 0), 0.3 * enlarged), np.float32)
    skin = skin_mask(plain, face, neck=True)
    retouched = retouch_skin(plain, face, retouch)
    return _Sitter(plain, retouched, share, skin, face, framing, _noise(plain, share), _lit_from(plain, skin, face))


def _crisp(image: Image, enlarged: float) -> Image:
    """Bring back the steepness that enlarging takes from edges that are there; nothing is added where there are none."""
    if enlarged <= 1.05:
        return image
    amount = min(0.7, 0.35 * (enlarged - 1))
    light = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    detail = light - cv2.GaussianBlur(light, (0, 0), 0.55 * enlarged)
    # Fine noise stays fine: what is below two levels is not steepened; strong edges would ring beyond twelve.
    detail = np.sign(detail) * np.clip(np.abs(detail) - 1.0, 0, 12) * amount
    return np.asarray(np.clip(image + detail[..., None] + 0.5, 0, 255), np.uint8)


def _noise(image: Image, share: Mask) -> float:
    """Standard deviation of the finest grain of the person, by the median so that edges do not count."""
    light = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    fine = np.abs(light - cv2.GaussianBlur(light, (0, 0), 1.0))[share > 0.99]
    # Of white noise 0.84 is left by the difference; 0.6745 makes a deviation of a median.
    return float(np.median(fine)) / 0.6745 / 0.84 if len(fine) else 0.0


def _lit_from(image: Image, skin: Mask, face: Face) -> float:
    """-1 where the left side of the face is clearly the lighter one … 1 where the right is."""
    light = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    middle = round(face.landmarks[2, 0])
    sides = [light[:, part][skin[:, part] > 0.5] for part in (slice(0, middle), slice(middle, None))]
    if min(len(side) for side in sides) < 64:
        return 0.0
    left, right = (float(np.median(side)) for side in sides)
    return float(np.clip((right - left) / 25, -1, 1))


def _portrayed(sitter: _Sitter, backdrop: str, seed: int) -> tuple[Image, Image]:
    """The portrait, and the same without retouch and relight."""
    height, width = sitter.share.shape
    light = LIGHTS[backdrop]
    back = backdrops.paint(backdrop, Size(width, height), seed)
    # A backdrop lit from the other side than the face is hung the other way round: light agrees more than it is bent.
    if light.side * sitter.light < 0:
        back, light = np.ascontiguousarray(back[:, ::-1]), replace(light, side=-light.side)
    random = np.random.default_rng(seed)
    noise = random.standard_normal((height, width), np.float32)
    scene = _Scene(back, sitter, light, noise)
    before = scene.with_person(sitter.plain)
    rows, columns = _touched(sitter)
    after = before.copy()
    after[rows, columns] = scene.with_person(_relit(sitter, light, rows, columns), rows, columns)
    return after, before


def _touched(sitter: _Sitter) -> tuple[slice, slice]:
    """The part of the picture in which retouch and relight may change anything."""
    left, top, wide, tall = cv2.boundingRect((sitter.skin > 0).astype(np.uint8))
    return slice(top, top + max(tall, 1)), slice(left, left + max(wide, 1))


def _relit(sitter: _Sitter, light: Light, rows: slice, columns: slice) -> Image:
    """Skin a little lighter on the side where the backdrop's light is, a little darker on the other."""
    unit, middle = face_size(sitter.face), sitter.face.box.centre[0]
    across = (np.arange(columns.start, columns.stop, dtype=np.float32) - middle) / (0.7 * unit)
    # What the selfie's own light has done already need not be done again.
    wanted = float(np.clip(light.side - 0.7 * sitter.light, -1, 1))
    gain = RELIGHT * wanted * np.tanh(across)[None, :] * sitter.skin[rows, columns]
    image = sitter.retouched[rows, columns].astype(np.float32)
    # Highlights have no room: the change fades towards white.
    room = np.clip((255 - image.max(axis=2)) / 60, 0, 1)
    return np.asarray(np.clip(image * (1 + gain * room)[..., None] + 0.5, 0, 255), np.uint8)


class _Scene:
    """A backdrop and a person's outline in it; everything that is the same with and without retouch."""

    def __init__(self, back: Image, sitter: _Sitter, light: Light, noise: Floats) -> None:
        height = back.shape[0]
        self._share = sitter.share
        grain = GRAIN
        extra = math.sqrt(max(min(sitter.noise, 4.0) ** 2 - grain**2, 0))
        self._back = back + (noise * np.float32(extra))[..., None]
        # Grain for a person whose own was lost in enlarging, so that skin and paper are of one picture.
        missing = math.sqrt(max(grain**2 - sitter.noise**2, 0))
        self._grain = noise * np.float32(missing)
        self._around = _wide_blur(back.astype(np.float32), 0.03 * height)
        self._wrap = sitter.share * _wide_blur(1 - sitter.share, WRAP * height) * WRAPPED
        rows = np.linspace(0, 1, height, dtype=np.float32)
        # The lamp is on the face; the chest has less of it.
        fall = 1 - 0.09 * np.clip((rows - 0.68) / 0.32, 0, 1) ** 1.5
        self._tint = (fall[:, None] * np.array(light.colour, np.float32) ** np.float32(0.35)).astype(np.float32)

    def with_person(self, front: Image, rows: slice = slice(None), columns: slice = slice(None)) -> Image:
        """The composite, or a part of it; `front` is as large as the part."""
        wrap = self._wrap[rows, columns, None]
        person = front * self._tint[rows, None, :]
        person += (self._around[rows, columns] - person) * wrap
        person += self._grain[rows, columns, None]
        back = self._back[rows, columns]
        return np.asarray(np.clip(back + (person - back) * self._share[rows, columns, None] + 0.5, 0, 255), np.uint8)


def _wide_blur(values: Floats, sigma: float) -> Floats:
    """A Gaussian that is worked out on a reduced picture; wide ones are slow and lose nothing by it."""
    factor = min(1.0, 4.0 / max(sigma, 1e-3))
    small = cv2.resize(values, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    soft = cv2.GaussianBlur(small, (0, 0), max(sigma * factor, 0.3))
    return np.asarray(cv2.resize(soft, values.shape[1::-1], interpolation=cv2.INTER_LINEAR), np.float32)


def _bounded(size: Size) -> Size:
    """The size at which a portrait is drawn."""
    factor = min(1.0, math.sqrt(LARGEST / (size.width * size.height)))
    return Size(max(1, round(size.width * factor)), max(1, round(size.height * factor)))


def _sized(image: Image, size: Size) -> Image:
    if image.shape[:2] == (size.height, size.width):
        return image
    return np.asarray(cv2.resize(image, (size.width, size.height), interpolation=cv2.INTER_CUBIC), np.uint8)


def _fingerprint(reference: Reference) -> str:
    """Tells pictures of one name apart, and two faces in one picture."""
    digest = hashlib.blake2b(reference.image[::7, ::7].tobytes(), digest_size=16)
    digest.update(reference.face.landmarks.tobytes())
    return digest.hexdigest()


def make(settings: Settings, models: Models, engines: Engines) -> Studio:
    """Nothing of its own to load; the matter comes with the first portrait."""
    return Studio(engines.matter)


def status(settings: Settings, models: Models) -> list[str]:
    """Nothing is missing: the matter it asks for answers for itself."""
    return []
