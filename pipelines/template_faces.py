"""Finds the faces of a template: all of a group, by tiles; says where somebody may have been missed; finds a face by a point.

Face finders read a picture at some 200 pixels: in a group photo they see the faces that are large in it. So the picture is
searched in overlapping tiles, too, in which a face of `LEAST` pixels is as large as finders need it.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines import image_io
from portrait.arrays import Image
from portrait.errors import UserError
from portrait.faces.geometry import box_slices, transform_face
from portrait.images.resize import resize
from portrait.ports import FaceFinder, HeadDetector
from portrait.types import Box, Face, PortraitRequest, StylePicture

LEAST = 60.0
"""Width of a face in pixels from which it is found, or reported; a fortieth of the short side where that is more."""
TILE = 10.0
"""Side of a tile over the width of the least face: measured on groups of 3 to 9, finders miss faces below a twelfth."""
AGAIN = (1.6, 2.2, 3.2)
"""Sides of the windows, over that of a head, in which its face is looked for once more."""
POINTED = (60.0, 100.0, 170.0, 290.0, 490.0)
"""Widths in pixels of a face that is looked for around a point."""
MAX_PIXELS = 20_000_000
"""Pixels of a picture that people are put into: drawing and signing take 25 bytes for each. Larger files are reduced to it."""
FINDER_SIDE = 640
"""Pixels to which a window is enlarged, so that the face in it is large."""
T = TypeVar("T")


def read_picture(path: Path, finder: FaceFinder, points: Sequence[tuple[float, float]] = ()) -> StylePicture:
    """A template's picture with its faces numbered from left to right, then those that `points` (x, y) in the file add.

    Raises `UserError`: `template_unreadable`, `template_no_face`, `no_face_there`.
    """
    image, scale = _read_bounded(path)
    faces, missed = find_faces(image, finder)
    for point in (_in_image(each, scale) for each in points):
        if _at(faces, point) is None:
            faces.append(find_face_at(image, finder, point))
    if not faces:
        raise _no_face(path)
    centres = {number: _centre(face.box) for number, face in enumerate(faces, 1)}
    places = {number: (round(x * scale, 1), round(y * scale, 1)) for number, (x, y) in centres.items()}
    left = tuple(box for box in missed if not any(_same(box, face.box) for face in faces))
    return StylePicture(image, tuple(faces), places, missed=left, scale=scale)


def read_picture_as_before(path: Path, finder: FaceFinder) -> StylePicture:
    """A template's picture with its faces as version 0.1.0 counted them; for recipes that name no places."""
    image = read_image(path)
    faces = sorted(finder.faces(image, embedded=0), key=lambda face: face.box.left)
    if not faces:
        raise _no_face(path)
    return StylePicture(image, tuple(faces))


def find_faces(image: Image, finder: FaceFinder) -> tuple[list[Face], list[Box]]:
    """All faces from left to right, and boxes of heads without one: there somebody may have been missed."""
    least = max(LEAST, min(image.shape[:2]) / 40)
    faces = list(finder.faces(image, embedded=0))
    heads = _heads(image, finder)
    for left, top, tile in _tiles(image, TILE * least):
        found = [_moved(face, left, top) for face in finder.faces(tile, embedded=0)]
        faces += [face for face in found if not _touches(face.box, image, (left, top), tile)]
        heads += [
            Box(each.left + left, each.top + top, each.right + left, each.bottom + top) for each in _heads(tile, finder)
        ]
    known = _distinct(faces)
    missed: list[Box] = []
    for box in sorted(heads, key=lambda each: -each.area):
        if (
            box.width < 0.8 * least
            or any(_same(box, face.box) for face in known)
            or any(_same(box, one) for one in missed)
        ):
            continue
        face = _detect_again(image, finder, box)
        if face is not None and not any(_same(face.box, one.box) for one in known):
            known.append(face)
        # One look that takes a collar or a fist for a face is none; a head is seen in several tiles.
        elif face is None and sum(_same(box, each) for each in heads) >= 2:
            missed.append(box)
    return sorted(known, key=lambda face: face.box.left), missed


