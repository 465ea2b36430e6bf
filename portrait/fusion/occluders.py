"""Masks of what lies in front of a face (hair, glasses) and of the face's own features.

Lengths are shares of the face's width unless a name says pixels.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from portrait.arrays import Image, Mask, Points
from portrait.faces.mesh import BROWS, NOSE, REGIONS
from portrait.fusion.warp import region_mask
from portrait.images.color import to_lab
from portrait.images.filters import gaussian_blur, masked_low_pass, smoothstep, vector_length
from portrait.images.masks import disc, guided_filter

Floats = NDArray[np.float32]


SHINE = 0.8
"""Share of the distance from skin that is not counted where it is the light's doing."""
LIGHT_SKIN = 60.0
"""L of skin below which it is dark: its shades lie closer together, and to the colours of hair."""
SHADE = 0.45
"""Least L of a cheek in shade, in that of the face's skin."""
HAIR_LIKE, NOSE_SHADE = (6.0, 8.0), 0.12
"""Steps of L by which hair with the hue of skin is darker at least, and of chroma by which it is more colourful: it lies within
the face's outline, too, where a head is turned; and how far from a nose such is the nose's shade."""
BROW_EDGE, BROW_BESIDE = 0.02, 0.05
"""Around a brow's outline: where its own hair may be, and up to where other hair lies beside it."""
BROW_LEFT = 0.5
"""Share of a brow from its inner end that is left in any case: what crosses all of it is a fringe, found as strands."""
BROW_HIDDEN = 0.15, 0.45
"""Least share of hair beside a brow's end for hair to lie over it: on either side, and on both together."""
BROW_LIGHTER = 6.0
"""Steps of L by which hair over a brow's end is lighter than the brow at least: what is as dark goes on as the brow does."""
STRAND_LIGHT = 20.0
"""Steps of L by which a strand of hair is lighter at most than the median of all strands."""


def face_width(mesh: Points) -> float:
    """Width of a face's mesh in pixels."""
    return float(np.ptp(mesh[:, 0]))


def feature_mask(
    mesh: Points, shape: tuple[int, int], grow: float, soft: float = 0.0, names: str = "eyes brows lips"
) -> Mask:
    """Union of the named regions of the mesh as one mask of `shape`, dilated by `grow` and blurred by `soft`."""
    width = face_width(mesh)
    mask = np.maximum.reduce([region_mask(mesh, name, shape, grow * width) for name in names.split()])
    return gaussian_blur(mask, soft * width)


def occlusion_mask(image: Image, mesh: Points, odd: Floats | None = None) -> Mask:
    """Mask of hair and glasses in front of a face: pixels not coloured like skin that connect to the outside of the face.

    Only above the base of the nose: below it a shadow or a beard belongs to the face. `odd`: the face's
    `skin_color_distance`, where it is known already.
    """
    shape, width = (image.shape[0], image.shape[1]), face_width(mesh)
    odd, down = skin_color_distance(image, mesh) if odd is None else odd, along_face(mesh, shape)
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
    if has_glasses(odd, mesh):
        frame = smoothstep(odd, 1.5, 2.3) * above
        hidden, linked = np.maximum(hidden, frame * (1 - own)), linked | (frame > 0.4)  # a frame runs on across a brow
    strands = np.ones((2 * round(0.025 * width) + 1,) * 2, np.uint8)
    hidden = cv2.morphologyEx(hidden.astype(np.float32), cv2.MORPH_CLOSE, strands)  # light strands between dark ones
    outside = (region_mask(mesh, "oval", shape, -0.05 * width) < 0.5) & (above > 0.5)
    _, labels = cv2.connectedComponents((linked | outside).astype(np.uint8), connectivity=4)
    connected = np.isin(labels, np.unique(labels[outside])) & (labels > 0)
    hidden = hidden * cv2.dilate(connected.astype(np.uint8), np.ones((3, 3), np.uint8))
    return guided_filter(hidden.astype(np.float32), image, image, max(2, int(0.03 * width)), 1e-3) * (1 - own)


