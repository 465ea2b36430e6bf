"""Face parser with the BiSeNet network, for hair, ears and glasses too; its training data is for research only.

The published ONNX network takes 1×3×512×512, normalised by ImageNet's mean and deviation, and gives logits of
CelebAMask-HQ's 19 classes.
"""

import cv2
import numpy as np

from pipelines.engines import Engines
from pipelines.engines.runtimes.onnx import OnnxNetwork, to_nchw, unused_gpu
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.arrays import Image, Region, Regions
from portrait.faces.alignment import Floats, crop_aligned, ffhq_alignment, warp_back
from portrait.types import Face

MODEL, FILE = "bisenet", "bisenet_resnet_34.onnx"
SIDE = 512
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)
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
CLASS_COUNT = 19


class BiSeNet:
    """Parses faces in FFHQ's crop, with which the network was trained."""

    def __init__(self, network: OnnxNetwork) -> None:
        if network.input_size not in (None, (SIDE, SIDE)):
            raise network.broken_model(f"it takes pictures of {network.input_size}, not {SIDE} pixels")
        self._network = network

    def parse(self, image: Image, face: Face) -> Regions:
        """Soft masks of every region, 0 beyond the crop of about 2.5 faces; see `portrait.ports.Parser`."""
        matrix = ffhq_alignment(face, SIDE)
        # Beyond the picture the crop is black, as in a letter box: a mirrored border would show a second face.
        crop = crop_aligned(image, matrix, SIDE, cv2.BORDER_CONSTANT)
        probabilities = self._class_probabilities(crop)
        return {
            name: np.clip(warp_back(np.ascontiguousarray(probabilities[list(each)].sum(0)), matrix, image.shape), 0, 1)
            for name, each in CLASSES.items()
        }

    def _class_probabilities(self, crop: Image) -> Floats:
        """19×512×512 probabilities that sum to 1; raises `EngineError` (`broken_model`)."""
        logits = self._network(to_nchw(crop, MEAN, STD))
        if logits.shape != (1, CLASS_COUNT, SIDE, SIDE):
            raise self._network.broken_model(f"it gives {logits.shape}, not {CLASS_COUNT} classes")
        exponentials = np.exp(logits[0] - logits[0].max(0))
        return np.asarray(exponentials / exponentials.sum(0), np.float32)


def make(settings: Settings, models: ModelStore, engines: Engines) -> BiSeNet:
    """Load the network."""
    return BiSeNet(OnnxNetwork(models.file(MODEL, FILE), MODEL))


def status(settings: Settings, models: ModelStore) -> list[str]:
    """Missing model files and a GPU that onnxruntime cannot use, one sentence each; empty when the engine is ready."""
    return [*models.missing(MODEL), *unused_gpu()]
