"""Tone: LAB match, exposure, white balance, skin.

Nothing here paints: every change is small, bounded and limited to where a mask says so. A mask of zero leaves a pixel
as it was, to the bit. Work on a face happens in its own box, so the cost follows the pixels that matter.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from portrait.geometry import move_face
from portrait.types import Box, Face, Image, Mask, Points

Floats = NDArray[np.float32]

# Contours of MediaPipe's mesh as it publishes them (FaceLandmarksConnections; the rows under the eyes are those of its
# face-landmarks-detection package; the cheeks are chosen from the same figure). Left is the left of the picture.
OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
EYES = (
    (33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173),
    (263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398),
)
BROWS = ((46, 53, 52, 65, 55, 70, 63, 105, 66, 107), (276, 283, 282, 295, 285, 300, 293, 334, 296, 336))
LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
UNDER_EYES = (
    (130, 25, 110, 24, 23, 22, 26, 112, 243, 128, 121, 120, 119, 118, 117, 111),
    (359, 255, 339, 254, 253, 252, 256, 341, 463, 357, 350, 349, 348, 347, 346, 340),
)
CHEEKS = ((117, 118, 101, 36, 205, 187, 123), (346, 347, 330, 266, 425, 411, 352))
FOREHEAD_ROW = (127, 162, 21, 54, 103, 67, 109, 10, 338, 297, 332, 284, 251, 389, 356)
JAW_ROW = (172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397)

GREY = 2.0
"""Chroma below which a pixel has no colour an eye would name: a just noticeable difference is about 2.3 (Mahy 1994)."""
RETOUCH_LIMIT = 6.0
"""Largest ΔE of one pixel at strength 1 of `retouch_skin`; the median over the skin stays below half of it."""


# --- Colour spaces ---------------------------------------------------------------------------------------------------


def to_lab(image: Image) -> Floats:
    """CIELAB (D65) of an image, H×W×3: L 0..100, a and b about ±128."""
    return np.asarray(cv2.cvtColor(image.astype(np.float32) / np.float32(255), cv2.COLOR_RGB2LAB), np.float32)


def from_lab(lab: NDArray[np.floating]) -> Image:
    """An image from CIELAB; colours outside sRGB are clipped."""
    rgb = cv2.cvtColor(np.ascontiguousarray(lab, np.float32), cv2.COLOR_LAB2RGB)
    return np.asarray(np.clip(rgb * 255 + 0.5, 0, 255), np.uint8)


def delta_e(one: Image, two: Image) -> Floats:
    """How different two images look, H×W: CIE76, the plain distance in CIELAB; 2.3 is just noticeable."""
    return np.asarray(np.linalg.norm(to_lab(one) - to_lab(two), axis=2), np.float32)


def to_linear(image: Image) -> Floats:
    """Linear light 0..1 of an sRGB image, any shape (IEC 61966-2-1)."""
    return np.asarray(_LINEAR[image], np.float32)


def from_linear(linear: NDArray[np.floating]) -> Image:
    """An sRGB image from linear light 0..1; what lies outside is clipped."""
    return np.asarray(_encoded(linear) * 255 + 0.5, np.uint8)


def _encoded(linear: NDArray[np.floating]) -> NDArray[np.floating]:
    light = np.clip(linear, 0, 1)
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


_STEPS = np.arange(256) / 255
_LINEAR: Floats = np.where(_STEPS <= 0.04045, _STEPS / 12.92, ((_STEPS + 0.055) / 1.055) ** 2.4).astype(np.float32)


def blend(image: Image, changed: Image, mask: Mask) -> Image:
    """`changed` where the mask is 1, `image` where it is 0 (to the bit), a mixture between."""
    share = mask[..., None]
    mixed = image + (changed.astype(np.float32) - image) * share
    return np.where(share > 0, np.clip(mixed + np.float32(0.5), 0, 255).astype(np.uint8), image)


# --- Tone of one picture in another ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Tone:
    """Robust middle and spread of L, a, b in a masked region, and whether it has colour at all."""

    middle: Floats
    spread: Floats
    coloured: bool


def match_tone(image: Image, source_mask: Mask, target: Image, target_mask: Mask, strength: float = 1.0) -> Image:
    """Give the masked part of `image` the tone of the masked part of `target`; the two may differ in size.

    Middle and spread of L, a and b are matched, read without the darkest and lightest tenth so that highlights and hair
    do not count. Limits keep skin from going grey or shiny: spread changes by a quarter at most, hue by 15°, chroma by
    a third, L by 30. A target without any colour is a black-and-white picture, and its guest becomes one too.
    `strength` 0..1.
    """
    rows, columns = _bounds(source_mask)
    cut, mask = image[rows, columns], source_mask[rows, columns]
    target_rows, target_columns = _bounds(target_mask)
    there = _tone(target[target_rows, target_columns], target_mask[target_rows, target_columns])
    here = _tone(cut, mask)
    out = image.copy()
    if here is None or there is None:
        return out
    lab = to_lab(cut)
    stretch = np.clip(there.spread / np.maximum(here.spread, 0.5), 0.8, 1.25)
    goal = _bounded_tone(here, there)
    if not there.coloured:
        stretch[1:] = 0
    moved = (lab - here.middle) * stretch + goal
    # Light that was lifted is rolled off before white, so that skin does not begin to shine.
    lifted = moved[..., 0]
    moved[..., 0] = np.maximum(_shoulder(lifted, 85, 97), np.minimum(lifted, lab[..., 0]))
    changed = from_lab(lab + (moved - lab) * np.float32(np.clip(strength, 0, 1)))
    out[rows, columns] = blend(cut, changed, mask)
    return out


def _tone(image: Image, mask: Mask) -> _Tone | None:
    """The tone of a region; None when it has too few pixels to have one."""
    if not image.size:
        return None
    lab = to_lab(image)[mask > 0.5]
    if len(lab) < 16:
        return None
    low, high = np.percentile(lab[:, 0], (10, 90))
    kept = lab[(lab[:, 0] >= low) & (lab[:, 0] <= high)]
    coloured = float(np.percentile(np.hypot(kept[:, 1], kept[:, 2]), 95)) >= GREY
    return _Tone(np.median(kept, axis=0), kept.std(axis=0), coloured)


def _bounded_tone(here: _Tone, there: _Tone) -> Floats:
    """Where the middle of a region shall go: towards the other tone, as far as skin stays skin."""
    light = here.middle[0] + np.clip(there.middle[0] - here.middle[0], -30, 30)
    if not there.coloured:
        return np.array([light, 0, 0], np.float32)
    own, wanted = complex(*here.middle[1:]), complex(*there.middle[1:])
    if abs(own) < GREY:
        # A grey source cannot be given skin colours by a shift; it is tinted as a print would be.
        tint = wanted / max(abs(wanted) / 8, 1)
        return np.array([light, tint.real, tint.imag], np.float32)
    turn = math.remainder(math.atan2(wanted.imag, wanted.real) - math.atan2(own.imag, own.real), math.tau)
    turn = float(np.clip(turn, -math.radians(15), math.radians(15)))
    chroma = float(np.clip(abs(wanted), abs(own) * 0.67, abs(own) * 1.33))
    goal = chroma * own / abs(own) * complex(math.cos(turn), math.sin(turn))
    return np.array([light, goal.real, goal.imag], np.float32)


def _shoulder(value: NDArray[np.floating], knee: float, top: float) -> Floats:
    """Straight up to `knee`, then bending towards `top` and never past it."""
    room = top - knee
    over = np.maximum(value - knee, 0)
    return np.where(value > knee, knee + room * over / (room + over), value).astype(np.float32)


# --- White balance ---------------------------------------------------------------------------------------------------

SKIN_HUES = (50.0, 72.0)
"""LAB hue in degrees that skin has in white light, whatever its depth: the two skin patches of the ColorChecker read
49° and 51°, the cheeks of seven people in photos 53° to 72°."""
SKIN_CHROMA = (14.0, 38.0)
"""LAB chroma of skin in white light at L 66: below it skin looks grey, above it orange."""
CAST_LIMIT = 0.4
"""Largest correction of one channel against green, in natural logarithms: a factor of 1.5."""


def white_balance(image: Image, mask: Mask | None = None, strength: float = 1.0) -> Image:
    """Take a colour cast off; `mask` marks skin, 0..1, `strength` 0..1.

    Three witnesses are weighed: cameras are mostly right already; the light as shades of grey see it (Finlayson &
    Trezzi 2004, p = 6) in what is not skin; and skin, whose hue is nearly the same in all people. Only what all of them
    cannot explain is a cast, so warm skin in a warm room stays warm. Gains act in linear light and keep the skin's
    luminance.
    """
    gains = cast_gains(image, mask)
    if gains is None or strength <= 0:
        return image.copy()
    gains = gains ** np.float32(min(strength, 1.0))
    table = from_linear(_LINEAR[:, None] * gains)
    out = np.stack([cv2.LUT(np.ascontiguousarray(image[..., each]), table[:, each]) for each in range(3)], axis=2)
    # Where all channels are near their end the light's colour is lost and white is white.
    low = image.min(axis=2)
    white = low > 235
    share = ((low[white].astype(np.float32) - 235) / 20)[:, None]
    out[white] = np.asarray(out[white] * (1 - share) + image[white] * share + 0.5, np.uint8)
    return np.asarray(out, np.uint8)


def cast_gains(image: Image, mask: Mask | None = None) -> Floats | None:
    """Gains of red, green and blue in linear light that take the cast off; None when there is none, or no colour."""
    small, skin = _reduced(image, mask, 256)
    chroma = np.hypot(*np.moveaxis(to_lab(small)[..., 1:], 2, 0))
    if float(np.percentile(chroma, 98)) < GREY:
        return None
    linear = to_linear(small)
    person, trust = _person(small, linear, skin)
    if trust <= 0:
        return None
    steps = np.linspace(-CAST_LIMIT, CAST_LIMIT, 41)
    red, blue = (grid.ravel() for grid in np.meshgrid(steps, steps))
    # The weights come from a sweep over eight photos and eight casts: with them a third to half of a cast stays and a
    # photo without one is left alone. The scene's estimate errs by 0.12 before it says anything (the astronaut's own
    # reads 0.09); where skin is the only witness, less is believed.
    scene = _illuminant(small, linear, skin)
    wide = 0.2 if scene is None else 0.3
    # Lamps differ from warm to cool along black-body light; a magenta or green one is rare, a red or blue wall is not.
    cost = (red - blue) ** 2 / 2 / wide**2 + (red + blue) ** 2 / 2 / (0.7 * wide) ** 2
    if scene is not None:
        cost += (np.maximum(np.hypot(red + scene[0], blue + scene[1]) - 0.12, 0) / 0.15) ** 2
    if person is not None and float(person.min()) > 0.002:
        cost += _skin_cost(person, red, blue)
    best = int(cost.argmin())
    if abs(red[best]) + abs(blue[best]) < 1e-6:
        return None
    gains = np.exp(trust * np.array([red[best], 0, blue[best]]))
    reference = linear.reshape(-1, 3).mean(axis=0) if person is None else person
    return np.asarray(gains * _luminance(reference) / max(_luminance(reference * gains), 1e-6), np.float32)


def _person(small: Image, linear: Floats, skin: Mask) -> tuple[Floats | None, float]:
    """The colour of the skin in linear light, None without skin; and how far it may be corrected, 0..1.

    A clipped channel tells a wrong hue and turns green when it is lowered: blown-out skin is left as it is.
    """
    marked = skin > 0.5
    if int(marked.sum()) < 16:
        return None, 1.0
    sound = marked & (small.max(axis=2) < 250)
    share = float(sound.sum() / marked.sum())
    if share <= 0.5:
        return None, 0.0
    return np.median(linear[sound], axis=0), min(1.0, 4 * share - 2)


def _illuminant(small: Image, linear: Floats, skin: Mask) -> tuple[float, float] | None:
    """Colour of the light by shades of grey: logarithms of red and blue over green; None where too little is fit for it.

    Vivid things have a colour of their own; ears, hands and wood would pass their warmth off as the light's.
    """
    lab = to_lab(small)
    # Chroma as it would be at L 66: it grows with the cube root of light, as L + 16 does.
    chroma = np.hypot(lab[..., 1], lab[..., 2]) * 82 / (lab[..., 0] + 16)
    hue = np.degrees(np.arctan2(lab[..., 2], lab[..., 1]))
    warm = (hue > 35) & (hue < 80) & (chroma > 10)
    fit = (small.max(axis=2) < 250) & (small.max(axis=2) > 8) & (skin < 0.1) & (chroma < 40) & ~warm
    if fit.sum() < 0.05 * fit.size:
        return None
    light = np.maximum((linear[fit].astype(np.float64) ** 6).mean(axis=0) ** (1 / 6), 1e-4)
    return math.log(light[0] / light[1]), math.log(light[2] / light[1])


def _skin_cost(person: Floats, red: NDArray[np.float64], blue: NDArray[np.float64]) -> NDArray[np.float64]:
    """How unlike skin the person would be after each correction; 0 inside the known range."""
    colours = person * np.exp(np.stack([red, np.zeros_like(red), blue], axis=1))
    colours *= 0.35 / np.maximum(colours @ _LUMA, 1e-6)[:, None]
    lab = to_lab(from_linear(colours.astype(np.float32))[None])[0].astype(np.float64)
    hue = np.degrees(np.arctan2(lab[:, 2], lab[:, 1]))
    chroma = np.hypot(lab[:, 1], lab[:, 2])
    off = np.maximum(SKIN_HUES[0] - hue, 0) + np.maximum(hue - SKIN_HUES[1], 0)
    pale, vivid = np.maximum(SKIN_CHROMA[0] - chroma, 0), np.maximum(chroma - SKIN_CHROMA[1], 0)
    # Grey skin is wrong unless it is nearly white; tanned and flushed skin may be vivid.
    lightness = to_lab(from_linear(person)[None, None])[0, 0, 0]
    pale *= np.clip((92 - lightness) / 10, 0, 1)
    return (off / 4) ** 2 + (pale / 4) ** 2 + (vivid / 8) ** 2


_LUMA = np.array([0.2126, 0.7152, 0.0722])


def _luminance(linear: NDArray[np.floating]) -> float:
    """Relative luminance 0..1 of one colour in linear light (Rec. 709)."""
    return float(np.asarray(linear, np.float64) @ _LUMA)


def _reduced(image: Image, mask: Mask | None, side: int) -> tuple[Image, Mask]:
    """A copy of at most `side` pixels a side for measuring, and the mask along with it."""
    factor = min(1.0, side / max(image.shape[:2]))
    size = (max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor)))
    small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    if mask is None:
        return small, np.zeros(small.shape[:2], np.float32)
    return small, np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_AREA), np.float32)


# --- Exposure --------------------------------------------------------------------------------------------------------

WHITES = (110.0, 180.0, 235.0)
LIGHT = (165.0, 150.0, 105.0)
"""Least 95th percentile of a face's luma, by the 99th percentile (`WHITES`) of the whole picture's, both 0..255. Dark skin
in good light reaches the last by its highlights; a picture without whites was underexposed, whoever is in it. From 150
on `quality` finds nothing wanting."""
MOST_LIGHT = 238.0
"""95th percentile above which a face is taken back a little."""


def expose(image: Image, mask: Mask, strength: float = 1.0) -> Image:
    """Bring too little (or too much) light on a face right; `mask` marks the face, `strength` 0..1.

    The face's 95th percentile is read, its light, not its middle, its skin: nobody is made paler than they are. A face
    that has enough light is left alone. An underexposed picture gets what the camera should have given, as far as its
    own highlights leave room; the rest is a curve that is steep in the shadows. Nothing clips, no hue shifts.
    """
    plain, curved = light_gains(image, mask)
    strength = float(np.clip(strength, 0, 1))
    if strength == 0 or abs(plain * curved - 1) < 0.02:
        return image.copy()
    light = _LINEAR.astype(np.float64)
    raised = _shoulder(light * plain**strength, 0.85, 1.0) if plain > 1 else light
    raised = _encoded(_curve(raised, curved**strength)) * 255
    # One factor for the three channels of a pixel, read off its largest: their proportions, and so the hue, stay.
    factor = cv2.LUT(image.max(axis=2), (raised / np.maximum(np.arange(256), 1)).astype(np.float32))
    out = [cv2.multiply(image[..., each], factor, dtype=cv2.CV_8U) for each in range(3)]
    return np.asarray(cv2.merge(out), np.uint8)


def light_gains(image: Image, mask: Mask) -> tuple[float, float]:
    """What gives a face its light: a plain gain in linear light (at least 1), and the slope at black of `_curve` after it.

    Both are 1 for a face that has its light; together they are 8 at most and 0.7 at least.
    """
    small, face = _reduced(image, mask, 512)
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    if int((face > 0.5).sum()) < 16:
        return 1.0, 1.0
    bright = float(np.percentile(grey[face > 0.5], 95))
    whites = float(np.percentile(grey, 99))
    least = float(np.interp(whites, WHITES, LIGHT))
    goal = float(np.clip(bright, least, MOST_LIGHT))
    now, then = (float(np.interp(each, np.arange(256), _LINEAR)) for each in (max(bright, 4.0), goal))
    # The lightest channel counts: what is a bright red to luma is at its end already.
    room = 0.85 / max(float(np.interp(np.percentile(small.max(axis=2), 99), np.arange(256), _LINEAR)), 1e-3)
    plain = float(np.clip(min(then / now, room), 1, 8))
    now = min(now * plain, 0.99)
    return plain, float(np.clip(then * (1 - now) / (now * (1 - then)), 0.7, 8 / plain))


def _curve(light: NDArray[np.floating], slope: float) -> NDArray[np.floating]:
    """Black stays black, white stays white, and near black light is multiplied by `slope`; monotonous, 0..1."""
    return light * slope / (1 + (slope - 1) * light)


# --- Skin ------------------------------------------------------------------------------------------------------------


def skin_mask(image: Image, face: Face, neck: bool = False) -> Mask:
    """Skin of a face, 0..1, as large as the image: without eyes, brows, lips and hair; with the neck if asked for.

    What is skin is learned from the cheeks of this very face. The edge is soft inwards: outside it is exactly 0.
    """
    mask = np.zeros(image.shape[:2], np.float32)
    rows, columns = _around(face.box, image, 0.9 if neck else 0.3)
    cut = image[rows, columns]
    if min(cut.shape[:2]) > 1:
        small, drawn = _window(cut, face, (columns.start, rows.start))
        mask[rows, columns] = _enlarged(_skin(small, drawn, neck), cut)
    return mask


def retouch_skin(image: Image, face: Face, strength: float) -> Image:
    """Calm blotches, shadows under the eyes and shine, and keep the pores; `strength` 0..1.

    Frequency separation in proportion to the face: the finest band, up to 1.2 % of its width, is kept whole; the band
    up to 5 % is calmed, small waves more than large ones, so features keep their shape. One pixel changes by
    ΔE 6 × strength at most; the median over the skin stays below 3 × strength. Outside `skin_mask` nothing changes.
    """
    strength = float(np.clip(strength, 0, 1))
    rows, columns = _around(face.box, image, 0.3)
    cut = image[rows, columns]
    if strength == 0 or min(cut.shape[:2]) < 8:
        return image.copy()
    small, drawn = _window(cut, face, (columns.start, rows.start))
    mask = _skin(small, drawn, neck=False)
    if int((mask > 0.5).sum()) < 64:
        return image.copy()
    # What changes is coarser than the pores that stay, so it is worked out on a small face and enlarged.
    change = _calm(to_lab(small), mask, drawn) * np.float32(strength)
    size = np.linalg.norm(change, axis=2, keepdims=True)
    # The bound is approached smoothly: a hard one would draw an edge of its own.
    change /= np.sqrt(1 + (size / (RETOUCH_LIMIT * strength)) ** 2)
    out = image.copy()
    out[rows, columns] = blend(cut, from_lab(to_lab(cut) + _enlarged(change, cut)), _enlarged(mask, cut))
    return out


WORKING_WIDTH = 384
"""Face width in pixels at which skin is looked at: pores of 1.2 % are 4.6 pixels there, coarse enough to be told apart."""


def _window(cut: Image, face: Face, corner: tuple[int, int]) -> tuple[Image, "_Drawn"]:
    """A part of a picture whose left and top are `corner`, at working size, and the face drawn into it."""
    factor = min(1.0, WORKING_WIDTH / max(face.box.width, 1.0))
    size = (max(2, round(cut.shape[1] * factor)), max(2, round(cut.shape[0] * factor)))
    small = cut if factor == 1 else np.asarray(cv2.resize(cut, size, interpolation=cv2.INTER_AREA), np.uint8)
    scale = (small.shape[1] / cut.shape[1], small.shape[0] / cut.shape[0])
    matrix = np.array([[scale[0], 0, -corner[0] * scale[0]], [0, scale[1], -corner[1] * scale[1]]], np.float64)
    return small, _Drawn(move_face(face, matrix), small.shape)


def _enlarged(values: Floats, cut: Image) -> Floats:
    """Values at working size, as large as the part of the picture they belong to."""
    if values.shape[:2] == cut.shape[:2]:
        return values
    return np.asarray(cv2.resize(values, cut.shape[1::-1], interpolation=cv2.INTER_LINEAR), np.float32)


class _Drawn:
    """Contours of a face drawn into a window of the image."""

    def __init__(self, face: Face, shape: tuple[int, ...]) -> None:
        self.width = max(face.box.width, 1.0)
        self.shape = (shape[0], shape[1])
        self.box = face.box
        self.five: Points = face.landmarks[:, :2]
        self.mesh: Points | None = None if face.mesh is None else face.mesh[:, :2]

    def fill(self, *outlines: NDArray[np.floating]) -> NDArray[np.uint8]:
        """The hulls of some points, filled: 0 or 1."""
        canvas = np.zeros(self.shape, np.uint8)
        for points in outlines:
            # 4 bits of fraction: at small faces half a pixel counts.
            hull = cv2.convexHull((points * 16).round().astype(np.int32))
            cv2.fillConvexPoly(canvas, hull, 1, cv2.LINE_8, 4)
        return canvas

    def face(self) -> NDArray[np.uint8]:
        """The face as far as the mesh knows it."""
        return self.fill(self._ellipse(1.0) if self.mesh is None else self.mesh[list(OVAL)])

    def forehead(self) -> NDArray[np.uint8]:
        """From the mesh's upper edge to where hair may begin: a sixth of the face higher."""
        if self.mesh is None:
            return np.zeros(self.shape, np.uint8)
        row = self.mesh[list(FOREHEAD_ROW)]
        up = self.mesh[10] - self.mesh[152]
        weight = np.sin(np.linspace(0, math.pi, len(row)))[:, None]
        return self.fill(np.vstack([row, row + up * weight / 6]))

    def neck(self) -> NDArray[np.uint8]:
        """Below the jaw, by half a face."""
        if self.mesh is None:
            return np.zeros(self.shape, np.uint8)
        row = self.mesh[list(JAW_ROW)]
        return self.fill(np.vstack([row, row + (self.mesh[152] - self.mesh[10]) / 2]))

    def features(self) -> NDArray[np.uint8]:
        """Eyes, brows and lips with a margin of 2 % of the face: lashes and the lips' edge are theirs."""
        if self.mesh is None:
            drawn = self.fill(*(self._ellipse(0.2, centre) for centre in (*self.five[:2], self.five[3:].mean(axis=0))))
        else:
            drawn = self.fill(*(self.mesh[list(each)] for each in (*EYES, *BROWS, LIPS)))
        return np.asarray(cv2.dilate(drawn, _disc(max(1.0, self.width * 0.02))), np.uint8)

    def cheeks(self) -> NDArray[np.uint8]:
        """Where skin is most surely skin."""
        if self.mesh is None:
            return self.fill(
                *(
                    self._ellipse(0.15, (eye + mouth) / 2)
                    for eye, mouth in zip(self.five[:2], self.five[3:], strict=True)
                )
            )
        return self.fill(*(self.mesh[list(each)] for each in CHEEKS))

    def under_eyes(self) -> NDArray[np.uint8]:
        """From the lower lids to the cheek bones."""
        if self.mesh is None:
            return np.zeros(self.shape, np.uint8)
        return self.fill(*(self.mesh[list(each)] for each in UNDER_EYES))

    def _ellipse(self, share: float, centre: Points | None = None) -> NDArray[np.float64]:
        angles = np.linspace(0, math.tau, 36, endpoint=False)
        middle = np.array(self.box.centre) if centre is None else centre
        reach = np.array([self.box.width, self.box.height]) * share / 2
        return middle + np.stack([np.cos(angles), np.sin(angles)], axis=1) * reach


