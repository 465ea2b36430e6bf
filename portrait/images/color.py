"""Colour: conversions, tone matching in CIELAB, white balance, exposure.

Every correction is bounded and limited by a mask; where the mask is zero a pixel stays as it was, to the bit. The cost
follows the number of masked pixels.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from portrait.arrays import Image, Mask
from portrait.images.filters import for_channels, to_levels
from portrait.images.resize import shrink_to_side, strips

Floats = NDArray[np.float32]

GREY = 2.0
"""Chroma below which a pixel counts as grey: a just noticeable difference is about 2.3 (Mahy 1994)."""
# --- Colour spaces ---------------------------------------------------------------------------------------------------


def to_lab(image: Image) -> Floats:
    """CIELAB (D65) of an image, H×W×3: L 0..100, a and b about ±128."""
    return np.asarray(cv2.cvtColor(image.astype(np.float32) / np.float32(255), cv2.COLOR_RGB2LAB), np.float32)


def from_lab(lab: NDArray[np.floating]) -> Image:
    """An image from CIELAB; colours outside sRGB are clipped."""
    rgb = cv2.cvtColor(np.ascontiguousarray(lab, np.float32), cv2.COLOR_LAB2RGB)
    return np.asarray(np.clip(rgb * 255 + 0.5, 0, 255), np.uint8)


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
    """Alpha blending: `changed` where the mask is 1, `image` where it is 0 (to the bit)."""
    share = for_channels(mask, image.shape[2])
    mixed = changed.astype(np.float32)
    mixed -= image
    mixed *= share
    mixed += image
    return to_levels(mixed)


# --- Tone of one picture in another ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Tone:
    """Robust centre and spread of L, a, b in a masked region, and whether it has any colour."""

    middle: Floats
    spread: Floats
    coloured: bool


def match_tone(
    image: Image,
    source_mask: Mask,
    target: Image,
    target_mask: Mask,
    strength: float = 1.0,
    where: Mask | None = None,
) -> Image:
    """Give the masked part of `image` the tone of the masked part of `target`; the two may differ in size.

    Centre and spread of L, a and b are matched, measured without the darkest and lightest tenth so that highlights and
    hair do not count. Limits keep skin from going grey or shiny: spread changes by a quarter at most, hue by 15°, chroma by
    a third, L by 30. A target without any colour is a black-and-white picture, and the result becomes one too.
    `strength` 0..1. `where` masks what changes, if that is another part than the measured one.
    """
    rows, columns = _bounds(source_mask)
    target_rows, target_columns = _bounds(target_mask)
    there = _tone(target[target_rows, target_columns], target_mask[target_rows, target_columns])
    here = _tone(image[rows, columns], source_mask[rows, columns])
    out = image.copy()
    if here is None or there is None:
        return out
    changing = source_mask if where is None else where
    rows, columns = _bounds(changing)
    cut, mask = image[rows, columns], changing[rows, columns]
    if not cut.size:
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
    """The tone of a region; None when it has fewer than 16 pixels."""
    if not image.size:
        return None
    lab = to_lab(image)[mask > 0.5]
    if len(lab) < 16:
        return None
    low, high = np.percentile(lab[:, 0], (10, 90))
    pixels = lab[(lab[:, 0] >= low) & (lab[:, 0] <= high)]
    coloured = float(np.percentile(np.hypot(pixels[:, 1], pixels[:, 2]), 95)) >= GREY
    return _Tone(np.median(pixels, axis=0), pixels.std(axis=0), coloured)


def _bounded_tone(here: _Tone, there: _Tone) -> Floats:
    """Target for the centre of a region: the other tone, within limits that keep skin looking like skin."""
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
    """Soft clipping: linear up to `knee`, then approaching `top` without reaching it."""
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
    """Remove a colour cast; `mask` marks skin, 0..1, `strength` 0..1.

    Three estimates are weighed: cameras are mostly right already; the light as shades of grey see it (Finlayson &
    Trezzi 2004, p = 6) in what is not skin; and skin, whose hue is nearly the same in all people. Only what all of them
    cannot explain is a cast, so warm skin in a warm room stays warm. Gains act in linear light and keep the skin's
    luminance.
    """
    gains = cast_gains(image, mask)
    return image.copy() if gains is None else _apply_gains(image, gains, strength)


def balance_by_skin(image: Image, mask: Mask) -> Image:
    """Remove a colour cast as far as the skin shows it; `mask` marks skin, 0..1.

    A coloured wall is no coloured light: where skin has the hue and chroma of skin in white light, nothing is done, and
    where it has not, no more than brings it there. Without skin it is `white_balance`.
    """
    gains = cast_gains(image, mask)
    if gains is None:
        return image.copy()
    small, skin = _shrink(image, mask, 256)
    person, _ = _person(small, to_linear(small), skin)
    if person is None or float(person.min()) <= 0.002:
        return _apply_gains(image, gains, 1.0)
    red, blue = (math.log(gains[each] / gains[1]) for each in (0, 2))
    shares = np.linspace(0, 1, 21)
    cost = _skin_cost(person, shares * red, shares * blue)
    return _apply_gains(image, gains, float(shares[np.argmax(cost <= cost.min() + 0.05)]))


def _apply_gains(image: Image, gains: Floats, strength: float) -> Image:
    """Multiply the channels in linear light by `gains`, raised to `strength`; what is white stays white."""
    if strength <= 0:
        return image.copy()
    gains = gains ** np.float32(min(strength, 1.0))
    table = from_linear(_LINEAR[:, None] * gains)
    out = np.empty_like(image)
    for rows in strips(len(image)):
        part, balanced = image[rows], out[rows]
        for each in range(3):
            balanced[..., each] = cv2.LUT(np.ascontiguousarray(part[..., each]), table[:, each])
        # Where all channels are near their end the light's colour is lost and white is white.
        low = part.min(axis=2)
        white = low > 235
        share = ((low[white].astype(np.float32) - 235) / 20)[:, None]
        balanced[white] = np.asarray(balanced[white] * (1 - share) + part[white] * share + 0.5, np.uint8)
    return out


def cast_gains(image: Image, mask: Mask | None = None) -> Floats | None:
    """Gains of red, green and blue in linear light that remove the cast; None when there is none, or no colour."""
    small, skin = _shrink(image, mask, 256)
    chroma = np.hypot(*np.moveaxis(to_lab(small)[..., 1:], 2, 0))
    if float(np.percentile(chroma, 98)) < GREY:
        return None
    linear = to_linear(small)
    person, trust = _person(small, linear, skin)
    if trust <= 0:
        return None
    steps = np.linspace(-CAST_LIMIT, CAST_LIMIT, 41)
    red, blue = (grid.ravel() for grid in np.meshgrid(steps, steps))
    # The weights come from a sweep over eight photos and eight casts: with them a third to two thirds of a cast go and a
    # photo without one is left alone. The scene's estimate may err by 0.1 before it counts (the astronaut's own
    # reads 0.09); where skin is the only witness, less is believed.
    light = _illuminant(small, linear, skin, person)
    wide = 0.2 if light is None else 0.3
    # Lamps differ from warm to cool along black-body light; a magenta or green one is rare, a red or blue wall is not.
    cost = (red - blue) ** 2 / 2 / wide**2 + (red + blue) ** 2 / 2 / (0.7 * wide) ** 2
    if light is not None:
        cost += (np.maximum(np.hypot(red + light[0], blue + light[1]) - 0.1, 0) / 0.1) ** 2
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


def _illuminant(small: Image, linear: Floats, skin: Mask, person: Floats | None) -> tuple[float, float] | None:
    """Colour of the light by shades of grey: logarithms of red and blue over green; None where too little is fit for it.

    Vivid things have a colour of their own; ears, hands and wood would pass their warmth off as the light's.
    """
    lab = to_lab(small)
    # Chroma as it would be at L 66: it grows with the cube root of light, as L + 16 does.
    chroma = np.hypot(lab[..., 1], lab[..., 2]) * 82 / (lab[..., 0] + 16)
    hue = np.degrees(np.arctan2(lab[..., 2], lab[..., 1]))
    warm = (hue > 35) & (hue < 80) & (chroma > 14)
    fit = (small.max(axis=2) < 250) & (small.max(axis=2) > 8) & (skin < 0.1) & (chroma < 40) & ~warm
    if person is not None:
        logs = np.log(np.maximum(linear, 1e-4)) - np.log(np.maximum(person, 1e-4))
        fit &= np.hypot(logs[..., 0] - logs[..., 1], logs[..., 2] - logs[..., 1]) > 0.25
    if fit.sum() < 0.05 * fit.size:
        return None
    light = np.maximum((linear[fit].astype(np.float64) ** 6).mean(axis=0) ** (1 / 6), 1e-4)
    return math.log(light[0] / light[1]), math.log(light[2] / light[1])


def _skin_cost(person: Floats, red: NDArray[np.float64], blue: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cost of each correction by how unlike skin the person's colour becomes; 0 inside the known range."""
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