def find_face_at(image: Image, finder: FaceFinder, point: tuple[float, float]) -> Face:
    """The face at a point (x, y) in pixels; raises `UserError` (`no_face_there`)."""
    x, y = point
    for width in POINTED:
        half = width / 2
        face = _detect_again(image, finder, Box(x - half, y - half, x + half, y + half))
        if face is not None and _holds(face.box, point):
            return face
    raise UserError(
        "no_face_there",
        f"No face that can be drawn over was found at {x:.0f},{y:.0f}. Point at the middle of a face, or leave it as it is.",
    )


def number_at(picture: StylePicture, point: tuple[float, float]) -> int:
    """The number of the face at a point (x, y) in pixels of the file; raises `UserError` (`no_face_there`)."""
    face = _at(picture.faces, _in_image(point, picture.scale))
    if face is None:
        raise UserError("no_face_there", f"There is no face at {point[0]:.0f},{point[1]:.0f} of the picture.")
    return next(number for number, each in enumerate(picture.faces, 1) if each is face)


def renumber(people: Mapping[int, T], picture: StylePicture, points: Mapping[int, tuple[float, float]]) -> dict[int, T]:
    """Who goes onto which face, where some numbers stand for points of the picture rather than for its faces.

    Raises `UserError` (`no_face_there`; `bad_face` where two people are given one face).
    """
    out = {number: person for number, person in people.items() if number not in points}
    for number, point in points.items():
        if number not in people:
            continue
        place = number_at(picture, point)
        if place in out:
            raise UserError("bad_face", f"Face {place} of the picture was given two people. Give each face one.")
        out[place] = people[number]
    return out


def draw_numbers(picture: StylePicture, side: int = 1600) -> Image:
    """The picture, at most `side` pixels, with its faces in numbered boxes and a question mark where one may be missing."""
    factor = min(1.0, side / max(picture.image.shape[:2]))
    image = resize(picture.image, tuple(max(1, round(each * factor)) for each in picture.image.shape[:2])).copy()
    thick = max(2, round(max(image.shape[:2]) / 500))
    marks = [(face.box, str(number), (30, 200, 90)) for number, face in enumerate(picture.faces, 1)]
    for box, text, colour in (*marks, *((box, "?", (255, 150, 0)) for box in picture.missed)):
        left, top, right, bottom = (round(edge * factor) for edge in (box.left, box.top, box.right, box.bottom))
        cv2.rectangle(image, (left, top), (right, bottom), colour, thick, cv2.LINE_AA)
        size = max(0.6, (right - left) / 90)
        (wide, tall), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, thick)
        cv2.rectangle(image, (left, top), (left + wide + 4 * thick, top + tall + 4 * thick), colour, -1)
        at = (left + 2 * thick, top + tall + 2 * thick)
        cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, (255, 255, 255), thick, cv2.LINE_AA)
    return image


