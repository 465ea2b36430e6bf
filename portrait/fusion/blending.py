"""Blends a warped face into a template: light and skin colour of the target, the seam, the noise.

All of it works on the face's surroundings at a width of `WORKING_WIDTH`; `pipelines.engines.painters.fusion` carries the
result to the picture's own pixels. Lengths are shares of the face's width unless a name says pixels.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from portrait.arrays import Image, Mask, Points
from portrait.faces.mesh import OVAL
from portrait.fusion.occluders import (
    along_face,
    face_width,
    feature_mask,
    front_mask,
    occlusion_mask,
    skin_color_distance,
)
from portrait.fusion.warp import region_mask
from portrait.images.color import from_lab, to_lab
from portrait.images.filters import gaussian_blur, masked_low_pass, noise_level, smoothstep, vector_length

WORKING_WIDTH = 256.0
"""Largest width of a face at working size, pixels: light, colour and seams are smooth, detail is added later."""
LIGHT = 0.12
"""Width above which shading counts as light of the template; finer shading is the person's."""
OTHER_COLOUR = (1.1, 2.0)
"""Colour distances from skin: hair beside a cheek is beyond the first throughout, and somewhere beyond the second."""
TINT = 0.25
"""Width above which differences of colour count as the tint of the light on skin."""

FOREHEAD = 16.0
"""ΔE from the skin in this light up to which what lies above a face's outline is more likely forehead than hair."""

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Manner:
    """How much of a person's own light, colours and edge a drawn face keeps."""

    light: float
    """Width above which shading is taken off the selfie."""
    shading: float
    """About the most L by which bare skin becomes darker than the template's light."""
    lift: tuple[float, float]
    """The most L by which it becomes lighter: a constant, and the share of what is left to white."""
    shine: float
    """L by which the lightest skin stays below the template's."""
    colour: float
    """About the most by which a, b of bare skin differ from the template's."""
    tint: float
    """Width above which differences of colour are taken off."""
    adapted: tuple[float, float]
    """Share of the difference to the template, along the edge, that the face gives up: at its outline, and inside."""
    reach: float
    """Distance of the seam from the face's outline up to which all is the person's; 1 leaves it to the seam's search."""
    steepest: float
    """The most by which a, b of the template's skin grow for each step of L that it is darker: warm shadows stay warm."""
    around_hair: tuple[float, float]
    """How far around hair over the face skin is painted anew, since hair casts a shadow, and how softly that ends."""


PLAIN = Manner(0.12, 22.0, (2.0, 0.6), 6.0, 5.0, 0.25, (1.0, 1.0), 1.0, 0.45, (0.02, 0.01))
"""On a template's own skin, which is another person's: as in version 0.1.0."""
OWN_SKIN = Manner(0.8, 70.0, (16.0, 3.0), 0.0, 20.0, 1.0, (0.1, 0.2), 0.02, 0.7, (0.04, 0.02))
"""On a template whose skin was led over to the person's; chosen on the pairs of `tests/benchmarks/test_fusion_pairs.py`."""


@dataclass(frozen=True, slots=True, eq=False)
class SkinTone:
    """The colours of one skin in one light: a, b of CIELAB as a linear function of L."""

    middle: Floats
    """L, a, b."""
    slope: Floats
    """Change of a, b for each step of L."""
    low: float
    high: float
    """L of the darkest and the lightest skin."""

    def __call__(self, light: Floats) -> Floats:
        """Colour a, b (H×W×2) that this skin has at L `light` (H×W); it fades towards black."""
        step = (
            np.clip(light, self.low - 8, (self.high + self.middle[0]) / 2) - self.middle[0]
        )  # shine is white, not skin
        fade = np.clip(light / max(0.6 * self.low, 1.0), 0.3, 1)
        return ((self.middle[1:] + step[..., None] * self.slope) * fade[..., None]).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class TargetFace:
    """A template's face at working size with what is measured of it once: occlusions, skin, tone, light."""

    image: Image
    mesh: Points
    lab: Floats
    occluded: Mask
    """Hair and glasses that lie in front of the face."""
    skin: Mask
    tone: SkinTone
    tint: Floats
    """H×W×2: local deviation of a, b from `tone`, the tint of the light."""
    light: Floats
    """H×W: L of the skin without features and pores."""
    manner: Manner = PLAIN

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.lab.shape[0], self.lab.shape[1]

    @property
    def width(self) -> float:
        """Width of the face in pixels."""
        return face_width(self.mesh)

    @property
    def base(self) -> Floats:
        """H×W×3 CIELAB: bare skin in the light of this face."""
        return np.dstack([self.light, self.tone(self.light) + self.tint])


