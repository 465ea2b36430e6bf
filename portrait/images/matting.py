"""What mattes of one person are made of: where hair may be, holes, settling half-opaque areas; people who stand together.

Faces are in the pixels of the mask or picture. Widths are in face sizes.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import skimage.graph
from numpy.typing import NDArray

from portrait.arrays import Image, Mask
from portrait.images.filters import smoothstep
from portrait.images.masks import disc, distance_inside, face_size
from portrait.types import Face

JAW_REACH = 0.1
"""Distance from the face's mesh, in face sizes, up to which an outline below the eyes is the jaw's; at twice that, hair's."""
MAX_HOLE = 0.1
"""Largest hole in the person that is closed, in squared face sizes."""
FINE_WIDTH = 0.015
"""Half width, in face sizes, up to which a structure in the matte counts as hair."""
VEIL = 0.25
"""Opacity below which a broader structure is taken for a leak, and 1 minus which it is taken for solid."""
TEXTURE_FACTOR, TEXTURE_REACH = 1.5, 0.08
"""Fine structure outside of the person counts as far as it exceeds so many times its mean within this distance, in face
sizes: what is alike everywhere is the room's texture, hair stands out of it."""
FAINT = 0.15
"""Opacity up to which the remaining fine structure fades out: a wisp that faint is not missed, a trace of the room is."""
HEAD, BROAD_HEAD, HAIR, FULL_HAIR = (0.42, 0.62), (0.52, 0.66), (0.71, 0.84), (1.0, 1.15)
"""Half axes, in widths and heights of the face's box, of ellipses around the face: what surely is of the head, what is where
nobody else's face is, what hair usually fills, and what full hair does."""
OTHER_CHEST = ((-0.2, 0.0), (0.2, 0.0), (0.3, 0.45), (-0.3, 0.45))
"""Where others surely are below their chins: neck and collar; further down the person may stand before them."""
OWN_CHEST = ((-0.2, 0.0), (0.2, 0.0), (0.3, 0.45), (0.1, 1.3), (-0.1, 1.3), (-0.3, 0.45))
"""The same of the person, who is seldom hidden in a photo that was chosen for them."""
SHOULDERS = ((-0.2, 0.0), (0.2, 0.0), (1.5, 0.9), (1.5, 3.0), (-1.5, 3.0), (-1.5, 0.9))
"""Where the person hides the necks of those behind them."""
NEARER = 1.1
"""How many times larger a face is that is taken to be in front of another."""
TEXTURE = 10.0
"""Squared difference in CIE Lab between neighbours that costs as much as 1 below."""
STEP, ROOM_COST, ROOM_COST_OF_OTHERS = 0.3, 30.0, 4.0
"""What a pixel costs on the way from a person, beside the change of colour there: anywhere; and more where
the matte of all people together says room. Others may have been missed there, so their way may lead through it."""
OUT_OF_REACH = 6.0
"""How many times more a pixel costs where a person's hair and arms hardly reach."""
OWN_HEAD = 3.0
"""How many times more others pay for a pixel around the person's head: hair may look like what is behind it."""


def hair_mask(confidence: Mask, face: Face) -> Mask:
    """Where there may be hair (1), above the chin and beside the neck, and where there are only clothes (0).

    Where the outline is the jaw's there is no hair either: the space between jaw and collar would be all unknown.
    """
    unit = face_size(face)
    rows, columns = np.indices(confidence.shape, np.float32)
    aside = np.maximum(np.abs(columns - face.box.centre[0]) / unit - 0.75, 0)
    below = np.maximum((rows - face.box.bottom) / unit, 0)
    hair = np.clip(1 - 2 * np.maximum(below - 0.2, aside * (below > 0)), 0, 1)
    if face.mesh is not None:
        from_jaw = distance_inside(~face_hull(confidence.shape, face)) / unit
        under_eyes = np.clip((rows - face.landmarks[:2, 1].max()) / (0.2 * unit), 0, 1)
        hair *= 1 - under_eyes * np.clip(2 - from_jaw / JAW_REACH, 0, 1)
    return hair.astype(np.float32)


def face_hull(shape: tuple[int, ...], face: Face) -> NDArray[np.bool_]:
    """Pixels inside of the face's mesh; none where there is no mesh."""
    filled = np.zeros(shape, np.uint8)
    if face.mesh is not None:
        cv2.fillConvexPoly(filled, cv2.convexHull(face.mesh[:, :2].astype(np.int32)), 1)
    return filled > 0


def fill_holes(confidence: Mask, face: Face, beside_neck: float = MAX_HOLE) -> Mask:
    """The confidence without the small holes that networks leave in patterned clothes; gaps under an arm stay.

    `beside_neck` is the largest hole, in squared face sizes, that is closed down to a third of a face below the chin.
    """
    _, labels, stats, _ = cv2.connectedComponentsWithStats((confidence < 0.9).astype(np.uint8), connectivity=4)
    height, width = confidence.shape
    out = confidence.copy()
    for label, (left, top, wide, tall, area) in enumerate(stats[1:], start=1):
        inside = left > 0 and top > 0 and left + wide < width and top + tall < height
        largest = beside_neck if top + tall / 2 < face.box.bottom + 0.33 * face_size(face) else MAX_HOLE
        if inside and area < largest * face_size(face) ** 2:
            out[labels == label] = 1
    return out


