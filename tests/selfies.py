"""Selfies made from a few photos that come with the libraries: each fault on a scale, so it can be swept.

Every function takes and gives H×W×3 uint8 RGB. The astronaut (NASA, public domain, `skimage.data.astronaut`) is the person
of most tests; sizes are relative to the face, which is 94 px wide in that photo.
"""

import math
from pathlib import Path

import cv2
import numpy as np
import skimage.data
from numpy.typing import NDArray

from portrait.arrays import Image
from portrait.faces.geometry import transform_face
from portrait.types import Face
from templates.package_pictures import find_picture

FACE_WIDTH = 94
"""Width of the astronaut's face in pixels, as the mesh measures it."""


def astronaut() -> Image:
    """The photo itself, 512×512."""
    return skimage.data.astronaut()


def group() -> Image:
    """insightface's own test photo of six people, 1280×886."""
    return _read(find_picture("insightface", "data/images/t1.jpg"))


PLAYERS = {
    "player 1": (0, 190, 260, 560),  # looks down at the cards
    "player 2": (180, 70, 455, 420),  # turned by 36°
    "player 3": (385, 180, 735, 640),  # faces the camera
    "player 4": (680, 285, 890, 620),  # faces the camera, laughs with narrow eyes
    "player 5": (780, 0, 1160, 285),  # turned by 48°
    "player 6": (1030, 225, 1280, 600),  # looks down at the table
}
"""Left, top, right, bottom of each person of `group`, with no other face inside."""


def player(name: str) -> Image:
    """One person cut out of `group`."""
    left, top, right, bottom = PLAYERS[name]
    return np.ascontiguousarray(group()[top:bottom, left:right])


def people() -> dict[str, Image]:
    """One photo each of seven people."""
    return {"astronaut": astronaut()} | {name: player(name) for name in PLAYERS}


def varied(image: Image, face: Face, seed: int) -> tuple[Image, Face]:
    """Taken again: the camera leaned a little, framed and lit a little differently; with the face's new place."""
    random = np.random.default_rng(seed)
    height, width = image.shape[:2]
    zoom, box = random.uniform(0.8, 1.25), face.box
    matrix = np.asarray(cv2.getRotationMatrix2D(box.centre, random.uniform(-8, 8), zoom), np.float64)
    # Up to a third of each margin is framed away, so that faces near a border stay whole.
    reach = np.array([box.centre[0] - box.width, box.centre[1] - box.height]).clip(0)
    room = np.array([width - box.centre[0] - box.width, height - box.centre[1] - box.height]).clip(0)
    start, end = random.uniform(0, 0.33, 2) * reach, random.uniform(0, 0.33, 2) * room
    centre = np.array(box.centre)
    first, last = centre - (centre - start) * zoom, centre + (np.array([width, height]) - end - centre) * zoom
    matrix[:, 2] -= first
    size = (round(last[0] - first[0]), round(last[1] - first[1]))
    out = cv2.warpAffine(image, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return lit(np.asarray(out, np.uint8), random.uniform(-0.25, 0.25)), transform_face(face, matrix)


def stored(image: Image, seed: int) -> bytes:
    """As a camera stores it: a little sensor noise, then JPEG of random quality."""
    random = np.random.default_rng(seed)
    grainy = noisy(image, random.uniform(0, 4), seed)
    return jpeg(grainy, int(random.integers(78, 97)))


def jpeg(image: Image, quality: int = 92) -> bytes:
    """A JPEG file."""
    settings = [cv2.IMWRITE_JPEG_QUALITY, quality]
    return cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), settings)[1].tobytes()


def blurred(image: Image, share: float, width: float = FACE_WIDTH) -> Image:
    """Out of focus: a Gaussian of `share` of the face's `width`."""
    return image if share == 0 else np.asarray(cv2.GaussianBlur(image, (0, 0), share * width), np.uint8)


def shaken(image: Image, share: float, width: float, degrees: float) -> Image:
    """The camera moved by `share` of the face's `width` while the shutter was open."""
    length = share * width
    if length == 0:
        return image
    side = 2 * math.ceil(length / 2) + 3
    line = np.zeros((side, side), np.float32)
    for at in np.linspace(-0.5, 0.5, 16 * side):
        x, y = (
            side / 2 + at * length * each for each in (math.cos(math.radians(degrees)), math.sin(math.radians(degrees)))
        )
        line[int(y), int(x)] += 1
    return np.asarray(cv2.filter2D(image, -1, line / line.sum(), borderType=cv2.BORDER_REFLECT), np.uint8)


def lit(image: Image, stops: float) -> Image:
    """Exposed by `stops` more or less, as a camera would: in linear light, then clipped."""
    linear = (image / 255.0) ** 2.2 * 2.0**stops
    return np.asarray(np.clip(linear, 0, 1) ** (1 / 2.2) * 255, np.uint8)