def analyze_target(image: Image, mesh: Points, manner: Manner = PLAIN) -> TargetFace:
    """Measure a template's face; `image` and `mesh` are at working size."""
    lab, width, odd = to_lab(image), face_width(mesh), skin_color_distance(image, mesh, manner is not PLAIN)
    occluded = (occlusion_mask if manner is PLAIN else front_mask)(image, mesh, odd)
    skin = bare_skin_mask(mesh, occluded) * (
        odd < (1.8 if manner is PLAIN else 1.2)
    )  # moles, frames and their shadows are no light
    tone = skin_tone(lab, skin, manner.steepest)
    tint = masked_low_pass(lab[..., 1:] - tone(lab[..., 0]), skin, TINT * width)
    light = masked_low_pass(lab[..., :1], skin, LIGHT * width)[..., 0]
    return TargetFace(image, mesh, lab, occluded, skin, tone, tint, light, manner)


def bare_skin_mask(mesh: Points, hidden: Mask) -> Mask:
    """Mask of bare skin: the face without its features, its outline and what is `hidden` by hair."""
    shape, width = hidden.shape, face_width(mesh)
    oval = region_mask(mesh, "oval", shape, -0.06 * width)
    return oval * (1 - feature_mask(mesh, shape, 0.03, names="eyes brows lips nostrils")) * (hidden < 0.15)


def skin_tone(lab: Floats, skin: Mask, steepest: float = 0.45) -> SkinTone:
    """Fit the colours of the masked skin, without its darkest and lightest pixels, which may be hair or shine."""
    pixels = lab[skin > 0.5]
    if len(pixels) < 16:
        pixels = lab.reshape(-1, 3)
    low, high = np.percentile(pixels[:, 0], (3, 97))
    pixels = pixels[(pixels[:, 0] >= low) & (pixels[:, 0] <= high)]
    middle = np.median(pixels, axis=0)
    apart = pixels - middle
    # A little ridge (3² for each pixel) keeps evenly lit skin from making up a slope out of noise.
    slope = (apart[:, :1] * apart[:, 1:]).sum(axis=0) / ((apart[:, 0] ** 2).sum() + 9 * len(apart))
    return SkinTone(middle, np.clip(slope, -steepest, 0.25).astype(np.float32), float(low), float(high))


def covered_skin_mask(target: TargetFace, mesh: Points, hidden: Mask, crossed: Mask | float = 0.0) -> Mask:
    """Where bare skin replaces the selfie, because hair or its shadow covers the face there; brows stay, but for what hair has
    `crossed` of them."""
    grown, soft = target.manner.around_hair
    side = 2 * round(grown * target.width) + 1
    wider = np.asarray(cv2.dilate(hidden, np.ones((side, side), np.uint8)), np.float32)
    tight = feature_mask(mesh, target.shape, 0.0, 0.008) * (1 - crossed)
    eyes = feature_mask(mesh, target.shape, 0.06, 0.01, "eyes")
    shadow = gaussian_blur(wider, soft * target.width) * (1 - np.maximum(tight, eyes))
    return np.maximum(shadow, hidden * (1 - tight)).astype(np.float32)


def painted_skin(target: TargetFace, face: Floats, mesh: Points, bare: Mask) -> Floats:
    """H×W×3 CIELAB: the skin that is painted where `bare` hides hair; beside the drawn `face` it has the face's own tone.

    On the person's own tone only: on another's (`PLAIN`) the face itself is fitted to the template.
    """
    base = target.base
    if target.manner is PLAIN or not (bare > 0.5).any():
        return base
    skin = region_mask(mesh, "oval", target.shape, -0.04 * target.width) * (bare < 0.05)
    skin = skin * (1 - feature_mask(mesh, target.shape, 0.02, names="eyes brows lips nostrils"))
    far = cv2.distanceTransform((bare > 0.5).astype(np.uint8), cv2.DIST_L2, 5) / target.width
    near = cv2.distanceTransform((bare < 0.5).astype(np.uint8), cv2.DIST_L2, 5) / target.width
    skin = (
        skin * (near < 0.12) * (np.abs((face - base)[..., 0]) < 18)
    )  # a frame, or what is left of a shadow, is no skin
    step = masked_low_pass(face - base, skin.astype(np.float32), 0.08 * target.width)
    return np.asarray(base + step * np.exp(-((far / 0.22) ** 2))[..., None], np.float32)


