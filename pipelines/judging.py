"""Judges photos one by one: find the face, read it from enough pixels, measure it, name its faults."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np

from pipelines import image_io
from pipelines.guards.pictures import PictureGuard
from portrait.arrays import Image, Mask, Size, Vector
from portrait.errors import UserError
from portrait.faces.geometry import Affine, box_slices, invert, scaling_matrix, transform_face
from portrait.faces.likeness import distance
from portrait.images.resize import scaled_size
from portrait.images.windows import Window
from portrait.photos.groups import WHOLE, Turned, nearest, shares_of, window_without
from portrait.photos.names import distinct_names
from portrait.photos.quality import find_faults, has_main_face, judge, measure_sharpness, reason_for
from portrait.photos.reasons import Thresholds
from portrait.photos.selection import add_faults
from portrait.ports import FaceFinder, Matter, Progress
from portrait.types import Box, Face, Reason, ScoredPhoto, Selfie
from portrait.uses import photo_uses

JUDGED_SIDE = 1000
"""Long side at which photos are judged: a 12-megapixel JPEG decodes to it in a quarter of the time."""
JUDGED_FACE = 160
"""Faces narrower than this in the reduced photo are judged again from more pixels: the embedding reads 150."""
MIN_CONFIDENCE = 0.8
"""Detections from this score on stand upright: upside-down faces scored 0.71 at most, upright ones mostly more."""
MAX_ROLL = 45.0
"""Degrees of roll beyond which a quarter turn of the photo is tried."""
TILE_FACE = 40
"""Width in pixels at which a face that is just large enough is searched for in tiles of `JUDGED_SIDE`."""
FAR_FACE = 60
"""Width in pixels below which an unsure face is searched for in tiles too: of a far person a piece of clothing may look more
like a face than the face. A ring of a collar was seen 26 px wide at a score of 0.63 and 49 px wide at 0.55."""
TILE_OVERLAP = 250
"""Pixels that neighbouring tiles share, so that each face lies whole in one of them."""
TILE_CONFIDENCE = 0.6
"""Least score of a face that is seen in a tile alone: many tiles are many chances of a mistake."""
USES_FACE = 60
"""Height of the face in pixels of the reduced photo in which what it serves is found: a mask of the person needs no more."""
LARGEST_GROUP = 8
"""Faces at most among which a person is looked for: the largest."""
AT_ONCE = 2
"""Photos that are judged at a time: engines run one call after the other, and each photo is decoded in full for some of it."""
MANY = 100
"""Photos of which all are kept at `JUDGED_SIDE`, 2 MB each, until the set is made; of more, each is kept at `KEPT_SIDE`."""
KEPT_SIDE = 500
Point = tuple[float, float]
"""x and y as shares of width and height of a photo as it is stored."""


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Which part of a stored photo is looked at: turned upright, and cut to a window of it."""

    turns: int
    """Counter-clockwise quarter turns."""
    window: Box
    """In shares of the upright photo's width and height."""

    def cut(self, size: Size) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of the window, of a stored photo of that size, in pixels of the upright one."""
        upright = self._upright(size)
        left, right = (round(edge * upright.width) for edge in (self.window.left, self.window.right))
        top, bottom = (round(edge * upright.height) for edge in (self.window.top, self.window.bottom))
        return left, top, right, bottom

    def stored(self, part: Window, size: Size) -> Window:
        """Where a part of what is looked at lies in the stored photo of that size."""
        left, top, *_ = self.cut(size)
        box = Box(part.left + left, part.top + top, part.right + left, part.bottom + top)
        shares = Turned(self.turns).stored(shares_of(box, self._upright(size)))
        across, down = ((shares.left, shares.right), (shares.top, shares.bottom))
        (first, last), (upper, lower) = (
            (round(near * side), round(far * side)) for (near, far), side in ((across, size.width), (down, size.height))
        )
        return Window(first, upper, last, lower)

    def _upright(self, size: Size) -> Size:
        return size if self.turns % 2 == 0 else Size(size.height, size.width)


@dataclass(frozen=True, slots=True)
class PhotoJudge:
    """Judges photos by themselves."""

    finder: FaceFinder
    thresholds: Thresholds = field(default_factory=Thresholds)
    silhouettes: Matter | None = None
    """Finds the outline of people, by which it is known what a photo serves; without one that is not told."""
    guard: PictureGuard | None = None
    """Refuses photos that may not be used."""

    def judge_files(
        self, paths: Sequence[Path], progress: Progress, points: Mapping[int, Point] | None = None
    ) -> list[ScoredPhoto]:
        """Give each photo a verdict; two photos are decoded and judged at a time.

        points: by the index of a photo, where the person's face is in it; it is judged by that face alone. Raises
        `OperatorError` (`guard_missing`) where photos cannot be judged by the guard and none passes without.
        """
        judged: list[ScoredPhoto] = []
        pool, small = ThreadPoolExecutor(max_workers=AT_ONCE), len(paths) > MANY
        try:
            begun = [
                pool.submit(self._judge_file, path, (points or {}).get(at), small) for at, path in enumerate(paths)
            ]
            for name, each in zip(distinct_names(paths), begun, strict=True):
                progress(len(judged), len(paths), f"Looking at {name}")
                judged.append(replace(each.result(), name=name))
        finally:
            pool.shutdown(cancel_futures=True)
        progress(len(paths), len(paths), "All photos judged")
        return judged

    def _judge_file(self, path: Path, point: Point | None, small: bool) -> ScoredPhoto:
        """The verdict on a photo and what it serves; `small`: its picture is kept at `KEPT_SIDE`."""
        photo, others = self._judge(path, _read(path), point)
        if (outline := self._outline(photo, others)) is not None:
            photo = replace(photo, uses=photo_uses(*outline))
        return _reduced(photo) if small else photo

    def judge_person(self, path: Path, person: Vector) -> ScoredPhoto:
        """The verdict on a photo of several people, by the face that is most like `person`.

        Raises `UserError` where the photo cannot be read any more.
        """
        selfie = image_io.read(path, JUDGED_SIDE)
        faces, turns = self._find_upright(selfie.image)
        selfie, space = rotate(selfie, turns), self.finder.space
        embedded = [self.finder.embed(selfie.image, face) for face in faces[:LARGEST_GROUP]]
        known = [face for face in embedded if space in face.embeddings]
        if not known:
            return self._judge(path, selfie)[0]
        own = min(known, key=lambda face: distance(space, face.embeddings[space], person))
        photo, others = self._judge_faces(path, selfie, [own], turns), [face for face in embedded if face is not own]
        photo = replace(photo, faces=_stored_boxes(selfie, faces, turns))
        outline = self._outline(photo, others)
        return photo if outline is None else replace(photo, uses=photo_uses(*outline))

    def _outline(self, photo: ScoredPhoto, others: Sequence[Face]) -> tuple[Mask, Face] | None:
        """A mask of the person, and the face in its pixels, in which it is `USES_FACE` tall; None for refused photos."""
        if self.silhouettes is None or photo.verdict == "refuse" or photo.selfie is None or photo.face is None:
            return None
        image, scale = photo.selfie.image, min(1.0, USES_FACE / photo.face.box.height)
        size = scaled_size(image.shape, scale)
        small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), np.uint8)
        face, *far = (transform_face(each, scaling_matrix(size[0] / image.shape[1])) for each in (photo.face, *others))
        return self.silhouettes.silhouette(small, face, far), face

    def _judge(
        self, path: Path, selfie: "Selfie | UserError", point: Point | None = None
    ) -> tuple[ScoredPhoto, list[Face]]:
        """The verdict on a photo, and the faces of other people in the pixels of its selfie."""
        if isinstance(selfie, UserError):
            return ScoredPhoto(path.name, "refuse", (Reason(selfie.code, selfie.message),)), []
        if self.guard is not None and not self.guard.allows(selfie.image):
            return ScoredPhoto(path.name, "refuse", (reason_for("blocked"),)), []
        faces, turns = self._find_upright(selfie.image)
        if not faces or (faces[0].confidence < MIN_CONFIDENCE and faces[0].box.width < FAR_FACE):
            near = self._search_tiles(path, selfie)
            faces, turns = (near, 0) if near else (faces, turns)
        selfie = rotate(selfie, turns)
        if not faces:
            return ScoredPhoto(path.name, "refuse", (reason_for("no_face"),), selfie), []
        boxes = _stored_boxes(selfie, faces, turns)
        if point is not None:
            return replace(self._judge_at(path, selfie, faces, turns, point), faces=boxes), []
        return replace(self._judge_faces(path, selfie, faces, turns), faces=boxes), faces[1:]

    def _judge_at(self, path: Path, selfie: Selfie, faces: list[Face], turns: int, point: Point) -> ScoredPhoto:
        """The verdict on a photo by the face that a point means, and by the part of the photo that shows no other one."""
        height, width = selfie.image.shape[:2]
        x, y = Turned(turns).point(*point)
        at = nearest([face.box for face in faces], x * width, y * height)
        others = [face.box for number, face in enumerate(faces) if number != at]
        window = shares_of(window_without(faces[at].box, others, Size(width, height)), Size(width, height))
        cut = cut_out(selfie, window)
        corner = np.array([[1, 0, -round(window.left * width)], [0, 1, -round(window.top * height)]], np.float64)
        # To be embedded in the part alone, so that nobody else's face can be taken for it.
        own = transform_face(replace(faces[at], embeddings={}), corner)
        return self._judge_faces(path, cut, [own], turns, window)

    def _judge_faces(
        self, path: Path, selfie: Selfie, faces: list[Face], turns: int, window: Box = WHOLE
    ) -> ScoredPhoto:
        """The verdict on a photo by the first of its faces; a small one is read again from more pixels."""
        seen = _JudgedFace(selfie.image, faces[0], np.eye(2, 3))
        if faces[0].box.width < JUDGED_FACE and selfie.scale > 1.2:
            seen = self._read_larger(path, selfie, faces[0], Place(turns, window))
        elif not faces[0].embeddings:
            seen = replace(seen, face=self.finder.embed(selfie.image, faces[0]))
        image, face, scale = seen.image, seen.face, selfie.scale / float(seen.matrix[0, 0])
        sharpness = measure_sharpness(image, face)
        quality = judge(image, face, scale, self.thresholds, sharpness)
        codes = find_faults(image, face, scale, self.thresholds, sharpness)
        if not has_main_face(faces, self.thresholds):
            codes.insert(0, "several_faces")
        if self.finder.space not in face.embeddings:
            codes.append("face_unclear")
        # The large picture is let go: many photos are held at once.
        carried = transform_face(face, invert(seen.matrix))
        photo = ScoredPhoto(path.name, "use", (), selfie, carried, quality, None, turns, window=window)
        return add_faults(photo, *codes)

    def _read_larger(self, path: Path, selfie: Selfie, face: Face, place: Place) -> "_JudgedFace":
        """Decode what is around a face again with more pixels, and detect the face again in them."""
        side = round(full_side(selfie, place.window) * JUDGED_FACE / face.box.width * 1.25)
        width = selfie.image.shape[1]
        enlarged: list[float] = []

        def around(size: Size) -> Window:
            enlarged.append(size.width / width)
            carried = transform_face(face, scaling_matrix(enlarged[0]))
            rows, columns = box_slices(carried.box, (size.height, size.width), room=1.2)
            return Window(columns.start, rows.start, columns.stop, rows.stop)

        image, part = read_part(path, side, place, around)
        matrix = scaling_matrix(enlarged[0]) - np.array([[0, 0, part.left], [0, 0, part.top]])
        carried = transform_face(face, matrix)
        for again in self.finder.faces(image):
            if again.embeddings and _is_same_place(again, carried):
                return _JudgedFace(image, again, matrix)
        return _JudgedFace(image, carried if carried.embeddings else self.finder.embed(image, carried), matrix)

    def _search_tiles(self, path: Path, selfie: Selfie) -> list[Face]:
        """Faces that are too small to be found in the reduced photo, in its pixels, the largest first."""
        side = round(max(selfie.native_size.width, selfie.native_size.height) * TILE_FACE / self.thresholds.small)
        if side < 1.2 * max(selfie.image.shape[:2]):
            return []
        near = image_io.read(path, side).image
        found: list[tuple[bool, Face]] = []
        for left, top in _tile_corners(near):
            tile = np.ascontiguousarray(near[top : top + JUDGED_SIDE, left : left + JUDGED_SIDE])
            for face in self.finder.faces(tile, embedded=0):
                if face.confidence >= TILE_CONFIDENCE:
                    whole = min(face.box.left, face.box.top) > 0
                    whole = whole and face.box.right < tile.shape[1] and face.box.bottom < tile.shape[0]
                    found.append((whole, transform_face(face, np.array([[1, 0, left], [0, 1, top]], np.float64))))
        kept: list[Face] = []
        for _, face in sorted(found, key=lambda one: (one[0], one[1].confidence), reverse=True):
            if not any(_is_same_place(face, other) for other in kept):
                kept.append(face)
        reduced = scaling_matrix(selfie.image.shape[1] / near.shape[1])
        return sorted((transform_face(face, reduced) for face in kept), key=lambda face: -face.box.area)

    def _find_upright(self, image: Image) -> tuple[list[Face], int]:
        """The faces, and the counter-clockwise quarter turns (0 to 3) at which the largest is detected most surely."""
        faces = self.finder.faces(image, embedded=0)
        if faces and abs(faces[0].pose.roll) <= MAX_ROLL and faces[0].confidence >= MIN_CONFIDENCE:
            return faces, 0
        turned = {turns: np.ascontiguousarray(np.rot90(image, turns)) for turns in (1, 3, 2)}
        faces_by_turns = {0: faces} | {turns: self.finder.faces(each, embedded=0) for turns, each in turned.items()}
        # A sideways face is found too, but less surely; the photo is only turned for a clear gain.
        best = max(
            faces_by_turns, key=lambda turns: _upright_score(faces_by_turns[turns]) + (0.05 if turns == 0 else 0)
        )
        return faces_by_turns[best], best


@dataclass(frozen=True, slots=True, eq=False)
class _JudgedFace:
    """A face as it is judged: in the photo, or in a part of it that was decoded with more pixels."""

    image: Image
    face: Face
    matrix: Affine
    """From pixels of the photo to those of the image."""


def read_part(path: Path, side: int | None, place: Place, choose: Callable[[Size], Window]) -> tuple[Image, Window]:
    """Decode a photo, its long side reduced to `side`; returns the part that `choose` gives, and where that lies.

    `choose` is told the size of what is looked at, and answers in its pixels. Raises what `image_io.read` raises.
    """
    chosen: list[Window] = []

    def stored(size: Size) -> Window:
        left, top, right, bottom = place.cut(size)
        chosen.append(choose(Size(right - left, bottom - top)))
        return place.stored(chosen[0], size)

    image = image_io.read_part(path, side, stored)
    return np.ascontiguousarray(np.rot90(image, place.turns)), chosen[0]


def rotate(selfie: Selfie, turns: int) -> Selfie:
    """A photo turned counter-clockwise by quarters."""
    if turns == 0:
        return selfie
    native = selfie.native_size if turns == 2 else Size(selfie.native_size.height, selfie.native_size.width)
    return replace(selfie, image=np.ascontiguousarray(np.rot90(selfie.image, turns)), native_size=native)


def cut_out(selfie: Selfie, window: Box) -> Selfie:
    """The part of an upright photo in a window, in shares of its width and height."""
    if window == WHOLE:
        return selfie
    height, width = selfie.image.shape[:2]
    left, right = (round(edge * width) for edge in (window.left, window.right))
    top, bottom = (round(edge * height) for edge in (window.top, window.bottom))
    part = np.ascontiguousarray(selfie.image[top:bottom, left:right])
    native = Size(round(part.shape[1] * selfie.scale), round(part.shape[0] * selfie.scale))
    # Another part of the same photo is another picture: what was made of one is not taken for the other.
    return replace(selfie, id=f"{selfie.id}-{left}-{top}-{right}-{bottom}", image=part, native_size=native)


def full_side(selfie: Selfie, window: Box) -> int:
    """The long side in pixels of the whole photo of which a selfie is the part in a window."""
    height, width = selfie.image.shape[:2]
    return round(max(height / window.height, width / window.width))


def _stored_boxes(selfie: Selfie, faces: Sequence[Face], turns: int) -> tuple[Box, ...]:
    """The faces of an upright photo as they lie in the stored one, from left to right."""
    size = Size(selfie.image.shape[1], selfie.image.shape[0])
    boxes = (Turned(turns).stored(shares_of(face.box, size)) for face in faces[:LARGEST_GROUP])
    return tuple(sorted(boxes, key=lambda box: box.left))


def _reduced(photo: ScoredPhoto) -> ScoredPhoto:
    """A judged photo as it is kept where there are many: its picture smaller, with the face in its pixels."""
    if photo.selfie is None:
        return photo
    image = image_io.shrink(photo.selfie.image, KEPT_SIDE)
    matrix = scaling_matrix(image.shape[1] / photo.selfie.image.shape[1])
    face = None if photo.face is None else transform_face(photo.face, matrix)
    return replace(photo, selfie=replace(photo.selfie, image=image), face=face)


def _read(path: Path) -> "Selfie | UserError":
    try:
        return image_io.read(path, JUDGED_SIDE)
    except UserError as error:
        return error


def _tile_corners(image: Image) -> list[tuple[int, int]]:
    """Left and top edges of tiles that cover a picture."""
    step = JUDGED_SIDE - TILE_OVERLAP

    def starts(length: int) -> list[int]:
        return [min(start, max(0, length - JUDGED_SIDE)) for start in range(0, max(1, length - TILE_OVERLAP), step)]

    return [(left, top) for top in starts(image.shape[0]) for left in starts(image.shape[1])]


def _is_same_place(one: Face, other: Face) -> bool:
    """Whether the centres of two faces lie within half a face of each other."""
    away = np.abs(np.array(one.box.centre) - other.box.centre).max()
    return bool(away < max(one.box.width, other.box.width) / 2)


def _upright_score(faces: Sequence[Face]) -> float:
    """How surely a photo stands upright: the confidence of its largest face, less when that lies on its side."""
    if not faces:
        return 0.0
    return faces[0].confidence - (0.5 if abs(faces[0].pose.roll) > MAX_ROLL else 0.0)
