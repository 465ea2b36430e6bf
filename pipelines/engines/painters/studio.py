"""The photo studio: a person cut out of a selfie, before a painted backdrop; no diffusion model, no GPU.

No feature is invented: the person's pixels are levelled, enlarged, calmed and lit, and nothing else. One matte a selfie
serves every backdrop.
"""

import hashlib
import math
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.engines import Engines
from pipelines.engines.painters import backdrops
from pipelines.engines.painters.backdrops import LIGHTS, Light
from pipelines.models import Models
from pipelines.settings import Settings
from portrait.color import expose, white_balance
from portrait.composition import TIGHTEST, Framing, frame_portrait
from portrait.errors import OperatorError, UserError
from portrait.geometry import Affine, move_face
from portrait.masks import face_size, foreground
from portrait.ports import Matter, Progress
from portrait.skin import retouch_skin, skin_mask
from portrait.types import Candidate, Face, Image, Mask, PortraitRequest, Reference, Size

Floats = NDArray[np.float32]

SIZE = Size(1024, 1280)
"""Where neither request nor style asks for a size: 4:5, which prints and profile pages take."""
LARGEST = 16_000_000
"""Pixels at which a portrait is drawn at most; larger ones are enlarged from it, no selfie holds more of a head."""
TIGHTNESS = (0.0, 0.09, -0.05, 0.15)
"""How candidates from one selfie differ in head size."""
WRAP = 0.010
"""Reach of the backdrop's light around the person's edge, over the picture's height."""
WRAPPED = 0.30
"""Share of the backdrop's colour at the very edge."""
RELIGHT = 0.055
"""Largest change of skin by the backdrop's light, as a factor of its sRGB value: about ΔE 3.5 on light skin."""
RELIGHT_LIMIT = 5.0
"""ΔE that relighting stays below on any pixel."""
BALANCE, EXPOSURE = 0.6, 0.8
"""Strength of white balance and exposure of the selfie: some of its own light remains."""
PLATES, SITTERS = 8, 6
"""How many selfies, and how many of them at portrait size, are kept for further backdrops."""

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
    key: tuple[str, int]


@dataclass(frozen=True, slots=True, eq=False)
class _Sitter:
    """A person at the portrait's size, before any backdrop."""

    plain: Image
    retouched: Image
    share: Mask
    skin: Mask
    face: Face
    noise: float
    """Standard deviation of the fine grain, levels of 255."""
    light: float
    """Side from which the face is lit in the selfie, -1 left … 1 right."""


class Studio:
    """Paints people before backdrops."""

    def __init__(self, matter: Callable[[], Matter]) -> None:
        self._matter = matter
        self._plates: _Kept[tuple[str, int], _Plate] = _Kept(PLATES)
        self._sitters: _Kept[tuple[object, ...], _Sitter] = _Kept(SITTERS)

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
        drawn, canvas = size, _bounded(size)
        candidates: list[Candidate] = []
        usable = self._usable(person.references, canvas, progress)
        # One more than asked for when there is a choice of selfies: the best is found by measuring, not by guessing.
        total = max(request.count, min(len(usable), 2))
        for number in range(total):
            progress(number, total, "Drawing", candidates[-1].image if candidates else None)
            plate, reference = usable[number % len(usable)]
            tightness = TIGHTNESS[number // len(usable) % len(TIGHTNESS)]
            framing = frame_portrait(plate.person, plate.face, canvas, tightness)
            framing = framing or frame_portrait(plate.person, plate.face, canvas)
            if framing is None:
                raise _no_shoulders()
            sitter = self._sitter(plate, framing, canvas, request.style.retouch)
            seed = request.seed + number
            image, before = _composed(sitter, backdrop, canvas, seed)
            variation = {"tightness": tightness, "backdrop_seed": float(seed), "head": framing.face_share}
            candidates.append(Candidate(_sized(image, drawn), {1: reference.name}, variation, _sized(before, drawn)))
        progress(total, total, "Drawing", candidates[-1].image)
        return candidates
