"""The skin of a face: where it is, and a retouch that keeps its pores."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from portrait.arrays import Image, Mask, Points
from portrait.faces.geometry import move_face
from portrait.images.color import Floats, blend, from_lab, to_lab
from portrait.types import Box, Face

# Contours of MediaPipe's mesh as it publishes them (FaceLandmarksConnections; the rows under the eyes are those of its
# face-landmarks-detection package; the cheeks are chosen from the same figure). Left is the left of the picture.
OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
EYES = (
    (33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173),
    (263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398),
)
BROWS = ((46, 53, 52, 65, 55, 70, 63, 105, 66, 107), (276, 283, 282, 295, 285, 300, 293, 334, 296, 336))
LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
UNDER_EYES = (
    (130, 25, 110, 24, 23, 22, 26, 112, 243, 128, 121, 120, 119, 118, 117, 111),
    (359, 255, 339, 254, 253, 252, 256, 341, 463, 357, 350, 349, 348, 347, 346, 340),
)
CHEEKS = ((117, 118, 101, 36, 205, 187, 123), (346, 347, 330, 266, 425, 411, 352))
FOREHEAD_ROW = (127, 162, 21, 54, 103, 67, 109, 10, 338, 297, 332, 284, 251, 389, 356)
JAW_ROW = (172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397)

RETOUCH_LIMIT = 6.0
"""Largest ΔE of one pixel at strength 1 of `retouch_skin`; the median over the skin stays below half of it."""


def skin_mask(image: Image, face: Face, neck: bool = False) -> Mask:
    """Skin of a face, 0..1, as large as the image: without eyes, brows, lips and hair; with the neck if asked for.

    What is skin is learned from the cheeks of this very face. The edge is soft inwards: outside it is exactly 0.
    """
    mask = np.zeros(image.shape[:2], np.float32)
    rows, columns = _around(face.box, image, 0.9 if neck else 0.3)
    cut = image[rows, columns]
    if min(cut.shape[:2]) > 1:
        small, drawn = _window(cut, face, (columns.start, rows.start))
        mask[rows, columns] = _enlarged(_skin(small, drawn, neck), cut)
    return mask


def retouch_skin(image: Image, face: Face, strength: float) -> Image:
    """Calm blotches, shadows under the eyes and shine, and keep the pores; `strength` 0..1.

    Frequency separation in proportion to the face: the finest band, up to 1.2 % of its width, is kept whole; the band
    up to 5 % is calmed, small waves more than large ones, so features keep their shape. One pixel changes by
    ΔE 6 × strength at most; the median over the skin stays below 3 × strength. Outside `skin_mask` nothing changes.
    """
    strength = float(np.clip(strength, 0, 1))
    rows, columns = _around(face.box, image, 0.3)
    cut = image[rows, columns]
    if strength == 0 or min(cut.shape[:2]) < 8:
        return image.copy()
    small, drawn = _window(cut, face, (columns.start, rows.start))
    mask = _skin(small, drawn, neck=False)
    if int((mask > 0.5).sum()) < 64:
        return image.copy()
    # What changes is coarser than the pores that stay, so it is worked out on a small face and enlarged.
    change = _calm(to_lab(small), mask, drawn) * np.float32(strength)
    size = np.linalg.norm(change, axis=2, keepdims=True)
    # The bound is approached smoothly: a hard one would draw an edge of its own.
    change /= np.sqrt(1 + (size / (RETOUCH_LIMIT * strength)) ** 2)
    out = image.copy()
    out[rows, columns] = blend(cut, from_lab(to_lab(cut) + _enlarged(change, cut)), _enlarged(mask, cut))
    return out


WORKING_WIDTH = 384
"""Face width in pixels at which skin is looked at: pores of 1.2 % are 4.6 pixels there, coarse enough to be told apart."""


def _window(cut: Image, face: Face, corner: tuple[int, int]) -> tuple[Image, "_Drawn"]:
    """A part of a picture whose left and top are `corner`, at working size, and the face drawn into it."""
    factor = min(1.0, WORKING_WIDTH / max(face.box.width, 1.0))
    size = (max(2, round(cut.shape[1] * factor)), max(2, round(cut.shape[0] * factor)))
    small = cut if factor == 1 else np.asarray(cv2.resize(cut, size, interpolation=cv2.INTER_AREA), np.uint8)
    scale = (small.shape[1] / cut.shape[1], small.shape[0] / cut.shape[0])
    matrix = np.array([[scale[0], 0, -corner[0] * scale[0]], [0, scale[1], -corner[1] * scale[1]]], np.float64)
    return small, _Drawn(move_face(face, matrix), small.shape)


def _enlarged(values: Floats, cut: Image) -> Floats:
    """Values at working size, as large as the part of the picture they belong to."""
    if values.shape[:2] == cut.shape[:2]:
        return values
    return np.asarray(cv2.resize(values, cut.shape[1::-1], interpolation=cv2.INTER_LINEAR), np.float32)


class _Drawn:
    """Contours of a face drawn into a window of the image."""

    def __init__(self, face: Face, shape: tuple[int, ...]) -> None:
        self.width = max(face.box.width, 1.0)
        self.shape = (shape[0], shape[1])
        self.box = face.box
        self.five: Points = face.landmarks[:, :2]
        self.mesh: Points | None = None if face.mesh is None else face.mesh[:, :2]

    def fill(self, *outlines: NDArray[np.floating]) -> NDArray[np.uint8]:
        """The hulls of some points, filled: 0 or 1."""
        canvas = np.zeros(self.shape, np.uint8)
        for points in outlines:
            # 4 bits of fraction: at small faces half a pixel counts.
            hull = cv2.convexHull((points * 16).round().astype(np.int32))
            cv2.fillConvexPoly(canvas, hull, 1, cv2.LINE_8, 4)
        return canvas

    def face(self) -> NDArray[np.uint8]:
        """The face as far as the mesh knows it."""
        return self.fill(self._ellipse(1.0) if self.mesh is None else self.mesh[list(OVAL)])

    def forehead(self) -> NDArray[np.uint8]:
        """From the mesh's upper edge to where hair may begin: a sixth of the face higher."""
        if self.mesh is None:
            return np.zeros(self.shape, np.uint8)
        row = self.mesh[list(FOREHEAD_ROW)]
        up = self.mesh[10] - self.mesh[152]
        weight = np.sin(np.linspace(0, math.pi, len(row)))[:, None]
        return self.fill(np.vstack([row, row + up * weight / 6]))

    def neck(self) -> NDArray[np.uint8]:
        """Below the jaw, by half a face."""
        if self.mesh is None:
            return np.zeros(self.shape, np.uint8)
        row = self.mesh[list(JAW_ROW)]
        return self.fill(np.vstack([row, row + (self.mesh[152] - self.mesh[10]) / 2]))

    def features(self) -> NDArray[np.uint8]:
        """Eyes, brows and lips with a margin of 2 % of the face: lashes and the lips' edge are theirs."""
        if self.mesh is None:
            drawn = self.fill(*(self._ellipse(0.2, centre) for centre in (*self.five[:2], self.five[3:].mean(axis=0))))
        else:
            drawn = self.fill(*(self.mesh[list(each)] for each in (*EYES, *BROWS, LIPS)))
        return np.asarray(cv2.dilate(drawn, _disc(max(1.0, self.width * 0.02))), np.uint8)

    def cheeks(self) -> NDArray[np.uint8]:
        """Where skin is most surely skin."""
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


