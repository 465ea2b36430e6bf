"""Where a picture shows the skin of one person: face, ears, neck and, inside of their silhouette, arms and hands."""

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from portrait.arrays import Image, Mask, Points
from portrait.faces.geometry import scaling_matrix, transform_face
from portrait.faces.mesh import MESH_POINTS
from portrait.fusion.occluders import along_face, face_width, feature_mask, front_mask, skin_color_distance
from portrait.fusion.warp import region_mask, shrink_with_mesh
from portrait.images.color import to_lab
from portrait.images.filters import gaussian_blur, smoothstep, vector_length
from portrait.images.masks import guided_filter
from portrait.images.resize import resize
from portrait.types import Face

Floats = NDArray[np.float32]
Silhouette = Callable[[Image, Face], Mask | None]
"""A rough mask of the person of a face, see `portrait.ports.Matter.silhouette`; None where no matter is installed."""

MEASURED_WIDTH = 96.0
"""Width of a face in pixels at which skin is measured."""
COLOURFUL = (1.0, 1.25), (3.0, 1.6)
"""L of skin, in that of the face's, and its largest chroma there, in that of the face's: shade is more colourful."""
SAME_COLOUR = 1.0
"""Distance of hair's colour from skin's, in spreads of skin, below which one cannot be told from the other."""
LIGHTER = 12.0
"""Steps of L by which hair is lighter at least than dark skin, to be told from it by that."""
BODY_WIDTH = 48.0
"""Width of a face in pixels at which the skin of the body is told from other things."""


def body_skin_mask(image: Image, face: Face, others: Sequence[Face], silhouette: Silhouette | None) -> Mask:
    """Mask of a person's skin in a picture: face, ears, neck, and what their silhouette has of chest, arms and hands.

    Without a `silhouette` nothing beyond ears and neck is taken, since walls may have the colour of skin. What is nearer to
    one of the `others` is theirs.
    """
    if face.mesh is None:
        return np.zeros(image.shape[:2], np.float32)
    part, mesh, (rows, columns) = crop_around(image, face)
    small, points = shrink_with_mesh(part, mesh, min(1.0, BODY_WIDTH / face_width(mesh)))
    oval = region_mask(points, "oval", small.shape[:2])
    own = oval * (1 - front_mask(small, points, skin_color_distance(small, points, own_skin=True)))
    scale = small.shape[1] / part.shape[1]
    near = transform_face(face, np.array([[1, 0, -columns.start], [0, 1, -rows.start]], np.float64))
    person = None if silhouette is None else silhouette(small, transform_face(near, scaling_matrix(scale)))
    zone = _neck_and_ears(points, oval.shape)
    if person is not None:
        # Beside the face is hair: arms and hands are looked for below it.
        zone = np.maximum(zone, along_face(points, oval.shape) > 0.9) * (person > 0.6)
    zone = zone * _nearest(points, oval.shape, [_moved(each, columns, rows, scale) for each in others])
    whole = np.maximum(_segment_skin(small, points, zone > 0.5, person), own)
    soft = guided_filter(gaussian_blur(whole.astype(np.float32), 0.6), small, part, 2, 2e-3)
    if person is not None:  # beside an ear the wall may have the colour of skin, too
        soft = soft * np.maximum(resize(smoothstep(person, 0.2, 0.6), part.shape), resize(oval, part.shape))
    out = np.zeros(image.shape[:2], np.float32)
    out[rows, columns] = np.where(soft > 0.04, soft, 0)
    return out


