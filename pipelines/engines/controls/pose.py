"""The pose of people as OpenPose draws it, seen by BlazePose and the face finder's mesh; Apache-2.0 models.

BlazePose's own detector does well with one person alone. Where several sit close together it mistakes whose shoulders it
sees; so each face's body is looked for in circles around it, from wide to narrow. A look counts if it sees the face where the
mesh has it, and a joint is drawn if the looks agree on its place.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from pipelines.engines import Engines
from pipelines.model_store.store import Models
from pipelines.settings import Settings
from portrait.arrays import Image, Points, Size
from portrait.errors import UserError
from portrait.faces.geometry import Frame, crop, inverse, move, size_of
from portrait.generation.openpose import JOINTS, NECK, NOSE, Skeleton, dots, figures
from portrait.ports import FaceFinder
from portrait.types import Face

MODEL = "pose"
DETECTOR = Size(224, 224)
"""Input of the detector, pixels; values -1..1."""
LANDMARKS = Size(256, 256)
"""Input of the landmark network, pixels; values 0..1."""
GRIDS = ((28, 2), (14, 2), (7, 6))
"""Cells of the detector's anchors a side, and anchors a cell: strides of 8, 16 and three times 32 pixels."""
DETECTION, PRESENCE = 0.5, 0.5
"""Least score of a person, by either network: MediaPipe's defaults."""
VISIBLE = 0.5
"""Least visibility of a joint."""
ROOM = 1.25
"""Side of the landmark network's crop over the circle around the body that the detector proposes: MediaPipe's own."""
CIRCLES = (6.0, 5.0, 4.0, 3.0, 2.2)
"""Radii of circles around a body, in lengths of its face: somebody who stands, down to somebody bent over a table."""
HIPS = 0.8
"""From the face to the middle of the hips, over such a radius."""
LOOKS = 3
"""How often is looked from one circle, each time centred by the look before, as MediaPipe does in videos."""
FITS, ENOUGH = 0.15, 2
"""Largest mean distance between the face's points as both networks see them, in lengths of the face, and how many looks must be
within it: in a photo of six people right bodies measured 0.04 to 0.15, those of neighbours 0.2 and more."""
AGREED = 0.35
"""Largest median distance from a joint's median place, in lengths of the face."""
SEES = {
    "nose": 0,
    **dict(zip(("right eye", "left eye", "right ear", "left ear"), (5, 2, 8, 7), strict=True)),
    **dict(zip(("right shoulder", "left shoulder", "right elbow", "left elbow"), (12, 11, 14, 13), strict=True)),
    **dict(zip(("right wrist", "left wrist", "right hip", "left hip"), (16, 15, 24, 23), strict=True)),
    **dict(zip(("right knee", "left knee", "right ankle", "left ankle"), (26, 25, 28, 27), strict=True)),
}
"""BlazePose's number of each joint; the neck lies between the shoulders."""
CHAINS = [
    (f"{side} {inner}", f"{side} {outer}")
    for side in ("right", "left")
    for inner, outer in (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"))
]
"""What hangs on what, from the body outwards: no joint is drawn alone."""
MIDDLE, RIM = 33, 34
"""Two more points of the network: the middle of the hips, and a point of the circle around the body."""
SMALLEST = 8.0
"""Side of a crop, pixels, below which nothing is to be seen."""
Circle: TypeAlias = tuple[NDArray[Any], NDArray[Any]]
"""The middle of somebody's hips, and the point of the circle around the body that is above the head; pixels."""
FROM_MESH = {"nose": 1, "right eye": 468, "left eye": 473, "right ear": 234, "left ear": 454}
"""Where the mesh has a joint, for irises the mesh of 478 points."""
AWAY = 25.0
"""Yaw in degrees, as a mesh reads it, beyond which the ear on the far side is hidden."""
FACE_SEES = ((0, 1), (2, 473), (5, 468), (9, 291), (10, 61))
"""Points of the face that both networks know, BlazePose's number and the mesh's: nose, irises, corners of the mouth."""
FOREHEAD, CHIN, ASIDE, BESIDE = 10, 152, 234, 454
WHOLE = 478
"""Points of a mesh that has irises."""


@dataclass(frozen=True, slots=True, eq=False)
class _Body:
    """What BlazePose sees of one person, in pixels of the picture."""

    points: Points
    """35×2."""
    seen: NDArray[np.float32]
    """35 visibilities, 0..1."""


class OpenPose:
    """Draws people as OpenPose does."""

    def __init__(self, detector: Interpreter, landmarks: Interpreter, finder: Callable[[], FaceFinder]) -> None:
        self._detector, self._landmarks, self._finder = detector, landmarks, finder

    def draw(self, image: Image) -> Image:
        """See `portrait.ports.Control`; raises `UserError` (`no_pose`)."""
        people = self.people(image)
        if not people:
            raise UserError(
                "no_pose", "Nobody is seen in the picture whose pose is to be followed. Choose one that shows a person."
            )
        return figures(people, size_of(image))

    def people(self, image: Image) -> list[Skeleton]:
        """Everybody whose face is seen, the largest first; where no face is seen, whom the detector finds."""
        faces = self._finder().faces(image, embedded=0)
        found = list(self._proposals(image))
        if faces:
            return [_skeleton(image, face, self._belonging(image, face, found, len(faces) == 1)) for face in faces]
        bodies = [body for circle in found for body in self._looks(image, circle, 1)]
        return [_skeleton(image, None, body) for body in bodies]

    def _belonging(self, image: Image, face: Face, found: Sequence[Circle], alone: bool) -> _Body | None:
        """The body of a face: what looks agree on that see the face itself; None where too few do."""
        if face.mesh is None or len(face.mesh) < WHOLE:
            bodies = [body for circle in found for body in self._looks(image, circle, 1)]
            return next((body for body in bodies if _inside(body.points[0], face)), None)
        for circles in ([found] if alone else []) + [_circles(face, wide) for wide in CIRCLES]:
            looks = [look for circle in circles for look in self._looks(image, circle, LOOKS)]
            fitting = [body for body in looks if _misfit(body, face) <= FITS]
            if len(fitting) >= ENOUGH:
                return _agreed(fitting, _length(face))
        return None

    def _looks(self, image: Image, circle: Circle, times: int) -> Iterator[_Body]:
        """What is seen of a body in a circle, and in those that follow from it."""
        for _ in range(times):
            body = self._body(image, circle)
            if body is None:
                return
            yield body
            circle = body.points[MIDDLE], body.points[RIM]

    def _proposals(self, image: Image) -> Iterator[Circle]:
        """People whom the detector sees."""
        height, width = image.shape[:2]
        frame = Frame((width / 2, height / 2), max(width, height), max(width, height), 0.0)
        shown = crop(image, frame, DETECTOR, border=cv2.BORDER_CONSTANT)
        rows, scores = _infer(self._detector, shown / 127.5 - 1)
        yield from _proposals(rows.reshape(-1, 12), scores, inverse(frame.to(DETECTOR)))

    def _body(self, image: Image, circle: Circle) -> _Body | None:
        """What is seen in the circle around a body; None where nobody is."""
        middle, rim = circle
        across, down = rim - middle
        side = 2 * ROOM * float(np.hypot(across, down))
        if side < SMALLEST:
            return None
        turned = float(np.degrees(np.arctan2(across, -down)))
        frame = Frame((float(middle[0]), float(middle[1])), side, side, turned)
        shown = crop(image, frame, LANDMARKS, border=cv2.BORDER_CONSTANT)
        outputs = _infer(self._landmarks, shown / 255)
        points = next(each for each in outputs if each.size == 195).reshape(39, 5)[: RIM + 1]
        presence = float(next(each for each in outputs if each.size == 1).ravel()[0])
        if presence < PRESENCE:
            return None
        return _Body(move(points[:, :2], inverse(frame.to(LANDMARKS))), _share(points[:, 3]))


def _circles(face: Face, wide: float) -> list[Circle]:
    """Where a face's body may be: below it, upright or as tilted as the face is."""
    centre, radius, turned = np.array(face.box.centre), wide * _length(face), np.radians(face.pose.roll)
    downward = (np.array([0.0, 1.0]), np.array([-np.sin(turned), np.cos(turned)]))
    return [(centre + down * radius * HIPS, centre - down * radius * (1 - HIPS)) for down in downward]


def _proposals(rows: NDArray[np.float32], scores: NDArray[np.float32], back: NDArray[np.float64]) -> Iterator[Circle]:
    """The circle around the body of each person, the surest first.

    A row holds the box of a face (centre, size), then four points, in pixels of the input from its anchor.
    """
    anchors = np.concatenate([_anchors(cells, each) for cells, each in GRIDS])
    sure = _share(scores.ravel())
    kept: list[NDArray[np.float32]] = []
    for at in np.argsort(-sure):
        if sure[at] < DETECTION:
            return
        box, points = rows[at, :4], rows[at, 4:8].reshape(2, 2) + anchors[at]
        centre = box[:2] + anchors[at]
        if any(np.abs(centre - other[:2]).max() < 0.5 * other[2:].max() for other in kept):
            continue
        kept.append(np.concatenate([centre, box[2:]]))
        middle, rim = move(points.astype(np.float32), back)
        yield middle, rim


def _anchors(cells: int, each: int) -> NDArray[np.float32]:
    """Middles of a grid's cells, row by row, each several times; pixels of the detector's input."""
    middles = (np.arange(cells, dtype=np.float32) + 0.5) * (DETECTOR.width / cells)
    grid = np.stack(np.meshgrid(middles, middles), axis=-1).reshape(-1, 2)
    return np.repeat(grid, each, axis=0)


def _length(face: Face) -> float:
    """Of a face with a mesh, pixels: from forehead to chin, or from side to side where it nods."""
    mesh = np.asarray(face.mesh)[:, :2]
    return float(max(np.hypot(*(mesh[CHIN] - mesh[FOREHEAD])), np.hypot(*(mesh[ASIDE] - mesh[BESIDE]))))


def _misfit(body: _Body, face: Face) -> float:
    """Mean distance between the face's points as both networks see them, in lengths of the face."""
    pairs = [(body.points[number], np.asarray(face.mesh)[point, :2]) for number, point in FACE_SEES]
    return float(np.mean([np.hypot(*(one - other)) for one, other in pairs])) / _length(face)


def _agreed(bodies: Sequence[_Body], length: float) -> _Body:
    """The median of several looks; what they do not agree on is not seen."""
    points = np.stack([body.points for body in bodies])
    middle = np.median(points, axis=0)
    apart = np.median(np.hypot(*np.moveaxis(points - middle, -1, 0)), axis=0)
    seen = np.median(np.stack([body.seen for body in bodies]), axis=0)
    return _Body(middle.astype(np.float32), np.where(apart <= AGREED * length, seen, 0).astype(np.float32))


def _inside(point: NDArray[np.float32], face: Face) -> bool:
    box = face.box
    return bool(box.left <= point[0] <= box.right and box.top <= point[1] <= box.bottom)


def _share(raw: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scores as networks give them, as shares 0..1."""
    return np.asarray(1 / (1 + np.exp(-np.clip(raw, -80, 80))), np.float32)


def _skeleton(image: Image, face: Face | None, body: _Body | None) -> Skeleton:
    """Both together: the mesh knows nose and eyes better, the body all the rest."""
    joints = np.full((len(JOINTS), 2), np.nan, np.float32)
    if body is not None:
        for name, number in SEES.items():
            if body.seen[number] >= VISIBLE:
                joints[JOINTS.index(name)] = body.points[number]
        shoulders = joints[[JOINTS.index("right shoulder"), JOINTS.index("left shoulder")]]
        joints[NECK] = shoulders.mean(axis=0)
    mesh = None if face is None else face.mesh
    if face is not None:
        _see_face(joints, face)
    height, width = image.shape[:2]
    outside = (joints < 0).any(axis=1) | (joints[:, 0] >= width) | (joints[:, 1] >= height)
    joints[outside] = np.nan
    for inner, outer in CHAINS:
        if np.isnan(joints[JOINTS.index(inner), 0]):
            joints[JOINTS.index(outer)] = np.nan
    return Skeleton(joints, np.empty((0, 2), np.float32) if mesh is None else dots(mesh))


def _see_face(joints: NDArray[np.float32], face: Face) -> None:
    """Nose, eyes and ears where the face has them; without a mesh the ears stay as the body has them."""
    if face.mesh is None:
        joints[[JOINTS.index("right eye"), JOINTS.index("left eye"), NOSE]] = face.landmarks[:3, :2]
        return
    for name, number in FROM_MESH.items():
        if number < len(face.mesh):
            joints[JOINTS.index(name)] = face.mesh[number, :2]
    if abs(face.pose.yaw) > AWAY:
        joints[JOINTS.index("left ear" if face.pose.yaw > 0 else "right ear")] = np.nan


def _infer(network: Interpreter, values: NDArray[Any]) -> list[NDArray[np.float32]]:
    """Run a network on one picture; its outputs as they come."""
    network.set_tensor(network.get_input_details()[0]["index"], values[None].astype(np.float32))
    network.invoke()
    return [network.get_tensor(each["index"]) for each in network.get_output_details()]


def make(settings: Settings, models: Models, engines: Engines) -> OpenPose:
    """Load both networks; the face finder comes with the first picture."""
    files = (models.file(MODEL, "pose_detection.tflite"), models.file(MODEL, "pose_landmark_full.tflite"))
    return OpenPose(_network(files[0]), _network(files[1]), engines.finder)


def _network(path: Path) -> Interpreter:
    network = Interpreter(model_path=str(path), num_threads=1)
    network.allocate_tensors()
    return network


def status(settings: Settings, models: Models) -> list[str]:
    """What is still missing."""
    return models.missing(MODEL)
