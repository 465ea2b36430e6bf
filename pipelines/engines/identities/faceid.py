"""IP-Adapter FaceID: a face embedding becomes image tokens for cross-attention; non-commercial.

It takes normalised embeddings of InsightFace's buffalo_l, the mean of the best few references.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import CLIPVisionModelWithProjection

from pipelines.diffusion.base import checkpoint_files
from pipelines.diffusion.base.lease import Lease
from pipelines.diffusion.base.source import BaseSource
from pipelines.diffusion.sampling import clip_vision, pipeline_call
from pipelines.diffusion.sampling.pipeline_call import Conditioning, strength_of
from pipelines.diffusion.sampling.reference_faces import NO_REFERENCE, ReferenceEmbedder
from pipelines.engines import Engines
from pipelines.engines.runtimes.arcface import align_for_arcface
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.arrays import Image
from portrait.errors import UserError
from portrait.generation.options import GenerationOptions
from portrait.generation.parameters import GenerationParameters
from portrait.types import Identity, Reference

SPACE = "buffalo_l"
STRENGTH = 0.7
CROP_SIDE = 224
"""Side of the levelled face that FaceID Plus sees, pixels, as in its published example."""
GROUPS = ("image_proj", "ip_adapter")
PARTS = ("to_q", "to_k", "to_v", "to_out")


@dataclass(frozen=True, slots=True)
class Variant:
    """FaceID or FaceID Plus v2."""

    name: str
    files: dict[str, tuple[str, str]]
    """Model and file by family."""
    plus: bool = False
    """Whether it takes CLIP features of the photo too."""


PLAIN = Variant(
    "faceid",
    {
        "sd15": ("faceid_sd15", "ip-adapter-faceid_sd15.bin"),
        "sdxl": ("faceid_sdxl", "ip-adapter-faceid_sdxl.bin"),
    },
)


class FaceId:
    """Conditions on a face embedding, and with FaceID Plus on a photo of the face."""

    def __init__(
        self,
        variant: Variant,
        file: Callable[[str], Path],
        embedder: ReferenceEmbedder,
        clip_folder: Callable[[], Path] | None,
    ) -> None:
        """`file` finds the checkpoint for a family, `clip_folder` the CLIP vision encoder of FaceID Plus."""
        self._variant, self._file, self._embedder, self._clip_folder = variant, file, embedder, clip_folder

    def describe(self, person: Identity, description: str) -> str:
        """The description unchanged."""
        return description

    def check(self, person: Identity, base: BaseSource) -> None:
        """Raise what keeps the person from being drawn on this base; see `portrait.ports.IdentityAdapter`."""
        checkpoint_files.load_checkpoint(self._file(base.family.name), GROUPS)
        if self._clip_folder is not None:
            self._clip_folder()
        self._embedder.best_face(person)

    def prepare(self, lease: Lease, person: Identity, parameters: GenerationParameters) -> Conditioning:
        """Load the adapter and its LoRA, and give the face as image embeddings."""
        name, scale = self._variant.name, strength_of(parameters.options, self._variant.name, STRENGTH)
        if scale == 0:
            return Conditioning(facts={name: {"scale": scale}})
        file = self._file(lease.family.name)
        guided = pipeline_call.uses_guidance(parameters)
        references = self._embedder.embed_references(person, 1 if self._variant.plus else 3)
        load = partial(checkpoint_files.load_checkpoint, file, GROUPS)
        layer = lease.load_ip_adapter(name, lambda: _without_lora(load()), scale)
        processors = list(lease.loaded.pipeline.unet.attn_processors)
        lease.load_lora(name, lambda: _lora(load()["ip_adapter"], processors), 1.0)
        if self._variant.plus:
            layer.shortcut = True
            layer.clip_embeds = self._clip_embeds(lease, face_crop(references[0], parameters.options), guided)
            lease.add_cleanup(setattr, layer, "clip_embeds", None)
        embeds = pipeline_call.face_embeds(_mean_embedding(references), lease, guided)
        return Conditioning(arguments={"ip_adapter_image_embeds": [embeds]}, facts={name: {"scale": scale}})

    def _clip_embeds(self, lease: Lease, crop: Image, guided: bool) -> torch.Tensor:
        """CLIP's patch embeddings of a face, batch×1×patches×width; preceded by those of a zero image when guided."""
        if self._clip_folder is None:
            raise RuntimeError("FaceID Plus needs a CLIP vision encoder")
        network = lease.load_network("clip vision", CLIPVisionModelWithProjection, self._clip_folder())
        pixels = clip_vision.preprocess([crop]).to(lease.device, lease.dtype)
        batch = torch.cat([torch.zeros_like(pixels), pixels]) if guided else pixels
        with torch.no_grad():
            return network(batch, output_hidden_states=True).hidden_states[-2][:, None]


