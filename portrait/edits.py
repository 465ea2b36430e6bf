"""Edits of what was drawn: what stays of a picture, what is drawn anew, and how both become one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from portrait.errors import UserError
from portrait.masks import depth
from portrait.types import LARGEST_SIDE, SMALLEST_SIDE, Image, Mask, Points, Size

Kind: TypeAlias = Literal["variations", "change", "repaint", "extend"]
"""The same with other seeds; the same, but …; a part of it anew; another shape."""
STRENGTHS: Mapping[Kind, float] = {"variations": 0.5, "change": 0.65, "repaint": 0.85, "extend": 0.95}
"""How far each goes from the picture. Nothing is 1: from pure noise, what is drawn anew would not know its surroundings."""
LEAST_STRENGTH = 0.05
MOST_WORDS = 200
LONGEST_SHAPE = 2.0
"""Longer side over the shorter one: beyond, bases draw two of everything."""
MOST_CORNERS = 2000
"""Of all polygons of an area together."""
FEATHER = 32
"""The longer side of what is drawn, over the width of the border in which it fades into what stays."""
MIRRORED = 12
"""The shorter side of a picture over what is seen of its mirrored border: more would invite a second body."""
STRIP = 512
"""Rows that are blended at a time, so that memory does not grow with the picture."""


@dataclass(frozen=True, slots=True, eq=False)
class Edit:
    """What shall become of a picture."""

    kind: Kind
    picture: Image
    """As it was delivered."""
    hash: str
    """SHA-256 of its file."""
    strength: float
    words: str = ""
    """What shall be other: said after the style's own words."""
    mask: Mask | None = None
    """Where it is painted anew, from 0.5 on, for `repaint`; as large as the picture."""
    area: object = None
    """Where the mask comes from, for the recipe: the SHA-256 of its file, or polygons."""
    shape: tuple[int, int] | None = None
    """Width to height, for `extend`."""
    face: Points | None = None
    """Five points of the largest face in the picture, where one was found: it stays where it is."""


@dataclass(frozen=True, slots=True, eq=False)
class Sheet:
    """A picture laid out for an edit."""

    whole: Image
    """As large as the result; what the picture lacks is filled with the colours beside it."""
    left: int
    top: int
    """Where the picture lies in it."""
    rows: slice
    columns: slice
    """The window that is drawn."""
    blend: Mask | None = None
    """How much of the drawing is taken, 0..1; exactly 0 where the picture stays. None takes all of it."""

    @property
    def window(self) -> Size:
        """Of what is drawn, in pixels of the result."""
        return Size(self.columns.stop - self.columns.start, self.rows.stop - self.rows.start)

    def start(self, size: Size) -> Image:
        """The window at the size it is drawn at."""
        return _resized(self.whole[self.rows, self.columns], size)

    def mask(self, size: Size) -> Mask | None:
        """Where the drawing may differ, 0 or 1; None everywhere."""
        if self.blend is None:
            return None
        changed = (self.blend[self.rows, self.columns] > 0).astype(np.float32)
        small = cv2.resize(changed, (size.width, size.height), interpolation=cv2.INTER_AREA)
        return (small > 0).astype(np.float32)

    def points(self, points: Points, size: Size) -> Points:
        """Points of the picture in pixels of the drawing."""
        offset = (self.left - self.columns.start, self.top - self.rows.start)
        scale = (size.width / self.window.width, size.height / self.window.height)
        return ((points[:, :2] + offset) * scale).astype(np.float32)

    def put(self, drawn: Image) -> Image:
        """The result, of a drawing of the window at any size."""
        drawn = _resized(drawn, self.window)
        if self.blend is None:
            return drawn
        out = self.whole.copy()
        for row in range(self.rows.start, self.rows.stop, STRIP):
            rows = slice(row, min(row + STRIP, self.rows.stop))
            share = self.blend[rows, self.columns, None]
            there = drawn[rows.start - self.rows.start : rows.stop - self.rows.start]
            before = out[rows, self.columns].astype(np.float32)
            out[rows, self.columns] = np.clip(before + (there - before) * share + np.float32(0.5), 0, 255)
        return out


