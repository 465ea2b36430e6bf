"""Makes the cards of styles that a model draws of words: `python -m tests.templates.cards [STYLE …]`.

What such a style looks like depends on the base model, and none is shipped. So each card is a plain drawing of its mood,
a figure before a few colours, that nobody takes for a portrait.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from templates.catalog import BUILTIN, Catalog
from tests.templates.previews import WIDTH, encoded

Canvas = NDArray[np.floating]
"""H×W×3, RGB, 0..255."""
Colour = tuple[int, int, int]
SIZE = (WIDTH, WIDTH * 5 // 4)
FINE = 2
"""Drawn so many times larger, so that edges are smooth."""


@dataclass(frozen=True)
class Card:
    """The colours of one card, and what stands behind the figure."""

    above: Colour
    below: Colour
    figure: Colour
    light: Colour
    """On the figure's lit side."""
    motif: Callable[[Canvas], Canvas]
    side: float = -1.0
    """Where the light comes from: -1 the left, 1 the right."""


def main() -> None:
    """Draw the named cards, or all."""
    wanted = set(sys.argv[1:]) or set(CARDS)
    for entry in Catalog((BUILTIN,)).entries():
        if entry.style.id in wanted & set(CARDS):
            (entry.folder / "preview.jpg").write_bytes(encoded(drawn(CARDS[entry.style.id])))


def drawn(card: Card) -> NDArray[np.uint8]:
    """One card, H×W×3, RGB."""
    width, height = SIZE[0] * FINE, SIZE[1] * FINE
    down = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    canvas = _tone(card.above) * (1 - down) + _tone(card.below) * down
    canvas = card.motif(np.repeat(canvas, width, axis=1).astype(np.float32))
    shape = figure(width, height)
    across = np.linspace(-1, 1, width, dtype=np.float32)[None, :, None] * card.side
    lit = np.clip((across + 0.15) / 0.5, 0, 1) * 0.75
    body = _tone(card.figure) * (1 - lit) + _tone(card.light) * lit
    canvas = canvas * (1 - shape) + body * shape
    small = cv2.resize(canvas, SIZE, interpolation=cv2.INTER_AREA)
    return np.clip(small, 0, 255).astype(np.uint8)