def blend_into(
    target: TargetFace, face: Floats, mesh: Points, hidden: Mask, glasses: Mask | float = 0.0, odd: Floats | None = None
) -> tuple[Image, Mask]:
    """The drawn face (CIELAB) with its edge adapted to the template, and its alpha mask.

    `odd`: `skin_color_distance` of the warped selfie, to keep the person's own hair beside the cheeks out. Eyes, brows, mouth
    and glasses are covered wholly; what is in front of the template's face stays in front.
    """
    shape, width = target.shape, target.width
    inside = gaussian_blur(seam_mask(target, face, mesh, hidden, glasses, odd), 0.025 * width)
    cover = np.maximum(gaussian_blur(required_cover(target, mesh), 0.018 * width), glasses)
    within = region_mask(target.mesh, "oval", shape, -1.0)  # enlarging spreads a mask by a pixel
    # Skin is painted where hair was: on the person's own tone it goes on to the outline, so that hair leaves no border.
    seen = 1 - hidden if target.manner is PLAIN else 1.0
    share = np.maximum(inside * seen, cover) * within * (1 - target.occluded)
    boundary = 4 * share * (1 - share) * (1 - target.occluded) * region_mask(target.mesh, "oval", shape, -0.02 * width)
    boundary = boundary * (1 - np.maximum(feature_mask(target.mesh, shape, 0.01), feature_mask(mesh, shape, 0.0)))
    step = np.clip(gaussian_blur(target.lab - face, 0.008 * width), (-20, -10, -14), (20, 10, 14)).astype(np.float32)
    boundary = boundary * np.exp(-((step / (16, 8, 11)) ** 2).sum(axis=2))  # a large step is a feature, not a tone
    far = cv2.distanceTransform((boundary < 0.3).astype(np.uint8), cv2.DIST_L2, 5) / width
    # A brow goes along: where it is thin, bare skin that did not would be a light line along it.
    fade = np.exp(-((far / 0.16) ** 2)) * (1 - feature_mask(mesh, shape, 0.0, 0.008, "eyes lips"))
    moved = masked_low_pass(step, boundary.astype(np.float32), 0.05 * width) * fade[..., None]
    # Along the outline two faces may differ, as any face does from its hair; in the middle of a forehead they may not.
    deep = gaussian_blur(region_mask(target.mesh, "oval", shape, -0.1 * width), 0.05 * width)[..., None]
    outside, within = target.manner.adapted
    share_of_step = np.maximum(outside + (within - outside) * deep, hidden[..., None])
    if target.manner is not PLAIN:
        share_of_step = np.maximum(share_of_step, _forehead_beyond(target)[..., None])
    adapted = face + moved * share_of_step
    return from_lab(adapted), share.astype(np.float32)


def _forehead_beyond(target: TargetFace) -> Mask:
    """How much, 0..1, bare forehead goes on beyond the face's outline: there no line may show where the drawn face ends."""
    shape, width = target.shape, target.width
    outline = region_mask(target.mesh, "oval", shape, -1.0)
    ring = region_mask(target.mesh, "oval", shape, 0.06 * width) * (1 - outline)
    apart = vector_length(target.lab - target.base)
    forehead = smoothstep(-along_face(target.mesh, shape), 0.15, 0.3) * (1 - target.occluded)
    skin = (ring * forehead * np.exp(-((apart / FOREHEAD) ** 2))).astype(np.float32)
    seen = gaussian_blur(skin, 0.06 * width) / np.maximum(
        gaussian_blur((ring * forehead).astype(np.float32), 0.06 * width), 0.02
    )
    return np.asarray(np.clip(seen, 0, 1) * forehead, np.float32)


def required_cover(target: TargetFace, mesh: Points) -> Mask:
    """Mask of what must be covered: the template's features, so that they do not shine through, and the drawn ones."""
    drawn = np.maximum(
        feature_mask(mesh, target.shape, 0.03, names="eyes lips"),
        feature_mask(mesh, target.shape, 0.018, names="brows"),
    )
    return np.maximum(feature_mask(target.mesh, target.shape, 0.03), drawn)


