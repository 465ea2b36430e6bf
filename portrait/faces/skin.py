"""The skin of a face: its mask, and a retouch that keeps the pores."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from portrait.arrays import Image, Mask, Points
from portrait.faces.geometry import box_slices, transform_face
from portrait.faces.mesh import (
    BROW_ROWS,
    CHEEKS,
    CHIN,
    EYE_ROWS,
    FOREHEAD,
    FOREHEAD_ROW,
    JAW_ROW,
    LIPS,
    OVAL,
    UNDER_EYES,
)
from portrait.images.color import Floats, blend, from_lab, to_lab
from portrait.images.filters import (
    fast_gaussian_blur,
    for_channels,
    masked_gaussian_blur,
    planes,
    smoothstep,
    vector_length,
)
from portrait.images.masks import disc
from portrait.images.resize import enlarged_strips, scaled_size
from portrait.types import Face

RETOUCH_LIMIT = 6.0
"""Largest ΔE of one pixel at strength 1 of `retouch_skin`; the median over the skin stays below half of it."""


def skin_mask(image: Image, face: Face, neck: bool = False) -> Mask:
    """Mask of a face's skin, 0..1, as large as the image: without eyes, brows, lips and hair; `neck` adds the neck.

    The colour of skin is measured on the cheeks of this face. The edge is soft inwards: outside it is exactly 0.
    """
    mask = np.zeros(image.shape[:2], np.float32)
    rows, columns = box_slices(face.box, image.shape, 0.9 if neck else 0.3)
    cut = image[rows, columns]
    if min(cut.shape[:2]) > 1:
        small, outlines = _at_working_size(cut, face, (columns.start, rows.start))
        for part, strip in enlarged_strips(_skin_mask(small, outlines, neck), cut.shape):
            mask[rows, columns][part] = strip
    return mask


def retouch_skin(image: Image, face: Face, strength: float) -> Image:
    """Reduce blotches, shadows under the eyes and shine, and keep the pores; `strength` 0..1.

    Frequency separation in proportion to the face: the finest band, up to 1.2 % of its width, is kept; the band up to
    5 % is smoothed, small waves more than large ones, so features keep their shape. One pixel changes by
    ΔE 6 × strength at most; the median over the skin stays below 3 × strength. Outside `skin_mask` nothing changes.
    """
    out = image.copy()
    part, retouched = retouch_around(image, face, strength)
    out[part] = retouched
    return out


def retouch_around(image: Image, face: Face, strength: float) -> tuple[tuple[slice, slice], Image]:
    """The rows and columns of a picture that `retouch_skin` may change, and what it makes of them."""
    strength = float(np.clip(strength, 0, 1))
    rows, columns = box_slices(face.box, image.shape, 0.3)
    cut = image[rows, columns]
    if strength == 0 or min(cut.shape[:2]) < 8:
        return (rows, columns), cut
    small, outlines = _at_working_size(cut, face, (columns.start, rows.start))
    mask = _skin_mask(small, outlines, neck=False)
    if int((mask > 0.5).sum()) < 64:
        return (rows, columns), cut
    # What changes is coarser than the pores that stay, so it is worked out on a small face and enlarged.
    change = _smoothing(to_lab(small), mask, outlines) * np.float32(strength)
    # The bound is approached smoothly: a hard one would draw an edge of its own.
    bound = np.sqrt(1 + (vector_length(change) / (RETOUCH_LIMIT * strength)) ** 2)
    change /= for_channels(np.asarray(bound, np.float32), 3)
    out = np.empty_like(cut)
    enlarged = zip(enlarged_strips(change, cut.shape), enlarged_strips(mask, cut.shape), strict=True)
    for (part, moved), (_, share) in enlarged:
        out[part] = blend(cut[part], from_lab(to_lab(cut[part]) + moved), share)
    return (rows, columns), out


WORKING_WIDTH = 384
"""Face width in pixels at which skin is measured: pores of 1.2 % are 4.6 pixels there, enough to separate them."""


def _at_working_size(part: Image, face: Face, corner: tuple[int, int]) -> tuple[Image, "_FaceOutlines"]:
    """A part of a picture whose left and top are `corner`, and the face's outlines in it, both at working size."""
    factor = min(1.0, WORKING_WIDTH / max(face.box.width, 1.0))
    size = scaled_size(part.shape, factor, 2)
    small = part if factor == 1 else np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), np.uint8)
    scale = (small.shape[1] / part.shape[1], small.shape[0] / part.shape[0])
    matrix = np.array([[scale[0], 0, -corner[0] * scale[0]], [0, scale[1], -corner[1] * scale[1]]], np.float64)
    return small, _FaceOutlines(transform_face(face, matrix), small.shape)