def noisy(image: Image, sigma: float, seed: int = 0) -> Image:
    """With sensor noise of `sigma` levels."""
    noise = np.random.default_rng(seed).normal(0, sigma, image.shape)
    return np.asarray(np.clip(image + noise, 0, 255), np.uint8)


def rolled(image: Image, degrees: float) -> Image:
    """The camera leaned: turned about the face, clockwise, the border repeated."""
    matrix = cv2.getRotationMatrix2D((224, 123), -degrees, 1)
    size = (image.shape[1], image.shape[0])
    return np.asarray(cv2.warpAffine(image, matrix, size, borderMode=cv2.BORDER_REFLECT), np.uint8)


def far(image: Image, width: float) -> Image:
    """Taken from so far away that the face is `width` pixels wide in the same frame."""
    factor = width / FACE_WIDTH
    small = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


def cut(image: Image, share: float) -> Image:
    """Framed so that `share` of the face's width lies left of the picture."""
    left = round(178 + share * FACE_WIDTH)
    return np.ascontiguousarray(image[:, left:])


def turned(image: Image, face: Face, degrees: float) -> Image:
    """The head turned to the side by rotating its mesh in depth and warping the picture along."""
    mesh = _mesh(face)
    middle = (mesh.max(axis=0) + mesh.min(axis=0)) / 2
    middle[2] = mesh[:, 2].max()  # heads turn about the neck, behind the face
    angle = math.radians(degrees)
    around = mesh - middle
    x = around[:, 0] * math.cos(angle) - around[:, 2] * math.sin(angle)
    return _warped(image, mesh[:, :2], np.column_stack([x + middle[0], mesh[:, 1]]))


def glasses(image: Image, face: Face) -> tuple[Image, NDArray[np.float32]]:
    """With dark round glasses drawn on, and where they are: H×W, 0..1."""
    mesh, drawn = _mesh(face), np.zeros(image.shape[:2], np.uint8)
    unit = float(np.ptp(mesh[:468, 0]))
    thick = max(1, round(0.025 * unit))
    for eye, corner in (((33, 133), 234), ((362, 263), 454)):
        x, y = mesh[list(eye), :2].mean(axis=0)
        y = y + 0.02 * unit
        cv2.ellipse(drawn, (round(x), round(y)), (round(0.17 * unit), round(0.14 * unit)), 0, 0, 360, 255, thick)
        side = np.sign(mesh[corner, 0] - x)
        start, end = (round(x + side * 0.17 * unit), round(y)), (round(mesh[corner, 0]), round(y - 0.03 * unit))
        cv2.line(drawn, start, end, 255, thick)
    inner = mesh[[133, 362], :2] + [(0.03 * unit, 0), (-0.03 * unit, 0)]
    start, end = (tuple(int(value) for value in each.round()) for each in inner)
    cv2.line(drawn, start, end, 255, thick)
    share = (drawn / 255).astype(np.float32)
    return np.asarray(image + (np.array((25, 20, 30)) - image) * share[..., None], np.uint8), share


def eyes_shut(image: Image, face: Face, share: float) -> Image:
    """The upper lids drawn down by `share` (0 open, 1 shut), lid skin stretched over the eyes."""
    mesh = _mesh(face)[:, :2]
    out = image.copy()
    for upper, lower, brow in (
        (
            (33, 246, 161, 160, 159, 158, 157, 173, 133),
            (33, 7, 163, 144, 145, 153, 154, 155, 133),
            (70, 63, 105, 66, 107),
        ),
        (
            (362, 398, 384, 385, 386, 387, 388, 466, 263),
            (362, 382, 381, 380, 374, 373, 390, 249, 263),
            (336, 296, 334, 293, 300),
        ),
    ):
        columns = np.arange(math.ceil(mesh[list(upper), 0].min()), math.floor(mesh[list(upper), 0].max()) + 1)
        above = np.interp(columns, *_sorted(mesh[list(upper)]))
        below = np.interp(columns, *_sorted(mesh[list(lower)]))
        top = np.interp(columns, *_sorted(mesh[list(brow)])) + 2
        lid = above + (below - above) * share
        for column, start, edge, end in zip(columns, top, above, lid, strict=True):
            rows = np.arange(math.ceil(start), math.floor(end) + 1)
            source = start + (rows - start) * (edge - start) / max(end - start, 1e-6)
            strip = image[:, column : column + 1].astype(np.float32)
            xs = np.zeros((len(rows), 1), np.float32)
            out[rows, column] = cv2.remap(strip, xs, source.astype(np.float32)[:, None], cv2.INTER_LINEAR)[:, 0]
    return out