def front_mask(image: Image, mesh: Points, odd: Floats | None = None) -> Mask:
    """`occlusion_mask` without the cheeks: below the eyes skin in shade is dark and colourful as hair is, and inside of the
    face's outline what has the hue of skin is skin.

    For faces that keep the person's own skin; what is left in front there keeps the template's tone.
    """
    odd = skin_color_distance(image, mesh) if odd is None else odd
    shape, width = odd.shape, face_width(mesh)
    lab = gaussian_blur(to_lab(image), max(0.6, 0.008 * width))
    sure = (region_mask(mesh, "oval", shape, -0.1 * width) > 0.5) & (odd < 1) & (along_face(mesh, shape) < 0.6)
    middle = np.median(lab[sure], axis=0) if sure.sum() > 16 else np.median(lab.reshape(-1, 3), axis=0)
    hue = np.arctan2(lab[..., 2], lab[..., 1]) - np.arctan2(middle[2], middle[1])
    chroma = np.hypot(lab[..., 1], lab[..., 2]) / max(float(np.hypot(*middle[1:])), 1.0)
    skin = (hue > -0.7) & (hue < 0.3) & (chroma > 0.5) & (lab[..., 0] > SHADE * middle[0])
    cheeks = region_mask(mesh, "oval", shape, -0.02 * width) * smoothstep(along_face(mesh, shape), 0.0, 0.12)
    solid = cv2.morphologyEx(skin.astype(np.float32), cv2.MORPH_OPEN, np.ones((2 * round(0.015 * width) + 1,) * 2))
    return occlusion_mask(image, mesh, odd) * (1 - gaussian_blur(np.asarray(solid, np.float32), 0.01 * width) * cheeks)


def split_glasses(image: Image, mesh: Points, hidden: Mask, odd: Floats | None = None) -> tuple[Mask, Mask]:
    """Split `hidden`, an `occlusion_mask`, into what is not glasses and glasses alone; a person keeps their glasses."""
    odd = skin_color_distance(image, mesh) if odd is None else odd
    if not has_glasses(odd, mesh):
        return hidden, np.zeros_like(hidden)
    width = face_width(mesh)
    near_eyes = feature_mask(mesh, hidden.shape, 0.2, 0.01, "eyes") * region_mask(
        mesh, "oval", hidden.shape, -0.01 * width
    )
    near_eyes = near_eyes * smoothstep(along_face(mesh, hidden.shape), -0.3, -0.2)  # what is higher is hair
    return (hidden * (1 - near_eyes)).astype(np.float32), (smoothstep(odd, 1.0, 1.8) * near_eyes).astype(np.float32)


