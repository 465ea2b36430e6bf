"""Backdrops painted by code: studio paper, a room and a park out of focus, and the places of `scenery`.

All are drawn in linear light at a fraction of the size, where adding lamps and defocus behave as in a camera, then encoded,
enlarged and given grain, without which smooth paper shows bands. The same name, size and seed give the same picture.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np

from portrait.arrays import Image, Size, random_generator
from portrait.images.resize import enlarged_strips
from portrait.studio import scenery
from portrait.studio.lens import (
    KNEE,
    LENS,
    Colour,
    Floats,
    add_grain,
    as_color,
    clouds,
    coordinates,
    defocus,
    encode,
    fill_ellipse,
)

SIDE = 448
"""Longer side in pixels at which a backdrop is painted: everything in it is blurrier than its pixels."""
NEAR = 0.3
"""Depth at which the room's walls begin: beside the edge of a picture three times as wide as high."""


@dataclass(frozen=True, slots=True)
class Light:
    """Direction and colour of a backdrop's light, so that the person can be lit alike."""

    side: float
    """-1 from the left of the picture … 1 from the right."""
    colour: Colour
    """Linear red, green, blue, of luminance about 1."""


@dataclass(frozen=True, slots=True, eq=False)
class BackdropPicture:
    """A picture that is a backdrop; see `portrait.studio.picture_backdrop`."""

    image: Image
    blur: float = 0.0
    """How far out of focus it is: 0 as it is, 0.5 as the painted places are, 1 twice as far."""


LIGHTS = {
    "studio-grey": Light(-0.5, (1.0, 1.0, 1.0)),
    "studio-warm": Light(-0.5, (1.05, 1.0, 0.92)),
    "studio-cool": Light(-0.5, (0.97, 1.0, 1.05)),
    "studio-black": Light(-0.6, (1.0, 1.0, 1.0)),
    "studio-white": Light(-0.2, (1.0, 1.0, 1.0)),
    "studio-gradient": Light(-0.5, (0.98, 1.0, 1.03)),
    "studio-office": Light(-0.9, (1.0, 1.0, 1.0)),
    "studio-outdoors": Light(0.7, (1.04, 1.0, 0.93)),
    "studio-blue": Light(-0.5, (0.97, 1.0, 1.05)),
    "studio-rose": Light(-0.4, (1.04, 1.0, 0.98)),
    "studio-sage": Light(-0.5, (1.0, 1.0, 0.98)),
    "studio-canvas": Light(-0.6, (1.04, 1.0, 0.94)),
    "studio-city": Light(0.3, (1.02, 1.0, 0.98)),
    "studio-seaside": Light(0.8, (1.07, 1.0, 0.90)),
    "studio-library": Light(-0.7, (1.05, 1.0, 0.92)),
    "studio-bricks": Light(-0.9, (1.02, 1.0, 0.97)),
}
"""By the name of the backdrop; new ones come last, because a name's place is part of its seed."""
NAMES = tuple(LIGHTS)
"""Names of all backdrops."""
PLACES = frozenset(f"studio-{name}" for name in ("office", "outdoors", "city", "seaside", "library", "bricks"))
"""Those that show a place; the others are paper, canvas or a plain ground."""
_COLOUR = re.compile(r"#[0-9a-f]{6}")
_COLOUR_LIGHT = Light(-0.4, (1.0, 1.0, 1.0))
_COLOUR_PAPER = (0.25, 0.1, 0.02)
"""Spot, fall and mottle of paper in a colour of one's own: little, since the colour is what was asked for."""


def exists(name: str) -> bool:
    """Whether there is such a backdrop: one of `NAMES`, or a colour as #rrggbb."""
    return name in LIGHTS or _COLOUR.fullmatch(name) is not None


def light_of(name: str) -> Light:
    """The light of a backdrop; raises `KeyError` where there is none of that name."""
    return _COLOUR_LIGHT if _COLOUR.fullmatch(name) else LIGHTS[name]