def _skin(cut: Image, drawn: _Drawn, neck: bool) -> Mask:
    area = drawn.face() | drawn.forehead()
    if neck:
        area |= drawn.neck()
    features = drawn.features()
    known = drawn.cheeks() & ~features & 1
    known = known if known.sum() >= 16 else area & ~features & 1
    if known.sum() < 4:
        return np.zeros(cut.shape[:2], np.float32)
    lab = to_lab(cut)
    alike = _alike(_blur(lab, drawn.width * 0.01), _texture(lab[..., 0], drawn.width), known > 0)
    skin = area & ~features & (alike > 0.5).astype(np.uint8)
    # Strands and specks are opened away, so that the soft edge begins where hair does.
    opened = cv2.morphologyEx(skin, cv2.MORPH_OPEN, _disc(max(1.0, drawn.width * 0.012)))
    skin = _joined(np.asarray(opened, np.uint8), drawn.face() if not neck else area)
    padded = cv2.copyMakeBorder(skin, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, 3)[1:-1, 1:-1] / max(2.0, drawn.width * 0.035)
    soft = np.clip(depth, 0, 1)
    return np.asarray(soft * soft * (3 - 2 * soft), np.float32)


def _alike(lab: Floats, texture: Floats, known: NDArray[np.bool_]) -> Floats:
    """How much each pixel is like known skin, 0..1: robust distance to its median, with room for shade and shine."""
    sample = lab[known]
    middle = np.median(sample, axis=0)
    # 1.4826 makes the median deviation a standard one; the floors are the spread of evenly lit skin.
    spread = np.maximum(1.4826 * np.median(np.abs(sample - middle), axis=0), (5.0, 2.5, 3.0)).astype(np.float32)
    off = (lab - middle) / spread
    # Light falls off over a face, so lightness may differ twice as far as colour; shine is lighter still, and paler.
    shine = off[..., 0] > 1
    off[..., 0] /= np.where(off[..., 0] > 0, 3, 2)
    off[..., 1:] /= np.where(shine & (off[..., 1] < 1), 2, 1)[..., None]
    # Blond hair has the colour of skin but not its evenness.
    rough = np.maximum(texture / max(float(np.median(texture[known])), 0.7) - 2, 0)
    distance = np.sqrt((off**2).sum(axis=2) + (rough * 2) ** 2)
    return np.asarray(np.clip((5.0 - distance) / 2.0, 0, 1), np.float32)


