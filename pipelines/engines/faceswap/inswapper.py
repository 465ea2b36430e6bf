"""Face swapper of InsightFace's inswapper 128; non-commercial.

It takes the face of a picture as ArcFace aligns it, on 128 pixels, and an ArcFace embedding through a matrix that the file
carries as its last initializer; it gives the same 128 pixels with the other person's face. How it is blended is not its part.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.diffusion.base.checksums import WeightChecksums
from pipelines.diffusion.sampling.reference_faces import ReferenceEmbedder
from pipelines.engines import Engines
from pipelines.engines.runtimes.arcface import ARCFACE_128
from pipelines.engines.runtimes.initializers import last_initializer
from pipelines.engines.runtimes.onnx import Floats, PairNetwork, to_nchw
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.arrays import Image
from portrait.errors import UserError
from portrait.faces.alignment import crop_aligned, estimate_similarity
from portrait.faces.likeness import mean_embedding
from portrait.ports import AlignedFace
from portrait.types import Face, Identity, Reference

MODEL, FILE = "inswapper", "inswapper_128.onnx"
SPACE, PACK = "buffalo_l", ("det_10g.onnx", "w600k_r50.onnx")
"""The pack with whose ArcFace it was trained, and its files that a person's photos are read with."""
MODELS = (MODEL, SPACE)
SIDE, DIMENSIONS = 128, 512
"""Side of its square in pixels, and numbers of an embedding."""


@dataclass(frozen=True, slots=True)
class Inswapper:
    """Swaps faces on 128×128 pixels: about a third of a second each on a CPU."""

    network: PairNetwork
    matrix: Floats
    """512×512: from ArcFace's space to the one that the network reads."""
    embedder: ReferenceEmbedder
    hashes: Callable[[], Mapping[str, object]]

    @property
    def facts(self) -> Mapping[str, object]:
        """See `portrait.ports.FaceSwapper`."""
        return {"engine": "inswapper", **self.hashes()}

    def swap(self, image: Image, face: Face, sources: Sequence[Reference]) -> AlignedFace:
        """See `portrait.ports.FaceSwapper`."""
        matrix = estimate_similarity(face.landmarks[:, :2], ARCFACE_128)
        chip = crop_aligned(image, matrix, SIDE)
        output = self.network(to_nchw(chip), self._latent(sources))
        if output.shape != (1, 3, SIDE, SIDE):
            raise self.network.broken_model(f"it gives {output.shape}")
        drawn = np.clip(output[0].transpose(1, 2, 0) * np.float32(255) + np.float32(0.5), 0, 255).astype(np.uint8)
        return AlignedFace(np.ascontiguousarray(drawn), matrix)

    def _latent(self, sources: Sequence[Reference]) -> Floats:
        """1×512, of length 1: the mean direction of the sources' embeddings, through the file's matrix."""
        known = self.embedder.embed_references(Identity("", tuple(sources), {}), len(sources))
        vector = mean_embedding(SPACE, [each.face.embeddings[SPACE] for each in known])
        length = float(np.linalg.norm(vector))
        if vector.shape != (DIMENSIONS,) or not np.isfinite(length) or length == 0:
            raise UserError("no_reference", "The face in this person's photos could not be read. Add another photo.")
        mapped = (vector / length)[None] @ self.matrix
        return np.asarray(mapped / max(float(np.linalg.norm(mapped)), 1e-9), np.float32)


def make(settings: Settings, models: ModelStore, engines: Engines) -> Inswapper:
    """Load the network; raises `EngineError` (`broken_model`) where its file is not in the published layout."""
    # All files are looked up before one is read: what is missing is reported at once, not after a load.
    file, pack = models.file(MODEL, FILE), {f"{SPACE}/{name}": models.file(SPACE, name) for name in PACK}
    matrix = last_initializer(file, MODEL)
    network = PairNetwork(file, MODEL)
    if matrix.shape != (DIMENSIONS, DIMENSIONS):
        raise network.broken_model(f"its last initializer is {matrix.shape}, not {DIMENSIONS}×{DIMENSIONS}")
    checksums, files = WeightChecksums(), {f"{MODEL}/{FILE}": file, **pack}
    return Inswapper(
        network,
        matrix,
        ReferenceEmbedder(SPACE, engines.lazy_embedder(SPACE)),
        lambda: checksums.for_recipe(files),
    )