def paint(name: str, size: Size, seed: int) -> Image:
    """The backdrop `name` at `size`, paper where it is a colour; raises `KeyError` for a name that does not exist."""
    if not exists(name):
        raise KeyError(name)
    random = random_generator([seed, *_seed(name)])
    shrink = min(1.0, SIDE / max(size.width, size.height))
    shape = max(8, round(size.height * shrink)), max(8, round(size.width * shrink))
    painter = _PAINTERS[name] if name in LIGHTS else partial(_paint_paper, _Paper(_linear(name), *_COLOUR_PAPER))
    levels = encode(painter(shape, random))
    return add_grain(enlarged_strips(levels, (size.height, size.width), cv2.INTER_CUBIC), size, random)


@dataclass(frozen=True, slots=True)
class _Paper:
    """One roll of studio paper: its colour and how it is lit."""

    colour: Colour
    """Linear, where the light is strongest."""
    spot: float
    """Share of the light that is a soft spot behind the person; the rest is even."""
    fall: float
    """How much darker the bottom is than the top, 0..1; negative where the bottom is lighter."""
    mottle: float
    """Contrast of the hand-painted cloudiness."""


_PAPERS = {
    "studio-grey": _Paper((0.34, 0.345, 0.355), 0.62, 0.18, 0.05),
    "studio-warm": _Paper((0.47, 0.355, 0.255), 0.66, 0.22, 0.09),
    "studio-cool": _Paper((0.25, 0.335, 0.43), 0.64, 0.2, 0.07),
    "studio-black": _Paper((0.030, 0.030, 0.033), 0.8, 0.3, 0.1),
    "studio-white": _Paper((0.93, 0.93, 0.935), 0.1, 0.06, 0.006),
    "studio-gradient": _Paper((0.40, 0.46, 0.54), 0.25, -0.86, 0.02),
    "studio-blue": _Paper((0.060, 0.105, 0.215), 0.78, 0.25, 0.10),
    "studio-rose": _Paper((0.55, 0.375, 0.345), 0.5, 0.15, 0.05),
    "studio-sage": _Paper((0.285, 0.325, 0.235), 0.6, 0.2, 0.06),
    "studio-canvas": _Paper((0.165, 0.128, 0.088), 0.78, 0.25, 0.17),
}


def _seed(name: str) -> tuple[int, ...]:
    """What of a backdrop's name goes into the seed."""
    return (NAMES.index(name),) if name in LIGHTS else (len(NAMES), int(name.removeprefix("#"), 16))


def _linear(colour: str) -> Colour:
    """Linear light that `encode` gives the levels of #rrggbb; white as far as lamps come to it."""
    levels = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    linear = np.power(levels, 2.2)
    over = np.clip((linear - KNEE) / (1 - KNEE), 0, 0.99)
    return as_color(np.where(linear > KNEE, KNEE - (1 - KNEE) * np.log1p(-over), linear))


def _paint_paper(paper: _Paper, shape: tuple[int, int], random: np.random.Generator) -> Floats:
    rows, columns = coordinates(shape)
    at = (0.5 + random.uniform(-0.04, 0.04), 0.44 + random.uniform(-0.03, 0.03))
    away = ((columns - at[0]) / 0.62) ** 2 + ((rows - at[1]) / 0.58) ** 2
    # A lamp's pool on a wall falls off like a Gaussian in the middle and slower outside.
    pool = 0.7 * np.exp(-1.6 * away) + 0.3 / (1 + 1.5 * away)
    slope = 1 - paper.fall * rows if paper.fall >= 0 else 1 + paper.fall * (1 - rows) ** 1.3
    corner = 1 - 0.16 * ((columns - 0.5) ** 2 + (rows - 0.5) ** 2) / 0.5
    cloud = 1 + paper.mottle * clouds(shape, random)
    light = (1 - paper.spot + paper.spot * pool) * slope * corner * cloud
    return (light[..., None] * np.array(paper.colour, np.float32)).astype(np.float32)


