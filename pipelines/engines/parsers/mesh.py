"""Face regions from the face mesh alone: embedded, no model of its own; it knows no hair, ears or glasses."""

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.engines import Engines
from pipelines.model_store.store import Models
from pipelines.settings import Settings
from portrait.arrays import Image, Mask, Points
from portrait.errors import EngineError
from portrait.faces.skin import BROWS, EYES, LIPS, skin_mask
from portrait.types import Box, Face, Region, Regions

# Contours of MediaPipe's published figure; see portrait/faces/skin.py.
MOUTH = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191)
"""Between the lips; closed, it has no area."""
NOSE = (168, 193, 245, 126, 129, 98, 2, 327, 358, 355, 465, 417)
"""From the root between the eyes to the wings and the base."""
SOFT = 0.012
"""Softness of an edge as a share of the face's width: about what a parsing network's own edge has."""
WIDTH = 384
"""Face width in pixels that contours are drawn at, whatever the face has: at small ones half a pixel would be much."""
GAP = 0.09
"""Gaps in the skin as wide as this share of the face are closed: margins about features, a strand, a fold."""
ROOM = 0.2
"""Room about the face's box, as a share of its larger side, in which regions are looked for; skin has its own."""


class Mesh:
    """Regions drawn from the mesh; skin is learned from the cheeks, so hair and hands over a face are left out."""

    def parse(self, image: Image, face: Face) -> Regions:
        """Soft masks of skin, brows, eyes, nose, lips and mouth, none on top of another; see `portrait.ports.Parser`."""
        if face.mesh is None:
            raise EngineError(
                "no_mesh", 'Faces of this engine have no mesh to parse. Set engines.parsers = "bisenet" and pull it.'
            )
        outlines = _drawn(image, face.box, face.mesh[:, :2])
        skin = skin_mask(image, face)
        # What is retouched as skin keeps clear of features and specks; a region reaches up to them.
        outlines["skin"] = np.maximum(skin, _closed(np.maximum.reduce([skin, *outlines.values()]), face.box))
        free = np.ones(image.shape[:2], np.float32)
        regions: dict[Region, Mask] = {}
        for name in ORDER:
            regions[name] = np.minimum(outlines[name], free)
            free -= regions[name]
        return regions


ORDER: tuple[Region, ...] = ("eyes", "brows", "mouth", "lips", "nose", "skin")
"""Where two meet, the first has the pixel: lips would cover the mouth, and skin the nose."""


def _window(shape: tuple[int, ...], box: Box) -> tuple[slice, slice, tuple[int, int]]:
    """Rows and columns about a face, and the height and width they are worked on at; empty where there is no picture."""
    room = ROOM * max(box.width, box.height)
    top, bottom = (int(np.clip(edge, 0, shape[0])) for edge in (box.top - room, box.bottom + room + 1))
    left, right = (int(np.clip(edge, 0, shape[1])) for edge in (box.left - room, box.right + room + 1))
    factor = WIDTH / max(box.width, 1.0)
    size = (max(2, round((bottom - top) * factor)), max(2, round((right - left) * factor)))
    return slice(top, bottom), slice(left, right), size


def _drawn(image: Image, box: Box, points: Points) -> dict[str, Mask]:
    """The contours, drawn large about the face and brought to the picture's size."""
    rows, columns, shape = _window(image.shape, box)
    out: dict[str, Mask] = {name: np.zeros(image.shape[:2], np.float32) for name in ORDER if name != "skin"}
    tall, wide = rows.stop - rows.start, columns.stop - columns.start
    if min(tall, wide) < 2:
        return out
    large = (points - (columns.start, rows.start) + 0.5) * (shape[1] / wide, shape[0] / tall) - 0.5
    for name, mask in _contours(shape, large).items():
        out[name][rows, columns] = _sized(mask, (tall, wide))
    return out


def _closed(mask: Mask, box: Box) -> Mask:
    """A mask without gaps of up to `GAP` of the face's width."""
    rows, columns, shape = _window(mask.shape, box)
    out = np.zeros_like(mask)
    tall, wide = rows.stop - rows.start, columns.stop - columns.start
    if min(tall, wide) < 2:
        return out
    side = 2 * round(GAP * WIDTH / 2) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    # Beyond the window there is nothing to close up to.
    sure = (_sized(mask[rows, columns], shape) > 0.3).astype(np.uint8)
    padded = cv2.copyMakeBorder(sure, side, side, side, side, cv2.BORDER_CONSTANT)
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, kernel)[side:-side, side:-side]
    out[rows, columns] = _sized(_soft(np.asarray(closed, np.float32), SOFT * WIDTH / 2), (tall, wide))
    return out


def _sized(mask: Mask, shape: tuple[int, int]) -> Mask:
    way = cv2.INTER_AREA if shape[0] < mask.shape[0] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(mask, (shape[1], shape[0]), interpolation=way), np.float32)


def _contours(shape: tuple[int, int], points: NDArray[np.floating]) -> dict[str, Mask]:
    """Soft masks at working size."""
    soft = SOFT * WIDTH
    return {
        "eyes": _soft(_hulls(shape, [points[list(each)] for each in EYES]), soft),
        "brows": _soft(_hulls(shape, [points[list(each)] for each in BROWS]), soft),
        "mouth": _soft(_polygon(shape, points[list(MOUTH)]), soft / 2),
        "lips": _soft(_polygon(shape, points[list(LIPS)]), soft),
        "nose": _soft(_hulls(shape, [points[list(NOSE)]]), soft),
    }


def _hulls(shape: tuple[int, int], outlines: list[NDArray[np.floating]]) -> Mask:
    canvas = np.zeros(shape, np.uint8)
    for points in outlines:
        hull = cv2.convexHull((points * 16).round().astype(np.int32))
        cv2.fillConvexPoly(canvas, hull, 255, cv2.LINE_AA, 4)
    return canvas.astype(np.float32) / np.float32(255)


def _polygon(shape: tuple[int, int], points: NDArray[np.floating]) -> Mask:
    canvas = np.zeros(shape, np.uint8)
    cv2.fillPoly(canvas, [(points * 16).round().astype(np.int32)], 255, cv2.LINE_AA, 4)
    return canvas.astype(np.float32) / np.float32(255)


def _soft(mask: Mask, sigma: float) -> Mask:
    return mask if sigma < 0.3 else np.asarray(cv2.GaussianBlur(mask, (0, 0), sigma), np.float32)


def make(settings: Settings, models: Models, engines: Engines) -> Mesh:
    """Nothing to load."""
    return Mesh()


def status(settings: Settings, models: Models) -> list[str]:
    """Nothing is ever missing."""
    return []
