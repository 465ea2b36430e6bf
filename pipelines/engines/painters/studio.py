"""Painter of studio portraits: a person cut out of a selfie and set before a painted backdrop; no diffusion model, no GPU.

No feature is invented: the person's pixels are levelled, enlarged, retouched and relit, and nothing else. One matte per
selfie serves every backdrop.
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
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.arrays import Image, Mask, Size, random_generator
from portrait.errors import OperatorError, UserError
from portrait.faces.geometry import RotatedRect, scaling_matrix, transform_face
from portrait.faces.skin import retouch_skin, skin_mask
from portrait.images.color import expose, white_balance
from portrait.images.masks import estimate_foreground, face_size
from portrait.images.resize import resize, scaled_size
from portrait.ports import Matter, Progress
from portrait.studio import backdrops
from portrait.studio.backdrops import LIGHTS, Light
from portrait.studio.composition import FACE_SHARE, Framing, frame_portrait, levelling_angle
from portrait.studio.lens import GRAIN
from portrait.types import Candidate, Face, PortraitRequest, Reference

Floats = NDArray[np.float32]

SIZE = Size(1024, 1280)
"""Size of a portrait where the request gives none: 4:5, which prints and profile pages take."""
MAX_PIXELS = 16_000_000
"""Most pixels at which a portrait is composed; larger ones are enlarged from it, as no selfie holds more of a head."""
LARGE_PIXELS = 4_000_000
"""Pixels of a portrait beyond which only the last subject is cached: at `MAX_PIXELS` one takes 230 MB."""
TIGHTNESS = (0.0, 0.09, -0.05, 0.15)
"""Relative head sizes of the candidates from one selfie; see `frame_portrait`."""
MIN_CANDIDATES = 2
"""Least number of candidates where there are that many usable selfies."""
LIGHT_WRAP_REACH = 0.010
"""Reach of the backdrop's light around the person's edge (light wrap), over the picture's height."""
LIGHT_WRAP_SHARE = 0.30
"""Share of the backdrop's colour at the very edge."""
MAX_RELIGHT = 0.055
"""Largest change of skin by the backdrop's light, as a factor of its sRGB value: about ΔE 3.5 on light skin."""
WHITE_BALANCE_STRENGTH, EXPOSURE_STRENGTH = 0.6, 0.8
"""Strength of white balance and exposure of the selfie: some of its own light remains."""
MAX_CUT_OUTS, MAX_SUBJECTS = 8, 4
"""How many selfies, and how many of them at portrait size, are cached for further backdrops."""

_CutOutKey: TypeAlias = tuple[str, str, float, float]
"""Name and fingerprint of a selfie, its reduction, and width over height of the portraits that it can serve."""

_Key = TypeVar("_Key", bound=Hashable)
_Value = TypeVar("_Value")


class _LRUCache(Generic[_Key, _Value]):
    """The most recently used values, by key; `functools.lru_cache` would hold on to the full selfies as arguments."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: OrderedDict[_Key, _Value] = OrderedDict()

    def get(self, key: _Key, make: Callable[[], _Value]) -> _Value:
        """The cached value of a key, or the one that `make` gives, which is cached."""
        if key not in self._values:
            self._values[key] = make()
        self._values.move_to_end(key)
        while len(self._values) > self._size:
            self._values.popitem(last=False)
        return self._values[key]


@dataclass(frozen=True, slots=True, eq=False)
class _CutOut:
    """The person of a selfie without the background, at the selfie's resolution or what a portrait needs of it."""

    front: Image
    """Colours of the person, spread beyond the edge so that nothing of the old background is left in hair."""
    alpha: Mask
    face: Face
    key: _CutOutKey


@dataclass(frozen=True, slots=True, eq=False)
class _Subject:
    """A person framed at the portrait's size, before any backdrop."""

    plain: Image
    retouched: Image
    alpha: Mask
    skin: Mask
    face: Face
    framing: Framing
    noise: float
    """Standard deviation of the fine grain, levels of 255."""
    light_side: float
    """Side from which the face is lit in the selfie, -1 left … 1 right."""


