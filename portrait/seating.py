"""Seats a face in another picture: what lies in front of it, its light and colour, the seam.

All of it happens at a working size (`WORKING`), on the face's surroundings alone; `pipelines.engines.painters.fusion` carries
the result to the picture's own pixels. Lengths are shares of the face's width unless a name says pixels.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from portrait.color import from_lab, to_lab
from portrait.masks import guided
from portrait.types import Image, Mask, Points
from portrait.warp import REGIONS, ramp, region

WORKING = 256.0
"""Largest width of a face at working size, pixels: light, colour and seams are smooth, detail is added later."""
LIGHT = 0.12
"""Reach of what counts as light: shading wider than this comes from the scene, finer shading is the person's."""
TINT = 0.25
"""Reach of what counts as the tint of the light on skin."""

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Tone:
    """The colours of one skin in one light: a, b of CIELAB as a straight line in L."""

    middle: Floats
    """L, a, b."""
    slope: Floats
    """Change of a, b for each step of L."""
    low: float
    high: float
    """L of the darkest and the lightest skin."""

    def __call__(self, light: Floats) -> Floats:
        """Colour H×W×2 that this skin has at L `light`; black has none."""
        step = np.clip(light, self.low - 8, (self.high + self.middle[0]) / 2) - self.middle[0]  # shine is white, not skin
        fade = np.clip(light / max(0.6 * self.low, 1.0), 0.3, 1)
        return ((self.middle[1:] + step[..., None] * self.slope) * fade[..., None]).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A template's face at working size and all that is read from it once."""

    image: Image
    mesh: Points
    lab: Floats
    front: Mask
    """Hair and glasses that lie in front of the face."""
    skin: Mask
    tone: Tone
    tint: Floats
    """H×W×2: how a, b of the light differ from place to place."""
    light: Floats
    """H×W: L of the skin without features and pores."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.lab.shape[0], self.lab.shape[1]

    @property
    def width(self) -> float:
        """Width of the face in pixels."""
        return width_of(self.mesh)

    @property
    def base(self) -> Floats:
        """H×W×3 CIELAB: bare skin in this scene's light."""
        return np.dstack([self.light, self.tone(self.light) + self.tint])


def read(image: Image, mesh: Points) -> Scene:
    """Look at a template's face."""
    lab, width, front = to_lab(image), width_of(mesh), in_front(image, mesh)
    skin = bare(mesh, front)
    tone = tone_of(lab, skin)
    tint = low_pass(lab[..., 1:] - tone(lab[..., 0]), skin, TINT * width)
    light = low_pass(lab[..., :1], skin, LIGHT * width)[..., 0]
    return Scene(image, mesh, lab, front, skin, tone, tint, light)


def width_of(mesh: Points) -> float:
    """Width of a face in pixels."""
    return float(np.ptp(mesh[:, 0]))


def features(
    mesh: Points, shape: tuple[int, int], grow: float, soft: float = 0.0, names: str = "eyes brows lips"
) -> Mask:
    """Eyes, brows and lips as one mask, widened by `grow` and softened by `soft`."""
    width = width_of(mesh)
    mask = np.maximum.reduce([region(mesh, name, shape, grow * width) for name in names.split()])
    return _soften(mask, soft * width)


def bare(mesh: Points, hidden: Mask) -> Mask:
    """Skin that shows nothing but skin: without features, hair, and the outline."""
    shape, width = hidden.shape, width_of(mesh)
    oval = region(mesh, "oval", shape, -0.06 * width)
    return oval * (1 - features(mesh, shape, 0.03, names="eyes brows lips nostrils")) * (hidden < 0.15)


def low_pass(values: Floats, mask: Mask, reach: float) -> Floats:
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


def tone_of(lab: Floats, skin: Mask) -> Tone:
    """The line through the colours of the skin; its darkest and lightest pixels, which may be hair or shine, left out."""
    pixels = lab[skin > 0.5]
    if len(pixels) < 16:
        pixels = lab.reshape(-1, 3)
    low, high = np.percentile(pixels[:, 0], (3, 97))
    pixels = pixels[(pixels[:, 0] >= low) & (pixels[:, 0] <= high)]
    middle = np.median(pixels, axis=0)
    apart = pixels - middle
    # A little ridge (3² for each pixel) keeps evenly lit skin from making up a slope out of noise.
    slope = (apart[:, :1] * apart[:, 1:]).sum(axis=0) / ((apart[:, 0] ** 2).sum() + 9 * len(apart))
    return Tone(middle, np.clip(slope, -0.45, 0.25).astype(np.float32), float(low), float(high))