def _texture(light: Floats, width: float) -> Floats:
    """Mean contrast of fine detail around each pixel, in L."""
    return _blur(np.abs(light - _blur(light, width * 0.015)), width * 0.02)


def _joined(skin: NDArray[np.uint8], area: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Skin without islands: patches of less than 3 % of the area are something else of the same colour."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(skin, connectivity=4)
    large = stats[:, cv2.CC_STAT_AREA] >= 0.03 * area.sum()
    large[0] = False
    return large[labels].astype(np.uint8)


def _calm(lab: Floats, mask: Mask, drawn: _Drawn) -> Floats:
    """The change of L, a, b that calms skin at full strength."""
    inside = (mask > 0).astype(np.float32)
    fine = _blur_inside(lab, inside, drawn.width * 0.012)
    coarse = _blur_inside(lab, inside, drawn.width * 0.05)
    middle = fine - coarse
    change = np.empty_like(lab)
    # Waves of 4 L are blotches, waves of 12 L are the wing of a nose.
    change[..., 0] = -0.6 * middle[..., 0] * np.exp(-((middle[..., 0] / 8) ** 2))
    change[..., 1:] = -0.5 * middle[..., 1:]
    broad = _blur_inside(lab, inside, drawn.width * 0.15)
    under = _blur(drawn.under_eyes().astype(np.float32), drawn.width * 0.02)
    shade = np.maximum(broad - coarse, 0)[..., 0]
    change[..., 0] += 0.4 * under * shade
    skin = lab[mask > 0.5]
    usual = np.median(skin[:, 1:], axis=0)
    # What is lighter than nine tenths of the skin and lighter than its surroundings is shine.
    shine = np.minimum(np.maximum(fine[..., 0] - np.percentile(skin[:, 0], 90), 0), np.maximum(fine - broad, 0)[..., 0])
    change[..., 0] -= 0.4 * shine
    faded = np.clip(shine / 10, 0, 1)[..., None]
    change[..., 1:] += 0.3 * faded * (usual - fine[..., 1:])
    return change


# --- Small tools -----------------------------------------------------------------------------------------------------


def _around(box: Box, image: Image, room: float) -> tuple[slice, slice]:
    """Rows and columns of a box with `room` (a share of its larger side) on all sides, inside the image."""
    height, width = image.shape[:2]
    extra = room * max(box.width, box.height)
    edges = (box.left - extra, box.top - extra, box.right + extra + 1, box.bottom + extra + 1)
    left, right = (int(np.clip(math.floor(each), 0, width)) for each in (edges[0], edges[2]))
    top, bottom = (int(np.clip(math.floor(each), 0, height)) for each in (edges[1], edges[3]))
    return slice(top, bottom), slice(left, right)


def _bounds(mask: Mask) -> tuple[slice, slice]:
    """Rows and columns that a mask touches; empty where it touches none."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return slice(0, 0), slice(0, 0)
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _disc(radius: float) -> NDArray[np.uint8]:
    side = 2 * max(1, round(radius)) + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), np.uint8)


def _blur(values: Floats, sigma: float) -> Floats:
    """Gaussian blur; wide ones are done on a smaller copy, so that the cost does not grow with the width."""
    if sigma < 0.3:
        return values
    shrink = max(1.0, sigma / 4)
    height, width = values.shape[:2]
    size = (max(1, round(width / shrink)), max(1, round(height / shrink)))
    small = values if shrink == 1 else cv2.resize(values, size, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma / shrink, borderType=cv2.BORDER_REPLICATE)
    grown = small if shrink == 1 else cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(grown, np.float32)


def _blur_inside(values: Floats, inside: Floats, sigma: float) -> Floats:
    """Gaussian blur that sees only what is inside, so that eyes and hair do not bleed into skin."""
    weight = np.maximum(_blur(inside, sigma), 1e-3)[..., None]
    return np.asarray(_blur(values * inside[..., None], sigma) / weight, np.float32)