class _FaceOutlines:
    """Filled outlines of a face in a picture of `shape`, as masks of 0 or 1; ellipses where the face has no mesh."""

    def __init__(self, face: Face, shape: tuple[int, ...]) -> None:
        self.width = max(face.box.width, 1.0)
        self.shape = (shape[0], shape[1])
        self.box = face.box
        self.five: Points = face.landmarks[:, :2]
        self.mesh: Points | None = None if face.mesh is None else face.mesh[:, :2]

    def fill(self, *outlines: NDArray[np.floating]) -> NDArray[np.uint8]:
        """Convex hulls of some points, filled."""
        canvas = np.zeros(self.shape, np.uint8)
        for points in outlines:
            # 4 bits of fraction: at small faces half a pixel counts.
            hull = cv2.convexHull((points * 16).round().astype(np.int32))
            cv2.fillConvexPoly(canvas, hull, 1, cv2.LINE_8, 4)
        return canvas

    def face(self) -> NDArray[np.uint8]:
        """The face as far as the mesh reaches."""
        return self.fill(self._ellipse(1.0) if self.mesh is None else self.mesh[list(OVAL)])

    def forehead(self) -> NDArray[np.uint8]:
        """From the mesh's upper edge to where hair may begin: a sixth of the face higher."""
        if self.mesh is None:
            return np.zeros(self.shape, np.uint8)
        row = self.mesh[list(FOREHEAD_ROW)]
        up = self.mesh[FOREHEAD] - self.mesh[CHIN]
        weight = np.sin(np.linspace(0, math.pi, len(row)))[:, None]
        return self.fill(np.vstack([row, row + up * weight / 6]))

    def neck(self) -> NDArray[np.uint8]:
        """Below the jaw, by half a face."""
        if self.mesh is None:
            return np.zeros(self.shape, np.uint8)
        row = self.mesh[list(JAW_ROW)]
        return self.fill(np.vstack([row, row + (self.mesh[CHIN] - self.mesh[FOREHEAD]) / 2]))

    def features(self) -> NDArray[np.uint8]:
        """Eyes, brows and lips with a margin of 2 % of the face: lashes and the lips' edge are theirs."""
        if self.mesh is None:
            features = self.fill(
                *(self._ellipse(0.2, centre) for centre in (*self.five[:2], self.five[3:].mean(axis=0)))
            )
        else:
            features = self.fill(*(self.mesh[list(each)] for each in (*EYE_ROWS, *BROW_ROWS, LIPS)))
        return np.asarray(cv2.dilate(features, disc(max(1.0, self.width * 0.02))), np.uint8)

    def cheeks(self) -> NDArray[np.uint8]:
        """The cheeks, where skin is least likely covered."""
        if self.mesh is None:
            return self.fill(
                *(
                    self._ellipse(0.15, (eye + mouth) / 2)
                    for eye, mouth in zip(self.five[:2], self.five[3:], strict=True)
                )
            )
        return self.fill(*(self.mesh[list(each)] for each in CHEEKS))

    def under_eyes(self) -> NDArray[np.uint8]:
        """From the lower lids to the cheek bones."""
        if self.mesh is None:
            return np.zeros(self.shape, np.uint8)
        return self.fill(*(self.mesh[list(each)] for each in UNDER_EYES))

    def _ellipse(self, share: float, centre: Points | None = None) -> NDArray[np.float64]:
        angles = np.linspace(0, math.tau, 36, endpoint=False)
        middle = np.array(self.box.centre) if centre is None else centre
        reach = np.array([self.box.width, self.box.height]) * share / 2
        return middle + np.stack([np.cos(angles), np.sin(angles)], axis=1) * reach


