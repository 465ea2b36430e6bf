"""Yahoo's open_nsfw: how likely a picture is pornographic; a small network of 2016, BSD-2-Clause.

It judges whole pictures, of people or not, and errs on either side: a picture and its mirror image differ by up to .4. So what
would be kept back is looked at mirrored too, and the mean of both counts.

What was made of a picture to train it is repeated here, as the package that it comes from does: 256×256 pixels whatever the
shape, saved as a JPEG once, and the middle 224×224 of that.
"""

import hashlib
import io
import threading
from collections import OrderedDict

import numpy as np
import PIL.Image

from pipelines.engines import Engines
from pipelines.engines.runtimes.onnx import Floats, LightNetwork
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.arrays import Image

MODEL, FILE = "open_nsfw", "open_nsfw.onnx"
RESIZED, SIDE = 256, 224
"""Side in pixels to which a picture is resized, and of the middle of it that the network takes."""
MEAN = np.array([104, 117, 123], np.float32)
"""What is taken from blue, green and red."""
LARGE, REDUCING = 1024, 3.0
"""Of pictures twice as large each second pixel is read, and so on; Pillow then reduces by whole numbers first, to three times
the size at least: far faster, and the network sees nearly the same."""
REMEMBERED = 1000
"""Pictures whose verdict is kept in memory, by the hash of what the network saw: each is judged once, at several doors."""


class OpenNsfw:
    """Decides which pictures may be used and delivered; about 40 ms of one core a picture."""

    def __init__(self, network: LightNetwork, threshold: float) -> None:
        """`threshold`: probability 0..1 from which a picture is kept back."""
        self._network, self.threshold = network, threshold
        self._known: OrderedDict[bytes, float] = OrderedDict()
        self._lock = threading.Lock()

    def allows(self, image: Image) -> bool:
        """Whether the probability is below the threshold; see `portrait.ports.Guard`. Raises as `probability`."""
        return self.probability(image) < self.threshold

    def probability(self, image: Image) -> float:
        """Probability 0..1 that an H×W×3 RGB picture is pornographic.

        From the threshold on it is the mean of the picture and its mirror image. Raises `EngineError` (`broken_model`,
        `out_of_memory`).
        """
        reduced = _reduce(image)
        key = hashlib.blake2b(reduced.tobytes(), digest_size=16).digest()
        with self._lock:
            if key in self._known:
                return self._known[key]
        found = self._ask(reduced)
        if found >= self.threshold:
            found = (found + self._ask(reduced.transpose(PIL.Image.Transpose.FLIP_LEFT_RIGHT))) / 2
        with self._lock:
            self._known[key] = found
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return found

    def _ask(self, reduced: PIL.Image.Image) -> float:
        output = self._network(_as_published(reduced))
        if output.shape != (1, 2) or not np.isfinite(output).all():
            raise self._network.broken_model(f"it gives {output.tolist() if output.size < 5 else output.shape}")
        return float(output[0, 1])

    def forget(self) -> None:
        """Drop the verdicts on pictures seen before."""
        with self._lock:
            self._known.clear()


def _reduce(image: Image) -> PIL.Image.Image:
    """The whole picture, 256×256."""
    step = max(1, min(image.shape[:2]) // LARGE)
    fewer = PIL.Image.fromarray(np.ascontiguousarray(image[::step, ::step]))
    return fewer.resize((RESIZED, RESIZED), PIL.Image.Resampling.BILINEAR, reducing_gap=REDUCING)


def _as_published(reduced: PIL.Image.Image) -> Floats:
    """What the network takes: 1×224×224×3 BGR less their means, after a JPEG round trip, which shifts what it gives."""
    content = io.BytesIO()
    reduced.save(content, "JPEG")
    pixels = np.asarray(PIL.Image.open(content).convert("RGB"), np.float32)
    edge = (RESIZED - SIDE) // 2
    return np.ascontiguousarray(pixels[edge : edge + SIDE, edge : edge + SIDE, ::-1] - MEAN)[None]


def make(settings: Settings, models: ModelStore, engines: Engines) -> OpenNsfw:
    """Load the network."""
    return OpenNsfw(LightNetwork(models.file(MODEL, FILE), MODEL), settings.guards.threshold)


def status(settings: Settings, models: ModelStore) -> list[str]:
    """Missing model files, one sentence each; empty when the engine is ready."""
    return models.missing(MODEL)