def _skin(cut: Image, drawn: _Drawn, neck: bool) -> Mask:
    area = drawn.face() | drawn.forehead()
    if neck:
        area |= drawn.neck()
    features = drawn.features()
    known = drawn.cheeks() & ~features & 1
    known = known if known.sum() >= 16 else area & ~features & 1
    if known.sum() < 4:
        return np.zeros(cut.shape[:2], np.float32)
    lab = to_lab(cut)
    alike = _alike(_blur(lab, drawn.width * 0.01), _texture(lab[..., 0], drawn.width), known > 0)
    skin = area & ~features & (alike > 0.5).astype(np.uint8)
    # Strands and specks are opened away, so that the soft edge begins where hair does.
    opened = cv2.morphologyEx(skin, cv2.MORPH_OPEN, _disc(max(1.0, drawn.width * 0.012)))
    skin = _joined(np.asarray(opened, np.uint8), drawn.face() if not neck else area)
    padded = cv2.copyMakeBorder(skin, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, 3)[1:-1, 1:-1] / max(2.0, drawn.width * 0.035)
    soft = np.clip(depth, 0, 1)
    return np.asarray(soft * soft * (3 - 2 * soft), np.float32)


def _alike(lab: Floats, texture: Floats, known: NDArray[np.bool_]) -> Floats:
    """How much each pixel is like known skin, 0..1: robust distance to its median, with room for shade and shine."""
    sample = lab[known]
    middle = np.median(sample, axis=0)
    # 1.4826 makes the median deviation a standard one; the floors are the spread of evenly lit skin.
    spread = np.maximum(1.4826 * np.median(np.abs(sample - middle), axis=0), (5.0, 2.5, 3.0)).astype(np.float32)
    off = (lab - middle) / spread
    # Light falls off over a face, so lightness may differ twice as far as colour; shine is lighter still, and paler.
    shine = off[..., 0] > 1
    off[..., 0] /= np.where(off[..., 0] > 0, 3, 2)
    off[..., 1:] /= np.where(shine & (off[..., 1] < 1), 2, 1)[..., None]
    # Blond hair has the colour of skin but not its evenness.
    rough = np.maximum(texture / max(float(np.median(texture[known])), 0.7) - 2, 0)
    distance = np.sqrt((off**2).sum(axis=2) + (rough * 2) ** 2)
    return np.asarray(np.clip((5.0 - distance) / 2.0, 0, 1), np.float32)