def numbered_jpeg(picture: StylePicture) -> bytes:
    """The file of `draw_numbers`."""
    bgr = cv2.cvtColor(draw_numbers(picture), cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()


def read_image(path: Path) -> Image:
    """A style's picture, upright; raises `UserError` (`template_unreadable`)."""
    with _unreadable(path):
        return image_io.read(path).image


def _read_bounded(path: Path) -> tuple[Image, float]:
    """A template of at most `MAX_PIXELS`, and the pixels of the file for one of its own; raises `UserError` as `read_image`."""
    with _unreadable(path):
        photo = image_io.read_bounded(path, MAX_PIXELS)
    return photo.image, photo.scale


def _in_image(point: tuple[float, float], scale: float) -> tuple[float, float]:
    return point[0] / scale, point[1] / scale


@contextmanager
def _unreadable(path: Path) -> Iterator[None]:
    """Say which picture it is that cannot be read."""
    try:
        yield
    except UserError as error:
        raise UserError("template_unreadable", f"The picture {path.name} cannot be used. {error.message}") from error


def _no_face(path: Path) -> UserError:
    return UserError("template_no_face", f"No face was found in {path.name}. Choose a picture that shows one clearly.")


def _heads(image: Image, finder: FaceFinder) -> list[Box]:
    return finder.detect_heads(image) if isinstance(finder, HeadDetector) else []


def _tiles(image: Image, side: float) -> Iterator[tuple[int, int, Image]]:
    """Tiles of about `side` pixels that overlap by more than a third, with their left and top; none in a small picture."""
    height, width = image.shape[:2]
    side = min(round(side), height, width)
    if side >= 0.9 * max(height, width):
        return
    rows, columns = (
        np.unique(np.linspace(0, each - side, max(1, -(-each // round(0.6 * side)) - 1)).round())
        for each in (height, width)
    )
    for top in rows.astype(int).tolist():
        for left in columns.astype(int).tolist():
            yield left, top, np.ascontiguousarray(image[top : top + side, left : left + side])


def _detect_again(image: Image, finder: FaceFinder, box: Box) -> Face | None:
    """The face in a box, looked for in windows around it; None where none is made out."""
    for room in AGAIN:
        rows, columns = box_slices(box, image.shape, (room - 1) / 2 + 0.3)
        window = np.ascontiguousarray(image[rows, columns])
        if min(window.shape[:2]) < 16:
            continue
        factor = max(1.0, FINDER_SIDE / max(window.shape[:2]))
        large = resize(window, tuple(round(side * factor) for side in window.shape[:2]), cv2.INTER_CUBIC)
        back = np.array([[1 / factor, 0, columns.start], [0, 1 / factor, rows.start]], np.float64)
        for face in finder.faces(large, embedded=0):
            found = transform_face(face, back)
            if _holds(found.box, box.centre) and 0.4 < found.box.width / max(box.width, 1) < 2.5:
                return found
    return None


def _distinct(faces: Sequence[Face]) -> list[Face]:
    """One face of each that was found several times: the most confident."""
    chosen: list[Face] = []
    for face in sorted(faces, key=lambda each: -each.confidence):
        if not any(_same(face.box, other.box) for other in chosen):
            chosen.append(face)
    return chosen


def _same(one: Box, other: Box) -> bool:
    """Whether two boxes are of one head: they share a third of the smaller one; heads that touch share less."""
    wide = min(one.right, other.right) - max(one.left, other.left)
    tall = min(one.bottom, other.bottom) - max(one.top, other.top)
    return min(wide, tall) > 0 and wide * tall > 0.3 * min(one.area, other.area)


def _touches(box: Box, image: Image, corner: tuple[int, int], tile: Image) -> bool:
    """Whether a face may be cut by a border of its tile that is none of the picture."""
    (left, top), (height, width) = corner, tile.shape[:2]
    return bool(
        (left > 0 and box.left < left + 2)
        or (top > 0 and box.top < top + 2)
        or (left + width < image.shape[1] and box.right > left + width - 2)
        or (top + height < image.shape[0] and box.bottom > top + height - 2)
    )


def _moved(face: Face, left: int, top: int) -> Face:
    return transform_face(face, np.array([[1, 0, left], [0, 1, top]], np.float64))


def _centre(box: Box) -> tuple[float, float]:
    return round(box.centre[0], 1), round(box.centre[1], 1)


def _at(faces: Sequence[Face], point: tuple[float, float]) -> Face | None:
    holding = [face for face in faces if _holds(face.box, point)]
    return min(holding, key=lambda face: np.hypot(*(np.array(face.box.centre) - point)), default=None)


def _holds(box: Box, point: tuple[float, float]) -> bool:
    room = 0.15 * box.width
    return box.left - room <= point[0] <= box.right + room and box.top - room <= point[1] <= box.bottom + room


def find_drawn_face(faces: Sequence[Face], place: int, request: PortraitRequest, image: Image) -> Face | None:
    """Return the face of one person in the drawing `image`: the largest in a studio, the nearest to its place in a template."""
    picture = request.style.picture
    if not faces or picture is None:
        return faces[0] if faces else None
    height, width = image.shape[:2]
    # A portrait in another size than the template's is cut from its middle: places are compared as shares of the width.
    share = np.array([width / picture.image.shape[1], height / picture.image.shape[0]])
    wanted = np.array(picture.faces[place - 1].box.centre) * (share if request.size is None else share.max())
    if request.size is not None:
        return faces[0] if len(picture.faces) == 1 else nearest_face(faces, wanted)
    return nearest_face(faces, wanted, picture.faces[place - 1].box.width * share[0])


def nearest_face(faces: Sequence[Face], place: NDArray[np.float64], limit: float = math.inf) -> Face | None:
    """Return the face whose centre is nearest to `place`; None where none lies within `limit` pixels."""

    def away(face: Face) -> float:
        return float(np.hypot(*(np.array(face.box.centre) - place)))

    return min((face for face in faces if away(face) <= limit), key=away, default=None)
