"""Fake engines without models: they find faces by the colours of synthetic pictures."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from portrait.arrays import Image, Mask
from portrait.errors import Cancelled
from portrait.types import Box, Face, Pose

SIDE = 400


def picture(person: int, seed: int, side: int = SIDE) -> Image:
    """A picture in which `FakeFinder` finds `person` (1..5; 0: nobody) by its red channel; a pattern makes photos differ."""
    blocks = np.random.default_rng(seed).integers(60, 200, (20, 20), dtype=np.uint8)
    pattern = np.asarray(cv2.resize(blocks, (side, side), interpolation=cv2.INTER_NEAREST), np.uint8)
    red = np.full_like(pattern, person * 40)
    return np.dstack([red, pattern, pattern])


def save(path: Path, image: Image) -> Path:
    """Write a picture as PNG, whatever the suffix says."""
    _, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    path.write_bytes(data.tobytes())
    return path


def face(image: Image, person: int = 1, pose: Pose = Pose(0, 0, 0), share: float = 0.3) -> Face:
    """A face in the middle of a picture, `share` of its width wide."""
    height, width = image.shape[:2]
    unit = width * share
    left, top = (width - unit) / 2, (height - unit) / 2
    five = np.array([[0.3, 0.35], [0.7, 0.35], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]], np.float32) * unit + (left, top)
    vector = np.zeros(8, np.float32)
    vector[person] = 1
    return Face(Box(left, top, left + unit, top + unit), five.astype(np.float32), None, {"dlib": vector}, pose, 0.95)


@dataclass
class FakeFinder:
    """Finds one face in a picture of `picture`, of the person that its red channel encodes."""

    space: str = "dlib"
    same_person: float = 0.6
    image_sizes: list[tuple[int, int]] = field(default_factory=list)
    """Height and width of every picture that it was given."""

    def faces(self, image: Image, embedded: int = 1) -> list[Face]:
        self.image_sizes.append((image.shape[0], image.shape[1]))
        person = round(float(image[..., 0].mean()) / 40)
        return [face(image, person)] if person else []

    def embed(self, image: Image, face: Face) -> Face:
        return face


class FakeRestorer:
    """Lightens a picture a little, or with `harm` changes the person in it."""

    def __init__(self, harm: bool = False) -> None:
        self.harm = harm

    def restore(self, image: Image, face: Face) -> Image:
        better = image.copy()
        if self.harm:
            better[..., 0] = 200
        better[..., 1] = np.clip(better[..., 1].astype(int) + 3, 0, 255)
        return better


class FakeMatter:
    """Takes the middle half of a picture for the person."""

    version = "fake 1"

    def matte(self, image: Image, face: Face) -> Mask:
        mask = np.zeros(image.shape[:2], np.float32)
        mask[:, image.shape[1] // 4 : -image.shape[1] // 4] = 1
        return mask

    def silhouette(self, image: Image, face: Face, others: Sequence[Face] | None = None) -> Mask:
        return self.matte(image, face)


class RecordingProgress:
    """A progress callback that records its messages, and cancels at one that begins with `stop_at`."""

    def __init__(self, stop_at: str = "") -> None:
        self.messages: list[str] = []
        self._stop_at = stop_at

    def __call__(self, done: int, total: int, doing: str, preview: Image | None = None) -> None:

        self.messages.append(doing)
        if self._stop_at and doing.startswith(self._stop_at):
            raise Cancelled
