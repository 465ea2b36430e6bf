"""Painted scenery out of focus: a city at night, the sea at dusk, a library, a brick wall by a window."""

import cv2
import numpy as np

from portrait.studio.lens import LENS, Colour, Floats, as_color, clouds, coordinates, defocus, fill_ellipse

_LAMPS: tuple[Colour, ...] = (
    (1.25, 0.95, 0.55), (1.2, 0.75, 0.35), (0.7, 1.0, 1.15), (1.3, 0.32, 0.2), (0.95, 1.0, 1.05), (0.4, 0.95, 0.7),
)  # fmt: skip
"""Linear colours of lights in a street: bulbs, sodium lamps, screens, tail lights, white lamps, traffic lights."""
_BACKS: tuple[Colour, ...] = (
    (0.20, 0.055, 0.035), (0.055, 0.085, 0.06), (0.05, 0.065, 0.11), (0.22, 0.145, 0.07), (0.30, 0.255, 0.18),
    (0.11, 0.06, 0.035), (0.16, 0.10, 0.06),
)  # fmt: skip
"""Linear colours of old book backs: red, green and blue cloth, leather, vellum."""


def paint_city(shape: tuple[int, int], random: np.random.Generator) -> Floats:
    """A street at night: houses against a blue sky, windows, lamps that have become discs, a wet road."""
    rows, columns = coordinates(shape)
    sky = np.exp(-(((rows - 0.55) / 0.4) ** 2))[..., None] * np.array((0.040, 0.042, 0.068), np.float32)
    scene = (sky + np.array((0.010, 0.014, 0.030), np.float32)).astype(np.float32)
    edge = 0.0
    while edge < 1:
        wide, top = random.uniform(0.08, 0.2), random.uniform(0.06, 0.4)
        tone = random.uniform(0.5, 1.2)
        _block(scene, (edge, top), (edge + wide, 0.78), as_color(np.array((0.013, 0.014, 0.022)) * tone))
        _lit_windows(scene, (edge, top), (edge + wide, 0.7), random)
        edge += wide
    # The street runs towards the middle: lamps are small and many there, large and few at the sides.
    for _ in range(110):
        away = random.beta(1.1, 2.0)
        side = 1 if random.random() < 0.5 else -1
        at = (0.5 + side * (0.06 + 0.62 * away), 0.62 + 0.05 * random.normal() - 0.22 * away * random.uniform(-0.3, 1))
        power = min(random.pareto(1.6) * 6 + 4, 42)
        colour = np.array(_LAMPS[int(random.integers(len(_LAMPS)))]) * power
        fill_ellipse(scene, at, (0.0036, 0.0036), as_color(colour))
        # Reflections on the wet road are longer and weaker.
        fill_ellipse(scene, (at[0], 0.80 + 0.16 * random.random()), (0.003, 0.02), as_color(colour * 0.05))
    haze = 1 + 0.05 * clouds(shape, random)[..., None]
    vignette = 1 - 0.3 * ((columns - 0.5) ** 2 + (rows - 0.5) ** 2)[..., None]
    return defocus((scene * haze * vignette).astype(np.float32), LENS * 1.35)


def paint_seaside(shape: tuple[int, int], random: np.random.Generator) -> Floats:
    """The sea a little before sunset: a sky from blue to peach, thin clouds, glitter under the sun, sand."""
    rows, columns = coordinates(shape)
    horizon, shore = 0.58 + random.uniform(-0.015, 0.015), 0.80
    sun = (0.80, horizon - 0.10)
    high = np.clip(rows / horizon, 0, 1)[..., None] ** 1.4
    blue, peach = np.array((0.27, 0.40, 0.60), np.float32), np.array((0.95, 0.62, 0.42), np.float32)
    near = np.exp(-(((columns - sun[0]) / 0.38) ** 2 + ((rows - sun[1]) / 0.26) ** 2))[..., None]
    scene = (1 - high) * blue + high * peach + near * np.array((0.85, 0.52, 0.22), np.float32)
    streaks = cv2.GaussianBlur(clouds(shape, random), (0, 0), sigmaX=shape[1] * 0.05, sigmaY=shape[0] * 0.006)
    scene = scene * (1 + 0.16 * streaks[..., None])
    fill_ellipse(scene := np.ascontiguousarray(scene, np.float32), sun, (0.035, 0.035), (9.0, 6.6, 4.0))
    depth = np.clip((rows - horizon) / (shore - horizon), 0, 1)[..., None]
    water = np.array((0.26, 0.27, 0.30), np.float32) * (1 - 0.55 * depth) + near * np.array(
        (0.30, 0.18, 0.08), np.float32
    )
    sea = ((rows > horizon) & (rows < shore))[..., None]
    scene = np.where(sea, water, scene)
    wet = np.clip((rows - shore) / 0.05, 0, 1)[..., None]
    sand = (
        np.array((0.34, 0.25, 0.17), np.float32) * (0.75 + 0.35 * wet) * (1 + 0.05 * clouds(shape, random)[..., None])
    )
    scene = np.ascontiguousarray(np.where((rows >= shore)[..., None], sand, scene), np.float32)
    for _ in range(120):
        far = random.beta(1.0, 2.4)
        at = (sun[0] + random.normal() * (0.03 + 0.10 * far), horizon + 0.008 + far * (shore - horizon))
        fill_ellipse(scene, at, (0.004, 0.0016), as_color(np.array((1.3, 0.95, 0.6)) * random.uniform(1, 7)))
    for _ in range(5):
        at = (random.random(), shore + 0.004 + 0.012 * random.random())
        fill_ellipse(scene, at, (0.16, 0.003), (0.75, 0.66, 0.6))
    return defocus(scene, LENS)


