"""Soft masks of people and faces: morphology, trimaps, separating several people, foreground colours, compositing.

Radii are given in face sizes, so that one number fits a selfie of any resolution; `face_size` turns them into pixels.
Masks are H×W float32, 0..1, unless a docstring says otherwise.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from portrait.arrays import Image, Mask
from portrait.images.filters import planes
from portrait.images.resize import enlarged_strips, scaled_size
from portrait.types import Face

Floats: TypeAlias = NDArray[np.float32]
"""H×W or H×W×C, 0..1 or differences of such."""
_Planes: TypeAlias = Sequence[NDArray[Any]]
"""H×W each."""

KNOWN_IN, KNOWN_OUT, UNKNOWN = 1.0, 0.0, 0.5
"""Values of a trimap: certain person, certain background, unknown."""
CERTAIN = 0.035
"""Distance in face sizes from the end of the confidence beyond which background is certain."""


def face_size(face: Face) -> float:
    """Geometric mean of the sides of the face's box in pixels; it varies less than its width when the head turns."""
    return math.sqrt(max(face.box.area, 1.0))


def face_mask(image: Image, face: Face) -> Mask:
    """Mask (0 or 1) of the face: the hull of its mesh, or its box where it has none."""
    area = np.zeros(image.shape[:2], np.uint8)
    box = face.box
    corners = np.array([[box.left, box.top], [box.right, box.top], [box.right, box.bottom], [box.left, box.bottom]])
    points = corners if face.mesh is None else face.mesh[:, :2]
    cv2.fillConvexPoly(area, cv2.convexHull(points.round().astype(np.int32)), 1)
    return area.astype(np.float32)


def disc(radius: float) -> NDArray[np.uint8]:
    """A disc as the kernel of dilations and erosions: its radius in pixels, rounded, 1 at least."""
    side = 2 * max(1, round(radius)) + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), np.uint8)