def _shrink(image: Image, mask: Mask | None, side: int) -> tuple[Image, Mask]:
    """A copy of at most `side` pixels a side for measuring, and its mask; an empty one where there is none."""
    small = shrink_to_side(image, side)
    return small, np.zeros(small.shape[:2], np.float32) if mask is None else shrink_to_side(mask, side)


# --- Exposure --------------------------------------------------------------------------------------------------------

WHITES = (110.0, 180.0, 235.0)
LIGHT = (165.0, 150.0, 105.0)
"""Least 95th percentile of a face's luma, by the 99th percentile (`WHITES`) of the whole picture's, both 0..255. Dark skin
in good light reaches the last by its highlights; a picture without whites was underexposed, whoever is in it. From 150
on `quality` finds nothing wanting."""
MOST_LIGHT = 238.0
"""95th percentile above which a face is darkened a little."""


def expose(image: Image, mask: Mask, strength: float = 1.0, out: Image | None = None) -> Image:
    """Correct the exposure of a picture by the light on a face; `mask` marks the face, `strength` 0..1.

    The result is written to `out`, which may be the picture, or to a picture of its own.

    The face's 95th percentile is measured, which shows its light, not the median, which shows its skin: nobody becomes
    paler than they are. A face
    that has enough light is left alone. An underexposed picture gets what the camera should have given, as far as its
    own highlights leave room; the rest is a curve that is steep in the shadows. Nothing clips, no hue shifts.
    """
    plain, curved = light_gains(image, mask)
    strength = float(np.clip(strength, 0, 1))
    out = image.copy() if out is None else out
    if strength == 0 or abs(plain * curved - 1) < 0.02:
        out[:] = image
        return out
    light = _LINEAR.astype(np.float64)
    raised = _shoulder(light * plain**strength, 0.85, 1.0) if plain > 1 else light
    raised = _encoded(_curve(raised, curved**strength)) * 255
    # One factor for the three channels of a pixel, read off its largest: their proportions, and so the hue, stay.
    factors = (raised / np.maximum(np.arange(256), 1)).astype(np.float32)
    for rows in strips(len(image)):
        factor = cv2.LUT(image[rows].max(axis=2), factors)
        for each in range(3):
            out[rows, :, each] = cv2.multiply(image[rows, :, each], factor, dtype=cv2.CV_8U)
    return out


def light_gains(image: Image, mask: Mask) -> tuple[float, float]:
    """The exposure correction of a face: a gain in linear light (at least 1), then the slope at black of `_curve`.

    Both are 1 for a well exposed face; together they are 8 at most and 0.7 at least.
    """
    small, face = _shrink(image, mask, 512)
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


def _bounds(mask: Mask) -> tuple[slice, slice]:
    """Rows and columns that a mask touches; empty where it touches none."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return slice(0, 0), slice(0, 0)
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
