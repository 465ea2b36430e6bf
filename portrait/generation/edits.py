"""Edits of a finished portrait by instruction, img2img, inpainting and outpainting: values, checks, JSON."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from portrait.arrays import LARGEST_SIDE, SMALLEST_SIDE, Image, Mask, Points
from portrait.errors import UserError
from portrait.generation.options import picture_hash
from portrait.numbers import read_integer

EditKind: TypeAlias = Literal["variations", "change", "repaint", "extend", "instruct"]
"""Other seeds; an addition to the prompt; inpainting of a part; outpainting to another aspect ratio; a change that words
alone ask for, of a base that sees the picture as a reference."""
STRENGTHS: Mapping[EditKind, float] = {
    "variations": 0.5,
    "change": 0.65,
    "repaint": 0.85,
    "extend": 0.95,
    "instruct": 1.0,
}
"""Default img2img strengths. None of img2img is 1: what is drawn from pure noise does not fit its surroundings. An instruction
is no img2img: it has none."""
WITH_PICTURES: Collection[EditKind] = ("instruct", "repaint")
"""Edits that pictures of a garment or an object may go with."""
MIN_STRENGTH = 0.05
MAX_PROMPT_LENGTH = 200
MAX_ASPECT = 2.0
"""Longer side over the shorter one: beyond, base models draw things twice."""


@dataclass(frozen=True, slots=True, eq=False)
class Edit:
    """An edit of one picture."""

    kind: EditKind
    picture: Image
    """The delivered picture."""
    hash: str
    """SHA-256 of its file."""
    strength: float
    """img2img strength."""
    extra_prompt: str = ""
    """What shall change: added after the style's prompt; an instruction is the whole prompt."""
    mask: Mask | None = None
    """Where it is drawn anew, from 0.5 on, for `repaint`; as large as the picture."""
    area: object = None
    """Origin of the mask, for the recipe: the SHA-256 of its file, or polygons."""
    shape: tuple[int, int] | None = None
    """Aspect ratio as width and height, for `extend`."""
    face: Points | None = None
    """5×2 landmarks of the largest face in the picture, where one was found: it stays where it is."""
    pictures: tuple[Image, ...] = ()
    """Pictures of a garment or an object that shall come into it."""


def check(edit: Edit) -> None:
    """Raise `UserError` (`bad_edit`, `bad_mask`, `bad_size`) for an edit that cannot be drawn."""
    height, width = edit.picture.shape[:2]
    if not all(SMALLEST_SIDE <= side <= LARGEST_SIDE for side in (width, height)):
        raise UserError("bad_size", f"A picture to begin from has sides of {SMALLEST_SIDE} to {LARGEST_SIDE} pixels.")
    if not MIN_STRENGTH <= edit.strength <= 1:
        raise UserError("bad_edit", f"The strength of an edit is {MIN_STRENGTH} to 1, not {edit.strength}.")
    needs_words = edit.kind in ("change", "instruct")
    if len(edit.extra_prompt) > MAX_PROMPT_LENGTH or (needs_words and not edit.extra_prompt.strip()):
        raise UserError("bad_edit", f"Say in 1 to {MAX_PROMPT_LENGTH} letters what shall be other.")
    if edit.kind == "repaint":
        if edit.mask is None or edit.mask.shape != (height, width):
            raise UserError("bad_mask", f"The mask is not as large as the picture, {width}×{height} pixels.")
        if not (edit.mask >= 0.5).any():
            raise UserError("bad_mask", "The mask is empty. Paint white what shall be drawn anew.")
    if edit.kind == "extend":
        check_shape(edit.shape, width, height)
    if edit.pictures and edit.kind not in WITH_PICTURES:
        raise UserError("bad_edit", "A picture goes with words that say what to do with it, or with a mask.")


def to_dict(edit: Edit) -> dict[str, object]:
    """The edit as JSON, for the recipe: picture and painted mask by the hashes of their files, others by their pixels'."""
    values: dict[str, object] = {"kind": edit.kind, "picture": edit.hash}
    optional = {
        "strength": None if edit.kind == "instruct" else edit.strength,
        "words": edit.extra_prompt,
        "area": edit.area,
        "shape": list(edit.shape) if edit.shape else None,
        "with": [picture_hash(each) for each in edit.pictures],
    }
    return values | {name: each for name, each in optional.items() if each}


def from_dict(
    values: Mapping[str, Any], picture: Image, mask: Mask | None = None, pictures: Mapping[str, Image] | None = None
) -> Edit:
    """The edit of `to_dict`, of the picture with that hash; `pictures` are those that go with it, by hash.

    Raises `UserError` (`bad_edit`, `hint_missing`).
    """
    kind: Any = values.get("kind")
    if kind not in get_args(EditKind):
        raise UserError("bad_edit", f"There is no edit {kind!r}. Choose one of: {', '.join(get_args(EditKind))}.")
    area, shape = values.get("area"), values.get("shape")
    height, width = picture.shape[:2]
    if mask is None and isinstance(area, list | tuple):
        # Not above: what handles edits as values alone, the ledger's processes, needs no OpenCV.
        from portrait.generation.edit_masks import polygon_mask

        mask = polygon_mask(area, width, height)
    strength = values.get("strength")
    if kind == "instruct" and strength is not None:
        raise UserError("bad_edit", "An instruction has no strength: leave it out, or change the portrait by words.")
    return Edit(
        kind,
        picture,
        str(values["picture"]),
        STRENGTHS[kind] if strength is None else float(strength),
        str(values.get("words", "")),
        mask if kind == "repaint" else None,
        area,
        (int(shape[0]), int(shape[1])) if shape else None,
        pictures=_pictures_of(values.get("with", ()), pictures or {}),
    )


def _pictures_of(hashes: Sequence[str], pictures: Mapping[str, Image]) -> tuple[Image, ...]:
    if not set(hashes) <= pictures.keys():
        raise UserError(
            "hint_missing", "A picture that went with this edit is gone or has changed. Name it with --from."
        )
    return tuple(pictures[each] for each in hashes)


def parse_shape(text: str) -> tuple[int, int]:
    """Two numbers of an aspect ratio such as `16:9`; raises `UserError` (`bad_edit`)."""
    wide, _, tall = text.partition(":")
    width, height = read_integer(wide), read_integer(tall)
    if not width or not height:
        raise UserError("bad_edit", f"{text!r} is not a shape. Give width to height, such as 16:9.")
    return width, height


def check_shape(shape: tuple[int, int] | None, width: int, height: int) -> None:
    """Raise `UserError` (`bad_edit`, `bad_size`) for an aspect ratio to which such a picture cannot be extended."""
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
    """Width and height of the smallest canvas of an aspect ratio that holds the picture."""
    return max(width, round(height * shape[0] / shape[1])), max(height, round(width * shape[1] / shape[0]))