def _paint_office(shape: tuple[int, int], random: np.random.Generator) -> Floats:
    """A long bright room in perspective: windows on the left, lamps above, shelves on the right, desks at the back."""
    room = _Room(np.zeros((*shape, 3), np.float32), (0.60 + random.uniform(-0.03, 0.03), 0.43))
    left, right, ceiling, floor, back = -0.8, 0.75, -0.62, 0.72, 4.2
    room.fill(
        [(left, ceiling, NEAR), (left, ceiling, back), (left, floor, back), (left, floor, NEAR)], (0.21, 0.20, 0.185)
    )
    room.fill(
        [(right, ceiling, NEAR), (right, ceiling, back), (right, floor, back), (right, floor, NEAR)],
        (0.30, 0.265, 0.225),
    )
    room.fill(
        [(left, ceiling, NEAR), (right, ceiling, NEAR), (right, ceiling, back), (left, ceiling, back)],
        (0.33, 0.32, 0.30),
    )
    room.fill(
        [(left, floor, NEAR), (right, floor, NEAR), (right, floor, back), (left, floor, back)], (0.15, 0.125, 0.10)
    )
    room.fill(
        [(left, ceiling, back), (right, ceiling, back), (right, floor, back), (left, floor, back)], (0.27, 0.25, 0.22)
    )
    _windows(room, left, random)
    _lamps(room, ceiling, random)
    _shelves(room, right, random)
    _desks(room, floor, back, random)
    columns = coordinates(shape)[1]
    # Daylight from the windows lies over everything and fades across the room.
    daylight = 0.75 + 0.6 * np.exp(-2.5 * columns)[..., None] * np.array((0.92, 1.0, 1.08), np.float32)
    return defocus((room.canvas * daylight).astype(np.float32), LENS * 1.15)


@dataclass(frozen=True, slots=True)
class _Room:
    """A perspective picture of a room, from an eye height of 0: x to the right, y down, z away from the camera."""

    canvas: Floats
    vanishing: tuple[float, float]
    """The vanishing point (z = ∞), as shares of width and height."""

    def fill(self, corners: list[tuple[float, float, float]], colour: Colour) -> None:
        """A flat polygon."""
        points = np.array([self.project(corner) for corner in corners])
        cv2.fillPoly(self.canvas, [np.round(points * 16).astype(np.int32)], colour, cv2.LINE_AA, 4)

    def project(self, point: tuple[float, float, float]) -> tuple[float, float]:
        """Projection of a point, in pixels."""
        height, width = self.canvas.shape[:2]
        x, y, z = point
        return self.vanishing[0] * width + x / z * height, self.vanishing[1] * height + y / z * height


def _windows(room: _Room, wall: float, random: np.random.Generator) -> None:
    """Tall panes with sky, hazy houses and trees; frames between them."""
    top, sill = -0.55, 0.36
    for near in (0.38, 1.0, 1.62, 2.24, 2.86, 3.48):
        far = near + 0.52
        skyline = random.uniform(-0.12, 0.06)
        for start, end, colour in (
            (top, skyline, (1.25, 1.45, 1.7)), (skyline, 0.2, (0.62, 0.70, 0.78)), (0.2, sill, (0.26, 0.36, 0.20)),
        ):  # fmt: skip
            tone = random.uniform(0.85, 1.15)
            lit = (colour[0] * tone, colour[1] * tone, colour[2] * tone)
            room.fill([(wall, start, near), (wall, start, far), (wall, end, far), (wall, end, near)], lit)
        house, edge = random.uniform(near, far - 0.2), random.uniform(-0.35, -0.05)
        room.fill(
            [(wall, edge, house), (wall, edge, house + 0.2), (wall, 0.2, house + 0.2), (wall, 0.2, house)],
            (0.48, 0.5, 0.55),
        )
        room.fill([(wall, -0.2, near), (wall, -0.2, far), (wall, -0.17, far), (wall, -0.17, near)], (0.12, 0.12, 0.125))


def _lamps(room: _Room, ceiling: float, random: np.random.Generator) -> None:
    """Rows of light panels in the ceiling, and warm bulbs that hang further back."""
    for across in (-0.28, 0.30):
        for near in (1.35, 1.95, 2.6, 3.3):
            far = near + 0.34
            corners = [(across - 0.09, ceiling, near), (across + 0.09, ceiling, near)]
            room.fill([*corners, (across + 0.09, ceiling, far), (across - 0.09, ceiling, far)], (2.4, 2.3, 2.1))
    height = room.canvas.shape[0]
    for _ in range(7):
        x, y = room.project((random.uniform(-0.1, 0.7), random.uniform(-0.42, -0.2), random.uniform(2.6, 4.0)))
        at = (x / room.canvas.shape[1], y / height)
        fill_ellipse(room.canvas, at, (0.005, 0.005), (34.0, 22.0, 11.0))


