"""Small faces for tests and benchmarks: photos reduced and spoilt, and how far enhanced ones are from the photo as it was."""

from dataclasses import dataclass

import cv2
import numpy as np

from pipelines.engines.restorers.classic import ClassicRestorer
from pipelines.enhance import Enhance
from portrait.arrays import Image, Vector
from portrait.faces.geometry import box_slices, scaling_matrix, transform_face
from portrait.ports import FaceFinder, Upscaler
from portrait.types import Face, Quality, Reference
from tests import fakes, selfies

FINE = Quality(1, 1, 1, 1, 1, 1, 1)
SIZES = (0.9, 0.95, 1.0, 1.05, 1.1)
"""A face is embedded at each and the mean taken: landmarks are rounded to whole pixels, which moves a vector by 0.03."""


def reduced(image: Image, face: Face, width: float, poor: bool) -> Image:
    """The photo with a face of `width` pixels: as a good camera stores it, or out of focus, noisy and saved as JPEG 60."""
    factor = width / face.box.width
    small = np.asarray(cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA), np.uint8)
    if poor:
        small = selfies.noisy(selfies.blurred(small, 0.012, width), 6)
    data = np.frombuffer(selfies.jpeg(small, 60 if poor else 92), np.uint8)
    return np.ascontiguousarray(np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)[..., ::-1])


@dataclass(frozen=True, slots=True)
class SmallFaces:
    """Enlarges a small photo in three ways and measures each."""

    finder: FaceFinder
    upscaler: Upscaler

    def distances(self, image: Image, width: float, poor: bool) -> dict[str, float]:
        """Distances to the photo as it was: enlarged (`lanczos`), then restored (`classic`), and with detail (`enhanced`)."""
        truth = self.finder.faces(image)[0]
        pictures = self.enlarged(reduced(image, truth, width, poor))
        known = self.embedding(image, truth)
        return {
            name: float(np.linalg.norm(self.embedding(each, face) - known)) for name, (each, face) in pictures.items()
        }

    def enlarged(self, small: Image) -> dict[str, tuple[Image, Face]]:
        """A small photo enlarged in the three ways, each with its face."""
        reference = Reference("small", small, self.finder.faces(small)[0], FINE)
        enhance = Enhance(self.finder, ClassicRestorer(), self.upscaler, largest=200)
        (made,) = enhance.enlarge_references([reference], fakes.RecordingProgress())
        plain = np.asarray(
            cv2.resize(small, None, fx=made.enlarged, fy=made.enlarged, interpolation=cv2.INTER_LANCZOS4), np.uint8
        )
        face = transform_face(reference.face, scaling_matrix(made.enlarged))
        restored = ClassicRestorer().restore(plain, face)
        return {"lanczos": (plain, face), "classic": (restored, face), "enhanced": (made.image, made.face)}

    def embedding(self, image: Image, face: Face) -> Vector:
        """The mean embedding of a face at several sizes."""
        rows, columns = box_slices(face.box, image.shape, 0.8)
        vectors = []
        for size in SIZES:
            factor = size * 200 / face.box.width
            interpolation = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
            seen = cv2.resize(image[rows, columns], None, fx=factor, fy=factor, interpolation=interpolation)
            vectors += [
                each.embeddings[self.finder.space] for each in self.finder.faces(np.asarray(seen, np.uint8))[:1]
            ]
        return np.mean(vectors, axis=0)
