"""Control image of people's poses in OpenPose's drawing, estimated by BlazePose and the face mesh; Apache-2.0 models.

BlazePose's own detector is reliable for one person alone. Where several sit close together it confuses their shoulders, so
the body of each face is searched in circles around it, from wide to narrow. An estimate counts if it has the face where the
mesh has it, and a joint is drawn if the estimates agree on its place.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.engines import Engines
from pipelines.engines.runtimes.litert import LiteRtNetwork
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.arrays import Image, Points, Size
from portrait.errors import UserError
from portrait.faces.geometry import RotatedRect, crop, image_size, invert, transform_points
from portrait.faces.mesh import CHIN, FACE_SIDES, FOREHEAD
from portrait.generation.openpose import JOINTS, NECK, NOSE, Skeleton, draw_skeletons, face_points
from portrait.ports import FaceFinder
from portrait.types import Face

MODELS = ("pose",)
DETECTOR_SIZE = Size(224, 224)
"""Input of the detector, pixels; values -1..1."""
LANDMARK_SIZE = Size(256, 256)
"""Input of the landmark network, pixels; values 0..1."""
GRIDS = ((28, 2), (14, 2), (7, 6))
"""The detector's anchors, as cells per side and anchors per cell: strides of 8, 16 and three times 32 pixels."""
MIN_SCORE, MIN_PRESENCE = 0.5, 0.5
"""Least score of a person, by either network: MediaPipe's defaults."""
MIN_VISIBILITY = 0.5
"""Least visibility of a joint."""
CROP_SCALE = 1.25
"""Side of the landmark network's crop over the diameter of the circle around the body: MediaPipe's own."""
RADII = (6.0, 5.0, 4.0, 3.0, 2.2)
"""Radii of the circles around a body that are searched, in lengths of its face: from somebody who stands to somebody bent
over a table."""
HIPS = 0.8
"""Distance from the face to the middle of the hips, over such a radius."""
TRACKING_STEPS = 3
"""Runs of the landmark network from one circle, each centred by the one before, as MediaPipe tracks people in videos."""
MAX_FACE_DISTANCE, MIN_FITTING = 0.15, 2
"""Largest mean distance between the two networks' points of a face, in lengths of the face, and how many estimates must be
within it: in a photo of six people right bodies measured 0.04 to 0.15, those of neighbours 0.2 and more."""
MAX_SPREAD = 0.35
"""Largest median distance from a joint's median place, in lengths of the face."""
JOINT_LANDMARKS = {
    "nose": 0,
    **dict(zip(("right eye", "left eye", "right ear", "left ear"), (5, 2, 8, 7), strict=True)),
    **dict(zip(("right shoulder", "left shoulder", "right elbow", "left elbow"), (12, 11, 14, 13), strict=True)),
    **dict(zip(("right wrist", "left wrist", "right hip", "left hip"), (16, 15, 24, 23), strict=True)),
    **dict(zip(("right knee", "left knee", "right ankle", "left ankle"), (26, 25, 28, 27), strict=True)),
}
"""BlazePose's number of each joint; the neck lies between the shoulders."""
LIMBS = [
    (f"{side} {inner}", f"{side} {outer}")
    for side in ("right", "left")
    for inner, outer in (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"))
]
"""Pairs of joints from the body outwards: an outer joint is drawn only if the inner one is."""
MIDDLE, RIM = 33, 34
"""Two more points of the network: the middle of the hips, and a point of the circle around the body."""
MIN_CROP = 8.0
"""Side of a crop, pixels, below which the landmark network is not run."""
Circle: TypeAlias = tuple[NDArray[Any], NDArray[Any]]
"""The middle of somebody's hips, and the point of the circle around the body that is above the head; pixels."""
MESH_JOINTS = {"nose": 1, "right eye": 468, "left eye": 473, "right ear": 234, "left ear": 454}
"""The mesh's point of each joint that it has; irises are in the mesh of 478 points alone."""
FAR_EAR_YAW = 25.0
"""Yaw in degrees, as measured from a mesh, beyond which the ear on the far side is hidden."""
FACE_PAIRS = ((0, 1), (2, 473), (5, 468), (9, 291), (10, 61))
"""Points of the face that both networks have, BlazePose's number and the mesh's: nose, irises, corners of the mouth."""

MESH_WITH_IRISES = 478
"""Number of points of a mesh that has irises."""


@dataclass(frozen=True, slots=True, eq=False)
class _Landmarks:
    """BlazePose's landmarks of one person, in pixels of the picture."""

    points: Points
    """35×2 (x, y)."""
    visibility: NDArray[np.float32]
    """Of each point, 0..1."""


class OpenPose:
    """Estimates the poses of people and draws them as OpenPose does."""

    def __init__(self, detector: LiteRtNetwork, landmarks: LiteRtNetwork, finder: Callable[[], FaceFinder]) -> None:
        self._detector, self._landmarks, self._finder = detector, landmarks, finder

    def process(self, image: Image) -> Image:
        """Skeletons on black, as large as the picture. Raises `UserError` (`no_pose`)."""
        people = self.detect(image)
        if not people:
            raise UserError(
                "no_pose", "Nobody is seen in the picture whose pose is to be followed. Choose one that shows a person."
            )
        return draw_skeletons(people, image_size(image))

    def detect(self, image: Image) -> list[Skeleton]:
        """Skeletons of everybody whose face is found, the largest first; without faces, of whom BlazePose detects."""
        faces = self._finder().faces(image, embedded=0)
        circles = list(self._detect_bodies(image))
        if faces:
            alone = len(faces) == 1
            return [_to_skeleton(image, face, self._find_body(image, face, circles, alone)) for face in faces]
        bodies = [body for circle in circles for body in self._track(image, circle, 1)]
        return [_to_skeleton(image, None, body) for body in bodies]

    def _find_body(self, image: Image, face: Face, detected: Sequence[Circle], alone: bool) -> _Landmarks | None:
        """The body of a face: the median of the estimates that fit the face; None where too few do."""
        if face.mesh is None or len(face.mesh) < MESH_WITH_IRISES:
            bodies = [body for circle in detected for body in self._track(image, circle, 1)]
            return next((body for body in bodies if _is_inside(body.points[0], face)), None)
        for circles in ([detected] if alone else []) + [_search_circles(face, radius) for radius in RADII]:
            bodies = [body for circle in circles for body in self._track(image, circle, TRACKING_STEPS)]
            fitting = [body for body in bodies if _face_distance(body, face) <= MAX_FACE_DISTANCE]
            if len(fitting) >= MIN_FITTING:
                return _median_landmarks(fitting, _face_length(face))
        return None

    def _track(self, image: Image, circle: Circle, times: int) -> Iterator[_Landmarks]:
        """Landmarks of the body in a circle, then in the circle that those give, up to `times` runs."""
        for _ in range(times):
            body = self._run_landmarks(image, circle)
            if body is None:
                return
            yield body
            circle = body.points[MIDDLE], body.points[RIM]

    def _detect_bodies(self, image: Image) -> Iterator[Circle]:
        """The circle around the body of each person that BlazePose's detector finds."""
        height, width = image.shape[:2]
        frame = RotatedRect((width / 2, height / 2), max(width, height), max(width, height), 0.0)
        pixels = crop(image, frame, DETECTOR_SIZE, border=cv2.BORDER_CONSTANT)
        rows, scores = self._detector(pixels / 127.5 - 1)
        yield from _decode_detections(rows.reshape(-1, 12), scores, invert(frame.matrix_to(DETECTOR_SIZE)))

    def _run_landmarks(self, image: Image, circle: Circle) -> _Landmarks | None:
        """Landmarks of the body in a circle; None where the network reports nobody."""
        middle, rim = circle
        across, down = rim - middle
        side = 2 * CROP_SCALE * float(np.hypot(across, down))
        if side < MIN_CROP:
            return None
        turned = float(np.degrees(np.arctan2(across, -down)))
        frame = RotatedRect((float(middle[0]), float(middle[1])), side, side, turned)
        outputs = self._landmarks(crop(image, frame, LANDMARK_SIZE, border=cv2.BORDER_CONSTANT) / 255)
        points = next(each for each in outputs if each.size == 195).reshape(39, 5)[: RIM + 1]
        presence = float(next(each for each in outputs if each.size == 1).ravel()[0])
        if presence < MIN_PRESENCE:
            return None
        back = invert(frame.matrix_to(LANDMARK_SIZE))
        return _Landmarks(transform_points(points[:, :2], back), _sigmoid(points[:, 3]))


def _search_circles(face: Face, lengths: float) -> list[Circle]:
    """Circles in which a face's body may be: below it, upright or tilted as the face is; `lengths` of the face in radius."""
    centre, radius, turned = np.array(face.box.centre), lengths * _face_length(face), np.radians(face.pose.roll)
    downward = (np.array([0.0, 1.0]), np.array([-np.sin(turned), np.cos(turned)]))
    return [(centre + down * radius * HIPS, centre - down * radius * (1 - HIPS)) for down in downward]


def _decode_detections(
    rows: NDArray[np.float32], logits: NDArray[np.float32], back: NDArray[np.float64]
) -> Iterator[Circle]:
    """The circle around the body of each person, the most confident first; duplicates are suppressed.

    A row holds the box of a face (centre, size), then four points, in pixels of the input from its anchor.
    """
    anchors = np.concatenate([_anchor_centres(cells, count) for cells, count in GRIDS])
    scores = _sigmoid(logits.ravel())
    chosen: list[NDArray[np.float32]] = []
    for at in np.argsort(-scores):
        if scores[at] < MIN_SCORE:
            return
        box, points = rows[at, :4], rows[at, 4:8].reshape(2, 2) + anchors[at]
        centre = box[:2] + anchors[at]
        if any(np.abs(centre - other[:2]).max() < 0.5 * other[2:].max() for other in chosen):
            continue
        chosen.append(np.concatenate([centre, box[2:]]))
        middle, rim = transform_points(points.astype(np.float32), back)
        yield middle, rim


def _anchor_centres(cells: int, count: int) -> NDArray[np.float32]:
    """Centres of a grid's cells, row by row, each `count` times; pixels of the detector's input."""
    middles = (np.arange(cells, dtype=np.float32) + 0.5) * (DETECTOR_SIZE.width / cells)
    grid = np.stack(np.meshgrid(middles, middles), axis=-1).reshape(-1, 2)
    return np.repeat(grid, count, axis=0)


def _face_length(face: Face) -> float:
    """Length of a face with a mesh, pixels: from forehead to chin, or from cheek to cheek where it nods."""
    mesh = np.asarray(face.mesh)[:, :2]
    left, right = FACE_SIDES
    return float(max(np.hypot(*(mesh[CHIN] - mesh[FOREHEAD])), np.hypot(*(mesh[left] - mesh[right]))))


def _face_distance(body: _Landmarks, face: Face) -> float:
    """Mean distance between the two networks' points of the face, in lengths of the face."""
    pairs = [(body.points[number], np.asarray(face.mesh)[point, :2]) for number, point in FACE_PAIRS]
    return float(np.mean([np.hypot(*(one - other)) for one, other in pairs])) / _face_length(face)


def _median_landmarks(bodies: Sequence[_Landmarks], length: float) -> _Landmarks:
    """The median of several estimates of one body; joints that they do not agree on get visibility 0."""
    points = np.stack([body.points for body in bodies])
    middle = np.median(points, axis=0)
    spread = np.median(np.hypot(*np.moveaxis(points - middle, -1, 0)), axis=0)
    visibility = np.median(np.stack([body.visibility for body in bodies]), axis=0)
    agreeing = np.where(spread <= MAX_SPREAD * length, visibility, 0)
    return _Landmarks(middle.astype(np.float32), agreeing.astype(np.float32))


def _is_inside(point: NDArray[np.float32], face: Face) -> bool:
    box = face.box
    return bool(box.left <= point[0] <= box.right and box.top <= point[1] <= box.bottom)


def _sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -80, 80))), np.float32)