def _shelves(room: _Room, wall: float, random: np.random.Generator) -> None:
    """A rack along the wall with books, boxes and plants."""
    room.fill([(wall, -0.36, 1.3), (wall, -0.36, 3.1), (wall, 0.5, 3.1), (wall, 0.5, 1.3)], (0.10, 0.075, 0.05))
    for board in (-0.22, -0.07, 0.08, 0.23, 0.38):
        z = 1.3
        while z < 3.0:
            deep, tall = random.uniform(0.02, 0.09), random.uniform(0.06, 0.12)
            tone = np.array(_BOOKS[int(random.integers(len(_BOOKS)))]) * random.uniform(0.5, 1.3)
            corners = [
                (wall, board - tall, z),
                (wall, board - tall, z + deep),
                (wall, board, z + deep),
                (wall, board, z),
            ]
            if random.random() < 0.85:
                room.fill(corners, as_color(tone))
            z += deep + 0.01
        room.fill(
            [(wall, board, 1.3), (wall, board, 3.1), (wall, board + 0.02, 3.1), (wall, board + 0.02, 1.3)],
            (0.30, 0.22, 0.14),
        )


_BOOKS = (
    (0.50, 0.46, 0.38), (0.22, 0.26, 0.34), (0.36, 0.13, 0.09), (0.12, 0.20, 0.17), (0.60, 0.57, 0.52), (0.34, 0.24, 0.12),
    (0.10, 0.17, 0.06),
)  # fmt: skip
"""Linear colours of book backs, muted cloth and paper, and of a plant."""


def _desks(room: _Room, floor: float, back: float, random: np.random.Generator) -> None:
    """From the back to the front: a door and a picture, desks with screens, chairs."""
    room.fill([(0.15, -0.3, back), (0.42, -0.3, back), (0.42, floor, back), (0.15, floor, back)], (0.10, 0.085, 0.075))
    room.fill([(-0.5, -0.3, back), (-0.1, -0.3, back), (-0.1, 0.05, back), (-0.5, 0.05, back)], (0.42, 0.40, 0.36))
    for z in (3.6, 2.8, 2.1):
        shift = random.uniform(-0.12, 0.12)
        for left in (-0.62 + shift, 0.12 + shift):
            room.fill(
                [(left, 0.36, z), (left + 0.42, 0.36, z), (left + 0.42, 0.62, z), (left, 0.62, z)], (0.07, 0.062, 0.055)
            )
            room.fill(
                [(left, 0.33, z), (left + 0.42, 0.33, z), (left + 0.42, 0.36, z), (left, 0.36, z)], (0.40, 0.32, 0.23)
            )
            screen = left + random.uniform(0.04, 0.16)
            room.fill(
                [(screen, 0.1, z), (screen + 0.2, 0.1, z), (screen + 0.2, 0.3, z), (screen, 0.3, z)],
                (0.04, 0.043, 0.05),
            )
            x, y = room.project((left + 0.32, 0.40, z - 0.15))
            at = (x / room.canvas.shape[1], y / room.canvas.shape[0])
            fill_ellipse(room.canvas, at, (0.075 / z, 0.12 / z), (0.06, 0.075, 0.10))


