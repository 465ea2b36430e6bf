"""People before rooms with things in them, with an alpha that no matting engine made.

Two people are cut out of public test photos along outlines that were drawn by hand on the enlarged pictures; within a
few pixels of the outline alpha is read off the colours (the share of the person's colour between it and the wall's, both
taken from beyond). Long hair is drawn strand by strand with a known alpha. The rooms are skimage's bundled photos and what
is drawn of windows, shelves and letters.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import skimage.data
from numpy.typing import NDArray

from portrait.arrays import Image, Mask
from portrait.images.filters import masked_low_pass
from portrait.images.masks import composite, estimate_foreground, face_size
from portrait.types import Face
from tests import selfies

ASTRONAUT = (
    *((153, 70), (157, 58), (168, 46), (180, 38), (190, 34), (193, 28), (200, 24), (212, 19), (222, 17), (230, 15)),
    *((240, 16), (252, 20), (264, 24), (275, 31), (286, 38), (293, 50), (297, 62), (300, 76), (302, 87), (300, 98)),
    *((297, 107), (291, 114), (284, 122), (280, 126), (279, 130), (275, 135), (270, 137), (267, 136), (264, 145)),
    *((260, 155), (257, 163), (255, 172), (266, 179), (276, 187), (287, 197), (295, 208), (300, 217), (304, 230)),
    *((304, 234), (311, 238), (320, 243), (330, 252), (338, 259), (344, 268), (348, 278), (350, 283), (353, 289)),
    *((356, 300), (357, 312), (359, 325), (363, 331), (30, 331), (33, 318), (40, 303), (41, 290), (44, 283)),
    *((52, 268), (55, 259), (62, 247), (68, 241), (74, 236), (82, 232), (92, 225), (97, 219), (106, 211), (110, 205)),
    *((113, 206), (113, 202), (116, 197), (113, 188), (115, 186), (119, 185), (124, 178), (126, 170), (131, 164)),
    *((137, 158), (145, 153), (155, 150), (168, 148), (180, 149), (185, 149), (184, 145), (182, 138), (182, 132)),
    *((177, 131), (173, 127), (170, 118), (168, 114), (163, 110), (158, 104), (155, 96), (155, 86), (153, 78)),
)
"""Outline of head, collar and shoulders in `selfies.astronaut`, pixels; below row 330 is a helmet."""
PLAYER = (
    *((684, 481), (685, 475), (692, 462), (700, 452), (712, 444), (725, 436), (737, 427), (746, 422), (748, 421)),
    *((747, 412), (749, 397), (747, 388), (749, 385), (749, 362), (749, 352), (750, 334), (749, 320), (760, 312)),
    *((770, 307), (777, 301), (787, 295), (800, 292), (810, 291), (825, 294), (837, 298), (850, 306), (860, 314)),
    *((867, 322), (874, 334), (874, 345), (871, 360), (869, 374), (869, 382), (870, 390), (871, 394), (876, 391)),
    *((885, 392), (895, 396), (904, 398), (906, 405), (905, 430), (907, 450), (911, 470), (912, 481)),
)
"""The same of the fourth player in `selfies.group`; below row 480 are a hand and a chip."""
BAND = 4.0
"""Half width in pixels of the band around a drawn outline in which colours decide: the lines are good to two or three."""


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A person without a room."""

    colours: Image
    alpha: Mask
    head: tuple[float, float, float, float]
    """Middle of the face (x, y), half its width and half its height, pixels."""


