"""Edits of a portrait: variations, a change in words, a part repainted, another shape."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import cv2
import numpy as np

from portrait.arrays import LARGEST_SIDE, SMALLEST_SIDE, Image, Mask, Points
from portrait.errors import UserError

EditKind: TypeAlias = Literal["variations", "change", "repaint", "extend"]
"""The same with other seeds; the same, but …; a part of it anew; another shape."""
STRENGTHS: Mapping[EditKind, float] = {"variations": 0.5, "change": 0.65, "repaint": 0.85, "extend": 0.95}
"""How far each goes from the picture. Nothing is 1: from pure noise, what is drawn anew would not know its surroundings."""
MIN_STRENGTH = 0.05
MAX_PROMPT_LENGTH = 200
MAX_ASPECT = 2.0
"""Longer side over the shorter one: beyond, bases draw two of everything."""
MAX_CORNERS = 2000
"""Of all polygons of an area together."""


@dataclass(frozen=True, slots=True, eq=False)
class Edit:
    """What shall become of a picture."""

    kind: EditKind
    picture: Image
    """As it was delivered."""
    hash: str
    """SHA-256 of its file."""
    strength: float
    extra_prompt: str = ""
    """What shall be other: said after the style's own words."""
    mask: Mask | None = None
    """Where it is painted anew, from 0.5 on, for `repaint`; as large as the picture."""
    area: object = None
    """Where the mask comes from, for the recipe: the SHA-256 of its file, or polygons."""
    shape: tuple[int, int] | None = None
    """Width to height, for `extend`."""
    face: Points | None = None
    """Five points of the largest face in the picture, where one was found: it stays where it is."""


def check(edit: Edit) -> None:
    """Raise `UserError` (`bad_edit`, `bad_mask`, `bad_size`) for what cannot be drawn."""
    height, width = edit.picture.shape[:2]
    if not all(SMALLEST_SIDE <= side <= LARGEST_SIDE for side in (width, height)):
        raise UserError("bad_size", f"A picture to begin from has sides of {SMALLEST_SIDE} to {LARGEST_SIDE} pixels.")
    if not MIN_STRENGTH <= edit.strength <= 1:
        raise UserError("bad_edit", f"The strength of an edit is {MIN_STRENGTH} to 1, not {edit.strength}.")
    if len(edit.extra_prompt) > MAX_PROMPT_LENGTH or (edit.kind == "change" and not edit.extra_prompt.strip()):
        raise UserError("bad_edit", f"Say in 1 to {MAX_PROMPT_LENGTH} letters what shall be other.")
    if edit.kind == "repaint":
        if edit.mask is None or edit.mask.shape != (height, width):
            raise UserError("bad_mask", f"The mask is not as large as the picture, {width}×{height} pixels.")
        if not (edit.mask >= 0.5).any():
            raise UserError("bad_mask", "The mask is empty. Paint white what shall be drawn anew.")
    if edit.kind == "extend":
        check_shape(edit.shape, width, height)


def polygon_mask(area: Sequence[Sequence[Sequence[float]]], width: int, height: int) -> Mask:
    """Polygons with corners as shares of width and height, filled; raises `UserError` (`bad_mask`)."""
    if sum(len(each) for each in area) > MAX_CORNERS or any(len(each) < 3 for each in area):
        raise UserError("bad_mask", f"An outline has at least 3 corners, and all together at most {MAX_CORNERS}.")
    mask = np.zeros((height, width), np.uint8)
    for outline in area:
        corners = np.round(np.array(outline, np.float64).clip(0, 1) * (width, height)).astype(np.int32)
        cv2.fillPoly(mask, [corners], 1)
    return mask.astype(np.float32)


def fit_mask(mask: Mask, width: int, height: int) -> Mask:
    """A mask of the picture's shape at the picture's size; raises `UserError` (`bad_mask`) for one of another shape."""
    tall, wide = mask.shape
    if abs(wide * height - tall * width) > max(wide * height, tall * width) / 50:
        raise UserError(
            "bad_mask", f"The mask has {wide}×{tall} pixels and another shape than the picture, {width}×{height}."
        )
    if (wide, tall) == (width, height):
        return mask
    return np.asarray(cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def to_dict(edit: Edit) -> dict[str, object]:
    """As JSON, for the recipe; the picture and a painted mask by the hashes of their files."""
    said: dict[str, object] = {"kind": edit.kind, "picture": edit.hash, "strength": edit.strength}
    more = {"words": edit.extra_prompt, "area": edit.area, "shape": list(edit.shape) if edit.shape else None}
    return said | {name: each for name, each in more.items() if each}


def from_dict(said: Mapping[str, Any], picture: Image, mask: Mask | None = None) -> Edit:
    """The edit that was told, of the picture with that hash; raises `UserError` (`bad_edit`)."""
    kind: Any = said.get("kind")
    if kind not in get_args(EditKind):
        raise UserError("bad_edit", f"There is no edit {kind!r}. Choose one of: {', '.join(get_args(EditKind))}.")
    area, shape = said.get("area"), said.get("shape")
    height, width = picture.shape[:2]
    if mask is None and isinstance(area, list | tuple):
        mask = polygon_mask(area, width, height)
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


def parse_shape(given: str) -> tuple[int, int]:
    """`16:9` as two numbers; raises `UserError` (`bad_edit`)."""
    width, colon, height = given.partition(":")
    if not colon or not width.isdecimal() or not height.isdecimal() or not 0 < int(width) * int(height) < 10**8:
        raise UserError("bad_edit", f"{given!r} is not a shape. Give width to height, such as 16:9.")
    return int(width), int(height)


def check_shape(shape: tuple[int, int] | None, width: int, height: int) -> None:
    """Raise `UserError` (`bad_edit`, `bad_size`) for a shape that a picture of that size cannot be given."""
    if shape is None or min(shape) < 1 or max(shape) > MAX_ASPECT * min(shape):
        raise UserError("bad_edit", "Give a shape as width to height, from 1:2 to 2:1.")
    wide, tall = canvas_size(width, height, shape)
    if max(wide, tall) > LARGEST_SIDE:
        raise UserError(
            "bad_size", f"In this shape the picture would have {wide}×{tall} pixels, more than {LARGEST_SIDE}."
        )
    if (wide, tall) == (width, height):
        raise UserError("bad_edit", f"The picture already has the shape {shape[0]}:{shape[1]}.")


def canvas_size(width: int, height: int, shape: tuple[int, int]) -> tuple[int, int]:
    """The smallest canvas of a shape that holds the picture."""
    return max(width, round(height * shape[0] / shape[1])), max(height, round(width * shape[1] / shape[0]))
