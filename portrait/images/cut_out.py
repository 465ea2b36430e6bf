"""How clean a cut-out is: whether pieces of the old room stick to the head of a person who was cut out."""

import math
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from portrait.arrays import Image, Mask
from portrait.images.masks import distance_inside, face_size
from portrait.images.resize import scaled_size
from portrait.types import Face

Floats: TypeAlias = NDArray[np.float32]
Marks: TypeAlias = NDArray[np.bool_]

WORKING_FACE = 64
"""Face size in pixels at which colours are compared: what sticks to a head is seen there."""
ASIDE, ABOVE = 1.5, 1.3
"""Reach beside and above the face's centre, in face sizes, within which something may stick to the head."""
HEAD = (0.6, 0.72)
"""Half axes of an ellipse around face and hair, in widths and heights of the face's box: outside of the face, what is in it
is hair, ears and temples."""
SAMPLES, ALIKE = 4000, 8
"""Colours at most that others are compared with, and how many must be alike: a stray pixel proves nothing."""
HAIR_PLACE, CLOTHES_PLACE = 25.0, 40.0
"""What one face size of distance counts as, in units of CIE Lab, from hair and clothes."""
FOREIGN_LOW, FOREIGN_HIGH = 15.0, 30.0
"""Distance from the person's colours at which a colour begins to be, and is, foreign to them."""
CLEAN_AREA, VISIBLE_AREA = 0.025, 0.07
"""Foreign area in squared face sizes that clean cut-outs may have, and beyond it what gives a residue of 0.63: on the
composites of the tests clean ones had at most 0.021, pieces of 0.08 and more that stuck at least 0.05."""


@dataclass(frozen=True, slots=True, eq=False)
class _Region:
    """Head and chest of a cut-out, small, with what is known of every pixel."""

    colours: Floats
    """CIE Lab."""
    matte: Mask
    rows: Floats
    """Distance downwards and across from the middle of the face, in face sizes."""
    columns: Floats
    chin: float
    """Its row."""
    unit: float
    """Face size in pixels."""
    hair: Marks
    """Where it surely is the person: hair or a hat, temples."""
    asked: Marks
    """What may be a piece of the room: above the eyes, outside of the head."""


def measure_residue(image: Image, alpha: Mask, face: Face) -> float:
    """How much of the old room sticks to the head of a cut-out: 0 (clean) .. 1.

    `image` is the photo before anything was removed from it, `alpha` the person's matte, as large as it. Counted is
    what the matte holds above the eyes, around the head, in colours that neither hair nor clothes have. A hat counts, and
    things of the hair's own colour do not.
    """
    region = _head_region(image, alpha, face)
    asked, hair = region.asked, region.hair
    if not (asked.any() and hair.any()):
        return 0.0
    away = _distance_to(region, hair, asked, HAIR_PLACE)
    clothes = (region.rows > region.chin) & (distance_inside(region.matte > 0.9) > 0.08 * region.unit)
    if clothes.any():
        away = np.minimum(away, _distance_to(region, clothes, asked, CLOTHES_PLACE))
    foreign = np.zeros(region.matte.shape, np.float32)
    foreign[asked] = np.clip((away - FOREIGN_LOW) / (FOREIGN_HIGH - FOREIGN_LOW), 0, 1)
    # A line along the edge is the edge's own softness.
    pieces = cv2.morphologyEx(foreign * region.matte, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    area = float(pieces.sum()) / region.unit**2
    return 1 - math.exp(-max(area - CLEAN_AREA, 0.0) / VISIBLE_AREA)


def _head_region(image: Image, alpha: Mask, face: Face) -> _Region:
    """The part of the picture around the head, reduced, and a face size below the chin for the colours of clothes."""
    factor = min(1.0, WORKING_FACE / face_size(face))
    size = scaled_size(image.shape, factor)
    small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    matte = np.asarray(cv2.resize(alpha, size, interpolation=cv2.INTER_AREA), np.float32)
    (x, y), unit = (each * factor for each in face.box.centre), face_size(face) * factor
    chin = face.box.bottom * factor
    top, bottom = max(0, round(y - ABOVE * unit)), min(size[1], round(chin + unit))
    left, right = max(0, round(x - ASIDE * unit)), min(size[0], round(x + ASIDE * unit))
    part = slice(top, max(bottom, top + 1)), slice(left, max(right, left + 1))
    rows, columns = np.indices(matte.shape, np.float32)[(slice(None), *part)]
    rows, columns, matte = (rows - y) / unit, (columns - x) / unit, matte[part]
    box = (face.box.width * factor / unit, face.box.height * factor / unit)
    skin = _ellipse(rows, columns, box, (0.42, 0.5), 0.0)
    if face.mesh is not None:
        hull = np.zeros(size[::-1], np.uint8)
        cv2.fillConvexPoly(hull, cv2.convexHull((face.mesh[:, :2] * factor).astype(np.int32)), 1)
        skin = hull[part] > 0
    eyes = (float(face.landmarks[:2, 1].mean()) * factor - y) / unit
    head = _ellipse(rows, columns, box, HEAD)
    hair = head & ~skin & (matte > 0.95) & (rows < 0)
    asked = (matte > 0.1) & ~head & ~skin & (rows < eyes)
    colours = cv2.cvtColor(small[part].astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    return _Region(np.asarray(colours, np.float32), matte, rows, columns, (chin - y) / unit, unit, hair, asked)


def _ellipse(
    rows: Floats, columns: Floats, box: tuple[float, float], axes: tuple[float, float], above: float = 0.12
) -> Marks:
    """An ellipse with half axes in widths and heights of the face's box, its middle `above` of a height over the face's."""
    return np.asarray((columns / (axes[0] * box[0])) ** 2 + ((rows / box[1] + above) / axes[1]) ** 2 < 1)


def _distance_to(region: _Region, known: Marks, asked: Marks, place_weight: float) -> Floats:
    """Distance of each asked pixel to the nearest known ones, in colour and place."""
    placed = np.dstack([region.colours, region.columns * place_weight, region.rows * place_weight])
    samples = placed[known][:: max(1, int(known.sum()) // SAMPLES)]
    nearest, _ = KDTree(samples).query(placed[asked], k=min(ALIKE, len(samples)))
    return np.asarray(nearest, np.float32).reshape(int(asked.sum()), -1)[:, -1]
