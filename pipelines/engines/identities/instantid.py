"""InstantID for SDXL: a control network that sees the face's place and tokens, and image tokens for the attention.

Non-commercial: it reads embeddings of InsightFace's antelopev2, raw as that network gives them.
"""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from diffusers import ControlNetModel

from pipelines.diffusion.base import checkpoint_files
from pipelines.diffusion.base.lease import Lease, match_batch
from pipelines.diffusion.base.loading import BaseSource, require_family
from pipelines.diffusion.sampling import pipeline_call
from pipelines.diffusion.sampling.pipeline_call import Conditioning, ControlNetUnit, strength_of
from pipelines.diffusion.sampling.reference_faces import ReferenceEmbedder
from pipelines.engines import Engines
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.arrays import Image, Points, Size
from portrait.generation.parameters import GenerationParameters
from portrait.types import Face, Identity

MODEL = "instantid"
SPACE = "antelopev2"
ADAPTER, NETWORK = 0.8, 0.8
"""The published defaults."""
LIMBS = ((0, 2), (1, 2), (3, 2), (4, 2))
"""From each point to the nose."""
COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255))
WIDE, RADIUS, DIM = 4, 10, 0.6
"""How InstantID was taught to read a face: pixels, pixels, share of the brightness."""
FACE_SHARE, EYES = 0.28, 0.42
"""Height of the face and of its eyes in a portrait that nobody placed, over the picture's height."""


class IdentityNet(ControlNetModel):
    """A control network that attends to a face instead of words."""

    tokens: torch.Tensor | None = None
    """Batch×tokens×width, what speaks against the person first; state of one request."""

    def forward(
        self, sample: torch.Tensor, timestep: Any, encoder_hidden_states: torch.Tensor, *rest: Any, **more: Any
    ):
        """As the parent's, with the face for words."""
        if self.tokens is None:
            raise RuntimeError("no face was given to the network that draws it")
        return super().forward(sample, timestep, match_batch(self.tokens, sample.shape[0]), *rest, **more)

    def clear(self) -> None:
        """Leave nothing of whoever was drawn."""
        self.tokens = None


class InstantId:
    """One photo is enough."""

    def __init__(self, folder: Path, reader: ReferenceEmbedder) -> None:
        self._folder, self._embedder = folder, reader

    def describe(self, person: Identity, description: str) -> str:
        """The words as they are."""
        return description

    def check(self, person: Identity, base: BaseSource) -> None:
        """See `portrait.ports.Identifier`."""
        require_family(base, "sdxl", "InstantID")
        checkpoint_files.load_checkpoint(self._folder / "ip-adapter.bin", ("image_proj", "ip_adapter"))
        self._embedder.best_face(person)

    def prepare(self, lease: Lease, person: Identity, parameters: GenerationParameters) -> Conditioning:
        """Give both networks the face, and the place where it shall be."""
        face = self._embedder.best_face(person)
        technique = parameters.options
        scales = (strength_of(technique, "instantid", ADAPTER), strength_of(technique, "identitynet", NETWORK))
        layer = lease.load_ip_adapter(
            MODEL,
            lambda: checkpoint_files.load_checkpoint(self._folder / "ip-adapter.bin", ("image_proj", "ip_adapter")),
            scales[0],
        )
        network = lease.get_or_load(
            "identitynet",
            lambda: checkpoint_files.load_network(
                IdentityNet, self._folder / "ControlNetModel", lease.dtype, lease.device
            ),
        )
        told = pipeline_call.face_embeds(face.embeddings[SPACE], lease, pipeline_call.uses_guidance(parameters))
        lease.add_cleanup(network.clear)
        with torch.no_grad():
            network.tokens = layer(told[:, 0])
        points = technique.landmarks if technique.landmarks is not None else default_landmarks(face, parameters.size)
        return Conditioning(
            arguments={"ip_adapter_image_embeds": [told]},
            controlnets=[ControlNetUnit(network, draw_landmarks(points, parameters.size), scales[1])],
            facts={"instantid": {"adapter": scales[0], "network": scales[1]}},
        )


def draw_landmarks(points: Points, size: Size) -> Image:
    """Five points as InstantID reads them: dim limbs to the nose, and bright discs upon them."""
    canvas = np.zeros((size.height, size.width, 3), np.uint8)
    for end, nose in LIMBS:
        x, y = points[end, 0] - points[nose, 0], points[end, 1] - points[nose, 1]
        middle = (int((points[end, 0] + points[nose, 0]) / 2), int((points[end, 1] + points[nose, 1]) / 2))
        turned = int(np.degrees(np.arctan2(y, x)))
        limb = cv2.ellipse2Poly(middle, (int(np.hypot(x, y) / 2), WIDE), turned, 0, 360, 1)
        canvas = cv2.fillConvexPoly(canvas, np.array(limb, np.int32), COLOURS[end])
    canvas = (canvas * DIM).astype(np.uint8)
    for (x, y), colour in zip(points[:, :2], COLOURS, strict=True):
        canvas = cv2.circle(canvas, (int(x), int(y)), RADIUS, colour, -1)
    return np.asarray(canvas, np.uint8)


def default_landmarks(face: Face, size: Size) -> Points:
    """The landmarks of a selfie where a portrait has its face, as tilted as they are in the selfie."""
    five = face.landmarks[:, :2].astype(np.float64)
    eyes = five[:2].mean(axis=0)
    scale = FACE_SHARE * size.height / max(face.box.height, 1.0)
    scale = min(scale, 0.6 * size.width / max(face.box.width, 1.0))
    return ((five - eyes) * scale + (size.width / 2, EYES * size.height)).astype(np.float32)


def make(settings: Settings, models: ModelStore, engines: Engines) -> InstantId:
    """The networks are loaded with the first portrait."""
    folder = models.folder(MODEL)
    models.folder(SPACE)
    return InstantId(folder, ReferenceEmbedder(SPACE, engines.lazy_embedder(SPACE)))


def status(settings: Settings, models: ModelStore) -> list[str]:
    """What is still missing."""
    return [*models.missing(MODEL), *models.missing(SPACE)]
