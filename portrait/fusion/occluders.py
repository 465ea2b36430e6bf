"""What lies in front of a face: hair, glasses; and the masks that tell it from the face's own features.

Lengths are shares of the face's width unless a name says pixels.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from portrait.arrays import Image, Mask, Points
from portrait.fusion.warp import region_mask, smoothstep
from portrait.images.color import to_lab
from portrait.images.masks import guided

Floats = NDArray[np.float32]


def face_width(mesh: Points) -> float:
    """Width of a face in pixels."""
    return float(np.ptp(mesh[:, 0]))


def feature_mask(
    mesh: Points, shape: tuple[int, int], grow: float, soft: float = 0.0, names: str = "eyes brows lips"
) -> Mask:
    """Eyes, brows and lips as one mask, widened by `grow` and softened by `soft`."""
    width = face_width(mesh)
    mask = np.maximum.reduce([region_mask(mesh, name, shape, grow * width) for name in names.split()])
    return gaussian_blur(mask, soft * width)


def masked_low_pass(values: Floats, mask: Mask, reach: float) -> Floats:
    """Masked mean of H×W×N values over about `reach` pixels; where the mask is empty, of the nearest that is not."""
    shrink = min(1.0, 4 / max(reach, 1e-6))
    size = [max(2, round(side * shrink)) for side in (mask.shape[1], mask.shape[0])]
    mask = mask.astype(np.float32)
    total = cv2.resize(values * mask[..., None], size, interpolation=cv2.INTER_AREA).reshape(size[1], size[0], -1)
    count = cv2.resize(mask, size, interpolation=cv2.INTER_AREA)
    above, below = np.zeros_like(total), np.full(count.shape, 1e-9, np.float32)
    for wider, weight in ((1, 1.0), (2, 1e-2), (4, 1e-4)):
        sigma = reach * shrink * wider
        above += weight * cv2.GaussianBlur(total, (0, 0), sigma).reshape(total.shape)
        below += weight * cv2.GaussianBlur(count, (0, 0), sigma)
    mean = cv2.resize(above / below[..., None], (mask.shape[1], mask.shape[0]), interpolation=cv2.INTER_CUBIC)
    return mean.reshape(values.shape).astype(np.float32)


def occlusion_mask(image: Image, mesh: Points) -> Mask:
    """Hair and glasses in front of a face: what is not skin-coloured and hangs together with the outside of the face.

    Only above the base of the nose: below it a shadow or a beard belongs to the face.
    """
    shape, width = (image.shape[0], image.shape[1]), face_width(mesh)
    odd, down = skin_color_distance(image, mesh), _down(mesh, shape)
    own = np.maximum(feature_mask(mesh, shape, 0.04, names="eyes lips"), region_mask(mesh, "brows", shape))
    own = gaussian_blur(own, 0.01 * width)
    edge = gaussian_blur(
        region_mask(mesh, "oval", shape, -0.12 * width), 0.02 * width
    )  # 0 at the temples and in front of the ears
    above = 1 - np.where(edge > 0.5, smoothstep(down, 0.25, 0.5), smoothstep(down, 0.45, 0.65))
    outer = 1 - gaussian_blur(region_mask(mesh, "oval", shape, -0.22 * width), 0.03 * width)
    reach = np.maximum(outer, smoothstep(-down, 0.18, 0.3))  # the middle of the forehead may be covered, the cheeks not
    hidden = smoothstep(odd, 1.0, 1.8) * above * (1 - own) * reach
    linked = hidden > 0.4
    if _glasses(odd, mesh):
        frame = smoothstep(odd, 1.5, 2.3) * above
        hidden, linked = np.maximum(hidden, frame * (1 - own)), linked | (frame > 0.4)  # a frame runs on across a brow
    strands = np.ones((2 * round(0.025 * width) + 1,) * 2, np.uint8)
    hidden = cv2.morphologyEx(hidden.astype(np.float32), cv2.MORPH_CLOSE, strands)  # light strands between dark ones
    outside = (region_mask(mesh, "oval", shape, -0.05 * width) < 0.5) & (above > 0.5)
    _, labels = cv2.connectedComponents((linked | outside).astype(np.uint8), connectivity=4)
    joined = np.isin(labels, np.unique(labels[outside])) & (labels > 0)
    hidden = hidden * cv2.dilate(joined.astype(np.uint8), np.ones((3, 3), np.uint8))
    return guided(hidden.astype(np.float32), image, image, max(2, int(0.03 * width)), 1e-3) * (1 - own)


def split_glasses(image: Image, mesh: Points, hidden: Mask) -> tuple[Mask, Mask]:
    """What hides a face (`hidden`, of `in_front`) without its glasses, and those alone; they belong to how somebody looks."""
    odd = skin_color_distance(image, mesh)
    if not _glasses(odd, mesh):
        return hidden, np.zeros_like(hidden)
    width = face_width(mesh)
    around = feature_mask(mesh, hidden.shape, 0.2, 0.01, "eyes") * region_mask(
        mesh, "oval", hidden.shape, -0.01 * width
    )
    around = around * smoothstep(_down(mesh, hidden.shape), -0.3, -0.2)  # what is higher is hair
    return (hidden * (1 - around)).astype(np.float32), (smoothstep(odd, 1.0, 1.8) * around).astype(np.float32)


def _glasses(odd: Floats, mesh: Points) -> bool:
    """Whether something crosses the bridge of the nose, where nothing but skin should be."""
    bridge = np.zeros(odd.shape, np.uint8)
    x, y = mesh[[168, 6], :2].mean(axis=0)
    cv2.circle(bridge, (round(float(x)), round(float(y))), max(1, round(0.06 * face_width(mesh))), 1, -1)
    return bool((odd[bridge > 0] > 1.8).mean() > 0.15) if bridge.any() else False


def skin_color_distance(image: Image, mesh: Points) -> Floats:
    """How far each pixel's colour is from that of the skin nearby, 1 being the edge of what skin does."""
    shape, width = (image.shape[0], image.shape[1]), face_width(mesh)
    lab, down = gaussian_blur(to_lab(image), max(0.6, 0.006 * width)), _down(mesh, shape)
    sure = region_mask(mesh, "oval", shape, -0.1 * width)
    sure = (
        sure * (1 - feature_mask(mesh, shape, 0.05, names="eyes brows lips nostrils")) * (down > 0.05) * (down < 0.75)
    )
    middle = np.median(lab[sure > 0.5], axis=0) if (sure > 0.5).sum() > 16 else np.median(lab.reshape(-1, 3), axis=0)
    near = (np.abs(lab[..., 0] - middle[0]) < 25) & (np.linalg.norm(lab[..., 1:] - middle[1:], axis=2) < 18)
    apart = lab - masked_low_pass(lab, sure * near, 0.15 * width)
    # One step of each is about twice the spread measured on bare skin; shade varies more than colour, shine most.
    light = np.minimum(apart[..., 0], 0) / 16 + np.maximum(apart[..., 0], 0) / 30
    return np.sqrt(light**2 + (apart[..., 1] / 9) ** 2 + (apart[..., 2] / 12) ** 2).astype(np.float32)


def _down(mesh: Points, shape: tuple[int, int]) -> Floats:
    """How far each pixel lies below the eye line along the face: 0 at the eyes, 1 at the chin."""
    eyes = mesh[[33, 263], :2].mean(axis=0)
    axis = mesh[152, :2] - eyes
    axis = axis / max(float((axis**2).sum()), 1e-6)
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    return ((columns - eyes[0]) * axis[0] + (rows - eyes[1]) * axis[1]).astype(np.float32)


def gaussian_blur(values: Floats, sigma: float) -> Floats:
    """Blurred by a Gaussian of `sigma` pixels; as it is below a third of a pixel."""
    return values if sigma < 0.3 else np.asarray(cv2.GaussianBlur(values, (0, 0), sigma), np.float32)
