"""InstantID for SDXL: a control network for the landmarks, conditioned on the face, and an IP-Adapter; non-commercial.

It takes embeddings of InsightFace's antelopev2, not normalised.
"""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from diffusers import ControlNetModel

from pipelines.diffusion.base import checkpoint_files
from pipelines.diffusion.base.lease import Lease
from pipelines.diffusion.base.loading import require_family
from pipelines.diffusion.base.parts.ip_attention import match_batch
from pipelines.diffusion.base.source import BaseSource
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
MODELS = (MODEL, SPACE)
ADAPTER, NETWORK = 0.8, 0.8
"""The published defaults."""
LIMBS = ((0, 2), (1, 2), (3, 2), (4, 2))
"""Pairs of landmarks that are joined: each to the nose."""
COLORS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255))
WIDE, RADIUS, DIM = 4, 10, 0.6
"""Limb width and disc radius in pixels, and share of the limbs' brightness, as InstantID was trained."""
FACE_SHARE, EYES = 0.28, 0.42
"""Height of the face, and of the eyes above it, over the picture's height, where no landmarks are given."""


class IdentityNet(ControlNetModel):
    """A control network whose cross-attention takes face tokens instead of text embeddings."""

    tokens: torch.Tensor | None = None
    """Batch×tokens×width, the negative half first; state of one request."""

    def forward(
        self, sample: torch.Tensor, timestep: Any, encoder_hidden_states: torch.Tensor, *rest: Any, **more: Any
    ):
        """The parent's forward pass, with the face tokens as text embeddings."""
        if self.tokens is None:
            raise RuntimeError("the face tokens were not set")
        return super().forward(sample, timestep, match_batch(self.tokens, sample.shape[0]), *rest, **more)


class InstantId:
    """Conditions on the face of the best reference; one photo is enough."""

    def __init__(self, folder: Path, embedder: ReferenceEmbedder) -> None:
        self._folder, self._embedder = folder, embedder

    def describe(self, person: Identity, description: str) -> str:
        """The description unchanged."""
        return description

    def check(self, person: Identity, base: BaseSource) -> None:
        """Raise what keeps the person from being drawn on this base; see `portrait.ports.IdentityAdapter`."""
        require_family(base, "sdxl", "InstantID")
        self._load_adapter()
        self._embedder.best_face(person)

    def prepare(self, lease: Lease, person: Identity, parameters: GenerationParameters) -> Conditioning:
        """Give both networks the face, and the control network the landmarks where it shall be."""
        face = self._embedder.best_face(person)
        technique = parameters.options
        scales = (strength_of(technique, "instantid", ADAPTER), strength_of(technique, "identitynet", NETWORK))
        layer = lease.load_ip_adapter(MODEL, self._load_adapter, scales[0])
        network = lease.load_network("identitynet", IdentityNet, self._folder / "ControlNetModel")
        embeds = pipeline_call.face_embeds(face.embeddings[SPACE], lease, pipeline_call.uses_guidance(parameters))
        lease.add_cleanup(setattr, network, "tokens", None)
        with torch.no_grad():
            network.tokens = layer(embeds[:, 0])
        points = technique.landmarks if technique.landmarks is not None else default_landmarks(face, parameters.size)
        return Conditioning(
            arguments={"ip_adapter_image_embeds": [embeds]},
            controlnets=[ControlNetUnit(network, draw_landmarks(points, parameters.size), scales[1])],
            facts={"instantid": {"adapter": scales[0], "network": scales[1]}},
        )

    def _load_adapter(self) -> dict[str, Any]:
        return checkpoint_files.load_checkpoint(self._folder / "ip-adapter.bin", ("image_proj", "ip_adapter"))


def draw_landmarks(points: Points, size: Size) -> Image:
    """InstantID's control image of five landmarks: dim limbs to the nose, and bright discs at the points."""
    canvas = np.zeros((size.height, size.width, 3), np.uint8)
    for end, nose in LIMBS:
        x, y = points[end, 0] - points[nose, 0], points[end, 1] - points[nose, 1]
        middle = (int((points[end, 0] + points[nose, 0]) / 2), int((points[end, 1] + points[nose, 1]) / 2))
        angle = int(np.degrees(np.arctan2(y, x)))
        limb = cv2.ellipse2Poly(middle, (int(np.hypot(x, y) / 2), WIDE), angle, 0, 360, 1)
        canvas = cv2.fillConvexPoly(canvas, np.array(limb, np.int32), COLORS[end])
    canvas = (canvas * DIM).astype(np.uint8)
    for (x, y), color in zip(points[:, :2], COLORS, strict=True):
        canvas = cv2.circle(canvas, (int(x), int(y)), RADIUS, color, -1)
    return np.asarray(canvas, np.uint8)


def default_landmarks(face: Face, size: Size) -> Points:
    """A face's landmarks moved to where a portrait usually has its face, tilted as in the photo."""
    points = face.landmarks[:, :2].astype(np.float64)
    eyes = points[:2].mean(axis=0)
    scale = FACE_SHARE * size.height / max(face.box.height, 1.0)
    scale = min(scale, 0.6 * size.width / max(face.box.width, 1.0))
    return ((points - eyes) * scale + (size.width / 2, EYES * size.height)).astype(np.float32)


def make(settings: Settings, models: ModelStore, engines: Engines) -> InstantId:
    """InstantID; the networks are loaded with the first portrait."""
    folder = models.folder(MODEL)
    models.folder(SPACE)
    return InstantId(folder, ReferenceEmbedder(SPACE, engines.lazy_embedder(SPACE)))