def seam_mask(
    target: TargetFace, face: Floats, mesh: Points, hidden: Mask, glasses: Mask | float = 0.0, odd: Floats | None = None
) -> Mask:
    """Mask of the region to take from the drawn face; its edge runs as far out as both pictures agree.

    The edge is a shortest path around the face (one radius for each direction), as in image quilting (Efros and Freeman
    2001).
    """
    shape, width = target.shape, target.width
    centre = target.mesh[[33, 263, 61, 291], :2].mean(axis=0).astype(np.float64)
    angles = np.arange(96) * 2 * np.pi / 96
    directions = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    spokes = target.mesh[list(OVAL), :2] - centre
    turn = np.arctan2(spokes[:, 1], spokes[:, 0]) % (2 * np.pi)
    order = np.argsort(turn)
    reach = np.interp(angles, turn[order], np.linalg.norm(spokes, axis=1)[order], period=2 * np.pi)
    radii = np.linspace(0.3, 0.95, 48)
    at = (centre + (directions * reach[:, None])[:, None] * radii[None, :, None]).astype(np.float32)

    def along(mask: Floats) -> Floats:
        return np.asarray(cv2.remap(mask, at[..., 0], at[..., 1], cv2.INTER_LINEAR), np.float32)

    covered = along(np.maximum(required_cover(target, mesh), glasses).astype(np.float32)) > 0.3
    if target.manner.reach == 1:
        gap = gaussian_blur(face - target.lab, 0.012 * width)
        differs = np.sqrt(gap[..., 0] ** 2 + 2 * gap[..., 1] ** 2 + 2 * gap[..., 2] ** 2) * (1 - target.occluded)
        behind = np.cumsum(along(np.asarray(hidden * (1 - target.occluded), np.float32)), axis=1)
        beyond = np.cumsum(covered[:, ::-1], axis=1)[:, ::-1] > 0
        cost = along(differs) + 36 * (1 - radii) + 3 * behind
        path = radii[_closed_path(cost + 200 * beyond * (along(target.occluded) < 0.5))]
    else:
        down = along(along_face(target.mesh, shape))
        hair = np.zeros_like(down) if odd is None else along(odd) * ((down > 0) & (down < 0.7))
        path = _reached(radii, covered, hair, 1 - target.manner.reach)
    waves = np.fft.fft(path) * np.exp(-((np.fft.fftfreq(96) * 96 / 24) ** 2))
    edge = centre + directions * (reach * np.real(np.fft.ifft(waves)))[:, None]
    mask = np.zeros(shape, np.uint8)
    cv2.fillPoly(mask, [np.round(edge * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    return (mask / 255).astype(np.float32)


def _reached(
    radii: NDArray[np.floating], covered: NDArray[np.bool_], hair: NDArray[np.floating], most: float
) -> NDArray[np.floating]:
    """Radii A of the seam as far out as `most`, but short of the person's own `hair` (A×R, colour distance from skin), and
    behind all that is `covered` in any case."""
    least = np.where(covered.any(axis=1), radii[covered.shape[1] - 1 - np.argmax(covered[:, ::-1], axis=1)], radii[0])
    # Hair goes on to the face's outline; a shadow ends before, or is nearer to skin.
    outward = hair[:, ::-1]
    lasting = np.minimum.accumulate(outward, axis=1)[:, ::-1] > OTHER_COLOUR[0]
    lasting &= np.maximum.accumulate(outward, axis=1)[:, ::-1] > OTHER_COLOUR[1]
    beyond = (radii[None] > least[:, None]) & lasting
    first = np.where(beyond.any(axis=1), radii[np.argmax(beyond, axis=1)] - 0.06, most)
    return np.maximum(least, np.minimum(first, most))


def _closed_path(cost: NDArray[np.floating]) -> NDArray[np.intp]:
    """For each row of a closed strip, the column of the cheapest path that moves by at most two columns a row.

    Three rounds are searched and the middle one is taken, so that the ends meet.
    """
    rounds = np.concatenate([cost] * 3)
    steps, columns = (-2, -1, 0, 1, 2), np.arange(cost.shape[1])
    sums, came = rounds[0], np.zeros(rounds.shape, np.intp)
    for row in range(1, len(rounds)):
        padded = np.pad(sums, 2, constant_values=np.inf)
        options = np.stack([padded[2 + step : 2 + step + len(columns)] + abs(step) for step in steps])
        best = options.argmin(axis=0)
        came[row] = columns + best - 2
        sums = rounds[row] + options[best, columns]
    path = [int(sums.argmin())]
    for row in range(len(rounds) - 1, 0, -1):
        path.append(int(came[row, path[-1]]))
    return np.array(path[::-1])[len(cost) : 2 * len(cost)]


def missing_noise(template: Image, warped: Image, mesh: Points) -> float:
    """Standard deviation of the noise that a template has and a drawn face lacks, in levels; at most 4.

    `mesh` is the template's, in the pixels of both.
    """
    middle = mesh[[50, 280], :2].mean(axis=0)  # between the cheeks
    reach = 0.3 * face_width(mesh)
    left, top = (max(0, int(value - reach)) for value in middle)
    right, bottom = (max(1, int(value + reach)) for value in middle)
    there, here = (noise_level(each[top:bottom, left:right]) for each in (template, warped))
    return min(4.0, math.sqrt(max(0.0, there**2 - here**2)))