def _segment_skin(image: Image, mesh: Points, zone: NDArray[np.bool_], person: Mask | None) -> Mask:
    """The skin in a `zone` around the face, 0 or 1: GrabCut (Rother and others 2004), told what the face's skin looks like.

    Skin in shade is darker and up to three times as colourful as in light, so its hue alone may be skin's; hair that falls
    over the shoulders is known by the hair above the forehead. Where both have one colour only forehead and neck are looked
    at: a neck in another tone than the chest is less of a fault than skin's colour in the hair.
    """
    shape, width = image.shape[:2], face_width(mesh)
    lab = gaussian_blur(to_lab(image), 0.7)
    bare = bare_skin(image, mesh)
    if bare.sum() < 32 or not zone.any():
        return np.zeros(shape, np.float32)
    middle = np.median(lab[bare], axis=0)
    apart = vector_length((lab - middle) / (14, 8, 9))
    hue = np.arctan2(lab[..., 2], lab[..., 1]) - np.arctan2(middle[2], middle[1])
    chroma = np.hypot(lab[..., 1], lab[..., 2]) / max(float(np.hypot(*middle[1:])), 1)
    light = lab[..., 0] / max(float(middle[0]), 1)
    # Skin in more light than the face's is no more colourful: what is, is cloth.
    likely = (hue > -0.5) & (hue < 0.28) & (chroma > 0.5) & (chroma < np.interp(light, *COLOURFUL)) & (light > 0.35)
    head = (along_face(mesh, shape) < -0.25) & (region_mask(mesh, "oval", shape, 0.1 * width) < 0.5)
    above = head & (np.abs(np.arange(shape[1]) - mesh[1, 0]) < 0.7 * width)[None]
    hair = _hair_colours(lab, above if person is None else above & (person > 0.6), middle)
    to_hair = np.linalg.norm((lab[..., None, :] - hair) / (14, 8, 9), axis=3).min(axis=2)
    down, across = along_face(mesh, shape), np.abs(np.arange(shape[1]) - mesh[[10, 152], 0].mean())[None] < 0.3 * width
    to_hair[(down > 1) & (down < 1.6) & across] = np.inf  # straight below a chin is the neck
    if np.linalg.norm((hair - middle) / (14, 8, 9), axis=1).min() < SAME_COLOUR:
        near = region_mask(mesh, "oval", shape, 0.12 * width) > 0.5
        zone = zone & across & ((down > 1) | (near & (down < 0)))
    labels = np.full(shape, cv2.GC_BGD, np.uint8)
    labels[zone] = cv2.GC_PR_BGD
    labels[zone & likely & (apart < to_hair)] = cv2.GC_PR_FGD
    labels[zone & ~likely & (apart > np.where(down > 1, 1.8, 3.0))] = cv2.GC_BGD
    labels[zone & (apart < 1) & (apart < to_hair)] = cv2.GC_FGD
    neck = _neck(mesh, down) & zone & likely & (apart < to_hair)
    if neck.any() and np.median(light[neck]) < 1:  # in the chin's shadow
        labels[neck & (apart < 4.5)] = cv2.GC_FGD
    labels[bare] = cv2.GC_FGD
    cv2.setRNGSeed(0)  # its mixtures begin from random clusters
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(np.ascontiguousarray(image[..., ::-1]), labels, (0, 0, 1, 1), *models, 1, cv2.GC_INIT_WITH_MASK)
    skin = ((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)) & zone
    return _drop_things(skin, likely, 0.02 * float(region_mask(mesh, "oval", shape).sum()))


def _hair_colours(lab: Floats, hair: NDArray[np.bool_], skin: Floats) -> Floats:
    """Two colours L, a, b of masked hair, in shade and in light; far from any skin where too little is seen.

    A high forehead is in the lightest third, which is left out; the darkest is where hair is clearly lighter than the `skin`.
    """
    pixels = lab[hair]
    if len(pixels) < 32:
        return np.full((1, 3), 200, np.float32)
    ranked = pixels[np.argsort(pixels[:, 0])]
    thirds = np.stack([np.median(part, axis=0) for part in np.array_split(ranked, 3)]).astype(np.float32)
    return thirds[1:] if thirds[1, 0] > skin[0] + LIGHTER else thirds[:2]


def _neck(mesh: Points, down: Floats) -> NDArray[np.bool_]:
    """Straight below the chin, where a neck may be in its shadow; `down` is `along_face`."""
    return (down > 1) & (down < 1.5) & (np.abs(np.arange(down.shape[1]) - mesh[152, 0])[None] < 0.35 * face_width(mesh))


def _drop_things(skin: NDArray[np.bool_], likely: NDArray[np.bool_], smallest: float) -> Mask:
    """Without patches smaller than `smallest` pixels, or of which less than half is `likely` skin by its hue."""
    count, found = cv2.connectedComponents(skin.astype(np.uint8), connectivity=4)
    labels = np.asarray(found, np.intp)
    area = np.bincount(labels.ravel(), minlength=count)
    fitting = np.bincount(labels.ravel(), likely.ravel(), count)
    kept = (area >= smallest) & (fitting > 0.5 * area)
    kept[0] = False
    return kept[labels].astype(np.float32)