def rim_mask(image: Image, mesh: Points, odd: Floats | None = None) -> Mask:
    """Mask of the frame of glasses, whole, also where it crosses a brow or the lids; empty without glasses.

    A frame is one piece with its bridge, and further from the skin's colour than a brow is.
    """
    odd = skin_color_distance(image, mesh) if odd is None else odd
    if not has_glasses(odd, mesh):
        return np.zeros(odd.shape, np.float32)
    width, bridge = face_width(mesh), root_of_nose(mesh, odd.shape)
    level = max(1.8, 0.6 * float(np.median(odd[bridge & (odd > 1.8)])))
    near = feature_mask(mesh, (odd.shape[0], odd.shape[1]), 0.25, names="eyes") > 0.5
    _, labels = cv2.connectedComponents(((odd > level) & near).astype(np.uint8), connectivity=8)
    frame = np.isin(labels, np.unique(labels[bridge & (odd > level)])) & (labels > 0)
    grown = cv2.dilate(frame.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(np.float32)
    return gaussian_blur(grown, 0.004 * width)


def split_hidden(image: Image, mesh: Points, odd: Floats, own_skin: bool) -> tuple[Mask, Mask]:
    """What hides the skin of a person's face (hair and its shadow), and what comes along whole (glasses, a beard).

    `odd`: the face's `skin_color_distance`. Strands and beards are looked for only where the person's `own_skin` is kept.
    """
    hidden, kept = split_glasses(image, mesh, occlusion_mask(image, mesh, odd), odd)
    if not own_skin:
        return hidden, kept
    beard = beard_mask(image, mesh)
    hidden = np.maximum(hidden, strand_mask(image, mesh, odd) * (1 - kept)) * (1 - beard)
    return hidden.astype(np.float32), np.maximum(kept, beard)


def strand_mask(image: Image, mesh: Points, odd: Floats | None = None) -> Mask:
    """Mask of strands of hair that hang over forehead, brows and the root of the nose, with their shadows.

    Strands are narrow, darker than the skin on both sides, and lead up to the hairline; wrinkles and brows do not.
    """
    shape, width = (image.shape[0], image.shape[1]), face_width(mesh)
    light = gaussian_blur(to_lab(image)[..., 0], max(0.5, 0.004 * width))
    side = 2 * round(0.05 * width) + 1
    valley = (
        cv2.morphologyEx(light, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))) - light
    )
    down, within = along_face(mesh, shape), region_mask(mesh, "oval", shape, -0.02 * width)
    above = (down < 0.45) & (within > 0.5)
    own = np.maximum(feature_mask(mesh, shape, 0.07, names="eyes"), feature_mask(mesh, shape, 0.008, names="brows"))
    if has_glasses(skin_color_distance(image, mesh) if odd is None else odd, mesh):
        own = np.maximum(own, feature_mask(mesh, shape, 0.22, names="eyes"))  # a rim is narrow and dark, too
    narrow = (valley > 9) & above & (own < 0.5)
    hairline = (down < -0.3) & (region_mask(mesh, "oval", shape, -0.06 * width) < 0.5)
    _, labels = cv2.connectedComponents((narrow | hairline).astype(np.uint8), connectivity=8)
    dark = valley > 16
    reaching = np.intersect1d(np.unique(labels[hairline]), np.unique(labels[dark & above & (down > -0.35)]))
    # A strand that a brow interrupts goes on below it. All are about as dark: the folds of lids and a nose's shadow are not.
    hanging = np.isin(labels, reaching[reaching > 0]) & narrow
    hair = float(np.median(light[hanging & dark])) if (hanging & dark).any() else 0.0
    hanging &= light < hair + STRAND_LIGHT
    dark = dark & (light < hair + STRAND_LIGHT)
    linked = cv2.dilate(hanging.astype(np.uint8), np.ones((2 * round(0.05 * width) + 1,) * 2, np.uint8)) > 0
    lower = np.unique(labels[linked & narrow & dark & (down > -0.2)])
    strands = (hanging | (np.isin(labels, lower[lower > 0]) & narrow)).astype(np.uint8)
    if strands.sum() < 0.002 * within.sum():
        return np.zeros(shape, np.float32)
    near = cv2.dilate(strands, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * round(0.05 * width) + 1,) * 2))
    shadow = (valley > 3) & (near > 0) & above
    grown = cv2.dilate(np.maximum(strands, shadow.astype(np.uint8)), np.ones((3, 3), np.uint8)).astype(np.float32)
    return gaussian_blur(grown * (1 - feature_mask(mesh, shape, 0.0)), 0.006 * width)


def hair_over_brows(image: Image, mesh: Points, hidden: Mask) -> Mask:
    """Mask of hair that lies over the outer ends of brows: `hidden`, an `occlusion_mask`, knows it on both sides of them, and
    they are lighter there than the brow is.

    `occlusion_mask` itself leaves brows out, since they have the colours of hair.
    """
    shape, width = (hidden.shape[0], hidden.shape[1]), face_width(mesh)
    light, crossed = to_lab(image)[..., 0], np.zeros(shape, np.float32)
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    for brow in BROWS:
        points = mesh[list(brow), :2]
        away = np.linalg.norm(points - mesh[168, :2], axis=1)
        start, end = points[away.argmin()], points[away.argmax()]
        axis = (end - start) / max(float(((end - start) ** 2).sum()), 1e-6)
        along = (columns - start[0]) * axis[0] + (rows - start[1]) * axis[1]
        across = (columns - start[0]) * axis[1] - (rows - start[1]) * axis[0]
        hull = _hull(points, shape)
        inner = (hull > 0) & (along < BROW_LEFT)
        if not inner.any():
            continue
        near, far = (cv2.dilate(hull, disc(grown * width)) for grown in (BROW_EDGE, BROW_BESIDE))
        over = across > np.median(across[hull > 0])
        beside = [np.where((far > near) & side, hidden, np.nan) for side in (over, ~over)]
        brow_light = np.where(hull > 0, light - np.percentile(light[inner], 30), np.nan)
        begins = _hair_begins(along, brow_light, beside)
        crossed = np.maximum(crossed, near * smoothstep(along, begins - 0.15, begins) * (begins < 1))
    return gaussian_blur(crossed.astype(np.float32), 0.006 * width)