def subject(name: str, scale: float = 2.5) -> Subject:
    """`astronaut`, `long hair` (the same with hair to the shoulders), or `player`, enlarged."""
    if name == "player":
        photo, outline, chin, rows, columns, head = (
            selfies.group(),
            PLAYER,
            420,
            (240, 476),
            (640, 940),
            (795, 395, 50, 75),
        )
    else:
        photo, outline, chin, rows, columns, head = (
            selfies.astronaut(),
            ASTRONAUT,
            148,
            (0, 326),
            (20, 400),
            (226, 115, 44, 62),
        )
    alpha = _keyed(photo, np.array(outline, np.float64), chin)
    colours = estimate_foreground(photo, alpha, 60)
    place = slice(*rows), slice(*columns)
    grown = [
        cv2.resize(each[place], None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC) for each in (colours, alpha)
    ]
    # An edge of a sharp photo is two or three pixels wide, not as wide as one that was enlarged.
    tight = np.clip((grown[1] - 0.5) * 1.6 + 0.5, 0, 1).astype(np.float32)
    x, y, wide, tall = head
    placed = ((x - columns[0]) * scale, (y - rows[0]) * scale, wide * scale, tall * scale)
    found = Subject(np.asarray(grown[0], np.uint8), tight, placed)
    return _with_long_hair(found) if name == "long hair" else found


def _keyed(photo: Image, outline: NDArray[np.float64], chin: int) -> Mask:
    """Alpha from a drawn outline: of the head from the colours on its two sides, below the chin from the line alone."""
    inside = np.zeros(photo.shape[:2], np.uint8)
    cv2.fillPoly(inside, [np.round(outline * 16).astype(np.int32)], 1, shift=4)
    to_edge = cv2.distanceTransform(inside, cv2.DIST_L2, 5) - cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5)
    to_edge = cv2.GaussianBlur(to_edge, (0, 0), 0.8)
    pixels = photo.astype(np.float32)
    front = masked_low_pass(pixels, (to_edge > BAND).astype(np.float32), 5)
    back = masked_low_pass(pixels, (to_edge < -BAND).astype(np.float32), 5)
    axis = front - back
    length = np.maximum((axis**2).sum(axis=2), 1)
    keyed = np.clip(((pixels - back) * axis).sum(axis=2) / length, 0, 1)
    trust = np.clip((np.sqrt(length) - 30) / 40, 0, 1)
    trust[chin:] = 0
    # Highlights and shadows at the edge are not the room's: where colours are alike the drawn line stands.
    alpha = trust * np.clip((keyed - 0.15) / 0.6, 0, 1) + (1 - trust) * np.clip(to_edge / 2 + 0.5, 0, 1)
    share = np.clip(to_edge / BAND, -1, 1)
    return np.clip(np.maximum(alpha, 2 * share - 1), 0, np.minimum(1, 2 * share + 2)).astype(np.float32)