def dilate(mask: Mask, face: Face, share: float) -> Mask:
    """Dilate by `share` of the face's size; a negative share erodes."""
    radius = share * face_size(face)
    if abs(radius) < 0.5:
        return mask.copy()
    if set(np.unique(mask[:: max(1, mask.shape[0] // 64)])) <= {0.0, 1.0} and _is_binary(mask):
        return _dilate_binary(mask, radius)
    side = 2 * round(abs(radius)) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    moved = cv2.dilate(mask, kernel) if radius > 0 else cv2.erode(mask, kernel)
    return np.asarray(moved, np.float32)


def erode(mask: Mask, face: Face, share: float) -> Mask:
    """Erode by `share` of the face's size."""
    return dilate(mask, face, -share)


def distance_inside(inside: NDArray[np.bool_]) -> Mask:
    """Distance in pixels from each point of a region to its edge, 0 outside; the picture's border is no edge."""
    if inside.all():
        return np.full(inside.shape, float(max(inside.shape)), np.float32)
    return np.asarray(cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, 5), np.float32)


def trimap(confidence: Mask, inner: Mask | float, outer: Mask | float) -> Mask:
    """Certain person, certain background, and a band between them that is to be found out.

    Where the confidence is above 0.9 (below 0.1) and the edge of that region is more than `inner` (`outer`) pixels away,
    the pixel is known; both may differ from place to place.
    """
    out = np.full(confidence.shape, UNKNOWN, np.float32)
    out[distance_inside(confidence > 0.9) > inner] = KNOWN_IN
    out[distance_inside(confidence < 0.1) > outer] = KNOWN_OUT
    return out


def keep_connected(mask: Mask, face: Face) -> Mask:
    """Only what hangs together with the face: other regions become 0. The threshold is the middle, 0.5."""
    height, width = mask.shape
    _, labels = cv2.connectedComponents((mask > 0.5).astype(np.uint8), connectivity=4)
    box = face.box
    top, bottom = max(0, int(box.top)), min(height, math.ceil(box.bottom))
    left, right = max(0, int(box.left)), min(width, math.ceil(box.right))
    of_face = labels[top:bottom, left:right]
    counts = np.bincount(of_face[of_face > 0].ravel(), minlength=1)
    if counts.sum() == 0:
        return np.zeros_like(mask)
    own = labels == int(counts.argmax())
    # Values below the threshold belong to the nearest region, or the soft edge of the person would be cut off.
    if own.sum() == (labels > 0).sum():
        return mask.copy()
    other = (labels > 0) & ~own
    nearer = cv2.distanceTransform((~own).astype(np.uint8), cv2.DIST_L2, 3) <= cv2.distanceTransform(
        (~other).astype(np.uint8), cv2.DIST_L2, 3
    )
    return np.where(nearer, mask, np.float32(0))


def separate_person(confidence: Mask, image: Image, face: Face, others: Sequence[Face]) -> Mask:
    """The confidence with other people removed: a watershed from each one's head and chest, along edges in the picture."""
    markers = np.zeros(confidence.shape, np.int32)
    markers[distance_inside(confidence < 0.1) > CERTAIN * face_size(face)] = 1
    people = [*others, face]
    for label, each in sorted(enumerate(people, start=2), key=lambda one: face_size(one[1])):
        _mark_chest(markers, each, label)
    for label, each in enumerate(people, start=2):
        _mark_head(markers, each, label)
    smooth = np.asarray(cv2.GaussianBlur(image, (0, 0), max(0.5, 0.01 * face_size(face))), np.uint8)
    parted = cv2.watershed(cv2.cvtColor(smooth, cv2.COLOR_RGB2BGR), markers.copy())
    own = parted == len(people) + 1
    foreign = ((parted > 1) & ~own) | ~_reachable(confidence.shape, face)
    # Around the head the watershed's word stands: hair is like nothing that is surely this person's.
    head = np.zeros(confidence.shape, np.int32)
    _mark_head(head, face, 1, 1.7)
    coloured = _correct_by_colour(smooth, markers, foreign, own & (confidence > 0.5))
    return np.where(np.where(head > 0, foreign, coloured), np.float32(0), confidence)


def guided_filter(mask: Mask, small: Image, large: Image, radius: int, epsilon: float) -> Mask:
    """Upsample a mask of `small` to the size of `large`, with edges that follow the colours of `large`.

    The fast guided filter (He and Sun 2015, arXiv:1505.00996) with a colour guide: each neighbourhood of `small` explains
    the mask as a linear function of colour, and that function is applied at full size. `epsilon` is in squared 0..1 colour.
    """
    slope, offset = _linear_model(mask, _to_floats(small), radius, epsilon)
    out = np.empty(large.shape[:2], np.float32)
    enlarged = zip(enlarged_strips(slope, large.shape), enlarged_strips(offset, large.shape), strict=True)
    for (rows, along), (_, start) in enlarged:
        out[rows] = np.clip(np.einsum("ijk,ijk->ij", along, _to_floats(large[rows])) + start, 0, 1)
    return out


def estimate_foreground(image: Image, mask: Mask, radius: int) -> Image:
    """The picture with the person's own colours in hair and soft edges, without those of the old background."""
    out = image.copy()
    remove_background(out, mask, radius)
    return out


def remove_background(image: Image, mask: Mask, radius: int) -> None:
    """Give hair and soft edges of a picture the person's own colours, without those of the old background; in place.

    Blur fusion in two rounds (Forte 2021, arXiv:2101.06871): colours of person and background are averaged around each
    pixel, then moved so that together they give the picture. `radius` of the first round in pixels; the second has 1/15.
    """
    # Averages are smooth: they are found on a reduced picture, and only the last step needs every pixel.
    factor = min(1.0, 60 / max(radius, 1))
    size = scaled_size(image.shape, factor)
    pixels = _to_floats(np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8))
    share = np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_AREA), np.float32)[..., None]
    reach = max(1, round(radius * factor))
    front, back = _mean_colours(pixels, pixels, share, reach)
    front = _match_picture(pixels, front, back, share)
    front, back = _mean_colours(front, back, share, max(2, reach // 15))
    enlarged = zip(enlarged_strips(front, image.shape), enlarged_strips(back, image.shape), strict=True)
    for (rows, near), (_, far) in enlarged:
        # What is all person is its own colour.
        edge = mask[rows] < 1
        pixels, share = _to_floats(image[rows][edge]), mask[rows][edge][:, None]
        image[rows][edge] = _match_picture(pixels, near[edge], far[edge], share) * 255 + np.float32(0.5)


def composite(front: Image, back: Image, mask: Mask) -> Image:
    """Alpha compositing: `front` over `back` with the mask as alpha."""
    share = mask[..., None]
    return np.asarray(front * share + back * (1 - share) + 0.5, np.uint8)


def _is_binary(mask: Mask) -> bool:
    return bool(np.isin(mask, (0.0, 1.0)).all())


def _dilate_binary(mask: Mask, radius: float) -> Mask:
    """Dilate by an exact disc of any radius with a distance transform; large kernels would be slow."""
    inside = mask > 0.5
    if radius < 0:
        return (distance_inside(inside) > -radius).astype(np.float32)
    return 1 - (distance_inside(~inside) > radius).astype(np.float32)


def _to_floats(image: Image) -> Floats:
    return np.multiply(image, np.float32(1 / 255), dtype=np.float32)


def _box_blur(values: Floats, radius: int) -> Floats:
    side = 2 * radius + 1
    return np.asarray(cv2.boxFilter(values, -1, (side, side), borderType=cv2.BORDER_REFLECT), np.float32)


def _linear_model(mask: Mask, guide: Floats, radius: int, epsilon: float) -> tuple[Floats, Floats]:
    """Slope (H×W×3) and offset (H×W) of the mask as a linear function of colour around each pixel."""
    colours = planes(guide)
    mean, middle = [_box_blur(each, radius) for each in colours], _box_blur(mask, radius)
    spread: dict[tuple[int, int], NDArray[np.float64]] = {}
    for one, other in itertools.combinations_with_replacement(range(3), 2):
        both = _box_blur(colours[one] * colours[other], radius) - mean[one] * mean[other]
        # Around an edge between two flat colours the determinant is about epsilon²: float32 would lose it.
        spread[one, other] = spread[other, one] = (both + np.float32(epsilon * (one == other))).astype(np.float64)
    columns = [[spread[one, other] for one in range(3)] for other in range(3)]
    along = [
        (_box_blur(each * mask, radius) - own * middle).astype(np.float64)
        for each, own in zip(colours, mean, strict=True)
    ]
    slope = [each.astype(np.float32) for each in _solve(columns, along)]
    offset = middle - _dot(slope, mean)
    smooth = np.asarray(cv2.merge([_box_blur(each, radius) for each in slope]), np.float32)
    return smooth, _box_blur(offset.astype(np.float32), radius)


def _solve(columns: Sequence[_Planes], wanted: _Planes) -> list[NDArray[Any]]:
    """Solve a 3×3 system for each pixel by cross products: far faster than a general solver."""
    first, second, third = columns
    crosses = (_cross(second, third), _cross(third, first), _cross(first, second))
    determinant = np.maximum(_dot(first, crosses[0]), 1e-30)
    return [_dot(each, wanted) / determinant for each in crosses]


def _cross(one: _Planes, other: _Planes) -> list[NDArray[Any]]:
    following = ((1, 2), (2, 0), (0, 1))
    return [one[after] * other[last] - one[last] * other[after] for after, last in following]


def _dot(one: _Planes, other: _Planes) -> NDArray[Any]:
    return one[0] * other[0] + one[1] * other[1] + one[2] * other[2]


def _mean_colours(front: Floats, back: Floats, share: Floats, radius: int) -> tuple[Floats, Floats]:
    """Mean colours of person and background around each pixel; certain pixels weigh more."""
    return _weighted_mean(front, share**3, radius), _weighted_mean(back, (1 - share) ** 3, radius)


def _weighted_mean(colours: Floats, weight: Floats, radius: int) -> Floats:
    """Weighted box mean of colours around each pixel."""
    total = _box_blur(weight[..., 0], radius)[..., None] + np.float32(1e-6)
    return (_box_blur((colours * weight).astype(np.float32), radius) / total).astype(np.float32)


def _match_picture(pixels: Floats, front: Floats, back: Floats, share: Floats) -> Floats:
    """The person's colours, shifted so that composited over the background they give the picture."""
    return np.clip(front + share * (pixels - share * front - (1 - share) * back), 0, 1).astype(np.float32)


def _mark_head(markers: NDArray[np.int32], face: Face, label: int, grown: float = 1.0) -> None:
    """Mark the face and the hair above it, which a face's box leaves out."""
    (x, y), width, height = face.box.centre, face.box.width, face.box.height
    at = (round(x), round(y - 0.12 * height))
    axes = (round(width * 0.42 * grown), round(height * 0.62 * (1 + (grown - 1) / 2)))
    cv2.ellipse(markers, at, axes, face.pose.roll, 0, 360, label, -1)


def _correct_by_colour(
    image: Image, markers: NDArray[np.int32], foreign: NDArray[np.bool_], own: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """The foreign pixels, corrected by the colours of the certain pixels of each person (GrabCut)."""
    guess = np.full(foreign.shape, cv2.GC_PR_BGD, np.uint8)
    guess[own & ~foreign] = cv2.GC_PR_FGD
    guess[(markers > 0) & (markers < markers.max())] = cv2.GC_BGD
    guess[markers == markers.max()] = cv2.GC_FGD
    models = np.zeros((1, 65)), np.zeros((1, 65))
    # Colours say no more at full size, and GrabCut's time grows faster than the pixels.
    factor = min(1.0, 240 / max(foreign.shape))
    size = scaled_size(foreign.shape, factor)
    small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    guess = np.asarray(cv2.resize(guess, size, interpolation=cv2.INTER_NEAREST), np.uint8)
    # It draws from OpenCV's own random numbers, which go on from call to call; 0 is where they begin in a new process.
    cv2.setRNGSeed(0)
    cv2.grabCut(small, guess, (0, 0, 0, 0), models[0], models[1], 3, cv2.GC_INIT_WITH_MASK)
    other = ((guess == cv2.GC_BGD) | (guess == cv2.GC_PR_BGD)).astype(np.float32)
    return foreign | (cv2.resize(other, foreign.shape[::-1], interpolation=cv2.INTER_LINEAR) > 0.5)


def _reachable(shape: tuple[int, int], face: Face) -> NDArray[np.bool_]:
    """Where a person can be: hair and hat above, long hair beside, arms below; used only among several people."""
    unit = face_size(face)
    rows, columns = np.indices(shape, np.float32)
    aside = np.abs(columns - face.box.centre[0]) / unit
    below = (rows - face.box.bottom) / unit
    return (rows > face.box.top - 0.6 * unit) & (aside < 0.95 + np.maximum(below, 0) * 1.5)


def _mark_chest(markers: NDArray[np.int32], face: Face, label: int) -> None:
    """Mark a trapezium from the chin down to where a portrait ends."""
    (x, _), chin, unit = face.box.centre, face.box.bottom, face_size(face)
    corners = [(-0.2, 0.0), (0.2, 0.0), (0.55, 0.9), (0.55, 2.0), (-0.55, 2.0), (-0.55, 0.9)]
    points = np.array([(x + across * unit, chin + down * unit) for across, down in corners], np.int32)
    cv2.fillConvexPoly(markers, points, label)