def _hair_begins(along: Floats, lighter: Floats, beside: Sequence[Floats]) -> float:
    """Where along a brow hair lies over all that is further out; 1 where none does.

    `lighter`: steps of L by which the brow's pixels are lighter than the brow; `beside`: how much is hidden on both sides of
    it; nan elsewhere.
    """
    begins = 1.0
    for step in np.arange(0.9, BROW_LEFT - 0.01, -0.05):
        part = np.abs(along - step) < 0.05
        own, *sides = (each[part][~np.isnan(each[part])] for each in (lighter, *beside))
        if not all(len(each) for each in (own, *sides)):
            break
        shares = [float(each.mean()) for each in sides]
        if min(shares) < BROW_HIDDEN[0] or sum(shares) < 2 * BROW_HIDDEN[1] or np.median(own) < BROW_LIGHTER:
            break
        begins = float(step)
    return begins


def _hull(points: Points, shape: tuple[int, int]) -> NDArray[np.uint8]:
    hull = np.zeros(shape, np.uint8)
    cv2.fillConvexPoly(hull, cv2.convexHull(points.round().astype(np.int32)), 1)
    return hull


def with_glasses(occluded: Mask, worn: Mask, mesh: Points) -> Mask:
    """What is in front of a template's face that has the glasses `worn` on it, from its `front_mask`.

    A shaded nose and cheek below glasses are joined to them, and so are taken for them there: only `worn` counts.
    """
    if not worn.any():
        return occluded
    width = face_width(mesh)
    inner = gaussian_blur(region_mask(mesh, "oval", worn.shape, -0.12 * width), 0.02 * width)
    below = inner * smoothstep(along_face(mesh, worn.shape), 0.05, 0.15)
    return np.maximum(occluded * (1 - below), worn)