def paint_library(shape: tuple[int, int], random: np.random.Generator) -> Floats:
    """Shelves full of books in the light of a lamp, some gaps, some books lying, a few brass lights."""
    rows, columns = coordinates(shape)
    scene = np.full((*shape, 3), (0.016, 0.011, 0.008), np.float32)
    shelf = -0.03
    while shelf < 1:
        tall = random.uniform(0.155, 0.18)
        _row_of_books(scene, shelf, tall, random)
        _block(scene, (0, shelf + tall), (1, shelf + tall + 0.016), (0.085, 0.046, 0.022))
        shelf += tall + 0.016
    for at in (0.02, 0.36, 0.70, 1.02):
        _block(scene, (at - 0.014, 0), (at + 0.014, 1), (0.075, 0.040, 0.019))
    lamp = np.exp(-(((columns - 0.16) / 0.55) ** 2 + ((rows - 0.28) / 0.55) ** 2))[..., None]
    scene = scene * (0.40 + 1.6 * lamp) * np.array((1.12, 1.0, 0.84), np.float32)
    scene = np.ascontiguousarray(scene, np.float32)
    for at in ((0.19, 0.16), (0.86, 0.16)):
        fill_ellipse(scene, (at[0] + random.uniform(-0.03, 0.03), at[1]), (0.009, 0.009), (13.0, 8.5, 4.0))
    return defocus(scene, LENS * 0.8)


def paint_bricks(shape: tuple[int, int], random: np.random.Generator) -> Floats:
    """An old brick wall near behind the person, daylight falling across it from the left."""
    rows, columns = coordinates(shape)
    scene = np.full((*shape, 3), (0.30, 0.265, 0.235), np.float32)
    tall, aspect = 0.050, shape[0] / shape[1]
    wide = tall * 2.9 * aspect
    for row in range(int(1 / tall) + 1):
        start = -wide * (0.5 if row % 2 else 0.0)
        for column in range(int(1 / wide) + 2):
            left, top = start + column * wide, row * tall
            burnt = random.normal()
            colour = np.array((0.245, 0.105, 0.066)) * np.exp(0.20 * random.normal()) + 0.018 * burnt * np.array(
                (1, 1, 1.1)
            )
            corners = (left + 0.006 * aspect, top + 0.005), (left + wide - 0.006 * aspect, top + tall - 0.005)
            _block(scene, *corners, as_color(np.maximum(colour, 0.02)))
    patches = 1 + 0.10 * clouds(shape, random)
    light = 0.30 + 0.8 * np.exp(-((columns / 0.62) ** 1.6)) * (0.85 + 0.3 * np.exp(-(((rows - 0.35) / 0.5) ** 2)))
    return defocus((scene * (patches * light)[..., None]).astype(np.float32), LENS * 0.55)


def _row_of_books(scene: Floats, top: float, tall: float, random: np.random.Generator) -> None:
    """Books side by side on one shelf, each of its own height; here and there one is missing."""
    at = -0.01
    while at < 1:
        thick = random.uniform(0.014, 0.042)
        if random.random() < 0.93:
            head = top + tall * random.uniform(0.08, 0.34)
            tone = np.array(_BACKS[int(random.integers(len(_BACKS)))]) * np.exp(0.35 * random.normal())
            _block(scene, (at, head), (at + thick, top + tall), as_color(tone))
            # A gilded line, or a label.
            if random.random() < 0.45:
                line = head + (top + tall - head) * random.uniform(0.15, 0.3)
                _block(scene, (at, line), (at + thick, line + 0.010), as_color(tone * 2.2 + 0.05))
        at += thick + 0.0025


def _lit_windows(
    scene: Floats, start: tuple[float, float], end: tuple[float, float], random: np.random.Generator
) -> None:
    """Some of a house's windows."""
    for y in np.arange(start[1] + 0.02, end[1], 0.030):
        for x in np.arange(start[0] + 0.012, end[0] - 0.02, 0.026):
            if random.random() < 0.24:
                colour = np.array((1.0, 0.78, 0.46) if random.random() < 0.75 else (0.62, 0.85, 1.0))
                _block(
                    scene,
                    (float(x), float(y)),
                    (float(x) + 0.012, float(y) + 0.014),
                    as_color(colour * random.uniform(0.2, 1.4)),
                )


def _block(scene: Floats, start: tuple[float, float], end: tuple[float, float], colour: Colour) -> None:
    """Fill a rectangle; corners as shares of width and height."""
    height, width = scene.shape[:2]
    corners = np.array([(start[0], start[1]), (end[0], start[1]), (end[0], end[1]), (start[0], end[1])])
    points = np.round(corners * (width, height) * 16).astype(np.int32)
    cv2.fillPoly(scene, [points], colour, cv2.LINE_AA, 4)