def _moved(face: Face, columns: slice, rows: slice, scale: float) -> Points:
    """Corners 2×2 of another face's box in a part of the picture, at `scale`."""
    box = face.box
    corners = np.array([[box.left, box.top], [box.right, box.bottom]]) - (columns.start, rows.start)
    return (corners * scale).astype(np.float32)


def _nearest(mesh: Points, shape: tuple[int, ...], others: Sequence[Points]) -> Mask:
    """1 where this face is nearer than those of the others, whose boxes' corners are given."""
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(np.float32)

    def away(points: Points) -> Floats:
        low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
        x, y = (low + high) / 2
        return np.hypot((columns - x) / max(high[0] - low[0], 1), 0.5 * (rows - y) / max(high[1] - low[1], 1))

    own = away(mesh)
    return np.minimum.reduce(
        [(own < away(each)).astype(np.float32) for each in others] or [np.ones(shape[:2], np.float32)]
    )


def _neck_and_ears(mesh: Points, shape: tuple[int, ...]) -> Mask:
    """Zone of the forehead, the ears and the neck."""
    zone = np.zeros(shape[:2], np.uint8)
    width, up = face_width(mesh), mesh[10, :2] - mesh[152, :2]
    jaw = mesh[[172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397], :2]
    brow = mesh[[127, 162, 21, 54, 103, 67, 109, 10, 338, 297, 332, 284, 251, 389, 356], :2]
    for outline in (np.vstack([jaw, jaw - 0.55 * up]), np.vstack([brow, brow + 0.18 * up])):
        cv2.fillConvexPoly(zone, cv2.convexHull(np.round(outline).astype(np.int32)), 1)
    middle = mesh[:, :2].mean(axis=0)
    for ear in mesh[[234, 454], :2]:
        at = ear + (ear - middle) * 0.12
        axes = (max(1, round(0.18 * width)), max(1, round(0.28 * width)))
        cv2.ellipse(zone, (int(at[0]), int(at[1])), axes, 0, 0, 360, 1, -1)
    return zone.astype(np.float32)


def bare_skin(image: Image, mesh: Points) -> NDArray[np.bool_]:
    """Where a face shows bare skin of about its usual colour."""
    shape, width = image.shape[:2], face_width(mesh)
    bare = region_mask(mesh, "oval", shape, -0.06 * width) * (skin_color_distance(image, mesh) < 1.8)
    return bare * (1 - feature_mask(mesh, shape, 0.03, names="eyes brows lips nostrils")) > 0.5


def crop_around(
    image: Image, face: Face, above: float = 0.8, below: float = 3.5
) -> tuple[Image, Points, tuple[slice, slice]]:
    """The part of a picture that a person's skin may be in, the mesh in it, and its rows and columns.

    `above`, `below`: how far it reaches beyond the face, in its heights; to the sides it is as far as below, less a little.
    """
    box = face.box
    x, reach = box.centre[0], (0.86 * below + 0.5 * (below < 1)) * box.width
    rows = slice(max(0, int(box.top - above * box.height)), min(image.shape[0], int(box.bottom + below * box.height)))
    columns = slice(max(0, int(x - reach)), min(image.shape[1], int(x + reach)))
    mesh = np.asarray(face.mesh, np.float32)[:MESH_POINTS]
    moved = mesh - np.array([columns.start, rows.start, 0], np.float32)
    return np.ascontiguousarray(image[rows, columns]), moved, (rows, columns)


def crop_face(image: Image, face: Face, width: float, margin: float = 0.1) -> tuple[Image, Points]:
    """The face's box with a `margin` in its widths, its face at most `width` pixels wide, and the mesh in it."""
    box, room = face.box, margin * face.box.width
    top, left = max(0, int(box.top - room)), max(0, int(box.left - room))
    part = np.ascontiguousarray(image[top : int(box.bottom + room) + 1, left : int(box.right + room) + 1])
    mesh = np.asarray(face.mesh, np.float32)[:MESH_POINTS] - np.array([left, top, 0], np.float32)
    return shrink_with_mesh(part, mesh, min(1.0, width / face_width(mesh)))
