"""Warping faces by their mesh: region masks, posing a mesh like another head, and thin-plate maps between pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from portrait.arrays import Image, Mask, Points
from portrait.faces.mesh import AROUND_LEFT_EYE, BROWS, EYES, LIPS, MESH_POINTS, MIDLINE, MOUTH, OVAL, REGIONS
from portrait.images.filters import smoothstep, vector_length


def _mirror() -> NDArray[np.intp]:
    # Measured on seven faces and their mirror images: the left half is the points below 248 that are not on the midline,
    # and the right half follows from 248 in the same order.
    left = [point for point in range(248) if point not in MIDLINE]
    mirror = np.arange(MESH_POINTS)
    mirror[left], mirror[248:] = np.arange(248, MESH_POINTS), left
    return mirror


MIRROR = _mirror()
"""For each point of the mesh, the index of its mirror image on the other half of the face."""

Grid = NDArray[np.float32]
"""R×C×2: where pixels on a coarse grid come from, in pixels of the source; see `dense`."""

AT_ONCE = 512
"""Places of a grid that are computed at a time, so that they stay in the cache."""
_OVAL = list(OVAL)


@dataclass(frozen=True, slots=True)
class Similarity3D:
    """A similarity transform in three dimensions: points × rotation × scale + translation."""

    rotation: NDArray[np.float64]
    scale: float
    translation: NDArray[np.float64]

    def __call__(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Transform N×3 points."""
        return self.scale * points.astype(np.float64) @ self.rotation.T + self.translation