def in_front(image: Image, mesh: Points) -> Mask:
    """Hair and glasses in front of a face: what is not skin-coloured and hangs together with the outside of the face.

    Only above the base of the nose: below it a shadow or a beard belongs to the face.
    """
    shape, width = (image.shape[0], image.shape[1]), width_of(mesh)
    blurred = _soften(to_lab(image), max(0.6, 0.006 * width))
    down, height = _down(mesh, shape)
    down = down / height
    odd = _oddness(blurred, mesh, down)
    eyes = _soften(np.maximum(region(mesh, "eyes", shape, 0.04 * width), region(mesh, "brows", shape)), 0.01 * width)
    above = 1 - ramp(down, 0.25, 0.5)
    outer = 1 - _soften(region(mesh, "oval", shape, -0.22 * width), 0.03 * width)
    reach = np.maximum(outer, ramp(-down, 0.18, 0.3))  # the middle of the forehead may be covered, the cheeks not
    hidden = ramp(odd, 1.0, 1.8) * above * (1 - eyes) * reach
    if _glasses(odd, mesh):
        hidden = np.maximum(hidden, ramp(odd, 1.5, 2.3) * above * (1 - eyes))
    outside = (region(mesh, "oval", shape, -0.05 * width) < 0.5) & (above > 0.5)
    _, labels = cv2.connectedComponents(((hidden > 0.4) | outside).astype(np.uint8), connectivity=4)
    joined = np.isin(labels, np.unique(labels[outside])) & (labels > 0)
    hidden = hidden * cv2.dilate(joined.astype(np.uint8), np.ones((3, 3), np.uint8))
    return guided(hidden.astype(np.float32), image, image, max(2, int(0.03 * width)), 1e-3) * (1 - eyes)


def _glasses(odd: Floats, mesh: Points) -> bool:
    """Whether something crosses the bridge of the nose, where nothing but skin should be."""
    bridge = np.zeros(odd.shape, np.uint8)
    x, y = mesh[[168, 6], :2].mean(axis=0)
    cv2.circle(bridge, (round(float(x)), round(float(y))), max(1, round(0.06 * width_of(mesh))), 1, -1)
    return bool((odd[bridge > 0] > 1.8).mean() > 0.15) if bridge.any() else False


def _oddness(lab: Floats, mesh: Points, down: Floats) -> Floats:
    """How far each pixel's colour is from that of the skin nearby, 1 being the edge of what skin does."""
    shape, width = (lab.shape[0], lab.shape[1]), width_of(mesh)
    sure = region(mesh, "oval", shape, -0.1 * width) * (
        1 - features(mesh, shape, 0.05, names="eyes brows lips nostrils")
    )
    sure = sure * (down > 0.05) * (down < 0.75)
    middle = np.median(lab[sure > 0.5], axis=0) if (sure > 0.5).sum() > 16 else np.median(lab.reshape(-1, 3), axis=0)
    near = (np.abs(lab[..., 0] - middle[0]) < 25) & (np.linalg.norm(lab[..., 1:] - middle[1:], axis=2) < 18)
    apart = lab - low_pass(lab, sure * near, 0.15 * width)
    # One step of each is about twice the spread measured on bare skin; shade varies more than colour, shine most.
    light = np.minimum(apart[..., 0], 0) / 16 + np.maximum(apart[..., 0], 0) / 30
    return np.sqrt(light**2 + (apart[..., 1] / 9) ** 2 + (apart[..., 2] / 12) ** 2).astype(np.float32)


def _down(mesh: Points, shape: tuple[int, int]) -> tuple[Floats, float]:
    """How far each pixel lies below the eye line along the face, and how far the chin does, in pixels."""
    eyes = mesh[[33, 263], :2].mean(axis=0)
    axis = mesh[152, :2] - eyes
    height = max(float(np.hypot(*axis)), 1e-6)
    axis = axis / height
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    return ((columns - eyes[0]) * axis[0] + (rows - eyes[1]) * axis[1]).astype(np.float32), height


