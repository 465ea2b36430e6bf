"""BiSeNet: parses a face with a network, hair, ears and glasses included; its training data is for research.

The published ONNX shape: 1×3×512×512, ImageNet's mean and deviation, 19 classes of CelebAMask-HQ out.
"""

import cv2
import numpy as np

from pipelines.engines import Engines
from pipelines.engines.onnx.network import Network, idle_gpu, planes
from pipelines.model_store.store import Models
from pipelines.settings import Settings
from portrait.arrays import Image
from portrait.faces.alignment import Floats, back, cut, ffhq
from portrait.types import Face, Region, Regions

MODEL, FILE = "bisenet", "bisenet_resnet_34.onnx"
SIDE = 512
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)
"""ImageNet's, in RGB."""
CLASSES: dict[Region, tuple[int, ...]] = {
    "skin": (1,),
    "brows": (2, 3),
    "eyes": (4, 5),
    "glasses": (6,),
    "ears": (7, 8, 9),
    "nose": (10,),
    "mouth": (11,),
    "lips": (12, 13),
    "neck": (14, 15),
    "clothes": (16,),
    "hair": (17,),
    "hat": (18,),
}
"""CelebAMask-HQ's numbers; 0 is background, 9 an earring, 15 a necklace."""
COUNT = 19


class BiSeNet:
    """Regions of the face in FFHQ's crop, which is how the network saw faces when it learned."""

    def __init__(self, network: Network) -> None:
        if network.size not in (None, (SIDE, SIDE)):
            raise network.broken(f"it takes pictures of {network.size}, not {SIDE} pixels")
        self._network = network

    def parse(self, image: Image, face: Face) -> Regions:
        """Soft masks of every region; 0 beyond the crop, about 2.5 faces wide. See `portrait.ports.Parser`."""
        matrix = ffhq(face, SIDE)
        # Where the picture ends the crop is black, as it would be in a letter box: a mirror would show a second face.
        crop = cut(image, matrix, SIDE, cv2.BORDER_CONSTANT)
        shares = self._shares(crop)
        return {
            name: np.clip(back(np.ascontiguousarray(shares[list(each)].sum(0)), matrix, image.shape), 0, 1)
            for name, each in CLASSES.items()
        }

    def _shares(self, crop: Image) -> Floats:
        """19×512×512 shares that sum to 1."""
        found = self._network(planes(crop, MEAN, DEVIATION))
        if found.shape != (1, COUNT, SIDE, SIDE):
            raise self._network.broken(f"it gives {found.shape}, not {COUNT} classes")
        grown = np.exp(found[0] - found[0].max(0))
        return np.asarray(grown / grown.sum(0), np.float32)


def make(settings: Settings, models: Models, engines: Engines) -> BiSeNet:
    """Load the network."""
    return BiSeNet(Network(models.file(MODEL, FILE), MODEL))


def status(settings: Settings, models: Models) -> list[str]:
    """What is still missing, and a GPU that lies idle."""
    return [*models.missing(MODEL), *idle_gpu()]