def lens_mask(image: Image, mesh: Points) -> Mask:
    """Mask of sunglasses that are known to be worn: both lenses whole, with what mirrors in them, and the bridge."""
    shape, width = (image.shape[0], image.shape[1]), face_width(mesh)
    distance = skin_color_distance(image, mesh)
    # The nose beside a lens is in its shade: it is nearer to skin than half of the lens.
    eyes = feature_mask(mesh, shape, 0.03, names="eyes") > 0.5
    odd = (distance > max(1.2, 0.5 * float(np.median(distance[eyes])))).astype(np.uint8)
    lenses = np.zeros(shape, np.uint8)
    for eye in REGIONS["eyes"]:
        around = np.zeros(shape, np.uint8)
        x, y = mesh[list(eye), :2].mean(axis=0) + (mesh[152, :2] - mesh[10, :2]) * 0.02
        cv2.ellipse(
            around, (round(float(x)), round(float(y))), (round(0.24 * width), round(0.2 * width)), 0, 0, 360, 1, -1
        )
        seen = cv2.morphologyEx(odd & around, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        _, labels = cv2.connectedComponents(seen, connectivity=4)
        core = labels[eyes & (around > 0)]
        points = np.argwhere(np.isin(labels, np.unique(core[core > 0])))[:, ::-1]
        if len(points) > 8:
            cv2.fillConvexPoly(lenses, cv2.convexHull(points.astype(np.int32)), 1)
    bridge = cv2.morphologyEx(
        odd
        * (feature_mask(mesh, shape, 0.2, names="eyes") > 0)
        * (along_face(mesh, shape) < 0.12),  # below is the nose
        cv2.MORPH_CLOSE,
        np.ones((5, 5), np.uint8),
    )
    whole = np.maximum(np.maximum(lenses, bridge), feature_mask(mesh, shape, 0.04, names="eyes") > 0.5)
    grown = np.asarray(cv2.dilate(whole.astype(np.float32), np.ones((3, 3), np.uint8)), np.float32)
    return gaussian_blur(grown, 0.006 * width)


def beard_mask(image: Image, mesh: Points) -> Mask:
    """Mask of a beard, 0..1: dark hair on jaw, chin and upper lip, as far below the jaw as a quarter of the face's width.

    Empty where less than a third of the jaw is covered: a shadow, stubble or a goatee's tip is no beard that could be halved.
    """
    shape, width = (image.shape[0], image.shape[1]), face_width(mesh)
    lab, down = gaussian_blur(to_lab(image), 0.012 * width), along_face(mesh, shape)
    oval = region_mask(mesh, "oval", shape)
    bare = region_mask(mesh, "oval", shape, -0.08 * width) * (
        1 - feature_mask(mesh, shape, 0.05, names="eyes brows nostrils")
    )
    cheeks = (bare > 0.5) & (down > -0.25) & (down < 0.4)
    if cheeks.sum() < 32:
        return np.zeros(shape, np.float32)
    skin = np.median(lab[cheeks], axis=0)
    # Hair is darker than skin and has less chroma than skin in a shadow as dark; light is measured in its own light.
    depth = smoothstep((skin[0] - lab[..., 0]) / max(float(skin[0]), 1), 0.22, 0.38)
    pale = 1 - smoothstep(vector_length(lab[..., 1:]) / max(float(np.linalg.norm(skin[1:])), 4), 0.9, 1.2)
    # Outside of the face's outline hair and collars are dark, too: only a rim along the jaw is the beard's.
    near = cv2.dilate(oval, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * round(0.14 * width) + 1,) * 2))
    zone = np.where(oval > 0.5, down > 0.15, (near > 0.5) & (down > 0.55))
    hair = (depth * pale * zone * (1 - feature_mask(mesh, shape, 0.01, names="lips nostrils eyes"))).astype(np.float32)
    hair = cv2.morphologyEx(hair, cv2.MORPH_CLOSE, np.ones((2 * max(1, round(0.03 * width)) + 1,) * 2, np.uint8))
    jaw = (oval > 0.5) & (down > 0.72) & (feature_mask(mesh, shape, 0.02, names="lips") < 0.5)
    if (hair[jaw] > 0.4).mean() < 0.35:
        return np.zeros(shape, np.float32)
    _, labels = cv2.connectedComponents((hair > 0.3).astype(np.uint8), connectivity=4)
    own = np.unique(labels[jaw & (hair > 0.4)])
    return gaussian_blur(np.isin(labels, own[own > 0]).astype(np.float32), 0.01 * width)


def has_glasses(odd: Floats, mesh: Points) -> bool:
    """Whether something other than skin crosses the bridge of the nose; `odd` is the face's `skin_color_distance`."""
    bridge = root_of_nose(mesh, odd.shape)
    return bool((odd[bridge] > 1.8).mean() > 0.15) if bridge.any() else False