def relight(scene: Scene, face: Floats, mesh: Points, hidden: Mask, contrast: float) -> Floats:
    """A warped face (CIELAB) in the scene's light and in the colours of its skin; shading finer than `LIGHT` stays.

    Both pictures' light is read through one mask, so that what the one hides does not bias their difference.
    """
    shape, width = scene.shape, scene.width
    own = bare(mesh, hidden)
    both = own * scene.skin
    there = low_pass(scene.lab[..., :1], both, LIGHT * width)[..., 0]
    here = low_pass(face[..., :1], both, LIGHT * width)[..., 0]
    # Shading scales with the light it is in; half of that in L, or the shadows of a dark selfie turn to dirt.
    detail = np.clip(there / np.maximum(here, 5), 0.5, 1.8) ** 0.6 * (face[..., 0] - here) * contrast
    marked = features(mesh, shape, 0.03, 0.02)
    deep = np.maximum(marked, features(mesh, shape, 0.0, 0.02, "nostrils"))
    detail = detail * (0.92 + 0.08 * deep)
    limit = 26 + 150 * deep
    lift = (2 + 0.6 * (98 - scene.light)) * (1 + 20 * marked)
    limit = np.where(detail < 0, limit, lift)
    detail = detail * limit / np.sqrt(limit**2 + detail**2)
    # No skin shines more than the template's; the whites of eyes and teeth may.
    top = scene.tone.high - 6 + (97 - scene.tone.high) * 0.8 * marked
    light = scene.light + detail
    room = np.maximum(98 - top, 1) * 0.5
    light = np.where(light > top, top + room * (1 - np.exp(-np.maximum(light - top, 0) / room)), light)
    return np.dstack([light, _tinted(scene, face, light, (mesh, own, both))]).astype(np.float32)


def _tinted(scene: Scene, face: Floats, light: Floats, seen: tuple[Points, Mask, Mask]) -> Floats:
    """a, b of the face in the scene: the colour of the scene's skin at that light, and what sets this skin apart."""
    mesh, own, both = seen
    tone = tone_of(face, own)
    plain = tone(face[..., 0])
    apart = face[..., 1:] - plain
    apart = apart - low_pass(apart, both, TINT * scene.width)
    wanted = scene.tone(light)
    # Scaled with the skin's own colour, white stays white in any light.
    scale = np.linalg.norm(wanted, axis=2) / np.maximum(np.linalg.norm(plain, axis=2), 4)
    apart = apart * np.clip(scale, 0.2, 1.5)[..., None]
    lips = features(mesh, scene.shape, 0.01, 0.01, "lips")
    eyes = features(mesh, scene.shape, 0.02, 0.01, "eyes")
    limit = 5 + 12 * np.maximum(lips, eyes)
    apart = apart * (limit / np.sqrt(limit**2 + (apart**2).sum(axis=2)))[..., None]
    colour = wanted + scene.tint + apart
    # A small photo smears the colour of the lids over the whites of the eyes.
    white = features(mesh, scene.shape, 0.0, 0.005, "eyes") * ramp(light / np.maximum(scene.light, 1), 0.6, 0.85)
    return (colour * (1 - 0.5 * white[..., None])).astype(np.float32)


def fill(scene: Scene, drawn: Floats, mesh: Points, hidden: Mask) -> Floats:
    """Bare skin where the selfie shows hair instead of face."""
    wider = cv2.dilate(hidden, np.ones((2 * round(0.02 * scene.width) + 1,) * 2, np.uint8))  # the shadow at its edge
    wider = _soften(np.asarray(wider, np.float32), 0.01 * scene.width)
    share = (wider * (1 - features(mesh, scene.shape, 0.0, 0.008)))[..., None]
    return drawn + (scene.base - drawn) * share