def fit_similarity(
    points: NDArray[np.floating], target: NDArray[np.floating], weights: NDArray[np.floating]
) -> Similarity3D:
    """The transform that brings N×3 `points` nearest to `target`: weighted least squares (Umeyama 1991), never a mirror."""
    share = weights[:, None] / weights.sum()
    middle, aim = (share * points).sum(axis=0), (share * target).sum(axis=0)
    centred, centred_target = points - middle, target - aim
    left, singular, right = np.linalg.svd((share * centred_target).T @ centred)
    handedness = np.array([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
    turn = left @ np.diag(handedness) @ right
    scale = float((singular * handedness).sum() / (share * centred * centred).sum())
    return Similarity3D(turn, scale, aim - scale * turn @ middle)


def symmetrize(mesh: Points, share: float) -> Points:
    """The 468 points moved towards their own mirror image: `share` 0 leaves them, 1 makes both halves alike.

    The network guesses the far half of a turned head; the near half is more reliable.
    """
    points = mesh[:MESH_POINTS].astype(np.float64)
    mirrored = points[MIRROR] * (-1.0, 1.0, 1.0)
    mirrored = fit_similarity(mirrored, points, np.ones(MESH_POINTS))(mirrored)
    return (points + (mirrored - points) * share / 2).astype(np.float32)


def match_pose(mesh: Points, model: Points, turned: float, outline: float) -> Points:
    """The 468×3 points of a person's mesh in the head pose of `model`, in the model's pixels.

    The person keeps the proportions of eyes, nose and mouth. The outline moves to the model's by `outline` 0..1, less and
    less towards the middle, because it must end on the model's own jaw. `turned`: degrees between the two heads.
    """
    weights = np.ones(MESH_POINTS)
    weights[list(LIPS + MOUTH)] = 0.3  # they show an expression, not where the head is
    # The guessed half counts less the more the head had to be turned; below 10° the person's own asymmetry is kept whole.
    person = symmetrize(mesh, smoothstep(abs(turned), 10, 30))
    posed = fit_similarity(person, model[:MESH_POINTS], weights)(person)
    width = float(np.ptp(model[:MESH_POINTS, 0]))
    shift = model[_OVAL, :2] - posed[_OVAL, :2]
    apart = vector_length(posed[:, None, :2] - posed[None, _OVAL, :2]) / width
    near = np.exp(-((apart / 0.12) ** 2))
    follow = np.exp(-((apart.min(axis=1) / 0.15) ** 2))[:, None]
    posed[:, :2] += outline * follow * (near @ shift) / (near.sum(axis=1)[:, None] + 1e-6)
    return posed.astype(np.float32)


def longitude(mesh: Points) -> NDArray[np.float64]:
    """Longitude on the head of each of the 468 points, in degrees: 0 on the nose, positive to the right."""
    symmetric = symmetrize(mesh, 1.0).astype(np.float64)
    across = symmetric - symmetric[MIRROR]
    axis = np.linalg.svd(across, full_matrices=False)[2][0]
    axis *= np.sign(float((symmetric[263] - symmetric[33]) @ axis)) or 1.0
    reach = across @ axis
    return np.degrees(np.arcsin(np.clip(reach / np.abs(reach).max() * 0.95, -1, 1)))


def point_visibility(mesh: Points, yaw: float) -> NDArray[np.float64]:
    """Visibility of each of the 468 points, 0 (behind the nose, beyond the cheek) to 1; `yaw` is the pose's, in degrees.

    All points of an eye get the same value: half of one eye and half of another do not make an eye.
    """
    near = longitude(mesh) * (1.0 if yaw <= 0 else -1.0)
    for number, (eye, brow) in enumerate(zip(EYES, BROWS, strict=True)):
        surroundings = list(AROUND_LEFT_EYE) if number == 0 else MIRROR[list(AROUND_LEFT_EYE)].tolist()
        near[[*eye, *brow, *surroundings]] = near[list(eye)].mean()
    # The depth from one camera is compressed: the true turn is about 1.4 times as large (60° read as 43°). The edge of what is
    # visible was read off photos at six turns; at 65° it lies on the near side, because the nose's ridge is the silhouette.
    edge = np.interp(abs(yaw) * 1.4, [8, 16, 22, 50, 65], [-110, -52, -25, -5, 6])
    return np.asarray(smoothstep(near, edge - 8, edge + 8))


def pull_in_silhouette(mesh: Points, yaw: float) -> Points:
    """The mesh of a head in profile with its middle moved in from the silhouette, so that no background is taken for skin."""
    near = longitude(mesh) * (1.0 if yaw <= 0 else -1.0)
    across = (mesh[263, :2] - mesh[33, :2]) * (1.0 if yaw <= 0 else -1.0)
    across = across / max(float(np.hypot(*across)), 1e-6)
    step = 0.035 * float(np.ptp(mesh[:MESH_POINTS, 0])) * smoothstep(abs(yaw) * 1.4, 40, 60)
    out = mesh.copy()
    out[:MESH_POINTS, :2] += across * (step * np.exp(-np.minimum((near / 18) ** 2, 9)))[:, None]
    return out


def region_mask(mesh: Points, name: str, shape: tuple[int, int], grow: float = 0.0) -> Mask:
    """Mask of a region of `REGIONS`, of `shape`, with smooth edges; dilated by `grow` pixels, eroded where it is negative.

    It cannot be written to: one face asks for the same masks again and again, so the last ones are kept.
    """
    outlines = [np.round(mesh[list(outline), :2] * 16).astype(np.int32) for outline in REGIONS[name]]
    return _outline_mask(tuple(each.tobytes() for each in outlines), (shape[0], shape[1]), round(grow))


def forget_outlines() -> None:
    """Drop the outlines of faces that are kept for further portraits."""
    _outline_mask.cache_clear()


@lru_cache(maxsize=96)
def _outline_mask(outlines: tuple[bytes, ...], shape: tuple[int, int], grow: int) -> Mask:
    mask = np.zeros(shape, np.uint8)
    for outline in outlines:
        cv2.fillPoly(mask, [np.frombuffer(outline, np.int32).reshape(-1, 2)], 255, cv2.LINE_AA, 4)
    if grow:
        side = 2 * abs(grow) + 1
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
        left, top, width, height = cv2.boundingRect(mask)
        reach = abs(grow) + 1
        part = mask[max(0, top - reach) : top + height + reach, max(0, left - reach) : left + width + reach]
        part[:] = cv2.dilate(part, kernel) if grow > 0 else cv2.erode(part, kernel, borderValue=0)
    smooth = (mask / 255).astype(np.float32)
    smooth.flags.writeable = False
    return smooth


def thin_plate_spline(target: Points, sources: Sequence[Points], shape: tuple[int, int], cells: int = 80) -> list[Grid]:
    """For each source, the map by which a picture of `shape` is sampled so that its points land on `target`.

    Thin-plate splines, a little smoothed (Bookstein 1989), evaluated on a coarse grid of about `cells` cells along the
    longer side: they are smooth, so the cost need not grow with the picture.
    """
    unit = float(max(shape))
    at = target[:, :2].astype(np.float64) / unit
    count = len(at)
    system = np.zeros((count + 3, count + 3))
    system[:count] = _plates(at, at)
    system[:count, :count] += 1e-4 * np.eye(count)  # stiffness that takes the network's jitter off
    system[count:, :count] = system[:count, count:].T
    wanted = np.hstack([source[:, :2] for source in sources]).astype(np.float64)
    weights = np.linalg.solve(system, np.vstack([wanted, np.zeros((3, wanted.shape[1]))]))
    rows, columns = _ticks(shape, cells)
    grid = np.stack(np.meshgrid(columns, rows), axis=-1).reshape(-1, 2) / unit
    plates = (_plates(grid, at) @ weights).reshape(len(rows), len(columns), -1).astype(np.float32)
    return [np.ascontiguousarray(plates[..., 2 * each : 2 * each + 2]) for each in range(len(sources))]


def _plates(places: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """What each of N places takes of the plates of M points, of the constant and of the plane: N×(M+3)."""
    count = len(points)
    taken = np.empty((len(places), count + 3))
    taken[:, count], taken[:, count + 1 :] = 1, places
    lengths = (points**2).sum(axis=1)
    for top in range(0, len(places), AT_ONCE):
        some, kernel = places[top : top + AT_ONCE], taken[top : top + AT_ONCE, :count]
        np.add((some**2).sum(axis=1)[:, None], lengths, out=kernel)
        kernel -= 2 * some @ points.T
        np.maximum(kernel, 1e-12, out=kernel)
        kernel *= np.log(kernel)
    return taken


def _ticks(shape: tuple[int, int], cells: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rows and columns of a coarse grid, at the centres of its cells, as `cv2.resize` counts them."""
    rows, columns = (max(2, min(side, round(cells * side / max(shape)))) for side in shape)
    return (np.arange(rows) + 0.5) * shape[0] / rows - 0.5, (np.arange(columns) + 0.5) * shape[1] / columns - 0.5


def upsample_grid(grid: Grid, shape: tuple[int, int]) -> Grid:
    """A coarse grid enlarged to one entry for each pixel of `shape`."""
    return np.asarray(cv2.resize(grid, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC), np.float32)


def warp_image(image: Image, field: Grid) -> Image:
    """The picture sampled by a dense map; beyond its edges the border is repeated."""
    warped = cv2.remap(image, field[..., 0], field[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped, image.dtype)


def interpolate_points(values: NDArray[np.floating], points: Points, shape: tuple[int, int], reach: float) -> Mask:
    """Values at N×2 points as a smooth mask of `shape`; each reaches about `reach` pixels, beyond that the nearest counts."""
    rows, columns = _ticks(shape, 64)
    grid = np.stack(np.meshgrid(columns, rows), axis=-1)
    square = sum((grid[..., axis, None] - points[:, axis]) ** 2 for axis in (0, 1)) / reach**2
    weight = np.exp(-square) + 1e-9 / (1 + square)
    mixed = ((weight * values).sum(axis=2) / weight.sum(axis=2)).astype(np.float32)
    return np.clip(cv2.resize(mixed, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR), 0, 1)


def shrink_with_mesh(image: Image, mesh: Points, factor: float) -> tuple[Image, Points]:
    """The picture and its mesh scaled by `factor` where it is below 1, by averaging areas."""
    if factor >= 1:
        return np.ascontiguousarray(image), mesh
    small = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    scale = np.array([small.shape[1] / image.shape[1], small.shape[0] / image.shape[0]])
    points = mesh.copy()
    points[:, :2] = (mesh[:, :2] + 0.5) * scale - 0.5
    points[:, 2] *= float(scale[0])
    return np.asarray(small, np.uint8), points