def check(edit: Edit) -> None:
    """Raise `UserError` (`bad_edit`, `bad_mask`, `bad_size`) for what cannot be drawn."""
    height, width = edit.picture.shape[:2]
    if not all(SMALLEST_SIDE <= side <= LARGEST_SIDE for side in (width, height)):
        raise UserError("bad_size", f"A picture to begin from has sides of {SMALLEST_SIDE} to {LARGEST_SIDE} pixels.")
    if not LEAST_STRENGTH <= edit.strength <= 1:
        raise UserError("bad_edit", f"The strength of an edit is {LEAST_STRENGTH} to 1, not {edit.strength}.")
    if len(edit.words) > MOST_WORDS or (edit.kind == "change" and not edit.words.strip()):
        raise UserError("bad_edit", f"Say in 1 to {MOST_WORDS} letters what shall be other.")
    if edit.kind == "repaint":
        if edit.mask is None or edit.mask.shape != (height, width):
            raise UserError("bad_mask", f"The mask is not as large as the picture, {width}×{height} pixels.")
        if not (edit.mask >= 0.5).any():
            raise UserError("bad_mask", "The mask is empty. Paint white what shall be drawn anew.")
    if edit.kind == "extend":
        check_shape(edit.shape, width, height)


def sheet(edit: Edit, side: int) -> Sheet:
    """The picture laid out; `side` is the size that the base draws at, in pixels."""
    height, width = edit.picture.shape[:2]
    whole = Sheet(edit.picture, 0, 0, slice(0, height), slice(0, width))
    if edit.kind == "extend" and edit.shape is not None:
        return _extended(edit.picture, edit.shape)
    if edit.mask is None:
        return whole
    inside = edit.mask >= 0.5
    rows, columns = (
        _around(np.flatnonzero(inside.any(axis=axis)), size, side) for axis, size in ((1, height), (0, width))
    )
    depths = depth(inside)
    longer = max(rows.stop - rows.start, columns.stop - columns.start)
    blend = np.clip(depths / max(1.0, min(longer / FEATHER, float(depths.max()))), 0, 1).astype(np.float32)
    return Sheet(edit.picture, 0, 0, rows, columns, blend)


def outlined(area: Sequence[Sequence[Sequence[float]]], width: int, height: int) -> Mask:
    """Polygons with corners as shares of width and height, filled; raises `UserError` (`bad_mask`)."""
    if sum(len(each) for each in area) > MOST_CORNERS or any(len(each) < 3 for each in area):
        raise UserError("bad_mask", f"An outline has at least 3 corners, and all together at most {MOST_CORNERS}.")
    mask = np.zeros((height, width), np.uint8)
    for outline in area:
        corners = np.round(np.array(outline, np.float64).clip(0, 1) * (width, height)).astype(np.int32)
        cv2.fillPoly(mask, [corners], 1)
    return mask.astype(np.float32)