def figure(width: int, height: int) -> Canvas:
    """Head and shoulders, H×W×1, 0..1."""
    mask = np.zeros((height, width), np.uint8)
    x, head = width // 2, int(0.17 * width)
    cv2.ellipse(mask, (x, int(0.41 * height)), (head, int(1.28 * head)), 0, 0, 360, 255, -1)
    cv2.rectangle(mask, (x - head // 2, int(0.45 * height)), (x + head // 2, int(0.66 * height)), 255, -1)
    cv2.ellipse(mask, (x, int(1.02 * height)), (int(0.41 * width), int(0.375 * height)), 0, 180, 360, 255, -1)
    soft = cv2.GaussianBlur(mask, (0, 0), 0.012 * width)
    return (np.clip((soft.astype(np.float32) - 96) / 64, 0, 1))[..., None]


def discs(canvas: Canvas, colours: Sequence[Colour], count: int, sizes: tuple[float, float], share: float) -> Canvas:
    """Soft round spots, as lights out of focus; `sizes` and `share` are shares of the width and of the colour."""
    random = np.random.default_rng(5)
    height, width = canvas.shape[:2]
    for number in range(count):
        centre = (int(random.uniform(0, width)), int(random.uniform(0, 0.9 * height)))
        spot = np.zeros((height, width), np.float32)
        cv2.circle(spot, centre, int(random.uniform(*sizes) * width), 1.0, -1)
        canvas = _over(canvas, cv2.GaussianBlur(spot, (0, 0), 0.006 * width) * share, colours[number % len(colours)])
    return canvas


def planes(canvas: Canvas, shapes: Sequence[tuple[Colour, Sequence[tuple[float, float]]]], soft: float = 0.0) -> Canvas:
    """Filled shapes from the back to the front; corners are shares of width and height, `soft` of the width."""
    height, width = canvas.shape[:2]
    for colour, corners in shapes:
        plane = np.zeros((height, width), np.float32)
        cv2.fillPoly(plane, [np.array([(x * width, y * height) for x, y in corners], np.int32)], 1.0)
        edges = np.asarray(cv2.GaussianBlur(plane, (0, 0), soft * width), np.float32) if soft else plane
        canvas = _over(canvas, edges, colour)
    return canvas


def strokes(canvas: Canvas, colours: Sequence[Colour], count: int, length: float, share: float) -> Canvas:
    """Short broad strokes of a brush."""
    random = np.random.default_rng(8)
    height, width = canvas.shape[:2]
    for number in range(count):
        x, y, turn = random.uniform(-0.1, 1) * width, random.uniform(0, height), random.normal(-0.7, 0.25)
        end = (int(x + np.cos(turn) * length * width), int(y + np.sin(turn) * length * width))
        mark = np.zeros((height, width), np.float32)
        cv2.line(mark, (int(x), int(y)), end, 1.0, int(0.045 * width), cv2.LINE_AA)
        mark = cv2.GaussianBlur(mark, (0, 0), 0.004 * width)
        canvas = _over(canvas, mark * share, colours[number % len(colours)])
    return canvas


def _mountain(canvas: Canvas) -> Canvas:
    canvas = discs(canvas, [(255, 233, 190)], 1, (0.1, 0.1), 0.9)
    far = [(0, 0.55), (0.22, 0.36), (0.45, 0.52), (0.72, 0.28), (1, 0.5), (1, 1), (0, 1)]
    near = [(0, 0.68), (0.3, 0.54), (0.62, 0.7), (0.85, 0.56), (1, 0.64), (1, 1), (0, 1)]
    return planes(canvas, [((150, 178, 196), far), ((104, 140, 156), near)])


def _film(canvas: Canvas) -> Canvas:
    left, right = (
        [(0.08, 0.1), (0.3, 0.1), (0.3, 0.46), (0.08, 0.46)],
        [(0.34, 0.1), (0.56, 0.1), (0.56, 0.46), (0.34, 0.46)],
    )
    fall = [(0.56, 0.6), (1, 0.42), (1, 0.72), (0.7, 0.86)]
    canvas = planes(canvas, [((240, 190, 128), fall)], 0.02)
    return planes(canvas, [((255, 236, 196), left), ((255, 236, 196), right)])


def _noir(canvas: Canvas) -> Canvas:
    return planes(canvas, [((92, 92, 92), [(0, 0.02), (0.62, 0.3), (0.3, 1), (0, 1)])], 0.06)


def _water(canvas: Canvas) -> Canvas:
    canvas = discs(canvas, [(178, 208, 226), (238, 198, 200), (214, 222, 178)], 9, (0.12, 0.26), 0.4)
    return discs(canvas, [(120, 164, 196)], 3, (0.03, 0.05), 0.25)


def _tone(colour: Colour) -> Canvas:
    return np.array(colour, np.float32)


def _over(canvas: Canvas, share: Canvas, colour: Colour) -> Canvas:
    return canvas * (1 - share[..., None]) + _tone(colour) * share[..., None]


PINKS: Sequence[Colour] = [(244, 190, 204), (250, 222, 228), (236, 160, 184), (206, 226, 170)]
NEON: Sequence[Colour] = [(255, 84, 150), (70, 196, 255), (255, 176, 72), (150, 96, 255)]
EARTH: Sequence[Colour] = [(74, 50, 30), (96, 66, 36), (58, 40, 28), (120, 84, 44)]
CARDS: Mapping[str, Card] = {
    "text-business": Card((196, 200, 204), (150, 155, 160), (44, 52, 66), (104, 114, 130), lambda canvas: canvas),
    "text-city": Card(
        (16, 20, 44), (44, 30, 66), (18, 18, 34), (120, 80, 160), lambda canvas: discs(canvas, NEON, 22, (0.02, 0.07), 0.75)
    ),
    "text-film": Card((176, 122, 84), (112, 76, 56), (70, 46, 38), (214, 158, 110), _film),
    "text-garden": Card(
        (206, 226, 188), (120, 164, 104), (74, 104, 78), (196, 214, 160),
        lambda canvas: discs(canvas, PINKS, 34, (0.02, 0.06), 0.8), 1.0,
    ),
    "text-mountain": Card((240, 216, 178), (170, 194, 206), (52, 78, 92), (232, 164, 96), _mountain, 1.0),
    "text-noir": Card((34, 34, 34), (12, 12, 12), (8, 8, 8), (250, 250, 250), _noir),
    "text-oil": Card(
        (56, 38, 26), (30, 20, 14), (38, 24, 16), (206, 150, 78), lambda canvas: strokes(canvas, EARTH, 150, 0.2, 0.35)
    ),
    "text-watercolour": Card((252, 250, 244), (246, 242, 232), (122, 150, 178), (216, 178, 186), _water, 1.0),
}  # fmt: skip


if __name__ == "__main__":
    main()
