"""Selfies made from one public-domain photo (NASA, `skimage.data.astronaut`): each fault on a scale, so it can be swept.

Every function takes and gives H×W×3 uint8 RGB. Sizes are relative to the face, which is 94 px wide in the original.
"""

import math
from pathlib import Path

import cv2
import insightface
import numpy as np
import skimage.data
from numpy.typing import NDArray

from portrait.types import Face, Image

FACE_WIDTH = 94
"""Width of the astronaut's face in pixels, as the mesh measures it."""


def astronaut() -> Image:
    """The photo itself, 512×512."""
    return skimage.data.astronaut()


def group() -> Image:
    """insightface's own test photo of six people, 1280×886."""
    path = Path(insightface.__file__).parent / "data" / "images" / "t1.jpg"
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


def blurred(image: Image, share: float) -> Image:
    """Out of focus: a Gaussian of `share` of the face's width."""
    return image if share == 0 else np.asarray(cv2.GaussianBlur(image, (0, 0), share * FACE_WIDTH), np.uint8)


def lit(image: Image, stops: float) -> Image:
    """Exposed by `stops` more or less, as a camera would: in linear light, then clipped."""
    linear = (image / 255.0) ** 2.2 * 2.0**stops
    return np.asarray(np.clip(linear, 0, 1) ** (1 / 2.2) * 255, np.uint8)


def noisy(image: Image, sigma: float, seed: int = 0) -> Image:
    """With sensor noise of `sigma` levels."""
    noise = np.random.default_rng(seed).normal(0, sigma, image.shape)
    return np.asarray(np.clip(image + noise, 0, 255), np.uint8)


def rolled(image: Image, degrees: float) -> Image:
    """The camera leaned: turned about the face, clockwise, the border repeated."""
    matrix = cv2.getRotationMatrix2D((224, 123), -degrees, 1)
    size = (image.shape[1], image.shape[0])
    return np.asarray(cv2.warpAffine(image, matrix, size, borderMode=cv2.BORDER_REFLECT), np.uint8)


def far(image: Image, width: float) -> Image:
    """Taken from so far away that the face is `width` pixels wide in the same frame."""
    factor = width / FACE_WIDTH
    small = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


def cut(image: Image, share: float) -> Image:
    """Framed so that `share` of the face's width lies left of the picture."""
    left = round(178 + share * FACE_WIDTH)
    return np.ascontiguousarray(image[:, left:])


def turned(image: Image, face: Face, degrees: float) -> Image:
    """The head turned to the side by rotating its mesh in depth and warping the picture along."""
    mesh = _mesh(face)
    middle = (mesh.max(axis=0) + mesh.min(axis=0)) / 2
    middle[2] = mesh[:, 2].max()  # heads turn about the neck, behind the face
    angle = math.radians(degrees)
    around = mesh - middle
    x = around[:, 0] * math.cos(angle) - around[:, 2] * math.sin(angle)
    return _warped(image, mesh[:, :2], np.column_stack([x + middle[0], mesh[:, 1]]))


def eyes_shut(image: Image, face: Face, share: float) -> Image:
    """The upper lids drawn down by `share` (0 open, 1 shut), lid skin stretched over the eyes."""
    mesh = _mesh(face)[:, :2]
    out = image.copy()
    for upper, lower, brow in (
        (
            (33, 246, 161, 160, 159, 158, 157, 173, 133),
            (33, 7, 163, 144, 145, 153, 154, 155, 133),
            (70, 63, 105, 66, 107),
        ),
        (
            (362, 398, 384, 385, 386, 387, 388, 466, 263),
            (362, 382, 381, 380, 374, 373, 390, 249, 263),
            (336, 296, 334, 293, 300),
        ),
    ):
        columns = np.arange(math.ceil(mesh[list(upper), 0].min()), math.floor(mesh[list(upper), 0].max()) + 1)
        above = np.interp(columns, *_sorted(mesh[list(upper)]))
        below = np.interp(columns, *_sorted(mesh[list(lower)]))
        top = np.interp(columns, *_sorted(mesh[list(brow)])) + 2
        lid = above + (below - above) * share
        for column, start, edge, end in zip(columns, top, above, lid, strict=True):
            rows = np.arange(math.ceil(start), math.floor(end) + 1)
            source = start + (rows - start) * (edge - start) / max(end - start, 1e-6)
            strip = image[:, column : column + 1].astype(np.float32)
            xs = np.zeros((len(rows), 1), np.float32)
            out[rows, column] = cv2.remap(strip, xs, source.astype(np.float32)[:, None], cv2.INTER_LINEAR)[:, 0]
    return out


def large(image: Image, width: int, height: int, seed: int = 0) -> Image:
    """As a phone would store it: many pixels, a little noise."""
    grown = cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)
    grain = np.random.default_rng(seed).integers(-3, 4, (height, width, 1), np.int16)
    return np.asarray(np.clip(grown.astype(np.int16) + grain, 0, 255), np.uint8)


def _mesh(face: Face) -> NDArray[np.float64]:
    if face.mesh is None:
        raise ValueError("this needs a face with a mesh")
    return face.mesh.astype(np.float64)


def _sorted(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    order = np.argsort(points[:, 0])
    return points[order, 0], points[order, 1]


def _warped(image: Image, source: NDArray[np.float64], target: NDArray[np.float64]) -> Image:
    """Move `source` points to `target`, the far border held still, smooth between."""
    from scipy.interpolate import RBFInterpolator

    height, width = image.shape[:2]
    border = np.array([[x, y] for x in np.linspace(0, width, 9) for y in (0, height)]
                      + [[x, y] for y in np.linspace(0, height, 9) for x in (0, width)])  # fmt: skip
    shift = RBFInterpolator(
        np.vstack([target, border]), np.vstack([source - target, np.zeros_like(border)]), neighbors=40, smoothing=1.0
    )
    step = 8
    grid = np.stack(np.meshgrid(np.arange(0, width + step, step), np.arange(0, height + step, step)), -1)
    field = shift(grid.reshape(-1, 2).astype(np.float64)).reshape(*grid.shape[:2], 2).astype(np.float32)
    full = cv2.resize(field, None, fx=step, fy=step, interpolation=cv2.INTER_LINEAR)[:height, :width]
    across, down = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return np.asarray(
        cv2.remap(image, across + full[..., 0], down + full[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT),
        np.uint8,
    )
