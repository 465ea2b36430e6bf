"""The warped face in the light and the skin colours of the template's face; see `blending` for what both share.

All of it works at a width of `blending.WORKING_WIDTH`, in CIELAB. Lengths are shares of the face's width unless a name says
pixels.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from portrait.arrays import Mask, Points
from portrait.fusion.blending import PLAIN, TargetFace, bare_skin_mask, skin_tone
from portrait.fusion.occluders import face_width, feature_mask
from portrait.fusion.warp import region_mask
from portrait.images.filters import gaussian_blur, masked_low_pass, smoothstep, vector_length

SHADOW, CAST = 0.03, 0.75
"""Least width of a cast shadow that is no feature, and the share of it beyond six steps of L that is removed."""
COLOURFUL = (1.25, 1.6)
"""Chroma of a shadow on skin over that of the skin: below the first it is none, above the second it surely is one."""
STRAND, STRAND_COLOUR, STRAND_REACH = 0.12, (1.1, 1.4), 0.18
"""Width below which a strand of hair on skin lies, its chroma as that of shadows, and how far inside the outline."""
STREAK, FINE_COLOUR = 0.08, 4.0
"""Width below which a difference of colour is fine, and the most by which a, b of bare skin differ there: freckles do by 2 to
4, a strand of hair on the cheek by 10 to 25 (measured on the pairs of `tests/benchmarks/test_fusion_pairs.py`)."""
OVEREXPOSED = 0.7
"""Share of the colour that a person's overexposed skin gets back."""

Floats = NDArray[np.float32]


def relight(
    target: TargetFace, face: Floats, mesh: Points, hidden: Mask, contrast: float, glasses: Mask | float = 0.0
) -> Floats:
    """The warped `face` (CIELAB) in the light and skin colours of the target; shading finer than `LIGHT` stays its own.

    Both lights are measured through one mask, so that what hides one face does not bias their difference. `hidden`: where
    hair covers the warped face; `glasses` stay as dark as they are. `contrast` scales the fine shading.
    """
    shape, width, manner = target.shape, target.width, target.manner
    own = bare_skin_mask(mesh, (hidden + glasses).astype(np.float32))
    both = own * target.skin
    there = masked_low_pass(target.lab[..., :1], both, manner.light * width)[..., 0]
    here = masked_low_pass(face[..., :1], both, manner.light * width)[..., 0]
    # Shading scales with the light it is in; half of that in L, or the shadows of a dark selfie turn to dirt.
    detail = np.clip(there / np.maximum(here, 5), 0.5, 1.8) ** 0.6 * (face[..., 0] - here) * contrast
    detail = remove_nose_shadow(detail, face, mesh, own)
    if manner is not PLAIN:
        detail = _without_strands(detail, face, mesh, own)
    eyes, lips = feature_mask(mesh, shape, 0.03, 0.02, "eyes brows"), feature_mask(mesh, shape, 0.0, 0.01, "lips")
    marked = np.maximum(np.maximum(eyes, lips), glasses)
    deep = np.maximum(marked, feature_mask(mesh, shape, 0.0, 0.02, "nostrils"))
    detail = detail * (0.95 + 0.05 * deep)
    limit = manner.shading + 150 * deep
    # Only eyes and teeth have white in them; the thin skin at a brow's edge has none.
    white = np.maximum(feature_mask(mesh, shape, 0.03, 0.02, "eyes"), lips)
    lift = (manner.lift[0] + manner.lift[1] * (98 - target.light)) * (1 + 20 * white)
    limit = np.where(detail < 0, limit, lift)
    detail = detail * limit / np.sqrt(limit**2 + detail**2)
    # No skin shines more than the template's; the whites of eyes and teeth may.
    top = target.tone.high - manner.shine + (97 - target.tone.high) * 0.8 * white
    light = target.light + detail
    room = np.maximum(98 - top, 1) * 0.5
    light = np.where(light > top, top + room * (1 - np.exp(-np.maximum(light - top, 0) / room)), light)
    return np.dstack([light, _tint(target, face, light, (mesh, own, both))]).astype(np.float32)


def join_halves(target: TargetFace, source: Floats, mirrored: Floats, weight: Mask) -> Floats:
    """The relit selfie (CIELAB) where `weight` is 1, the mirrored one where it is 0.

    Where the person's own shading is kept, light falls on both from opposite sides: what is broad changes over slowly.
    """
    apart = source - mirrored
    if target.manner is PLAIN:
        return np.asarray(mirrored + apart * weight[..., None], np.float32)
    broad = gaussian_blur(apart, 0.06 * target.width)
    slow = gaussian_blur(weight, 0.12 * target.width)[..., None]
    return np.asarray(mirrored + (apart - broad) * weight[..., None] + broad * slow, np.float32)