def _to_skeleton(image: Image, face: Face | None, body: _Landmarks | None) -> Skeleton:
    """OpenPose's joints of one person: nose, eyes and ears of the face where there is one, the others of the body."""
    joints = np.full((len(JOINTS), 2), np.nan, np.float32)
    if body is not None:
        for name, number in JOINT_LANDMARKS.items():
            if body.visibility[number] >= MIN_VISIBILITY:
                joints[JOINTS.index(name)] = body.points[number]
        shoulders = joints[[JOINTS.index("right shoulder"), JOINTS.index("left shoulder")]]
        joints[NECK] = shoulders.mean(axis=0)
    mesh = None if face is None else face.mesh
    if face is not None:
        _set_face_joints(joints, face)
    height, width = image.shape[:2]
    outside = (joints < 0).any(axis=1) | (joints[:, 0] >= width) | (joints[:, 1] >= height)
    joints[outside] = np.nan
    for inner, outer in LIMBS:
        if np.isnan(joints[JOINTS.index(inner), 0]):
            joints[JOINTS.index(outer)] = np.nan
    return Skeleton(joints, np.empty((0, 2), np.float32) if mesh is None else face_points(mesh))


def _set_face_joints(joints: NDArray[np.float32], face: Face) -> None:
    """Set nose, eyes and ears of `joints` to those of the face; without a mesh the ears stay as the body has them."""
    if face.mesh is None:
        joints[[JOINTS.index("right eye"), JOINTS.index("left eye"), NOSE]] = face.landmarks[:3, :2]
        return
    for name, number in MESH_JOINTS.items():
        if number < len(face.mesh):
            joints[JOINTS.index(name)] = face.mesh[number, :2]
    if abs(face.pose.yaw) > FAR_EAR_YAW:
        joints[JOINTS.index("left ear" if face.pose.yaw > 0 else "right ear")] = np.nan


def make(settings: Settings, models: ModelStore, engines: Engines) -> OpenPose:
    """Load both networks; the face finder is loaded with the first picture."""
    files = [models.file(*MODELS, name) for name in ("pose_detection.tflite", "pose_landmark_full.tflite")]
    return OpenPose(LiteRtNetwork(files[0]), LiteRtNetwork(files[1]), engines.finder)
