"""Face parser that draws regions from the face mesh: the default, without a model; it knows no hair, ears or glasses."""

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.engines import Engines
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.arrays import Image, Mask, Points, Region, Regions
from portrait.errors import EngineError
from portrait.faces.geometry import box_slices
from portrait.faces.mesh import BROW_ROWS, EYE_ROWS, LIPS, MOUTH, NOSE
from portrait.faces.skin import skin_mask
from portrait.images.filters import gaussian_blur
from portrait.images.resize import resize, scaled_size
from portrait.types import Box, Face

EDGE_SOFTNESS = 0.012
"""Softness of an edge as a share of the face's width: about that of a parsing network."""
WORKING_WIDTH = 384
"""Face width in pixels at which contours are drawn, whatever the picture's: in small faces half a pixel would be much."""
MAX_GAP = 0.09
"""Gaps in the skin up to this share of the face's width are closed: margins about features, a strand, a fold."""
MARGIN = 0.2
"""Margin about the face's box, as a share of its larger side, in which regions are drawn; skin has its own."""


class MeshParser:
    """Draws regions from the mesh; skin is found by the cheeks' colour, so hair and hands over a face are left out."""

    def parse(self, image: Image, face: Face) -> Regions:
        """Soft masks of skin, brows, eyes, nose, lips and mouth that do not overlap; see `portrait.ports.Parser`.

        Raises `EngineError` (`no_mesh`).
        """
        if face.mesh is None:
            raise EngineError(
                "no_mesh", 'Faces of this engine have no mesh to parse. Set engines.parsers = "bisenet" and pull it.'
            )
        outlines = _draw_regions(image, face.box, face.mesh[:, :2])
        skin = skin_mask(image, face)
        # The mask for retouching keeps clear of features and specks; the region reaches up to them.
        outlines["skin"] = np.maximum(skin, _close_gaps(np.maximum.reduce([skin, *outlines.values()]), face.box))
        free = np.ones(image.shape[:2], np.float32)
        regions: dict[Region, Mask] = {}
        for name in PRIORITY:
            regions[name] = np.minimum(outlines[name], free)
            free -= regions[name]
        return regions


PRIORITY: tuple[Region, ...] = ("eyes", "brows", "mouth", "lips", "nose", "skin")
"""Where two overlap, the first gets the pixel: else lips would cover the mouth, and skin the nose."""


def _face_window(shape: tuple[int, ...], box: Box) -> tuple[slice, slice, tuple[int, int]]:
    """Rows and columns about a face, empty outside of the picture, and the height and width to work on them at."""
    rows, columns = box_slices(box, shape, MARGIN)
    factor = WORKING_WIDTH / max(box.width, 1.0)
    width, height = scaled_size((rows.stop - rows.start, columns.stop - columns.start), factor, 2)
    return rows, columns, (height, width)


def _draw_regions(image: Image, box: Box, points: Points) -> dict[str, Mask]:
    """Masks of all regions but skin, as large as the picture; `points` are the mesh's N×2."""
    rows, columns, shape = _face_window(image.shape, box)
    out: dict[str, Mask] = {name: np.zeros(image.shape[:2], np.float32) for name in PRIORITY if name != "skin"}
    tall, wide = rows.stop - rows.start, columns.stop - columns.start
    if min(tall, wide) < 2:
        return out
    large = (points - (columns.start, rows.start) + 0.5) * (shape[1] / wide, shape[0] / tall) - 0.5
    for name, mask in _draw_contours(shape, large).items():
        out[name][rows, columns] = resize(mask, (tall, wide))
    return out


def _close_gaps(mask: Mask, box: Box) -> Mask:
    """Close gaps in a mask of up to `MAX_GAP` of the face's width."""
    rows, columns, shape = _face_window(mask.shape, box)
    out = np.zeros_like(mask)
    tall, wide = rows.stop - rows.start, columns.stop - columns.start
    if min(tall, wide) < 2:
        return out
    side = 2 * round(MAX_GAP * WORKING_WIDTH / 2) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    # Padded by nothing, so that gaps towards the window's edge are not closed.
    solid = (resize(mask[rows, columns], shape) > 0.3).astype(np.uint8)
    padded = cv2.copyMakeBorder(solid, side, side, side, side, cv2.BORDER_CONSTANT)
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, kernel)[side:-side, side:-side]
    out[rows, columns] = resize(
        gaussian_blur(np.asarray(closed, np.float32), EDGE_SOFTNESS * WORKING_WIDTH / 2), (tall, wide)
    )
    return out


def _draw_contours(shape: tuple[int, int], points: NDArray[np.floating]) -> dict[str, Mask]:
    """Soft masks of the regions at working size `shape` (height, width)."""
    soft = EDGE_SOFTNESS * WORKING_WIDTH
    return {
        "eyes": gaussian_blur(_fill_hulls(shape, [points[list(each)] for each in EYE_ROWS]), soft),
        "brows": gaussian_blur(_fill_hulls(shape, [points[list(each)] for each in BROW_ROWS]), soft),
        "mouth": gaussian_blur(_fill_polygon(shape, points[list(MOUTH)]), soft / 2),
        "lips": gaussian_blur(_fill_polygon(shape, points[list(LIPS)]), soft),
        "nose": gaussian_blur(_fill_hulls(shape, [points[list(NOSE)]]), soft),
    }


def _fill_hulls(shape: tuple[int, int], outlines: list[NDArray[np.floating]]) -> Mask:
    canvas = np.zeros(shape, np.uint8)
    for points in outlines:
        hull = cv2.convexHull((points * 16).round().astype(np.int32))
        cv2.fillConvexPoly(canvas, hull, 255, cv2.LINE_AA, 4)
    return canvas.astype(np.float32) / np.float32(255)


def _fill_polygon(shape: tuple[int, int], points: NDArray[np.floating]) -> Mask:
    canvas = np.zeros(shape, np.uint8)
    cv2.fillPoly(canvas, [(points * 16).round().astype(np.int32)], 255, cv2.LINE_AA, 4)
    return canvas.astype(np.float32) / np.float32(255)


def make(settings: Settings, models: ModelStore, engines: Engines) -> MeshParser:
    """The engine; there is nothing to load."""
    return MeshParser()


def status(settings: Settings, models: ModelStore) -> list[str]:
    """Always empty: the engine needs no model files."""
    return []