def seat(scene: Scene, drawn: Floats, mesh: Points, hidden: Mask) -> tuple[Image, Mask]:
    """The drawn face (CIELAB) with its edge led over into the template, and how much of each pixel it takes.

    Eyes, brows and mouth of both faces are covered wholly; what is in front of the template's face stays in front.
    """
    shape, width = scene.shape, scene.width
    inside = _soften(seam(scene, drawn, mesh, hidden), 0.025 * width)
    cover = _soften(np.maximum(features(scene.mesh, shape, 0.03), features(mesh, shape, 0.02)), 0.018 * width)
    share = np.maximum(inside * (1 - hidden), cover) * region(scene.mesh, "oval", shape) * (1 - scene.front)
    ring = 4 * share * (1 - share) * (1 - scene.front) * region(scene.mesh, "oval", shape, -0.02 * width)
    ring = ring * (1 - np.maximum(features(scene.mesh, shape, 0.01), features(mesh, shape, 0.0)))
    step = np.clip(_soften(scene.lab - drawn, 0.008 * width), (-20, -10, -14), (20, 10, 14)).astype(np.float32)
    ring = ring * np.exp(-((step / (16, 8, 11)) ** 2).sum(axis=2))  # a large step is a feature, not a tone
    far = cv2.distanceTransform((ring < 0.3).astype(np.uint8), cv2.DIST_L2, 5) / width
    fade = np.exp(-((far / 0.16) ** 2)) * (1 - features(mesh, shape, 0.0, 0.008))
    settled = drawn + low_pass(step, ring.astype(np.float32), 0.05 * width) * fade[..., None]
    return from_lab(settled), share.astype(np.float32)


def seam(scene: Scene, drawn: Floats, mesh: Points, hidden: Mask) -> Mask:
    """The region to take from the drawn face: its edge runs where both pictures agree, as far out as they do.

    A shortest path round the face (one radius for each direction), as in image quilting (Efros and Freeman 2001).
    """
    shape, width = scene.shape, scene.width
    centre = scene.mesh[[33, 263, 61, 291], :2].mean(axis=0).astype(np.float64)
    angles = np.arange(96) * 2 * np.pi / 96
    around = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    spokes = scene.mesh[list(REGIONS["oval"][0]), :2] - centre
    turn = np.arctan2(spokes[:, 1], spokes[:, 0]) % (2 * np.pi)
    order = np.argsort(turn)
    reach = np.interp(angles, turn[order], np.linalg.norm(spokes, axis=1)[order], period=2 * np.pi)
    radii = np.linspace(0.3, 0.95, 48)
    at = (centre + (around * reach[:, None])[:, None] * radii[None, :, None]).astype(np.float32)

    def along(mask: Floats) -> Floats:
        return np.asarray(cv2.remap(mask, at[..., 0], at[..., 1], cv2.INTER_LINEAR), np.float32)

    gap = _soften(drawn - scene.lab, 0.012 * width)
    differs = np.sqrt(gap[..., 0] ** 2 + 2 * gap[..., 1] ** 2 + 2 * gap[..., 2] ** 2) * (1 - scene.front)
    cost = (
        along(differs)
        + 36 * (1 - radii)
        + 3 * np.cumsum(along(np.asarray(hidden * (1 - scene.front), np.float32)), axis=1)
    )
    needed = np.maximum(features(scene.mesh, shape, 0.03), features(mesh, shape, 0.02))
    beyond = np.cumsum((along(needed) > 0.3)[:, ::-1], axis=1)[:, ::-1] > 0
    cost = cost + 200 * beyond * (along(scene.front) < 0.5)
    path = radii[_round_trip(cost)]
    waves = np.fft.fft(path) * np.exp(-((np.fft.fftfreq(96) * 96 / 24) ** 2))
    edge = centre + around * (reach * np.real(np.fft.ifft(waves)))[:, None]
    mask = np.zeros(shape, np.uint8)
    cv2.fillPoly(mask, [np.round(edge * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    return (mask / 255).astype(np.float32)


def _round_trip(cost: NDArray[np.floating]) -> NDArray[np.intp]:
    """For each row of a closed strip the column of the cheapest path, at most two columns a step; three rounds, the middle
    one counts, so that the ends meet."""
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


def _soften(values: Floats, sigma: float) -> Floats:
    return values if sigma < 0.3 else np.asarray(cv2.GaussianBlur(values, (0, 0), sigma), np.float32)