def _with_long_hair(person: Subject) -> Subject:
    """The person with hair that falls beside the face to the shoulders, thinner towards its ends, with loose strands."""
    random = np.random.default_rng(5)
    (x, y, wide, tall), shape = person.head, person.alpha.shape
    colours, alpha = person.colours.astype(np.float32), person.alpha.copy()
    face = np.zeros(shape, np.uint8)
    cv2.ellipse(face, (round(x), round(y)), (round(wide * 1.02), round(tall * 1.15)), 0, 0, 360, 1, -1)
    cv2.rectangle(face, (round(x - wide * 0.6), round(y)), (round(x + wide * 0.6), shape[0]), 1, -1)
    free = cv2.GaussianBlur(1 - face.astype(np.float32), (0, 0), 3)
    # At the crown it comes from below the person's own hair.
    rows = np.arange(shape[0], dtype=np.float32)[:, None]
    free *= 1 - alpha * np.clip((y - rows) / (0.3 * tall), 0, 1)
    steps = np.linspace(0, 1, 24)
    for _ in range(1800):
        side, spread = random.choice((-1, 1)), random.uniform() ** 0.8
        loose = random.uniform() < 0.08
        reach = wide * (0.95 + 0.85 * spread + loose * 0.5 * random.uniform())
        fall = tall * (2.5 - 0.5 * spread + 0.3 * random.normal())
        wave = np.sin(steps * 9 + 3 * spread + 2 * side) * 0.14 + random.normal(0, 0.03 + 0.12 * loose) * steps
        across = x + side * (reach * (0.55 + 0.45 * np.tanh(4 * steps)) + wave * wide * np.tanh(3 * steps))
        down = y - tall * 0.85 * (1 - 0.4 * spread) + fall * steps
        curve = np.round(np.column_stack([across, down]) * 16).astype(np.int32)
        left, top = np.clip(curve.min(axis=0) // 16 - 3, 0, np.array(shape[::-1]) - 1)
        right, bottom = np.maximum(curve.max(axis=0) // 16 + 4, (left + 1, top + 1))
        place = slice(top, bottom), slice(left, right)
        stroke = np.zeros(alpha[place].shape, np.uint8)
        thick = 1 if loose else int(random.integers(1, 4))
        cv2.polylines(stroke, [curve - np.array((left, top)) * 16], False, 255, thick, cv2.LINE_AA, 4)
        share = stroke * np.float32((0.7 if loose else 0.9) / 255) * free[place]
        tone = np.array((128, 102, 64), np.float32) * np.float32(random.uniform(0.35, 1.3))
        colours[place] += (tone - colours[place]) * share[..., None]
        alpha[place] = 1 - (1 - alpha[place]) * (1 - share)
    return Subject(np.clip(colours, 0, 255).astype(np.uint8), alpha.astype(np.float32), person.head)


def room(kind: str, shape: tuple[int, int], head: tuple[float, float, float, float]) -> Image:
    """A room of a kind of `ROOMS`, with its things beside and above the head."""
    x, y, wide, tall = head
    height, width = shape
    out = np.full((height, width, 3), (196, 190, 178), np.uint8)
    if kind == "window":
        _paste(out, skimage.data.rocket()[:240], (x + 0.3 * wide, y - 2.6 * tall, 3.2 * wide, 2.9 * tall))
        for share in (0.0, 0.5, 1.0):
            at = round(x + (0.3 + 3.2 * share) * wide)
            cv2.rectangle(out, (at - 9, round(y - 2.6 * tall)), (at + 9, round(y + 0.3 * tall)), (244, 244, 240), -1)
    elif kind == "shelves":
        _fill_shelves(out)
    elif kind == "letters":
        _paste(out, np.dstack([skimage.data.brick()] * 3), (0, 0, width, height))
        for line, text in enumerate(("MAKE ART", "NOT WAR")):
            at = (round(x - 3.4 * wide), round(y - 0.5 * tall + 1.4 * tall * line))
            cv2.putText(out, text, at, cv2.FONT_HERSHEY_DUPLEX, 0.034 * wide, (32, 38, 60), 22, cv2.LINE_AA)
    elif kind == "pictures":
        _paste(out, skimage.data.chelsea(), (x - 3.1 * wide, y - 2.2 * tall, 2.5 * wide, 2.2 * tall))
        _paste(out, skimage.data.coffee(), (x + 0.9 * wide, y - 1.6 * tall, 2.2 * wide, 1.6 * tall))
        _paste(out, np.dstack([skimage.data.page()] * 3), (x - 0.6 * wide, y - 3.2 * tall, 2.0 * wide, 2.2 * tall))
    elif kind == "people":
        crowd = selfies.group()[0:640, 0:870] if wide < 120 else selfies.group()[0:420, 780:1280]
        _paste(out, crowd, (0, 0, width, height))
    elif kind == "lamp":
        out[:] = (88, 70, 58)
        for across, size in ((-1.4, 0.5), (1.5, 0.8)):
            at = (round(x + across * wide), round(y - 0.8 * tall))
            cv2.ellipse(out, at, (round(size * wide), round(size * tall)), 0, 0, 360, (255, 240, 205), -1, cv2.LINE_AA)
    else:
        _paste(out, PHOTOS[kind](), (0, 0, width, height))
    return out


def _fill_shelves(out: Image) -> None:
    """Boards with the backs of books, each a strip of a printed page in its own colour."""
    random = np.random.default_rng(7)
    out[:] = (104, 74, 50)
    page, at = np.dstack([skimage.data.page()] * 3)[:60], 0
    while at < out.shape[1]:
        thick, tone = int(random.integers(14, 46)), random.uniform(40, 230, 3)
        spine = cv2.resize(page, (170, thick))[:, ::-1].transpose(1, 0, 2) * (tone / 255)
        for top in range(-40, out.shape[0], 190):
            part = out[max(0, top + int(random.integers(0, 40))) : max(0, top + 170), at : at + thick]
            part[:] = spine[: part.shape[0], : part.shape[1]]
        at += thick + 2


PHOTOS = {
    "workshop": lambda: skimage.data.stereo_motorcycle()[0],
    "fur": lambda: skimage.data.chelsea(),
    "table": lambda: skimage.data.coffee(),
    "grass": lambda: cv2.applyColorMap(skimage.data.grass(), cv2.COLORMAP_SUMMER)[..., ::-1] // 2,
}
"""Photos that fill a room."""
ROOMS = ("window", "shelves", "letters", "pictures", "people", "lamp", *PHOTOS)


def photo(person: Subject, kind: str, seed: int = 0) -> tuple[Image, Mask, tuple[float, float, float, float]]:
    """The person in a room as a photo with a little noise, the alpha of that composite, and where the head is."""
    above, aside = round(0.5 * person.head[3]), round(1.2 * person.head[2])
    sides = ((above, 0), (aside, aside))
    alpha = np.pad(person.alpha, sides)
    colours = np.pad(person.colours, (*sides, (0, 0)), mode="edge")
    x, y, wide, tall = person.head
    head = (x + aside, y + above, wide, tall)
    back = np.asarray(cv2.GaussianBlur(room(kind, alpha.shape, head), (0, 0), 1.2), np.uint8)
    noise = np.random.default_rng(seed).normal(0, 2.0, colours.shape)
    image = np.clip(composite(colours, back, alpha) + noise, 0, 255).astype(np.uint8)
    return image, alpha, head


def _paste(out: Image, picture: Image, place: tuple[float, float, float, float]) -> None:
    """Lay a picture over part of another, cropped to fill left, top, width, height."""
    left, top, wide, tall = (round(each) for each in place)
    factor = max(wide / picture.shape[1], tall / picture.shape[0])
    size = (max(wide, round(picture.shape[1] * factor)), max(tall, round(picture.shape[0] * factor)))
    whole = cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC if factor > 1 else cv2.INTER_AREA)[:tall, :wide]
    above, before = max(0, -top), max(0, -left)
    target = out[max(0, top) : max(0, top + tall), max(0, left) : max(0, left + wide)]
    target[:] = whole[above : above + target.shape[0], before : before + target.shape[1]]


def face_of(faces: Sequence[Face], head: tuple[float, float, float, float]) -> Face:
    """The face that was found where the person's head is."""
    return min(faces, key=lambda face: abs(face.box.centre[0] - head[0]) + abs(face.box.centre[1] - head[1]))


def errors(found: Mask, truth: Mask, face: Face) -> tuple[float, float, float]:
    """Around the head: mean absolute error; mean opacity of what is all room; mean transparency of what is all person."""
    (x, y), unit = face.box.centre, face_size(face)
    rows = slice(max(0, round(y - 1.3 * unit)), round(y + 1.2 * unit))
    columns = slice(max(0, round(x - 1.1 * unit)), round(x + 1.1 * unit))
    found, truth = found[rows, columns], truth[rows, columns]
    traces, missing = found[truth < 0.005].mean(), 1 - found[truth > 0.995].mean()
    return float(np.abs(found - truth).mean()), float(traces), float(missing)
