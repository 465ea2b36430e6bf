"""Age and sex of a face by two small networks of dlib's model collection, converted to ONNX; CC0-1.0.

Both read a chip that is aligned by five points, as dlib's embedding is, and give probabilities: 81 years, two sexes.
"""

import numpy as np

from pipelines.engines import Engines
from pipelines.engines.runtimes.chips import MEAN, STD, face_chip
from pipelines.engines.runtimes.onnx import Floats, OnnxNetwork, to_nchw
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.arrays import Image
from portrait.ports import Attributes
from portrait.types import Face

MODEL = "dlib_attributes"
AGE_FILE, AGE_SIDE = "age-v1.onnx", 64
SEX_FILE, SEX_SIDE = "gender-v1.onnx", 32
"""Published file and side of its chip in pixels."""
YEARS = np.array([0.25, *range(1, 81)], np.float32)
"""Years that a class stands for, as published: the first is the months before the first birthday."""
ADULT = 18
ROOM = 0.2
"""Room around the face in both chips, as a share of them."""


class DlibAttributes:
    """Estimates age and sex; both together take 10 to 50 ms a face."""

    def __init__(self, age: OnnxNetwork, sex: OnnxNetwork) -> None:
        self._age, self._sex = age, sex

    def estimate(self, image: Image, face: Face) -> Attributes:
        """See `portrait.ports.AttributeEstimator`; raises `EngineError` (`no_mesh`, `broken_model`)."""
        years = _probabilities(self._age, face_chip(image, face, AGE_SIDE, ROOM), len(YEARS))
        sexes = _probabilities(self._sex, face_chip(image, face, SEX_SIDE, ROOM), 2)
        return Attributes(float(years @ YEARS), float(years[:ADULT].sum()), float(sexes[0]))


def _probabilities(network: OnnxNetwork, chip: Image, classes: int) -> Floats:
    output = network(to_nchw(chip, MEAN, STD))
    if output.shape != (1, classes):
        raise network.broken_model(f"it gives {output.shape}")
    return output[0]


def make(settings: Settings, models: ModelStore, engines: Engines) -> DlibAttributes:
    """Load both networks."""
    return DlibAttributes(*(OnnxNetwork(models.file(MODEL, file), MODEL) for file in (AGE_FILE, SEX_FILE)))


def status(settings: Settings, models: ModelStore) -> list[str]:
    """Missing model files, one sentence each; empty when the engine is ready."""
    return models.missing(MODEL)