def remove_nose_shadow(detail: NDArray[np.floating], face: Floats, mesh: Points, own: Mask) -> Floats:
    """Shading `detail` (H×W, in L) of a face (CIELAB) without most of the shadow that its nose casts on the lip.

    In another light that shadow looks like a moustache. A shadow has more chroma than the skin, a moustache less.
    """
    shape, width = (face.shape[0], face.shape[1]), face_width(mesh)
    skin = float(np.linalg.norm(skin_tone(face, own).middle[1:]))
    colour = gaussian_blur(vector_length(face[..., 1:]).astype(np.float32), 0.01 * width)
    below = gaussian_blur(region_mask(mesh, "philtrum", shape, 0.04 * width), 0.03 * width)
    below = below * (1 - feature_mask(mesh, shape, 0.0, 0.01, "lips"))
    shadow = smoothstep(colour / max(skin, 4.0), *COLOURFUL) * below
    broad = gaussian_blur(detail.astype(np.float32), SHADOW * width)
    return (detail - shadow * CAST * np.minimum(broad + 6, 0)).astype(np.float32)


def _without_strands(detail: NDArray[np.floating], face: Floats, mesh: Points, own: Mask) -> Floats:
    """Shading `detail` (H×W, in L) of a face (CIELAB) without most of what is narrow, darker and more colourful than skin: a
    strand of hair on a cheek, and its shadow. A beard has less colour than skin, and stays."""
    shape, width = (face.shape[0], face.shape[1]), face_width(mesh)
    skin = float(np.linalg.norm(skin_tone(face, own).middle[1:]))
    colour = gaussian_blur(vector_length(face[..., 1:]).astype(np.float32), 0.01 * width)
    strand = smoothstep(colour / max(skin, 4.0), *STRAND_COLOUR)
    strand = strand * (1 - feature_mask(mesh, shape, 0.03, 0.02, "eyes brows lips nostrils"))
    # Hair hangs in from the outline; warm shadows beside the nose are what makes a face its own.
    strand = strand * (1 - gaussian_blur(region_mask(mesh, "oval", shape, -STRAND_REACH * width), 0.04 * width))
    narrow = np.minimum(detail - gaussian_blur(detail.astype(np.float32), STRAND * width), 0)
    return (detail - strand * CAST * narrow).astype(np.float32)


def _tint(target: TargetFace, face: Floats, light: Floats, masks: tuple[Points, Mask, Mask]) -> Floats:
    """Colour a, b (H×W×2) of the face: the colour of the target's skin at that light, and the differences within this skin."""
    mesh, own, both = masks
    tone = skin_tone(face, own)
    plain = tone(face[..., 0])
    apart = face[..., 1:] - plain
    apart = apart - masked_low_pass(apart, both, target.manner.tint * target.width)
    if target.manner is not PLAIN:
        apart = _without_paleness(apart, face[..., 0] - tone.middle[0], plain)
    wanted = target.tone(light)
    # Scaled with the skin's own colour, white stays white in any light.
    scale = vector_length(wanted) / np.maximum(vector_length(plain), 4)
    apart = apart * np.clip(scale, 0.2, 1.5)[..., None]
    if target.manner is not PLAIN:
        apart = _without_streaks(apart, mesh, both)
    lips = feature_mask(mesh, target.shape, 0.01, 0.01, "lips")
    eyes = feature_mask(mesh, target.shape, 0.02, 0.01, "eyes")
    limit = target.manner.colour + 12 * np.maximum(lips, eyes)
    apart = apart * (limit / np.sqrt(limit**2 + (apart**2).sum(axis=2)))[..., None]
    colour = wanted + target.tint + apart
    # Small photos smear the colour of lids and lips over eyes and teeth; and no light makes those bluer than skin.
    white = (
        feature_mask(mesh, target.shape, 0.0, 0.005, "eyes mouth")
        * smoothstep(light / np.maximum(target.light, 1), 0.6, 0.85)
        * 0.7
    )
    plain = np.maximum(colour / np.sqrt(1 + (colour**2).sum(axis=2) / 144)[..., None], 0.4 * wanted)
    return (colour + (plain - colour) * white[..., None]).astype(np.float32)


def _without_streaks(apart: NDArray[Any], mesh: Points, both: Mask) -> Floats:
    """Differences a, b from a skin's colour, without what is finer and more colourful than skin is: a strand of hair, or the
    shadow that it casts."""
    shape = apart.shape[0], apart.shape[1]
    broad = masked_low_pass(apart, both, STREAK * face_width(mesh))
    fine = apart - broad
    length = vector_length(fine)[..., None]
    held = fine * np.minimum(1, FINE_COLOUR / np.maximum(length, 1e-3))
    features = feature_mask(mesh, shape, 0.02, 0.02, "eyes brows lips nostrils")[..., None]
    return np.asarray(broad + held + (fine - held) * features, np.float32)


def _without_paleness(apart: Floats, lighter: Floats, plain: Floats) -> Floats:
    """Differences a, b from a skin's `plain` colour, without most of what overexposure took: skin that is `lighter` (steps of
    L) than its middle is as colourful as the rest of it."""
    colour = plain / np.maximum(vector_length(plain), 4)[..., None]
    along = np.minimum((apart * colour).sum(axis=2), 0) * smoothstep(lighter, 0, 8) * OVEREXPOSED
    return np.asarray(apart - along[..., None] * colour, np.float32)
