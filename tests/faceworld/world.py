"""Draws cartoon portraits from signed distances: who it is and where they are, independent of each other.

Pictures are N×3×48×48 float32, 0..1. Places are in units of half a picture, from the middle, y down.
"""

from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from portrait.arrays import Image

SIDE = 48
"""Pixels."""
PIXEL = 2 / SIDE
ZOOM = 1.22
"""Faces fill the picture: their parts are a few pixels each."""

TRAITS = (
    *("face_width", "face_height", "jaw", "skin", "skin_warmth", "hair", "hair_light", "hair_length", "fringe"),
    *("eye_gap", "eye_size", "eye_colour", "brow_weight", "brow_tilt", "nose_length", "mouth_width", "lips"),
    *("glasses", "freckles", "beard"),
)
"""What makes a person; each is 0..1."""
GLASSES, FRECKLES, BEARD = 0.65, 0.7, 0.65
"""Above this a person has them; the rest of the range says how large or strong they are."""

BACKGROUNDS = ("white wall", "red wall", "blue sky", "green field", "desert", "night", "pink room", "grey street")
SHIRTS = ("red", "orange", "yellow", "green", "blue", "purple", "black", "white")

_SKINS = ((0.98, 0.86, 0.77), (0.93, 0.74, 0.6), (0.78, 0.56, 0.41), (0.58, 0.38, 0.26), (0.38, 0.24, 0.17))
_HAIRS = ((0.1, 0.08, 0.09), (0.36, 0.2, 0.1), (0.75, 0.28, 0.08), (0.92, 0.75, 0.36), (0.86, 0.86, 0.88))
_EYES = ((0.25, 0.13, 0.07), (0.25, 0.45, 0.2), (0.2, 0.42, 0.8))
_ABOVE = (
    *((0.93, 0.93, 0.91), (0.72, 0.2, 0.18), (0.45, 0.7, 0.97), (0.72, 0.88, 0.97)),
    *((0.98, 0.72, 0.4), (0.06, 0.08, 0.24), (0.97, 0.66, 0.78), (0.62, 0.64, 0.66)),
)
_BELOW = (
    *((0.88, 0.88, 0.86), (0.62, 0.14, 0.13), (0.66, 0.84, 1.0), (0.3, 0.66, 0.25)),
    *((0.87, 0.6, 0.28), (0.1, 0.1, 0.3), (0.9, 0.52, 0.68), (0.36, 0.37, 0.4)),
)
_CLOTHS = (
    *((0.85, 0.1, 0.12), (0.96, 0.52, 0.08), (0.97, 0.87, 0.15), (0.12, 0.6, 0.22)),
    *((0.12, 0.3, 0.85), (0.52, 0.16, 0.65), (0.08, 0.08, 0.09), (0.97, 0.97, 0.97)),
)
_HAT, _HAT_BAND = (0.08, 0.5, 0.52), (0.95, 0.85, 0.3)


@dataclass(frozen=True, slots=True, eq=False)
class Scenes:
    """What is not the person; N of each."""

    background: Tensor
    """Index into `BACKGROUNDS`."""
    shirt: Tensor
    """Index into `SHIRTS`."""
    hat: Tensor
    """0 or 1."""
    smile: Tensor
    """0 or 1."""
    tilt: Tensor
    """Radians."""
    shift: Tensor
    """N×2, of the head."""
    light: Tensor
    """Brightness, 1 is plain."""

    def __len__(self) -> int:
        return len(self.background)

    def __getitem__(self, which: Tensor | slice) -> "Scenes":
        return Scenes(*(getattr(self, field.name)[which] for field in fields(self)))


def people(count: int, random: torch.Generator) -> Tensor:
    """So many strangers: N×20, 0..1."""
    return torch.rand(count, len(TRAITS), generator=random)


