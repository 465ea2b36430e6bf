"""The mesh of a face as a rubber sheet: regions on it, posing it like another head, and dense maps between pictures.

Point indices are those of MediaPipe's face mesh, left and right as seen in the picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from portrait.arrays import Image, Mask, Points

MESH_POINTS = 468
"""Points of the mesh proper; the ten of the irises follow."""

REGIONS: dict[str, tuple[tuple[int, ...], ...]] = {
    "oval": ((10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149,
              150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),),
    "eyes": ((33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246),
             (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466)),
    "brows": ((70, 63, 105, 66, 107, 55, 65, 52, 53, 46), (300, 293, 334, 296, 336, 285, 295, 282, 283, 276)),
    "lips": ((61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185),),
    "mouth": ((78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191),),
    "philtrum": ((98, 97, 2, 326, 327, 270, 269, 267, 0, 37, 39, 40),),
    "nostrils": ((48, 64, 98, 97, 2, 326, 327, 294, 278, 275, 4, 45),),
}  # fmt: skip
"""Outlines of the mesh's regions, from MediaPipe's published figure; `lips` holds the mouth, `nostrils` the nose's tip;
`philtrum` lies between both."""

_MIDLINE = (
    0,
    1,
    2,
    4,
    5,
    6,
    8,
    9,
    10,
    11,
    12,
    13,
    14,
    15,
    16,
    17,
    18,
    19,
    94,
    151,
    152,
    164,
    168,
    175,
    195,
    197,
    199,
    200,
)


def _mirror() -> NDArray[np.intp]:
    # Measured on seven faces and their mirror images: the left half is the points below 248 that are not on the midline,
    # and the right half follows from 248 in the same order.
    left = [point for point in range(248) if point not in _MIDLINE]
    mirror = np.arange(MESH_POINTS)
    mirror[left], mirror[248:] = np.arange(248, MESH_POINTS), left
    return mirror


MIRROR = _mirror()
"""For each point of the mesh the one that takes its place in a mirror."""

Values = TypeVar("Values", Image, Mask)

Grid = NDArray[np.float32]
"""R×C×2: where pixels on a coarse grid come from, in pixels of the source; see `dense`."""

_OVAL = list(REGIONS["oval"][0])
# The skin around each eye as far as its brow, on the left of the picture; with the outlines above it moves as one.
_AROUND_EYE = (22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 35, 56, 110, 112, 113, 124, 130, 156, 189, 190, 221, 222, 223, 224,
               225, 226, 228, 229, 230, 231, 232, 233, 243, 244, 247)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Similarity3D:
    """A turn, a scale and a shift in three dimensions."""

    rotation: NDArray[np.float64]
    scale: float
    translation: NDArray[np.float64]

    def __call__(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Carry N×3 points."""
        return self.scale * points.astype(np.float64) @ self.rotation.T + self.translation