def _texture(light: Floats, width: float) -> Floats:
    """Mean contrast of fine detail around each pixel, in L."""
    return _blur(np.abs(light - _blur(light, width * 0.015)), width * 0.02)


def _joined(skin: NDArray[np.uint8], area: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Skin without islands: patches of less than 3 % of the area are something else of the same colour."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(skin, connectivity=4)
    large = stats[:, cv2.CC_STAT_AREA] >= 0.03 * area.sum()
    large[0] = False
    return large[labels].astype(np.uint8)


def _calm(lab: Floats, mask: Mask, drawn: _Drawn) -> Floats:
    """The change of L, a, b that calms skin at full strength."""
    inside = (mask > 0).astype(np.float32)
    fine = _blur_inside(lab, inside, drawn.width * 0.012)
    coarse = _blur_inside(lab, inside, drawn.width * 0.05)
    middle = fine - coarse
    change = np.empty_like(lab)
    # Waves of 4 L are blotches, waves of 12 L are the wing of a nose.
    change[..., 0] = -0.6 * middle[..., 0] * np.exp(-((middle[..., 0] / 8) ** 2))
    change[..., 1:] = -0.5 * middle[..., 1:]
    broad = _blur_inside(lab, inside, drawn.width * 0.15)
    under = _blur(drawn.under_eyes().astype(np.float32), drawn.width * 0.02)
    shade = np.maximum(broad - coarse, 0)[..., 0]
    change[..., 0] += 0.4 * under * shade
    skin = lab[mask > 0.5]
    usual = np.median(skin[:, 1:], axis=0)
    # What is lighter than nine tenths of the skin and lighter than its surroundings is shine.
    shine = np.minimum(np.maximum(fine[..., 0] - np.percentile(skin[:, 0], 90), 0), np.maximum(fine - broad, 0)[..., 0])
    change[..., 0] -= 0.4 * shine
    faded = np.clip(shine / 10, 0, 1)[..., None]
    change[..., 1:] += 0.3 * faded * (usual - fine[..., 1:])
    return change


def _around(box: Box, image: Image, room: float) -> tuple[slice, slice]:
    """Rows and columns of a box with `room` (a share of its larger side) on all sides, inside the image."""
    height, width = image.shape[:2]
    extra = room * max(box.width, box.height)
    edges = (box.left - extra, box.top - extra, box.right + extra + 1, box.bottom + extra + 1)
    left, right = (int(np.clip(math.floor(each), 0, width)) for each in (edges[0], edges[2]))
    top, bottom = (int(np.clip(math.floor(each), 0, height)) for each in (edges[1], edges[3]))
    return slice(top, bottom), slice(left, right)


def _disc(radius: float) -> NDArray[np.uint8]:
    side = 2 * max(1, round(radius)) + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), np.uint8)


def _blur(values: Floats, sigma: float) -> Floats:
    """Gaussian blur; wide ones are done on a smaller copy, so that the cost does not grow with the width."""
    if sigma < 0.3:
        return values
    shrink = max(1.0, sigma / 4)
    height, width = values.shape[:2]
    size = (max(1, round(width / shrink)), max(1, round(height / shrink)))
    small = values if shrink == 1 else cv2.resize(values, size, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma / shrink, borderType=cv2.BORDER_REPLICATE)
    grown = small if shrink == 1 else cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(grown, np.float32)


def _blur_inside(values: Floats, inside: Floats, sigma: float) -> Floats:
    """Gaussian blur that sees only what is inside, so that eyes and hair do not bleed into skin."""
    weight = np.maximum(_blur(inside, sigma), 1e-3)[..., None]
    return np.asarray(_blur(values * inside[..., None], sigma) / weight, np.float32)