def settle(matte: Mask, face: Face, hair: Mask) -> Mask:
    """The matte with broad half-opaque areas made transparent or solid, and fine structure kept where it is hair."""
    kernel = disc(FINE_WIDTH * face_size(face))
    broad = cv2.morphologyEx(matte, cv2.MORPH_OPEN, kernel)
    solid = smoothstep(broad, VEIL, 1 - VEIL)
    fine = _remove_texture(matte - broad, solid < 0.5, TEXTURE_REACH * face_size(face))
    # Beside clothes only the soft edge itself is left.
    edge = cv2.dilate((solid > 0.02).astype(np.float32), np.ones((3, 3), np.uint8))
    return np.clip(fine * np.maximum(hair, edge) + solid, 0, 1).astype(np.float32)


def _remove_texture(fine: Mask, outside: NDArray[np.bool_], reach: float) -> Mask:
    """Fine structure without what comes from the texture of the room; `reach` in pixels."""
    window = (2 * round(reach) + 1,) * 2
    count = cv2.blur(outside.astype(np.float32), window)
    mean = cv2.blur(np.where(outside, fine, np.float32(0)), window) / np.maximum(count, 1e-3)
    left = np.maximum(fine - TEXTURE_FACTOR * mean, 0)
    return (left * smoothstep(left, 0, FAINT)).astype(np.float32)


def part_people(image: Image, people: Mask, face: Face, others: Sequence[Face]) -> NDArray[np.bool_]:
    """Where the person of `face` is, of several who stand together; `people` is the matte of all of them.

    Each pixel belongs to whoever's head and neck it is nearest to, on the way along which colours change least. What lies
    out of the person's reach is not theirs.
    """
    own_reach = _reach(people.shape, face)
    other_reach = np.any([_reach(people.shape, other) for other in others], axis=0)
    own_marks, other_marks = _marks(people.shape, face, others)
    change = _change_of_colour(image)
    own_cost = (STEP + change + ROOM_COST * (1 - people)) * np.where(own_reach, 1, OUT_OF_REACH)
    other_cost = (STEP + change + ROOM_COST_OF_OTHERS * (1 - people)) * np.where(other_reach, 1, OUT_OF_REACH)
    nearest = all(NEARER * face_size(other) < face_size(face) for other in others)
    other_cost[_ellipse(people.shape, face, *(FULL_HAIR if nearest else HAIR))] *= OWN_HEAD
    own, other = _distances(own_cost, own_marks), _distances(other_cost, other_marks)
    return (own < other) & own_reach


def _change_of_colour(image: Image) -> NDArray[np.float64]:
    """Squared difference in CIE Lab between the neighbours of each pixel, so that one edge costs more than many folds."""
    lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    across, down = (cv2.Sobel(lab, cv2.CV_64F, *along) / 4 for along in ((1, 0), (0, 1)))
    return np.asarray((across**2 + down**2).sum(axis=2) / TEXTURE, np.float64)


def _distances(cost: NDArray[np.float64], marks: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Cost of the cheapest way from a mark to each pixel; infinite where there is no mark."""
    if not marks.any():
        return np.full(cost.shape, np.inf)
    return np.asarray(skimage.graph.MCP_Geometric(cost).find_costs(np.argwhere(marks))[0], np.float64)


def _marks(shape: tuple[int, ...], face: Face, others: Sequence[Face]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Pixels that are surely the person's, and surely another's: heads, and what is below them."""
    hair = _ellipse(shape, face, *HAIR)
    hidden = _ellipse(shape, face, *FULL_HAIR) | _polygon(shape, face, SHOULDERS)
    marks = np.zeros(shape, np.uint8)
    for other in others:
        head, chest = _ellipse(shape, other, *HEAD), _polygon(shape, other, OTHER_CHEST)
        if NEARER * face_size(other) < face_size(face):
            head, chest = head & ~hair, chest & ~hidden
        marks[head | chest] = 2
    marks[(_polygon(shape, face, OWN_CHEST) | _ellipse(shape, face, *BROAD_HEAD)) & (marks == 0)] = 1
    marks[_ellipse(shape, face, *HEAD)] = 1
    return marks == 1, marks == 2


def _ellipse(shape: tuple[int, ...], face: Face, across: float, down: float) -> NDArray[np.bool_]:
    """An ellipse around face and hair; half axes in widths and heights of the face's box."""
    (x, y), box = face.box.centre, face.box
    filled = np.zeros(shape, np.uint8)
    axes = (max(1, round(across * box.width)), max(1, round(down * box.height)))
    cv2.ellipse(filled, (round(x), round(y - 0.12 * box.height)), axes, face.pose.roll, 0, 360, 1, -1)
    return filled > 0


def _polygon(shape: tuple[int, ...], face: Face, corners: Sequence[tuple[float, float]]) -> NDArray[np.bool_]:
    """A polygon below the chin; corners across and down from there, in face sizes."""
    (x, _), chin, unit = face.box.centre, face.box.bottom, face_size(face)
    filled = np.zeros(shape, np.uint8)
    points = np.array([(x + across * unit, chin + down * unit) for across, down in corners])
    cv2.fillConvexPoly(filled, points.astype(np.int32), 1)
    return filled > 0


def _reach(shape: tuple[int, ...], face: Face) -> NDArray[np.bool_]:
    """Where a person can be: hair and hat around the head, long hair beside, arms below."""
    unit, (x, y) = face_size(face), face.box.centre
    rows, columns = np.indices(shape, np.float32)
    aside, below = np.abs(columns - x) / unit, (rows - face.box.bottom) / unit
    head = aside**2 + ((rows - y) / unit + 0.1) ** 2 / 1.44 < 1
    return head | ((below > -0.5) & (aside < 1.2 + 2 * np.maximum(below, 0)))