def fit_similarity(
    points: NDArray[np.floating], target: NDArray[np.floating], weights: NDArray[np.floating]
) -> Similarity3D:
    """The fit that brings N×3 `points` nearest to `target`, each counted by its weight (Umeyama 1991); never mirrors."""
    share = weights[:, None] / weights.sum()
    middle, aim = (share * points).sum(axis=0), (share * target).sum(axis=0)
    around, wanted = points - middle, target - aim
    left, spread, right = np.linalg.svd((share * wanted).T @ around)
    hand = np.array([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
    turn = left @ np.diag(hand) @ right
    scale = float((spread * hand).sum() / (share * around * around).sum())
    return Similarity3D(turn, scale, aim - scale * turn @ middle)


def symmetrize(mesh: Points, share: float) -> Points:
    """The mesh drawn towards its own mirror image: `share` 0 leaves it, 1 makes both halves alike.

    The far half of a turned head is guessed by the network; the near half knows better.
    """
    points = mesh[:MESH_POINTS].astype(np.float64)
    twin = points[MIRROR] * (-1.0, 1.0, 1.0)
    twin = fit_similarity(twin, points, np.ones(MESH_POINTS))(twin)
    return (points + (twin - points) * share / 2).astype(np.float32)


def match_pose(mesh: Points, model: Points, turned: float, outline: float) -> Points:
    """Where a person's points lie when they hold their head like `model`: 468×3, in the model's pixels.

    The person keeps the proportions of eyes, nose and mouth. The outline is drawn to the model's by `outline` 0..1, less and
    less towards the middle, because it must end on the model's own jaw. `turned`: degrees between the two heads.
    """
    weights = np.ones(MESH_POINTS)
    weights[list(REGIONS["lips"][0] + REGIONS["mouth"][0])] = 0.3  # they say what is felt, not where the head is
    # The guessed half counts less the more the head had to be turned; below 10° the person's own asymmetry is kept whole.
    person = symmetrize(mesh, smoothstep(abs(turned), 10, 30))
    posed = fit_similarity(person, model[:MESH_POINTS], weights)(person)
    width = float(np.ptp(model[:MESH_POINTS, 0]))
    shift = model[_OVAL, :2] - posed[_OVAL, :2]
    apart = np.linalg.norm(posed[:, None, :2] - posed[None, _OVAL, :2], axis=2) / width
    near = np.exp(-((apart / 0.12) ** 2))
    follow = np.exp(-((apart.min(axis=1) / 0.15) ** 2))[:, None]
    posed[:, :2] += outline * follow * (near @ shift) / (near.sum(axis=1)[:, None] + 1e-6)
    return posed.astype(np.float32)


def longitude(mesh: Points) -> NDArray[np.float64]:
    """How far round the head each of the 468 points lies, in degrees: 0 on the nose, positive to the right."""
    twin = symmetrize(mesh, 1.0).astype(np.float64)
    across = twin - twin[MIRROR]
    axis = np.linalg.svd(across, full_matrices=False)[2][0]
    axis *= np.sign(float((twin[263] - twin[33]) @ axis)) or 1.0
    reach = across @ axis
    return np.degrees(np.arcsin(np.clip(reach / np.abs(reach).max() * 0.95, -1, 1)))


def point_visibility(mesh: Points, yaw: float) -> NDArray[np.float64]:
    """How well each of the 468 points can be seen, 0 (behind the nose, beyond the cheek) to 1; `yaw` as the mesh reads it.

    An eye is seen as a whole or not at all: half of one and half of another make no eye.
    """
    near = longitude(mesh) * (1.0 if yaw <= 0 else -1.0)
    for at, (eye, brow) in enumerate(zip(REGIONS["eyes"], REGIONS["brows"], strict=True)):
        around = list(_AROUND_EYE) if at == 0 else MIRROR[list(_AROUND_EYE)].tolist()
        near[[*eye, *brow, *around]] = near[list(eye)].mean()
    # A depth of one camera is compressed: the true turn is about 1.4 times as large (60° read as 43°). The edge of what is
    # seen was read off photos at six turns; at 65° it lies on the near side, because the nose's ridge is the silhouette.
    edge = np.interp(abs(yaw) * 1.4, [8, 16, 22, 50, 65], [-110, -52, -25, -5, 6])
    return np.asarray(smoothstep(near, edge - 8, edge + 8))


def pull_in_silhouette(mesh: Points, yaw: float) -> Points:
    """The mesh with its middle drawn in from the silhouette of a head in profile, so that no background is taken for skin."""
    near = longitude(mesh) * (1.0 if yaw <= 0 else -1.0)
    across = (mesh[263, :2] - mesh[33, :2]) * (1.0 if yaw <= 0 else -1.0)
    across = across / max(float(np.hypot(*across)), 1e-6)
    step = 0.035 * float(np.ptp(mesh[:MESH_POINTS, 0])) * smoothstep(abs(yaw) * 1.4, 40, 60)
    out = mesh.copy()
    out[:MESH_POINTS, :2] += across * (step * np.exp(-np.minimum((near / 18) ** 2, 9)))[:, None]
    return out


def region_mask(mesh: Points, name: str, shape: tuple[int, int], grow: float = 0.0) -> Mask:
    """A region as a mask of `shape`, with smooth edges; `grow` widens it by so many pixels, or shrinks it below zero."""
    mask = np.zeros(shape, np.uint8)
    for outline in REGIONS[name]:
        points = np.round(mesh[list(outline), :2] * 16).astype(np.int32)
        cv2.fillPoly(mask, [points], 255, cv2.LINE_AA, 4)
    if round(abs(grow)) >= 1:
        side = 2 * round(abs(grow)) + 1
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
        mask = cv2.dilate(mask, kernel) if grow > 0 else cv2.erode(mask, kernel, borderValue=0)
    return (mask / 255).astype(np.float32)


def thin_plate_spline(target: Points, sources: Sequence[Points], shape: tuple[int, int], cells: int = 80) -> list[Grid]:
    """Where a picture of `shape` comes from so that points of each source land on `target`: thin plates, a little smoothed.

    Bookstein 1989. Evaluated on a coarse grid (a plate is smooth), so the cost does not grow with the picture.
    """
    unit = float(max(shape))
    at = target[:, :2].astype(np.float64) / unit
    count = len(at)
    system = np.zeros((count + 3, count + 3))
    system[:count, :count] = _bend(at, at) + 1e-4 * np.eye(count)  # stiffness that takes the network's jitter off
    system[:count, count:] = np.column_stack([np.ones(count), at])
    system[count:, :count] = system[:count, count:].T
    wanted = np.hstack([source[:, :2] for source in sources]).astype(np.float64)
    weights = np.linalg.solve(system, np.vstack([wanted, np.zeros((3, wanted.shape[1]))]))
    rows, columns = _ticks(shape, cells)
    grid = np.stack(np.meshgrid(columns, rows), axis=-1).reshape(-1, 2) / unit
    plates = np.column_stack([_bend(grid, at), np.ones(len(grid)), grid]) @ weights
    plates = plates.reshape(len(rows), len(columns), -1).astype(np.float32)
    return [np.ascontiguousarray(plates[..., 2 * each : 2 * each + 2]) for each in range(len(sources))]


def _bend(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    square = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1) - 2 * one @ other.T
    square = np.maximum(square, 1e-12)
    return square * np.log(square)


def _ticks(shape: tuple[int, int], cells: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rows and columns of a coarse grid, at the centres of its cells, as `cv2.resize` counts them."""
    rows, columns = (max(2, min(side, round(cells * side / max(shape)))) for side in shape)
    return (np.arange(rows) + 0.5) * shape[0] / rows - 0.5, (np.arange(columns) + 0.5) * shape[1] / columns - 0.5


def upsample_grid(grid: Grid, shape: tuple[int, int]) -> Grid:
    """A coarse grid as one entry a pixel."""
    return np.asarray(cv2.resize(grid, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC), np.float32)


def warp_image(image: Image, field: Grid) -> Image:
    """The picture pulled through a dense map; what lies outside repeats the border."""
    drawn = cv2.remap(image, field[..., 0], field[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(drawn, image.dtype)


def interpolate_points(values: NDArray[np.floating], points: Points, shape: tuple[int, int], reach: float) -> Mask:
    """Values at points as a smooth mask of `shape`; each reaches about `reach` pixels, the nearest decides beyond."""
    rows, columns = _ticks(shape, 64)
    grid = np.stack(np.meshgrid(columns, rows), axis=-1)
    square = sum((grid[..., axis, None] - points[:, axis]) ** 2 for axis in (0, 1)) / reach**2
    weight = np.exp(-square) + 1e-9 / (1 + square)
    mixed = ((weight * values).sum(axis=2) / weight.sum(axis=2)).astype(np.float32)
    return np.clip(cv2.resize(mixed, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR), 0, 1)


def smoothstep(value: Any, low: float, high: float) -> Any:
    """0 below `low`, 1 above `high`, smooth between."""
    share = np.clip((value - low) / (high - low), 0, 1)
    return share * share * (3 - 2 * share)


def shrink_with_mesh(image: Image, mesh: Points, factor: float) -> tuple[Image, Points]:
    """The picture and its mesh made smaller by averaging; never larger."""
    if factor >= 1:
        return np.ascontiguousarray(image), mesh
    small = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    scale = np.array([small.shape[1] / image.shape[1], small.shape[0] / image.shape[0]])
    points = mesh.copy()
    points[:, :2] = (mesh[:, :2] + 0.5) * scale - 0.5
    points[:, 2] *= float(scale[0])
    return np.asarray(small, np.uint8), points


def resize(values: Values, shape: tuple[int, ...]) -> Values:
    """An array of pixels at another size: averaged when smaller, linear when larger."""
    if values.shape[:2] == tuple(shape[:2]):
        return values
    way = cv2.INTER_AREA if shape[0] < values.shape[0] else cv2.INTER_LINEAR
    return cast(Values, cv2.resize(values, (shape[1], shape[0]), interpolation=way))