class Studio:
    """Paints people before backdrops."""

    def __init__(self, matter: Callable[[], Matter]) -> None:
        self._matter = matter
        self._cut_outs: _LRUCache[_CutOutKey, _CutOut] = _LRUCache(MAX_CUT_OUTS)
        self._subjects: _LRUCache[tuple[object, ...], _Subject] = _LRUCache(MAX_SUBJECTS)
        self._large_subjects: _LRUCache[tuple[object, ...], _Subject] = _LRUCache(1)

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
        canvas = _limit_size(size)
        usable = self._usable_cut_outs(person.references, canvas, max(request.count, MIN_CANDIDATES))
        candidates: list[Candidate] = []
        # Where there is a choice of selfies at least two are drawn: the better one is found by measuring.
        total = max(request.count, min(len(usable), MIN_CANDIDATES))
        for number in range(total):
            progress(number, total, "Drawing", candidates[-1].image if candidates else None)
            cut_out, name = usable[number % len(usable)]
            subject = self._cached_subject(
                cut_out, canvas, TIGHTNESS[number // len(usable) % len(TIGHTNESS)], request.style.retouch
            )
            seed = request.seed + number
            image, before = _compose_portrait(subject, backdrop, seed)
            variation = {"backdrop_seed": float(seed), "head": subject.framing.face_share}
            image, before = (resize(each, (size.height, size.width), cv2.INTER_CUBIC) for each in (image, before))
            candidates.append(Candidate(image, {1: name}, variation, before))
        progress(total, total, "Drawing", candidates[-1].image)
        return candidates

    def _usable_cut_outs(self, references: tuple[Reference, ...], canvas: Size, most: int) -> list[tuple[_CutOut, str]]:
        """Cut-outs of the first selfies that can be framed, with their names; raises `UserError` (`no_shoulders`)."""
        usable: list[tuple[_CutOut, str]] = []
        for reference in references:
            cut_out = self._cached_cut_out(reference, canvas)
            if frame_portrait(cut_out.alpha, cut_out.face, canvas) is not None:
                usable.append((cut_out, reference.name))
            if len(usable) == most:
                break
        if not usable:
            raise UserError(
                "no_shoulders",
                "The shoulders are cut off in these photos, so a portrait would show where the photo ends. "
                "Add one taken from a little further away, with both shoulders in the picture.",
            )
        return usable

    def _cached_cut_out(self, reference: Reference, canvas: Size) -> _CutOut:
        # The selfie is reduced to what the usual framing needs; the rounding lets similar sizes share one matte.
        shrink = min(1.0, canvas.height * 1.05 * FACE_SHARE / max(reference.face.box.height, 1.0))
        shrink = min(1.0, 2.0 ** (math.ceil(math.log2(shrink) * 4) / 4))
        aspect = max(0.8, 2.0 ** (math.ceil(math.log2(canvas.width / canvas.height) * 4) / 4))
        key = (reference.name, _fingerprint(reference), shrink, aspect)
        return self._cut_outs.get(key, lambda: _cut_out(reference, key, self._matter()))

    def _cached_subject(self, cut_out: _CutOut, canvas: Size, tightness: float, retouch: float) -> _Subject:
        key = (cut_out.key, canvas, tightness, retouch)
        cache = self._subjects if canvas.width * canvas.height <= LARGE_PIXELS else self._large_subjects
        return cache.get(key, lambda: _frame_subject(cut_out, canvas, tightness, retouch))


def _visible_part(face: Face, photo_size: Size, aspect: float) -> tuple[slice, slice]:
    """Rows and columns that any framing may show, with a margin so that their edge is not taken for the photo's."""
    roll = levelling_angle(face.pose.roll)
    tall = face.box.height / (0.8 * FACE_SHARE)
    centre = np.array(face.box.centre) + 0.1 * tall * np.array(
        [-math.sin(math.radians(roll)), math.cos(math.radians(roll))]
    )
    corners = RotatedRect((float(centre[0]), float(centre[1])), tall * aspect * 1.2, tall * 1.15, roll).corners()
    left, top = np.maximum(np.floor(corners.min(axis=0)), 0).astype(int)
    right, bottom = np.minimum(np.ceil(corners.max(axis=0)), (photo_size.width, photo_size.height)).astype(int)
    return slice(int(top), int(bottom)), slice(int(left), int(right))


def _cut_out(reference: Reference, key: _CutOutKey, matter: Matter) -> _CutOut:
    """Cut the person out of a selfie, with white balance and exposure corrected."""
    _, _, shrink, aspect = key
    image, face = reference.image, reference.face
    if shrink < 1:
        size = scaled_size(image.shape, shrink)
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        face = transform_face(face, scaling_matrix(shrink))
    # The matte is made from the full photo, so that people who stand beside are told apart by their faces.
    alpha = matter.matte(image, face)
    rows, columns = _visible_part(face, Size(image.shape[1], image.shape[0]), aspect)
    image, alpha = np.ascontiguousarray(image[rows, columns]), np.ascontiguousarray(alpha[rows, columns])
    face = transform_face(face, np.array([[1, 0, -columns.start], [0, 1, -rows.start]], np.float64))
    skin = skin_mask(image, face)
    image = expose(white_balance(image, skin, WHITE_BALANCE_STRENGTH), skin, EXPOSURE_STRENGTH)
    unit = face_size(face)
    front = _decontaminate_edges(estimate_foreground(image, alpha, max(3, round(0.6 * unit))), alpha, unit)
    return _CutOut(front, alpha, face, key)


def _decontaminate_edges(front: Image, alpha: Mask, unit: float) -> Image:
    """Give edges the colour of what lies just inside of them, in proportion to how transparent they are.

    What the foreground estimate leaves of a bright old background in hair would be a halo before a dark backdrop.
    """
    solid = (alpha > 0.97).astype(np.float32)
    sigma = 0.045 * unit
    weight = _fast_blur(solid, sigma)
    inner = _fast_blur(front * solid[..., None], sigma) / np.maximum(weight, 1e-3)[..., None]
    # Loose hair is too far from anything solid to take its colour.
    share = ((1 - alpha) * np.clip(weight * 8, 0, 1) * 0.8)[..., None]
    return np.asarray(front * (1 - share) + inner * share + 0.5, np.uint8)


def _frame_subject(cut_out: _CutOut, canvas: Size, tightness: float, retouch: float) -> _Subject:
    """Frame a person and enlarge them to the portrait's size, with and without retouch; raises `no_shoulders`."""
    framing = frame_portrait(cut_out.alpha, cut_out.face, canvas, tightness) or frame_portrait(
        cut_out.alpha, cut_out.face, canvas
    )
    if framing is None:
        raise UserError("no_shoulders", "The shoulders are cut off in this photo. Add one taken from further away.")
    matrix = framing.frame.matrix_to(canvas)
    enlarged = canvas.height / framing.frame.height
    size = (canvas.width, canvas.height)
    front = cv2.warpAffine(cut_out.front, matrix, size, flags=cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REPLICATE)
    # Framings are tried coarsely: a last sliver beyond the edge of the selfie goes on as its edge does.
    alpha = cv2.warpAffine(cut_out.alpha, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    face = transform_face(cut_out.face, matrix)
    plain = _sharpen(np.asarray(front, np.uint8), enlarged)
    alpha = np.asarray(np.clip(alpha, 0, 1), np.float32)
    if enlarged > 1.5:
        # Enlarged steps of the old pixels would show along smooth outlines.
        alpha = np.asarray(cv2.GaussianBlur(alpha, (0, 0), 0.3 * enlarged), np.float32)
    skin = skin_mask(plain, face, neck=True)
    retouched = retouch_skin(plain, face, retouch)
    noise, light_side = _estimate_noise(plain, alpha), _light_side(plain, skin, face)
    return _Subject(plain, retouched, alpha, skin, face, framing, noise, light_side)


def _sharpen(image: Image, enlarged: float) -> Image:
    """Unsharp mask for a picture enlarged `enlarged` times: it steepens existing edges and adds nothing elsewhere."""
    if enlarged <= 1.05:
        return image
    amount = min(0.7, 0.35 * (enlarged - 1))
    light = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    detail = light - cv2.GaussianBlur(light, (0, 0), 0.55 * enlarged)
    # Differences of less than a level are noise and are not sharpened; beyond twelve, strong edges would ring.
    detail = np.sign(detail) * np.clip(np.abs(detail) - 1.0, 0, 12) * amount
    return np.asarray(np.clip(image + detail[..., None] + 0.5, 0, 255), np.uint8)


def _estimate_noise(image: Image, alpha: Mask) -> float:
    """Standard deviation of the finest grain of the person, levels of 255; by the median, so that edges do not count."""
    light = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    fine = np.abs(light - cv2.GaussianBlur(light, (0, 0), 1.0))[alpha > 0.99]
    # The difference keeps 0.84 of white noise; 0.6745 turns a median into a deviation.
    return float(np.median(fine)) / 0.6745 / 0.84 if len(fine) else 0.0


def _light_side(image: Image, skin: Mask, face: Face) -> float:
    """From which side the face is lit: -1 where its left half is clearly lighter … 1 where the right one is."""
    light = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    middle = round(face.landmarks[2, 0])
    sides = [light[:, part][skin[:, part] > 0.5] for part in (slice(0, middle), slice(middle, None))]
    if min(len(side) for side in sides) < 64:
        return 0.0
    left, right = (float(np.median(side)) for side in sides)
    return float(np.clip((right - left) / 25, -1, 1))


def _compose_portrait(subject: _Subject, backdrop: str, seed: int) -> tuple[Image, Image]:
    """The portrait, and the same without retouch and relight."""
    height, width = subject.alpha.shape
    light = LIGHTS[backdrop]
    back = backdrops.paint(backdrop, Size(width, height), seed)
    # A backdrop lit from the other side than the face is mirrored, so that their light agrees.
    if light.side * subject.light_side < 0:
        back, light = np.ascontiguousarray(back[:, ::-1]), replace(light, side=-light.side)
    random = random_generator(seed)
    noise = random.standard_normal((height, width), np.float32)
    compositor = _Compositor(back, subject, light, noise)
    before = compositor.composite(subject.plain)
    rows, columns = _skin_window(subject)
    after = before.copy()
    after[rows, columns] = compositor.composite(_relight(subject, light, rows, columns), rows, columns)
    return after, before


def _skin_window(subject: _Subject) -> tuple[slice, slice]:
    """Rows and columns that contain all skin, which alone is retouched and relit."""
    left, top, wide, tall = cv2.boundingRect((subject.skin > 0).astype(np.uint8))
    return slice(top, top + max(tall, 1)), slice(left, left + max(wide, 1))


def _relight(subject: _Subject, light: Light, rows: slice, columns: slice) -> Image:
    """The retouched person with skin a little lighter on the side of the backdrop's light, a little darker on the other."""
    unit, middle = face_size(subject.face), subject.face.box.centre[0]
    across = (np.arange(columns.start, columns.stop, dtype=np.float32) - middle) / (0.7 * unit)
    # As far as the selfie's own light comes from that side, nothing needs to be added.
    amount = float(np.clip(light.side - 0.7 * subject.light_side, -1, 1))
    gain = MAX_RELIGHT * amount * np.tanh(across)[None, :] * subject.skin[rows, columns]
    image = subject.retouched[rows, columns].astype(np.float32)
    # Highlights cannot get lighter: the change fades towards white.
    room = np.clip((255 - image.max(axis=2)) / 60, 0, 1)
    return np.asarray(np.clip(image * (1 + gain * room)[..., None] + 0.5, 0, 255), np.uint8)


class _Compositor:
    """Sets a person before a backdrop; holds what is the same with and without retouch: alpha, light wrap, tint, grain."""

    def __init__(self, back: Image, subject: _Subject, light: Light, noise: Floats) -> None:
        height = back.shape[0]
        self._alpha = subject.alpha
        grain = GRAIN
        extra = math.sqrt(max(min(subject.noise, 4.0) ** 2 - grain**2, 0))
        self._back = back + (noise * np.float32(extra))[..., None]
        # Grain for a person whose own was lost in enlarging, so that person and backdrop have the same.
        missing = math.sqrt(max(grain**2 - subject.noise**2, 0))
        self._grain = noise * np.float32(missing)
        self._backdrop_blur = _fast_blur(back.astype(np.float32), 0.03 * height)
        self._wrap = subject.alpha * _fast_blur(1 - subject.alpha, LIGHT_WRAP_REACH * height) * LIGHT_WRAP_SHARE
        rows = np.linspace(0, 1, height, dtype=np.float32)
        # Studio light is aimed at the face; the chest gets less of it.
        fall = 1 - 0.09 * np.clip((rows - 0.68) / 0.32, 0, 1) ** 1.5
        self._tint = (fall[:, None] * np.array(light.colour, np.float32) ** np.float32(0.35)).astype(np.float32)

    def composite(self, front: Image, rows: slice = slice(None), columns: slice = slice(None)) -> Image:
        """The person `front` before the backdrop, or some rows and columns of that; `front` is as large as they are."""
        wrap = self._wrap[rows, columns, None]
        person = front * self._tint[rows, None, :]
        person += (self._backdrop_blur[rows, columns] - person) * wrap
        person += self._grain[rows, columns, None]
        back = self._back[rows, columns]
        return np.asarray(np.clip(back + (person - back) * self._alpha[rows, columns, None] + 0.5, 0, 255), np.uint8)


def _fast_blur(values: Floats, sigma: float) -> Floats:
    """A Gaussian blur, `sigma` in pixels, computed on a reduced picture: wide ones are slow and lose nothing by it.

    It mirrors the border, where `filters.fast_gaussian_blur` repeats it; portraits that were drawn before depend on it.
    """
    factor = min(1.0, 4.0 / max(sigma, 1e-3))
    small = cv2.resize(values, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    soft = cv2.GaussianBlur(small, (0, 0), max(sigma * factor, 0.3))
    return np.asarray(cv2.resize(soft, values.shape[1::-1], interpolation=cv2.INTER_LINEAR), np.float32)


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