def _skin_mask(cut: Image, outlines: _FaceOutlines, neck: bool) -> Mask:
    area = outlines.face() | outlines.forehead()
    if neck:
        area |= outlines.neck()
    features = outlines.features()
    known = outlines.cheeks() & ~features & 1
    known = known if known.sum() >= 16 else area & ~features & 1
    if known.sum() < 4:
        return np.zeros(cut.shape[:2], np.float32)
    lab = to_lab(cut)
    likeness = _skin_likeness(
        fast_gaussian_blur(lab, outlines.width * 0.01), _texture(lab[..., 0], outlines.width), known > 0
    )
    skin = area & ~features & (likeness > 0.5).astype(np.uint8)
    # Strands and specks are opened away, so that the soft edge begins where hair does.
    opened = cv2.morphologyEx(skin, cv2.MORPH_OPEN, disc(max(1.0, outlines.width * 0.012)))
    skin = _without_islands(np.asarray(opened, np.uint8), outlines.face() if not neck else area)
    padded = cv2.copyMakeBorder(skin, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, 3)[1:-1, 1:-1]
    return np.asarray(smoothstep(depth, 0, max(2.0, outlines.width * 0.035)), np.float32)


def _skin_likeness(lab: Floats, texture: Floats, known: NDArray[np.bool_]) -> Floats:
    """Similarity of each pixel to known skin, 0..1: robust distance to its median, with room for shade and shine."""
    light, *colours = (_deviation(each, known, least) for each, least in zip(planes(lab), (5.0, 2.5, 3.0), strict=True))
    # Light falls off over a face, so lightness may differ twice as far as colour; shine is lighter still, and paler.
    pale = np.where((light > 1) & (colours[0] < 1), np.float32(2), np.float32(1))
    light /= np.where(light > 0, np.float32(3), np.float32(2))
    # Blond hair has the colour of skin but not its evenness.
    rough = np.maximum(texture / max(float(np.median(texture[known])), 0.7) - 2, 0)
    off = light**2 + (colours[0] / pale) ** 2 + (colours[1] / pale) ** 2
    return np.asarray(np.clip((5.0 - np.sqrt(off + (rough * 2) ** 2)) / 2.0, 0, 1), np.float32)


def _deviation(values: Floats, known: NDArray[np.bool_], least: float) -> Floats:
    """How many deviations values are from the median of the known ones, whose own deviation counts as `least` at least."""
    sample = values[known]
    middle = np.median(sample)
    # 1.4826 makes the median deviation a standard one; the floors are the spread of evenly lit skin.
    spread = np.float32(1.4826) * np.median(np.abs(sample - middle))
    return (values - middle) / np.maximum(spread, np.float32(least))


def _texture(light: Floats, width: float) -> Floats:
    """Mean contrast of fine detail around each pixel, in L."""
    return fast_gaussian_blur(np.abs(light - fast_gaussian_blur(light, width * 0.015)), width * 0.02)


def _without_islands(skin: NDArray[np.uint8], area: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Skin without islands: patches of less than 3 % of the area are something else of the same colour."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(skin, connectivity=4)
    large = stats[:, cv2.CC_STAT_AREA] >= 0.03 * area.sum()
    large[0] = False
    return large[labels].astype(np.uint8)


def _smoothing(lab: Floats, mask: Mask, outlines: _FaceOutlines) -> Floats:
    """The change of L, a, b (H×W×3) that the retouch makes at full strength."""
    inside = (mask > 0).astype(np.float32)
    fine = masked_gaussian_blur(lab, inside, outlines.width * 0.012)
    coarse = masked_gaussian_blur(lab, inside, outlines.width * 0.05)
    broad = masked_gaussian_blur(lab, inside, outlines.width * 0.15)
    middle, fine = planes(fine - coarse), planes(fine)
    # Waves of 4 L are blotches, waves of 12 L are the wing of a nose.
    lightness = -0.6 * middle[0] * np.exp(-((middle[0] / 8) ** 2))
    under = fast_gaussian_blur(outlines.under_eyes().astype(np.float32), outlines.width * 0.02)
    lightness += 0.4 * under * np.maximum(broad[..., 0] - coarse[..., 0], 0)
    skin = lab[mask > 0.5]
    # What is lighter than nine tenths of the skin and lighter than its surroundings is shine.
    shine = np.minimum(np.maximum(fine[0] - np.percentile(skin[:, 0], 90), 0), np.maximum(fine[0] - broad[..., 0], 0))
    lightness -= 0.4 * shine
    faded = 0.3 * np.clip(shine / 10, 0, 1)
    colours = [-0.5 * middle[each] + faded * (np.median(skin[:, each]) - fine[each]) for each in (1, 2)]
    return np.asarray(cv2.merge([lightness, *(each.astype(np.float32) for each in colours)]), np.float32)
