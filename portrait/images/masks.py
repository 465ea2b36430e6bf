"""Soft masks, trimaps, seams.

Radii are given in face sizes, so that one number fits a selfie of any resolution; `face_size` turns them into pixels.
Masks are H×W float32, 0..1, unless a docstring says otherwise.
"""

import math
from collections.abc import Sequence
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from portrait.arrays import Image, Mask
from portrait.types import Face

Floats: TypeAlias = NDArray[np.float32]
"""H×W or H×W×C, 0..1 or differences of such."""

KNOWN_IN, KNOWN_OUT, UNKNOWN = 1.0, 0.0, 0.5
"""Values of a trimap: surely the person, surely not, to be found out."""
CERTAIN = 0.035
"""Distance in face sizes from where the confidence ends to where there is surely nobody."""


def face_size(face: Face) -> float:
    """Geometric mean of the sides of the face's box in pixels: steadier than its width when the head turns."""
    return math.sqrt(max(face.box.area, 1.0))


def face_area(image: Image, face: Face) -> Mask:
    """The face's outline, or its box where there is no mesh, 0 or 1."""
    area = np.zeros(image.shape[:2], np.uint8)
    box = face.box
    corners = np.array([[box.left, box.top], [box.right, box.top], [box.right, box.bottom], [box.left, box.bottom]])
    points = corners if face.mesh is None else face.mesh[:, :2]
    cv2.fillConvexPoly(area, cv2.convexHull(points.round().astype(np.int32)), 1)
    return area.astype(np.float32)


