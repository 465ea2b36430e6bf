"""A template's beard where the person has none: it is shaved, or the face is refused."""

import cv2
import numpy as np
from numpy.typing import NDArray

from portrait.arrays import Image, Points
from portrait.errors import UserError
from portrait.fusion.body_skin import MEASURED_WIDTH, bare_skin, crop_around, crop_face
from portrait.fusion.occluders import along_face, beard_mask, face_width
from portrait.fusion.warp import region_mask, shrink_with_mesh
from portrait.images.color import blend, from_lab, to_lab
from portrait.images.filters import gaussian_blur, masked_low_pass
from portrait.images.resize import resize
from portrait.types import Face

MOST_BESIDE = 0.4
"""Share of the strip beside jaw and cheeks that may be as dark as the beard; hair on a beard's edge covers more."""


def shave(image: Image, face: Face) -> Image:
    """A template's picture without the beard of `face`: skin of the cheeks takes its place.

    Raises `UserError` (`template_beard`) where it reaches further than a tenth of the face's width below the jaw, or stands
    out beside the cheeks: what it hides cannot be known.
    """
    part, mesh, (rows, columns) = crop_around(image, face, 0.1, 0.35)
    small, points = shrink_with_mesh(part, mesh, min(1.0, MEASURED_WIDTH / face_width(mesh)))
    shape, width = small.shape[:2], face_width(points)
    beard, oval = beard_mask(small, points), region_mask(points, "oval", shape)
    if not beard.any():
        return image
    lab, down = to_lab(small), along_face(points, shape)
    hair = float(np.median(lab[beard > 0.8][:, 0]))
    # The shadow under a chin is dark, too, but not as dark as the hair.
    dark = lab[..., 0] < hair + 12
    if ((beard > 0.3) & dark)[_ring(points, shape, 0.08, 0.14) & (down > 1)].mean() > 0.5 or (
        dark[_ring(points, shape, 0.02, 0.1) & (down > 0.3) & (down < 1)].mean() > MOST_BESIDE
    ):
        raise UserError(
            "template_beard",
            "A beard in the picture hides the jaw and the neck, and none of the person's photos shows one. Choose another "
            "picture, or leave this face as it is.",
        )
    grown = np.clip(cv2.dilate(beard, np.ones((2 * round(0.025 * width) + 1,) * 2, np.uint8)), 0, 1)
    skin = (bare_skin(small, points) & (grown < 0.1)).astype(np.float32)
    plain = from_lab(masked_low_pass(lab, skin, 0.2 * width))
    bald = blend(small, plain, gaussian_blur(grown.astype(np.float32), 0.012 * width))
    # Outside of the face is what surrounds the beard there: neck below the chin, something else beside the cheeks.
    hidden = ((grown > 0.05) & (oval < 0.9)).astype(np.uint8)
    bald = np.asarray(cv2.inpaint(bald, hidden, 0.08 * width, cv2.INPAINT_TELEA), np.uint8)
    share = gaussian_blur(grown.astype(np.float32), 0.012 * width)
    out = image.copy()
    out[rows, columns] = blend(part, resize(bald, part.shape), resize(share, part.shape[:2]))
    return out


def _ring(mesh: Points, shape: tuple[int, int], inner: float, outer: float) -> NDArray[np.bool_]:
    """Between two outlines around the face, in its widths."""
    width = face_width(mesh)
    around = region_mask(mesh, "oval", shape, outer * width) * (region_mask(mesh, "oval", shape, inner * width) < 0.5)
    return around > 0.5


def has_beard(image: Image, face: Face) -> bool:
    """Whether a face wears a beard that covers much of its jaw."""
    return face.mesh is not None and bool(beard_mask(*crop_face(image, face, MEASURED_WIDTH, 0.3)).any())