def scenes(count: int, random: torch.Generator) -> Scenes:
    """So many scenes, drawn from all there are."""

    def spread(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=random) * 2 - 1

    return Scenes(
        background=torch.randint(len(BACKGROUNDS), (count,), generator=random),
        shirt=torch.randint(len(SHIRTS), (count,), generator=random),
        hat=(torch.rand(count, generator=random) < 0.3).long(),
        smile=(torch.rand(count, generator=random) < 0.5).long(),
        tilt=spread(count) * 0.1,
        shift=spread(count, 2) * 0.05,
        light=1 + spread(count) * 0.06,
    )


def render(who: Tensor, where: Scenes) -> Tensor:
    """Draw each person in the scene of the same number."""
    trait = {name: who[:, number, None, None] for number, name in enumerate(TRAITS)}
    line = (torch.arange(SIDE) + 0.5) * PIXEL - 1
    y, x = torch.meshgrid(line, line, indexing="ij")
    canvas = _Canvas(_backdrop(where, y))
    body_x = x - where.shift[:, 0, None, None] * 0.6
    head_x, head_y = _head_frame(x, y, where)
    appearance = _Appearance.of(trait)
    if_hat = where.hat[:, None, None].float()
    _hair_behind(canvas, head_x, head_y, appearance)
    _body(canvas, body_x, y, appearance, where)
    _face(canvas, head_x, head_y, appearance)
    _features(canvas, head_x, head_y, appearance, where.smile[:, None, None].float())
    _hair_before(canvas, head_x, head_y, appearance)
    _glasses(canvas, head_x, head_y, appearance)
    _hat(canvas, head_x, head_y, appearance, if_hat)
    return (canvas.picture * where.light[:, None, None, None]).clamp(0, 1)


def to_images(pictures: Tensor) -> list[Image]:
    """N×3×48×48, 0..1, to images."""
    bytes_ = (pictures.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1)
    return list(np.ascontiguousarray(bytes_.numpy()))