def face_crop(reference: Reference, options: GenerationOptions) -> Image:
    """What FaceID Plus sees of a photo: the levelled face, or the loose crop of version 0.1.0 for what was drawn by it."""
    if options.method == 1:
        return clip_vision.crop_head(reference)
    crop = align_for_arcface(reference.image, reference.face.landmarks[:, :2], CROP_SIDE)
    if crop is None:
        raise UserError("no_reference", NO_REFERENCE)
    return crop


def _mean_embedding(references: list[Reference]) -> np.ndarray:
    """The mean of unit vectors, a unit vector again."""
    units = [reference.face.embeddings[SPACE] for reference in references]
    mean = np.mean([each / max(float(np.linalg.norm(each)), 1e-12) for each in units], axis=0)
    return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-12), np.float32)


def _without_lora(weights: dict[str, Any]) -> dict[str, Any]:
    """The checkpoint without its LoRA, which diffusers would load under one name for every variant."""
    without = {name: each for name, each in weights["ip_adapter"].items() if "_lora." not in name}
    return {**weights, "ip_adapter": without}


def _lora(weights: dict[str, torch.Tensor], processors: list[str]) -> dict[str, torch.Tensor]:
    """Its LoRA under diffusers' key names; the checkpoint numbers the attention processors."""
    named: dict[str, torch.Tensor] = {}
    for number, processor in enumerate(processors):
        for part in PARTS:
            for half in ("down", "up"):
                key = f"{part}_lora.{half}.weight"
                if f"{number}.{key}" in weights:
                    named[f"unet.{processor}.{key}"] = weights[f"{number}.{key}"]
    return named


def make(settings: Settings, models: ModelStore, engines: Engines) -> FaceId:
    """FaceID; the networks are loaded with the first portrait, the checkpoint by the base's family."""
    return build(PLAIN, models, engines)


def build(variant: Variant, models: ModelStore, engines: Engines) -> FaceId:
    """A variant; raises `OperatorError` (`missing_model`) when its checkpoints are missing for every family."""
    if all(models.missing(model) for model, _ in variant.files.values()):
        models.folder(next(iter(variant.files.values()))[0])
    models.folder(SPACE)
    clip_folder = (lambda: models.folder("clip_vit_h") / "models" / "image_encoder") if variant.plus else None
    return FaceId(
        variant,
        lambda family: models.file(*variant.files[family]),
        ReferenceEmbedder(SPACE, engines.lazy_embedder(SPACE)),
        clip_folder,
    )


def status(settings: Settings, models: ModelStore) -> list[str]:
    """What is still missing."""
    return missing_models(PLAIN, models)


def missing_models(variant: Variant, models: ModelStore) -> list[str]:
    """What is missing of a variant's models; one family's checkpoint is enough."""
    missing = [models.missing(model) for model, _ in variant.files.values()]
    clip = models.missing("clip_vit_h") if variant.plus else []
    return [*min(missing, key=len), *models.missing(SPACE), *clip]