def resized(image: Image, factor: float) -> Image:
    """`factor` times as many pixels along each side."""
    way = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, None, fx=factor, fy=factor, interpolation=way), np.uint8)


def framed(image: Image, face: Face, side: str, share: float) -> Image:
    """Framed so that `share` of the face's box lies outside, on the `left`, `right` or `top`."""
    box = face.box
    if side == "left":
        return np.ascontiguousarray(image[:, max(0, round(box.left + share * box.width)) :])
    if side == "right":
        return np.ascontiguousarray(image[:, : round(box.right - share * box.width)])
    return np.ascontiguousarray(image[max(0, round(box.top + share * box.height)) :])


def beside(image: Image, face: Face, other: Image, other_face: Face, ratio: float) -> Image:
    """A second person to the right, whose face has the `ratio`-th part of the area of the first one's."""
    second = resized(other, face.box.width / other_face.box.width / math.sqrt(ratio))
    height = max(image.shape[0], second.shape[0])
    pair = [cv2.copyMakeBorder(each, height - each.shape[0], 0, 0, 0, cv2.BORDER_REPLICATE) for each in (image, second)]
    return np.asarray(np.hstack(pair), np.uint8)


def covered(image: Image, face: Face, share: float, side: str = "bottom") -> Image:
    """A grey card in front of `share` of the face, from the `bottom` (a mask) or the `top` (a hat)."""
    box, out = face.box, image.copy()
    left, right = max(0, round(box.left - 0.2 * box.width)), round(box.right + 0.2 * box.width)
    if share > 0 and side == "bottom":
        out[max(0, round(box.bottom - share * box.height)) : round(box.bottom + 0.1 * box.height), left:right] = 120
    elif share > 0:
        top = max(0, round(box.top - 0.3 * box.height))
        out[top : round(box.top + share * box.height), left:right] = 120
    return out


def skinned(image: Image, face: Face, share: float) -> Image:
    """The same light on other skin: lightness L* of the face times `share`, but not of the eyes.

    Highlights are darkened along although they would stay, so measures of light fare worse here than on people.
    """
    points = _mesh(face)[:, :2].round().astype(np.int32)
    skin = np.zeros(image.shape[:2], np.float32)
    cv2.fillConvexPoly(skin, cv2.convexHull(points), 1.0)
    for eye in ((33, 160, 159, 158, 133, 153, 145, 144), (362, 385, 386, 387, 263, 373, 374, 380)):
        cv2.fillConvexPoly(skin, cv2.convexHull(points[list(eye)]), 0.0)
    skin = cv2.GaussianBlur(skin, (0, 0), 0.01 * face.box.width)
    lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    lab[..., 0] *= 1 + skin * (share - 1)
    return np.asarray(np.clip(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB) * 255, 0, 255).round(), np.uint8)


def large(image: Image, width: int, height: int, seed: int = 0) -> Image:
    """As a phone would store it: many pixels, a little noise."""
    grown = cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)
    grain = np.random.default_rng(seed).integers(-3, 4, (height, width, 1), np.int16)
    return np.asarray(np.clip(grown.astype(np.int16) + grain, 0, 255), np.uint8)


def _read(path: Path) -> Image:
    picture = cv2.imread(str(path))
    if picture is None:
        raise FileNotFoundError(path)
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)


def _mesh(face: Face) -> NDArray[np.float64]:
    if face.mesh is None:
        raise ValueError("this needs a face with a mesh")
    return face.mesh.astype(np.float64)


def _sorted(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    order = np.argsort(points[:, 0])
    return points[order, 0], points[order, 1]


def _warped(image: Image, source: NDArray[np.float64], target: NDArray[np.float64]) -> Image:
    """Move `source` points to `target`, the far border held still, smooth between."""
    from scipy.interpolate import RBFInterpolator

    height, width = image.shape[:2]
    border = np.array([[x, y] for x in np.linspace(0, width, 9) for y in (0, height)]
                      + [[x, y] for y in np.linspace(0, height, 9) for x in (0, width)])  # fmt: skip
    shift = RBFInterpolator(
        np.vstack([target, border]), np.vstack([source - target, np.zeros_like(border)]), neighbors=40, smoothing=1.0
    )
    step = 8
    grid = np.stack(np.meshgrid(np.arange(0, width + step, step), np.arange(0, height + step, step)), -1)
    field = shift(grid.reshape(-1, 2).astype(np.float64)).reshape(*grid.shape[:2], 2).astype(np.float32)
    full = cv2.resize(field, None, fx=step, fy=step, interpolation=cv2.INTER_LINEAR)[:height, :width]
    across, down = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return np.asarray(
        cv2.remap(image, across + full[..., 0], down + full[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT),
        np.uint8,
    )