def grow(mask: Mask, face: Face, share: float) -> Mask:
    """Dilate by `share` of the face's size; a negative share erodes."""
    radius = share * face_size(face)
    if abs(radius) < 0.5:
        return mask.copy()
    if set(np.unique(mask[:: max(1, mask.shape[0] // 64)])) <= {0.0, 1.0} and _binary(mask):
        return _grow_binary(mask, radius)
    side = 2 * round(abs(radius)) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    moved = cv2.dilate(mask, kernel) if radius > 0 else cv2.erode(mask, kernel)
    return np.asarray(moved, np.float32)


def shrink(mask: Mask, face: Face, share: float) -> Mask:
    """Erode by `share` of the face's size."""
    return grow(mask, face, -share)


def depth(inside: NDArray[np.bool_]) -> Mask:
    """Pixels from each point of a region to the nearest one outside of it; the picture's border is no edge."""
    if inside.all():
        return np.full(inside.shape, float(max(inside.shape)), np.float32)
    return np.asarray(cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, 5), np.float32)


def trimap(confidence: Mask, inner: Mask | float, outer: Mask | float) -> Mask:
    """Certain person, certain background, and a band between them that is to be found out.

    Where the confidence is above 0.9 (below 0.1) and the edge of that region is more than `inner` (`outer`) pixels away,
    the pixel is known; both may differ from place to place.
    """
    out = np.full(confidence.shape, UNKNOWN, np.float32)
    out[depth(confidence > 0.9) > inner] = KNOWN_IN
    out[depth(confidence < 0.1) > outer] = KNOWN_OUT
    return out


def connected(mask: Mask, face: Face) -> Mask:
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


def apart(confidence: Mask, image: Image, face: Face, others: Sequence[Face]) -> Mask:
    """The confidence of one person among several: a watershed from each one's head and chest, along edges in the picture."""
    markers = np.zeros(confidence.shape, np.int32)
    markers[depth(confidence < 0.1) > CERTAIN * face_size(face)] = 1
    people = [*others, face]
    for label, each in sorted(enumerate(people, start=2), key=lambda one: face_size(one[1])):
        _mark_chest(markers, each, label)
    for label, each in enumerate(people, start=2):
        _mark_head(markers, each, label)
    smooth = np.asarray(cv2.GaussianBlur(image, (0, 0), max(0.5, 0.01 * face_size(face))), np.uint8)
    parted = cv2.watershed(cv2.cvtColor(smooth, cv2.COLOR_RGB2BGR), markers.copy())
    own = parted == len(people) + 1
    foreign = ((parted > 1) & ~own) | ~_reach(confidence.shape, face)
    # Around the head the watershed's word stands: hair is like nothing that is surely this person's.
    head = np.zeros(confidence.shape, np.int32)
    _mark_head(head, face, 1, 1.7)
    coloured = _by_colour(smooth, markers, foreign, own & (confidence > 0.5))
    return np.where(np.where(head > 0, foreign, coloured), np.float32(0), confidence)


def guided(mask: Mask, small: Image, large: Image, radius: int, epsilon: float) -> Mask:
    """Carry a mask found on `small` to the size of `large`, its edges drawn by the colours of `large`.

    The fast guided filter (He and Sun 2015, arXiv:1505.00996) with a colour guide: each neighbourhood of `small` explains
    the mask as a linear function of colour, and that function is applied at full size. `epsilon` is in squared 0..1 colour.
    """
    guide = _floats(small)
    slope, offset = _explain(mask, guide, radius, epsilon)
    size = (large.shape[1], large.shape[0])
    slope = cv2.resize(slope, size, interpolation=cv2.INTER_LINEAR)
    offset = cv2.resize(offset, size, interpolation=cv2.INTER_LINEAR)
    out = np.einsum("ijk,ijk->ij", slope, _floats(large)) + offset
    return np.clip(out, 0, 1).astype(np.float32)


def foreground(image: Image, mask: Mask, radius: int) -> Image:
    """The colours of the person without those of the old background that shine through hair and soft edges.

    Blur fusion in two rounds (Forte 2021, arXiv:2101.06871): colours of person and background are averaged around each
    pixel, then moved so that together they give the picture. `radius` of the first round in pixels; the second has 1/15.
    """
    # Averages are smooth: they are found on a reduced picture, and only the last step needs every pixel.
    factor = min(1.0, 60 / max(radius, 1))
    size = (max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor)))
    pixels = _floats(np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8))
    share = np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_AREA), np.float32)[..., None]
    reach = max(1, round(radius * factor))
    front, back = _averages(pixels, pixels, share, reach)
    front = _moved(pixels, front, back, share)
    front, back = _averages(front, back, share, max(2, reach // 15))
    whole = (image.shape[1], image.shape[0])
    front, back = (
        np.asarray(cv2.resize(each, whole, interpolation=cv2.INTER_LINEAR), np.float32) for each in (front, back)
    )
    out = image.copy()
    # What is all person is its own colour.
    edge = mask < 1
    out[edge] = _moved(_floats(image[edge]), front[edge], back[edge], mask[edge][:, None]) * 255 + np.float32(0.5)
    return out


def over(front: Image, back: Image, mask: Mask) -> Image:
    """Lay `front` over `back` where the mask says so."""
    share = mask[..., None]
    return np.asarray(front * share + back * (1 - share) + 0.5, np.uint8)


def _binary(mask: Mask) -> bool:
    return bool(np.isin(mask, (0.0, 1.0)).all())


def _grow_binary(mask: Mask, radius: float) -> Mask:
    """Exact discs of any radius in one pass; kernels of many pixels would be slow."""
    inside = mask > 0.5
    if radius < 0:
        return (depth(inside) > -radius).astype(np.float32)
    return 1 - (depth(~inside) > radius).astype(np.float32)


def _floats(image: Image) -> Floats:
    return (image * np.float32(1 / 255)).astype(np.float32)


def _blur(values: Floats, radius: int) -> Floats:
    side = 2 * radius + 1
    return np.asarray(cv2.boxFilter(values, -1, (side, side), borderType=cv2.BORDER_REFLECT), np.float32)


def _explain(mask: Mask, guide: Floats, radius: int, epsilon: float) -> tuple[Floats, Floats]:
    """Slope (H×W×3) and offset (H×W) of the mask as a linear function of colour around each pixel."""
    mean, middle = _blur(guide, radius), _blur(mask, radius)
    covariance = np.empty((*mask.shape, 3, 3), np.float32)
    for one in range(3):
        for other in range(one, 3):
            both = _blur(guide[..., one] * guide[..., other], radius) - mean[..., one] * mean[..., other]
            covariance[..., one, other] = covariance[..., other, one] = both
    covariance += np.eye(3, dtype=np.float32) * epsilon
    along = (_blur(guide * mask[..., None], radius) - mean * middle[..., None]).astype(np.float32)
    slope = _solve(covariance, along)
    offset = middle - np.einsum("ijk,ijk->ij", slope, mean)
    return _blur(slope, radius), _blur(offset.astype(np.float32), radius)


def _solve(matrix: Floats, vector: Floats) -> Floats:
    """3×3 systems by cross products: far faster than a general solver on a picture full of them."""
    # Around an edge between two flat colours the determinant is about epsilon²: float32 would lose it.
    first, second, third = (matrix[..., each].astype(np.float64) for each in range(3))
    cross = np.cross(second, third)
    determinant = np.einsum("ijk,ijk->ij", first, cross)[..., None]
    parts = (cross, np.cross(third, first), np.cross(first, second))
    solved = [np.einsum("ijk,ijk->ij", part, vector) for part in parts]
    return (np.stack(solved, -1) / np.maximum(determinant, 1e-30)).astype(np.float32)


def _averages(front: Floats, back: Floats, share: Floats, radius: int) -> tuple[Floats, Floats]:
    """Colours of person and background around each pixel; the surer a pixel is the one or the other, the more it counts."""
    return _mean(front, share**3, radius), _mean(back, (1 - share) ** 3, radius)


def _mean(colours: Floats, weight: Floats, radius: int) -> Floats:
    """Weighted mean of colours around each pixel."""
    total = _blur(weight[..., 0], radius)[..., None] + np.float32(1e-6)
    return (_blur((colours * weight).astype(np.float32), radius) / total).astype(np.float32)


def _moved(pixels: Floats, front: Floats, back: Floats, share: Floats) -> Floats:
    """The person's colours, moved so that with the background's they give the picture."""
    return np.clip(front + share * (pixels - share * front - (1 - share) * back), 0, 1).astype(np.float32)


def _mark_head(markers: NDArray[np.int32], face: Face, label: int, grown: float = 1.0) -> None:
    """The face and the hair above it, which a face's box leaves out."""
    (x, y), width, height = face.box.centre, face.box.width, face.box.height
    at = (round(x), round(y - 0.12 * height))
    axes = (round(width * 0.42 * grown), round(height * 0.62 * (1 + (grown - 1) / 2)))
    cv2.ellipse(markers, at, axes, face.pose.roll, 0, 360, label, -1)


def _by_colour(
    image: Image, markers: NDArray[np.int32], foreign: NDArray[np.bool_], own: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Foreign pixels, corrected by the colours of what is surely one person's and surely another's (GrabCut)."""
    guess = np.full(foreign.shape, cv2.GC_PR_BGD, np.uint8)
    guess[own & ~foreign] = cv2.GC_PR_FGD
    guess[(markers > 0) & (markers < markers.max())] = cv2.GC_BGD
    guess[markers == markers.max()] = cv2.GC_FGD
    models = np.zeros((1, 65)), np.zeros((1, 65))
    # Colours say no more at full size, and GrabCut's time grows faster than the pixels.
    factor = min(1.0, 240 / max(foreign.shape))
    size = (max(1, round(foreign.shape[1] * factor)), max(1, round(foreign.shape[0] * factor)))
    small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    guess = np.asarray(cv2.resize(guess, size, interpolation=cv2.INTER_NEAREST), np.uint8)
    cv2.grabCut(small, guess, (0, 0, 0, 0), models[0], models[1], 3, cv2.GC_INIT_WITH_MASK)
    other = ((guess == cv2.GC_BGD) | (guess == cv2.GC_PR_BGD)).astype(np.float32)
    return foreign | (cv2.resize(other, foreign.shape[::-1], interpolation=cv2.INTER_LINEAR) > 0.5)


def _reach(shape: tuple[int, int], face: Face) -> NDArray[np.bool_]:
    """Where a person can be at all: hair and hat above, long hair beside, arms below; used among others only."""
    unit = face_size(face)
    rows, columns = np.indices(shape, np.float32)
    aside = np.abs(columns - face.box.centre[0]) / unit
    below = (rows - face.box.bottom) / unit
    return (rows > face.box.top - 0.6 * unit) & (aside < 0.95 + np.maximum(below, 0) * 1.5)


def _mark_chest(markers: NDArray[np.int32], face: Face, label: int) -> None:
    """A trapezium from the chin down to where a portrait ends."""
    (x, _), chin, unit = face.box.centre, face.box.bottom, face_size(face)
    corners = [(-0.2, 0.0), (0.2, 0.0), (0.55, 0.9), (0.55, 2.0), (-0.55, 2.0), (-0.55, 0.9)]
    points = np.array([(x + across * unit, chin + down * unit) for across, down in corners], np.int32)
    cv2.fillConvexPoly(markers, points, label)