def fitted(mask: Mask, width: int, height: int) -> Mask:
    """A mask of the picture's shape at the picture's size; raises `UserError` (`bad_mask`) for one of another shape."""
    tall, wide = mask.shape
    if abs(wide * height - tall * width) > max(wide * height, tall * width) / 50:
        raise UserError(
            "bad_mask", f"The mask has {wide}×{tall} pixels and another shape than the picture, {width}×{height}."
        )
    if (wide, tall) == (width, height):
        return mask
    return np.asarray(cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def told(edit: Edit) -> dict[str, object]:
    """As JSON, for the recipe; the picture and a painted mask by the hashes of their files."""
    said: dict[str, object] = {"kind": edit.kind, "picture": edit.hash, "strength": edit.strength}
    more = {"words": edit.words, "area": edit.area, "shape": list(edit.shape) if edit.shape else None}
    return said | {name: each for name, each in more.items() if each}


def read(said: Mapping[str, Any], picture: Image, mask: Mask | None = None) -> Edit:
    """The edit that was told, of the picture with that hash; raises `UserError` (`bad_edit`)."""
    kind: Any = said.get("kind")
    if kind not in get_args(Kind):
        raise UserError("bad_edit", f"There is no edit {kind!r}. Choose one of: {', '.join(get_args(Kind))}.")
    area, shape = said.get("area"), said.get("shape")
    height, width = picture.shape[:2]
    if mask is None and isinstance(area, list | tuple):
        mask = outlined(area, width, height)
    strength = said.get("strength")
    return Edit(
        kind,
        picture,
        str(said["picture"]),
        STRENGTHS[kind] if strength is None else float(strength),
        str(said.get("words", "")),
        mask if kind == "repaint" else None,
        area,
        (int(shape[0]), int(shape[1])) if shape else None,
    )


def shape_of(given: str) -> tuple[int, int]:
    """`16:9` as two numbers; raises `UserError` (`bad_edit`)."""
    width, colon, height = given.partition(":")
    if not colon or not width.isdecimal() or not height.isdecimal() or not 0 < int(width) * int(height) < 10**8:
        raise UserError("bad_edit", f"{given!r} is not a shape. Give width to height, such as 16:9.")
    return int(width), int(height)


def check_shape(shape: tuple[int, int] | None, width: int, height: int) -> None:
    """Raise `UserError` (`bad_edit`, `bad_size`) for a shape that a picture of that size cannot be given."""
    if shape is None or min(shape) < 1 or max(shape) > LONGEST_SHAPE * min(shape):
        raise UserError("bad_edit", "Give a shape as width to height, from 1:2 to 2:1.")
    wide, tall = _canvas(width, height, shape)
    if max(wide, tall) > LARGEST_SIDE:
        raise UserError(
            "bad_size", f"In this shape the picture would have {wide}×{tall} pixels, more than {LARGEST_SIDE}."
        )
    if (wide, tall) == (width, height):
        raise UserError("bad_edit", f"The picture already has the shape {shape[0]}:{shape[1]}.")


def _canvas(width: int, height: int, shape: tuple[int, int]) -> tuple[int, int]:
    """The smallest canvas of a shape that holds the picture."""
    return max(width, round(height * shape[0] / shape[1])), max(height, round(width * shape[1] / shape[0]))


def _extended(picture: Image, shape: tuple[int, int]) -> Sheet:
    """The picture in the middle of a larger canvas; beside it, its mirrored border that loses itself in blur."""
    height, width = picture.shape[:2]
    wide, tall = _canvas(width, height, shape)
    left, top = (wide - width) // 2, (tall - height) // 2
    border = (top, tall - height - top, left, wide - width - left)
    whole = np.asarray(cv2.copyMakeBorder(picture, *border, cv2.BORDER_REFLECT_101), np.uint8)
    inside = np.zeros((tall, wide), np.uint8)
    inside[top : top + height, left : left + width] = 1
    away = cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5)
    blurred = _resized(_soft(whole), Size(wide, tall))
    reach = max(1.0, min(width, height) / MIRRORED)
    for row in range(0, tall, STRIP):
        here = slice(row, row + STRIP)
        share = np.clip(away[here, :, None] / np.float32(reach), 0, 1)
        whole[here] = np.round(whole[here] + (blurred[here] - whole[here].astype(np.float32)) * share)
    whole[top : top + height, left : left + width] = picture
    band = max(2, round(min(width, height) / FEATHER))
    across = _ramp(wide, left, left + width, band)
    down = _ramp(tall, top, top + height, band)
    blend = np.maximum(across[None, :], down[:, None])
    return Sheet(whole, left, top, slice(0, tall), slice(0, wide), blend)


def _ramp(size: int, start: int, stop: int, band: int) -> Mask:
    """1 outside of start..stop, falling to 0 within `band` pixels inside; the canvas' own edges have no ramp."""
    places = np.arange(size, dtype=np.float32) + np.float32(0.5)
    before = 1 - (places - start) / band if start > 0 else np.zeros(size, np.float32)
    after = 1 - (stop - places) / band if stop < size else np.zeros(size, np.float32)
    return np.clip(np.maximum(before, after), 0, 1).astype(np.float32)


def _soft(image: Image) -> Image:
    """The colours of a picture without its shapes, small."""
    height, width = image.shape[:2]
    scale = min(1.0, 128 / max(height, width))
    small = _resized(image, Size(max(1, round(width * scale)), max(1, round(height * scale))))
    return np.asarray(cv2.GaussianBlur(small, (0, 0), max(small.shape[:2]) / 12), np.uint8)


def _around(places: NDArray[np.intp], size: int, side: int) -> slice:
    """Along one side: those places with half as much again at either end, at least `side` pixels where there are."""
    first, last = int(places[0]), int(places[-1]) + 1
    wanted = max(2 * (last - first), side)
    start = max(0, min((first + last - wanted) // 2, size - wanted))
    return slice(start, min(size, start + wanted))


def _resized(image: Image, size: Size) -> Image:
    height, width = image.shape[:2]
    if (width, height) == (size.width, size.height):
        return image
    how = cv2.INTER_AREA if size.width * size.height < width * height else cv2.INTER_CUBIC
    return np.ascontiguousarray(cv2.resize(image, (size.width, size.height), interpolation=how), np.uint8)
