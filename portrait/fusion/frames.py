"""A person's own glasses: taken off their photo before the face is warped, and put onto the drawn face in one piece.

A frame is stiff: where it stands out beside a turned face, the warp of the skin below it would bend it or end it at the
template's outline. So it is moved as one piece, and only its arms end where the template's hair or head hides them.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from portrait.arrays import Image, Mask, Points
from portrait.faces.mesh import AROUND_LEFT_EYE, EYES
from portrait.fusion.blending import TargetFace
from portrait.fusion.occluders import (
    along_face,
    face_width,
    feature_mask,
    has_glasses,
    root_of_nose,
    skin_color_distance,
)
from portrait.fusion.warp import MIRROR, region_mask, shrink_with_mesh
from portrait.images.color import to_lab
from portrait.images.filters import gaussian_blur, masked_low_pass, smoothstep, vector_length
from portrait.images.masks import guided_filter
from portrait.images.resize import resize

MEASURED_WIDTH = 192.0
"""Width of a face in pixels at which its glasses are found."""
THICK = 0.07
"""Largest thickness of an arm; what is thicker is hair."""
ALIKE = 0.45
"""Distance from the frame's colour, in that of the skin from it, below which something is the frame."""
ARMS = 0.16
"""Largest distance of an arm from the line through the eyes, in distances of the chin from it."""
RIMS = 0.1
"""Distance from the eyes up to which a frame is rims and bridge in any case."""
FROM_RESULT = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
"""How OpenCV samples a picture by the map from the result to it."""
CARRIED = (*EYES[0], *EYES[1], *AROUND_LEFT_EYE, *(int(MIRROR[each]) for each in AROUND_LEFT_EYE), 6, 168, 197, 195)
"""Points of the mesh that a frame moves with: around the eyes and the root of the nose."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """Glasses in the pixels of a selfie: the picture, and where in it they are, 0..1."""

    image: Image
    mask: Mask
    rims: Mask
    """1 in and around the lenses; what of the frame is outside of it are its arms."""


def take_off_glasses(image: Image, mesh: Points) -> tuple[Image, Frame | None]:
    """A selfie without the frame of its glasses, skin and brows led over where it was, and the frame.

    None where no glasses are seen, or their frame does not reach around both eyes: the picture is then the given one.
    """
    small, points = shrink_with_mesh(image, mesh, min(1.0, MEASURED_WIDTH / face_width(mesh)))
    odd = skin_color_distance(small, points, own_skin=True)
    if not has_glasses(odd, points):
        return image, None
    width = face_width(points)
    frame = _frame_mask(small, points, odd)
    if not _around_both_eyes(frame, points):
        return image, None
    mask = guided_filter(frame, small, image, 2, 1e-3) * resize(frame, image.shape[:2])
    hole = cv2.dilate((frame > 0.1).astype(np.uint8), np.ones((3, 3), np.uint8))
    bare = np.asarray(cv2.inpaint(small, hole, 0.03 * width, cv2.INPAINT_TELEA), np.uint8)
    share = resize(gaussian_blur(hole.astype(np.float32), 0.6), image.shape[:2])[..., None]
    filled = image + (resize(bare, image.shape[:2]).astype(np.float32) - image) * share
    rims = resize(_lenses(frame, points), image.shape[:2])
    return np.asarray(np.clip(filled + 0.5, 0, 255), np.uint8), Frame(image, mask, rims)


def put_on_glasses(image: Image, target: TargetFace, frame: Frame, goal: Points, points: Points) -> Image:
    """A drawn face with the frame that was taken off the selfie.

    `image`: the template's face at full size, which `target` is at working size; `goal`, `points`: the person's mesh there
    and in the selfie. The frame may stand out beside the face; its arms end where hair or the head hides them.
    """
    shape = image.shape[:2]
    at = goal.copy()
    at[:, :2] = (goal[:, :2] + 0.5) * np.array([shape[1] / target.shape[1], shape[0] / target.shape[0]]) - 0.5
    way = _stiff(at, points)
    picture = np.asarray(cv2.warpAffine(frame.image, way, shape[::-1], flags=FROM_RESULT), np.float32)
    mask = _moved(frame.mask, way, shape)
    share = mask * resize(_visible(target, frame, _stiff(goal, points)), shape)
    # Along its edge a frame is mixed with the selfie's skin: there it takes the colour of its middle.
    middle = masked_low_pass(picture, mask**4, 0.012 * face_width(at))
    colour = middle + (picture - middle) * smoothstep(mask, 0.8, 1.0)[..., None]
    return np.asarray(np.clip(image + (colour - image) * share[..., None] + 0.5, 0, 255), np.uint8)


def _frame_mask(image: Image, mesh: Points, odd: NDArray[np.float32]) -> Mask:
    """Mask of a frame: what has the colour of its bridge and is one piece with it.

    Further from the eyes than a rim is, hair may have that colour: there only what is narrow and runs towards the ears.
    """
    shape, width, bridge = odd.shape, face_width(mesh), root_of_nose(mesh, odd.shape)
    lab = to_lab(image)
    colour = np.median(lab[bridge & (odd > max(1.8, 0.6 * float(np.median(odd[bridge & (odd > 1.8)]))))], axis=0)
    skin = np.median(lab[(region_mask(mesh, "oval", shape, -0.1 * width) > 0.5) & (odd < 1)], axis=0)
    away = vector_length(lab - colour) / max(float(np.linalg.norm(skin - colour)), 1.0)
    alike = (away < ALIKE).astype(np.uint8)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * round(0.5 * THICK * width) + 1,) * 2)
    narrow = np.where(cv2.morphologyEx(alike, cv2.MORPH_OPEN, disc) > 0, 0, alike)
    level = np.abs(along_face(mesh, shape)) < ARMS
    beside = level & (feature_mask(mesh, shape, 0.4, names="eyes") > 0.5)
    frame = np.where(feature_mask(mesh, shape, 0.2, names="eyes") > 0.5, alike, narrow & beside)
    _, labels = cv2.connectedComponents(frame.astype(np.uint8), connectivity=8)
    own = np.unique(labels[bridge])
    return gaussian_blur(np.isin(labels, own[own > 0]).astype(np.float32), 0.004 * width)


def _lenses(frame: Mask, mesh: Points) -> Mask:
    """What a frame goes round, with the rims, 0 or 1; around the eyes in any case, as a frame may be open below."""
    _, labels = cv2.connectedComponents((frame < 0.5).astype(np.uint8), connectivity=4)
    border = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    inside = (frame < 0.5) & ~np.isin(labels, border)
    side = 2 * round(THICK * face_width(mesh)) + 1
    grown = cv2.dilate(inside.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
    return np.maximum(grown, feature_mask(mesh, frame.shape, RIMS, names="eyes")).astype(np.float32)


def _visible(target: TargetFace, frame: Frame, way: NDArray[np.float64]) -> Mask:
    """What of a frame is seen, at working size: rims whole, arms up to the first hair or the head's outline."""
    mask, rims = (_moved(each, way, target.shape) for each in (frame.mask, frame.rims))
    hidden = target.occluded * (1 - feature_mask(target.mesh, target.shape, 0.03, names="brows"))
    seen = np.maximum(1 - hidden, rims)
    _, labels = cv2.connectedComponents(((mask > 0.3) & (seen > 0.5)).astype(np.uint8), connectivity=8)
    whole = np.unique(labels[rims > 0.5])
    near = cv2.dilate(np.isin(labels, whole[whole > 0]).astype(np.uint8), np.ones((3, 3), np.uint8))
    return np.maximum(gaussian_blur((seen * near).astype(np.float32), 0.006 * target.width), rims)