def to_pictures(images: list[Image]) -> Tensor:
    """Images of 48×48 to N×3×48×48, 0..1."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255


class _Canvas:
    """A picture that shapes are laid onto, one over the other."""

    def __init__(self, picture: Tensor) -> None:
        self.picture = picture

    def lay(self, distance: Tensor, colour: Tensor, opacity: Tensor | float = 1.0) -> None:
        """Fill where the signed distance is negative; edges are one pixel soft. `colour` is N×3 or 3."""
        cover = ((0.5 - distance / PIXEL).clamp(0, 1) * opacity)[:, None]
        self.picture = self.picture + cover * (colour.reshape(-1, 3, 1, 1) - self.picture)


@dataclass(frozen=True, slots=True, eq=False)
class _Appearance:
    """Sizes (N×1×1) and colours (N×3) of a person."""

    trait: dict[str, Tensor]
    width: Tensor
    height: Tensor
    skin: Tensor
    hair: Tensor

    @classmethod
    def of(cls, trait: dict[str, Tensor]) -> "_Appearance":
        skin = _between(_SKINS, trait["skin"])
        warm = torch.tensor((0.05, 0.0, -0.06)) * (trait["skin_warmth"].reshape(-1, 1) * 2 - 1)
        # Colour in steps, so that a word can name it, and a little lighter or darker.
        step = (trait["hair"] * len(_HAIRS)).floor().clamp(max=len(_HAIRS) - 1) / (len(_HAIRS) - 1)
        hair = _between(_HAIRS, step) + (trait["hair_light"].reshape(-1, 1) - 0.5) * 0.24
        return cls(
            trait=trait,
            width=0.36 + 0.16 * trait["face_width"],
            height=0.46 + 0.14 * trait["face_height"],
            skin=(skin + warm).clamp(0, 1),
            hair=hair.clamp(0.02, 1),
        )


def _between(anchors: tuple[tuple[float, ...], ...], at: Tensor) -> Tensor:
    """N×3: the colour at 0..1 on the way through the anchors."""
    colours = torch.tensor(anchors)
    place = at.reshape(-1) * (len(anchors) - 1)
    low = place.floor().long().clamp(max=len(anchors) - 2)
    share = (place - low)[:, None]
    return colours[low] * (1 - share) + colours[low + 1] * share


def _ellipse(x: Tensor, y: Tensor, wide: Tensor | float, tall: Tensor | float) -> Tensor:
    """About the signed distance: exact on the edge, good within a pixel of it."""
    wide, tall = torch.as_tensor(wide), torch.as_tensor(tall)
    return ((x / wide).square() + (y / tall).square()).add(1e-9).sqrt().sub(1) * torch.minimum(wide, tall)


def _box(x: Tensor, y: Tensor, wide: Tensor | float, tall: Tensor | float) -> Tensor:
    return torch.maximum(x.abs() - wide, y.abs() - tall)


def _backdrop(where: Scenes, y: Tensor) -> Tensor:
    above, below = torch.tensor(_ABOVE)[where.background], torch.tensor(_BELOW)[where.background]
    # The horizon stands behind the head; walls and skies merely grow darker downward.
    share = ((y - 0.1) / PIXEL + 0.5).clamp(0, 1)[None, None]
    return above[:, :, None, None] * (1 - share) + below[:, :, None, None] * share


def _head_frame(x: Tensor, y: Tensor, where: Scenes) -> tuple[Tensor, Tensor]:
    """Coordinates about the middle of the face, turned with it about the chin."""
    cosine, sine = where.tilt.cos()[:, None, None], where.tilt.sin()[:, None, None]
    x = x - where.shift[:, 0, None, None]
    y = y + 0.08 - where.shift[:, 1, None, None]
    pivot = 0.5
    across, down = cosine * x + sine * (y - pivot), -sine * x + cosine * (y - pivot) + pivot
    return across / ZOOM, down / ZOOM


def _body(canvas: _Canvas, x: Tensor, y: Tensor, appearance: _Appearance, where: Scenes) -> None:
    neck = _box(x, y - 0.65, appearance.width * 0.5, 0.25).clamp(min=-1)
    canvas.lay(neck, appearance.skin * 0.88)
    cloth = torch.tensor(_CLOTHS)[where.shirt]
    shoulders = _ellipse(x, y - 1.15, 0.92, 0.5)
    collar = _ellipse(x, y - 0.65, appearance.width * 0.6, 0.13)
    canvas.lay(torch.maximum(shoulders, -collar), cloth)


def _hair_behind(canvas: _Canvas, x: Tensor, y: Tensor, appearance: _Appearance) -> None:
    length = appearance.trait["hair_length"]
    crown = _ellipse(x, y + 0.1, appearance.width * 1.14, appearance.height * 1.04)
    bottom = -0.1 + 0.85 * length
    sides = _box(x, y - (bottom - 0.1) / 2, appearance.width * 1.16, (bottom + 0.1) / 2)
    canvas.lay(torch.minimum(crown, sides), appearance.hair * 0.85)


def _face_shape(x: Tensor, y: Tensor, appearance: _Appearance) -> Tensor:
    """A pointed chin or a square jaw."""
    jaw = 0.75 * (1 - appearance.trait["jaw"]) - 0.15
    narrower = 1 - jaw * (y / appearance.height).clamp(0, 1).square() * 0.6
    return _ellipse(x / narrower, y, appearance.width, appearance.height)


def _face(canvas: _Canvas, x: Tensor, y: Tensor, appearance: _Appearance) -> None:
    ears = _ellipse(x.abs() - appearance.width, y - 0.02, 0.07, 0.11)
    canvas.lay(ears, appearance.skin * 0.9)
    face = _face_shape(x, y, appearance)
    canvas.lay(face, appearance.skin)
    trait = appearance.trait
    beard = ((trait["beard"] - BEARD) / (1 - BEARD)).clamp(0, 1)
    has = (beard > 0).float()
    edge = 0.24 - 0.16 * beard
    near_mouth = _ellipse(x, y - 0.27, 0.16, 0.075)
    canvas.lay(torch.maximum(torch.maximum(face, edge - y), -near_mouth), appearance.hair * 0.9, has * 0.95)
    freckled = ((trait["freckles"] - FRECKLES) / (1 - FRECKLES)).clamp(0, 1)
    some = (freckled > 0).float() * (0.5 + 0.4 * freckled)
    for place_x, place_y in ((0.14, 0.1), (0.22, 0.06), (0.27, 0.13)):
        canvas.lay(_ellipse(x.abs() - place_x, y - place_y, 0.024, 0.024), torch.tensor((0.55, 0.25, 0.12)), some)


def _features(canvas: _Canvas, x: Tensor, y: Tensor, appearance: _Appearance, smile: Tensor) -> None:
    trait = appearance.trait
    gap, size = 0.14 + 0.1 * trait["eye_gap"], 0.06 + 0.045 * trait["eye_size"]
    eye_x, eye_y = x.abs() - gap, y + 0.06
    canvas.lay(_ellipse(eye_x, eye_y, size * 1.35, size), torch.tensor((0.98, 0.98, 0.98)))
    canvas.lay(_ellipse(eye_x, eye_y, size * 0.8, size * 0.95), _between(_EYES, trait["eye_colour"]))
    canvas.lay(_ellipse(eye_x, eye_y, size * 0.35, size * 0.4), torch.tensor((0.03, 0.03, 0.03)))
    slope = 0.7 * (trait["brow_tilt"] - 0.5)
    brow_y = y + 0.13 + size - slope * eye_x
    canvas.lay(_box(eye_x, brow_y, size * 1.5, 0.012 + 0.035 * trait["brow_weight"]), appearance.hair * 0.7)
    nose = 0.06 + 0.12 * trait["nose_length"]
    canvas.lay(_ellipse(x, y - nose, 0.05, nose * 0.75), appearance.skin * 0.8)
    wide, thick = 0.09 + 0.12 * trait["mouth_width"], 0.022 + 0.035 * trait["lips"]
    bend = (smile * 0.75 - 0.12) * (x.square() - wide.square() * 0.5) / wide
    red = torch.tensor((0.75, 0.25, 0.25)) * (0.75 + 0.45 * trait["lips"].reshape(-1, 1))
    canvas.lay(_ellipse(x, y - 0.3 + bend, wide, thick), red.clamp(0, 1))


def _hair_before(canvas: _Canvas, x: Tensor, y: Tensor, appearance: _Appearance) -> None:
    """A fringe with its parting; short at 0, down to the brows at 1, swept to one side by its own amount."""
    fringe = appearance.trait["fringe"]
    crown = _ellipse(x, y + 0.1, appearance.width * 1.12, appearance.height * 1.0)
    hairline = (
        -appearance.height * (0.82 - 0.42 * fringe) + (1 - fringe) * 0.5 * x.square() / appearance.width + 0.12 * x
    )
    canvas.lay(torch.maximum(crown, y - hairline), appearance.hair)


def _glasses(canvas: _Canvas, x: Tensor, y: Tensor, appearance: _Appearance) -> None:
    amount = ((appearance.trait["glasses"] - GLASSES) / (1 - GLASSES)).clamp(0, 1)
    has = (amount > 0).float()
    gap, radius = 0.14 + 0.1 * appearance.trait["eye_gap"], 0.11 + 0.04 * amount
    rim = (_ellipse(x.abs() - gap, y + 0.06, radius, radius * 0.9)).abs() - 0.022
    bridge = _box(x, y + 0.07, (gap - radius).clamp(min=0.01), 0.02)
    frame = torch.tensor((0.06, 0.06, 0.1))
    canvas.lay(torch.minimum(rim, bridge), frame, has)


def _hat(canvas: _Canvas, x: Tensor, y: Tensor, appearance: _Appearance, has: Tensor) -> None:
    top = -appearance.height * 0.62
    crown = torch.maximum(_ellipse(x, y - top, appearance.width * 1.12, 0.4), y - top)
    canvas.lay(crown, torch.tensor(_HAT), has)
    canvas.lay(torch.maximum(crown, top - 0.1 - y), torch.tensor(_HAT_BAND), has)
    canvas.lay(_box(x, y - top - 0.02, appearance.width * 1.45, 0.04), torch.tensor(_HAT), has)