def root_of_nose(mesh: Points, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """The root of the nose."""
    bridge = np.zeros(shape[:2], np.uint8)
    x, y = mesh[[168, 6], :2].mean(axis=0)
    cv2.circle(bridge, (round(float(x)), round(float(y))), max(1, round(0.06 * face_width(mesh))), 1, -1)
    return bridge > 0


def skin_color_distance(image: Image, mesh: Points, own_skin: bool = False, hair: bool = False) -> Floats:
    """Colour distance of each pixel from the skin nearby, H×W; skin itself stays below about 1.

    Where the person's `own_skin` is kept, steps are counted in the skin's own lightness: on dark skin the same hair, or the
    same frame, is fewer steps of L away. With `hair`, what looks like the person's is not taken for the shade of that skin.
    """
    shape, width = (image.shape[0], image.shape[1]), face_width(mesh)
    lab, down = gaussian_blur(to_lab(image), max(0.6, 0.006 * width)), along_face(mesh, shape)
    sure = region_mask(mesh, "oval", shape, -0.1 * width)
    sure = (
        sure * (1 - feature_mask(mesh, shape, 0.05, names="eyes brows lips nostrils")) * (down > 0.05) * (down < 0.75)
    )
    middle = np.median(lab[sure > 0.5], axis=0) if (sure > 0.5).sum() > 16 else np.median(lab.reshape(-1, 3), axis=0)
    near = (np.abs(lab[..., 0] - middle[0]) < 25) & (vector_length(lab[..., 1:] - middle[1:]) < 18)
    if hair:
        near &= ~_like_hair(lab, mesh, middle)
    skin = masked_low_pass(lab, sure * near, 0.15 * width)
    apart = lab - skin
    if own_skin:
        inner = gaussian_blur(region_mask(mesh, "oval", shape, -0.1 * width), 0.03 * width)  # beside it may be a wall
        apart = apart + (_without_shine(apart, skin) - apart) * inner[..., None]
    # One step of each is about twice the spread measured on bare skin; shade varies more than colour, shine most.
    light = np.minimum(apart[..., 0], 0) / 16 + np.maximum(apart[..., 0], 0) / 30
    step = float(np.clip(middle[0] / LIGHT_SKIN, 0.5, 1)) if own_skin else 1.0
    return (np.sqrt(light**2 + (apart[..., 1] / 9) ** 2 + (apart[..., 2] / 12) ** 2) / step).astype(np.float32)


def _like_hair(lab: Floats, mesh: Points, skin: Floats) -> NDArray[np.bool_]:
    """What is darker and more colourful than a face's `skin` (L, a, b) and nearer to the colours above its forehead."""
    shape, width = (lab.shape[0], lab.shape[1]), face_width(mesh)
    more = vector_length(lab[..., 1:]) - float(np.linalg.norm(skin[1:]))
    alike = (lab[..., 0] < skin[0] - HAIR_LIKE[0]) & (more > HAIR_LIKE[1])
    alike &= cv2.dilate(_hull(mesh[list(NOSE), :2], shape), disc(NOSE_SHADE * width)) == 0
    above = (along_face(mesh, shape) < -0.25) & (region_mask(mesh, "oval", shape, 0.1 * width) < 0.5)
    above &= np.abs(np.arange(shape[1]) - mesh[1, 0])[None] < 0.7 * width
    if above.sum() < 32 or not alike.any():
        return np.zeros(shape, np.bool_)
    head = lab[above]
    darker, pixels = head[:, 0] < np.median(head[:, 0]), lab[alike]
    colours = [np.median(head[each], axis=0) for each in (darker, ~darker) if each.any()]
    to_skin, *to_hair = (np.linalg.norm((pixels - each) / (14, 8, 9), axis=1) for each in (skin, *colours))
    alike[alike] = np.minimum.reduce(to_hair) < to_skin
    return alike


def _without_shine(apart: Floats, skin: Floats) -> Floats:
    """Distances L, a, b from a `skin` nearby, of which most is taken off where its light is overexposed: lighter than it and
    paler, of its hue, but not as pale as grey hair."""
    colour = skin[..., 1:] / np.maximum(vector_length(skin[..., 1:]), 4)[..., None]
    along = (apart[..., 1:] * colour).sum(axis=2)
    left = 1 + along / np.maximum(vector_length(skin[..., 1:]), 4)
    shine = smoothstep(apart[..., 0], 0, 8) * smoothstep(left, 0.1, 0.2) * SHINE
    paler = np.minimum(along, 0) * shine
    colours = apart[..., 1:] - paler[..., None] * colour
    return np.dstack([apart[..., 0] - np.maximum(apart[..., 0], 0) * shine, colours]).astype(np.float32)


def along_face(mesh: Points, shape: tuple[int, int]) -> Floats:
    """Position of each pixel along the face's axis, H×W: 0 at the eyes, 1 at the chin."""
    eyes = mesh[[33, 263], :2].mean(axis=0)
    axis = mesh[152, :2] - eyes
    axis = axis / max(float((axis**2).sum()), 1e-6)
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    return ((columns - eyes[0]) * axis[0] + (rows - eyes[1]) * axis[1]).astype(np.float32)
