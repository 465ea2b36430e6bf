"""Meters: two small networks that recognise person and scene in a picture of the face world, and a face finder with them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional

from portrait.arrays import Image
from portrait.types import Box, Face, Pose
from tests.faceworld import world
from tests.faceworld.world import BACKGROUNDS, SHIRTS, SIDE, Scenes

FILE = Path(__file__).parent / "meters.safetensors"
SPACE = "faceworld"
NUMBERS = 32
"""Of an embedding, which has length 1."""
SAME_PERSON = 0.9
"""Euclidean distance of two embeddings that is taken for one person: a similarity (cosine) of 0.6."""
PARTS = {"background": len(BACKGROUNDS), "shirt": len(SHIRTS), "hat": 2, "smile": 2}
"""What the scene network recognises, with the number of its classes."""


class Encoder(nn.Sequential):
    """Four halvings, then numbers; N×3×48×48 in 0..1 to N×`numbers`."""

    def __init__(self, numbers: int) -> None:
        layers: list[nn.Module] = []
        before = 3
        for after in (24, 48, 96, 128):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.GroupNorm(8, after), nn.SiLU()]
            layers += [nn.Conv2d(after, after, 3, padding=1), nn.GroupNorm(8, after), nn.SiLU()] if after < 128 else []
            before = after
        super().__init__(*layers, nn.Flatten(), nn.Linear(128 * 9, numbers))


@dataclass(frozen=True, slots=True, eq=False)
class Meters:
    """The identity network and the scene network."""

    identity: Encoder
    scene: Encoder

    def embed(self, pictures: Tensor) -> Tensor:
        """N×32 of length 1; the similarity of two people is the product of theirs: 1 the same, about 0 strangers."""
        with torch.inference_mode():
            return functional.normalize(self.identity(pictures), dim=1)

    def read(self, pictures: Tensor) -> dict[str, Tensor]:
        """The class of each of `PARTS`, as N indices."""
        with torch.inference_mode():
            predictions = self.scene(pictures).split(list(PARTS.values()), dim=1)
        return {name: prediction.argmax(dim=1) for name, prediction in zip(PARTS, predictions, strict=True)}


def load(path: Path = FILE) -> Meters:
    """Read both from one file."""
    weights = {name: value.float() for name, value in safetensors.torch.load_file(path).items()}
    eyes = {"identity": Encoder(NUMBERS), "scene": Encoder(sum(PARTS.values()))}
    for name, eye in eyes.items():
        prefix = name + "."
        eye.load_state_dict(
            {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
        )
        eye.eval().requires_grad_(False)
    return Meters(**eyes)


def save(meters: Meters, path: Path = FILE) -> None:
    """Both in one file, in half precision."""
    eyes = {"identity": meters.identity, "scene": meters.scene}
    weights = {
        f"{name}.{key}": value.half().contiguous()
        for name, eye in eyes.items()
        for key, value in eye.state_dict().items()
    }
    safetensors.torch.save_file(weights, path)


def accuracy(read: dict[str, Tensor], expected: Scenes) -> dict[str, float]:
    """Share of pictures in which each part of the scene is as expected, 0..1."""
    return {name: float((prediction == getattr(expected, name)).float().mean()) for name, prediction in read.items()}


@dataclass(frozen=True, slots=True, eq=False)
class Finder:
    """Finds the one face that each picture of this world shows, where it always is (`portrait.ports.FaceFinder`)."""

    meters: Meters
    space: str = SPACE
    same_person: float = SAME_PERSON

    def faces(self, image: Image, embedded: int = 1) -> list[Face]:
        """One face; a picture of another size is reduced to the world's first."""
        height, width = image.shape[:2]
        landmarks = np.array([(0.41, 0.46), (0.59, 0.46), (0.5, 0.53), (0.44, 0.64), (0.56, 0.64)], np.float32)
        face = Face(
            box=Box(0.27 * width, 0.22 * height, 0.73 * width, 0.75 * height),
            landmarks=landmarks * np.array([width, height], np.float32),
            mesh=None,
            embeddings={},
            pose=Pose(0.0, 0.0, 0.0),
            confidence=1.0,
        )
        return [self.embed(image, face) if embedded else face]

    def embed(self, image: Image, face: Face) -> Face:
        """The face with the vector of the whole picture."""
        small = np.asarray(cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)
        return replace(face, embeddings={SPACE: self.meters.embed(world.to_pictures([small]))[0].numpy()})


def measure(meters: Meters, images: Sequence[Image]) -> tuple[Tensor, dict[str, Tensor]]:
    """Embeddings and scenes of drawn images."""
    pictures = world.to_pictures(list(images))
    return meters.embed(pictures), meters.read(pictures)