def _paint_outdoors(shape: tuple[int, int], random: np.random.Generator) -> Floats:
    """A park in the late afternoon: trees far and near, the sky through them, sunlit leaves, a lawn."""
    rows, columns = coordinates(shape)
    sun = np.exp(-(((columns - 0.85) / 0.55) ** 2 + ((rows - 0.08) / 0.45) ** 2))
    shade, hue, gaps = (clouds(shape, random) for _ in range(3))
    light = 0.16 * np.exp(0.75 * shade) * (0.55 + 1.7 * sun)
    yellow = np.clip(0.35 + 0.2 * hue + 0.5 * sun, 0, 1)[..., None]
    leaves = (1 - yellow) * np.array((0.50, 0.95, 0.34), np.float32) + yellow * np.array((1.05, 1.15, 0.26), np.float32)
    scene = (light[..., None] * leaves).astype(np.float32)
    _leaves(scene, random)
    # The sky shines through where crowns are thin: above, and most of all towards the sun.
    thin = np.clip((gaps + 2.0 * sun - 2.6 * rows - 0.2) * 1.2, 0, 1)[..., None]
    sky = np.array((0.80, 0.92, 1.05), np.float32) + sun[..., None] * np.array((0.35, 0.22, 0.0), np.float32)
    scene += thin * (sky - scene)
    lawn = np.clip((rows + 0.015 * hue - 0.74) * 14, 0, 1)[..., None]
    grass = (0.17 + 0.02 * shade + 0.16 * np.exp(-(((columns - 0.7) / 0.35) ** 2)))[..., None] * np.array(
        (1.0, 1.12, 0.36)
    )
    scene += (lawn * (np.maximum(grass, 0.03) - scene)).astype(np.float32)
    _trunks(scene, random)
    _glints(scene, random)
    return defocus(scene, LENS * 1.2)


def _trunks(scene: Floats, random: np.random.Generator) -> None:
    for x in (0.06, 0.30, 0.66, 0.90):
        at, wide, foot = x + random.uniform(-0.05, 0.05), random.uniform(0.006, 0.02), random.uniform(0.74, 0.79)
        tone, lean = random.uniform(0.5, 1.1), random.uniform(-0.02, 0.02)
        height, width = scene.shape[:2]
        corners = [
            (at - wide + lean, 0.3),
            (at + wide * 0.8 + lean, 0.3),
            (at + wide * 1.2, foot),
            (at - wide * 1.2, foot),
        ]
        points = np.round(np.array(corners) * (width, height) * 16).astype(np.int32)
        cv2.fillPoly(scene, [points], (0.062 * tone, 0.05 * tone, 0.036 * tone), cv2.LINE_AA, 4)


def _leaves(scene: Floats, random: np.random.Generator) -> None:
    """Sprays of leaves in light and shade, each of about its surroundings' colour."""
    height, width = scene.shape[:2]
    places, sizes = random.uniform(0, 1, (500, 2)), random.uniform(0.005, 0.022, (500, 2))
    tones, turns = np.exp(random.normal(0, 0.75, 500)), random.uniform(0, 180, 500)
    for (x, y), axes, tone, turn in zip(places, sizes, tones, turns, strict=True):
        near = scene[min(int(y * height), height - 1), min(int(x * width), width - 1)]
        fill_ellipse(scene, (x, y * 0.8), (float(axes[0]), float(axes[1])), as_color(near * tone), float(turn))


def _glints(scene: Floats, random: np.random.Generator) -> None:
    """Light on leaves and through gaps: points of very different strength, crowded towards the sun."""
    count = 140
    across, down = random.normal(0.66, 0.32, count), random.beta(1.5, 2.4, count) * 0.72
    power = np.minimum(random.pareto(1.5, count) * 0.18 + 0.04, 1.0)
    warmth = random.uniform(0, 1, count)
    for x, y, strength, warm in zip(across, down, power, warmth, strict=True):
        tone = np.array((0.85 + 0.35 * warm, 1.0, 0.55 - 0.2 * warm)) * strength * 60
        fill_ellipse(scene, (float(x), float(y)), (0.0035, 0.0035), as_color(tone))


_PAINTERS: dict[str, Callable[[tuple[int, int], np.random.Generator], Floats]] = {
    "studio-office": _paint_office,
    "studio-outdoors": _paint_outdoors,
    "studio-city": scenery.paint_city,
    "studio-seaside": scenery.paint_seaside,
    "studio-library": scenery.paint_library,
    "studio-bricks": scenery.paint_bricks,
    **{
        name: (lambda shape, random, paper=paper: _paint_paper(paper, shape, random)) for name, paper in _PAPERS.items()
    },
}