def _around_both_eyes(rims: Mask, mesh: Points) -> bool:
    """Whether a frame is found below both eyes and to their sides, so that it is seen whole; brows are not."""
    below = along_face(mesh, rims.shape) > 0.06
    for eye in EYES:
        x = float(mesh[list(eye), 0].mean())
        away = 1 if x > float(mesh[168, 0]) else -1
        beside = (np.arange(rims.shape[1]) - x) * away > 0.02 * face_width(mesh)
        if not (rims[below & beside[None]] > 0.5).any():
            return False
    return True


def _stiff(target: Points, source: Points) -> NDArray[np.float64]:
    """The affine map 2×3 that brings the carried points of `target` nearest to those of `source`."""
    points = np.column_stack([target[list(CARRIED), :2], np.ones(len(CARRIED))]).astype(np.float64)
    return np.asarray(
        np.linalg.lstsq(points, source[list(CARRIED), :2].astype(np.float64), rcond=None)[0].T, np.float64
    )


def _moved(mask: Mask, way: NDArray[np.float64], shape: tuple[int, ...]) -> Mask:
    """A mask of `shape`, sampled by an affine map from the result to it."""
    return np.asarray(cv2.warpAffine(mask, way, (shape[1], shape[0]), flags=FROM_RESULT), np.float32)
