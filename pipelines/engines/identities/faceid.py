"""IP-Adapter FaceID: a face embedding becomes image tokens that the attention looks at; non-commercial.

It reads normalised embeddings of InsightFace's buffalo_l, the mean of the best few references.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import CLIPVisionModelWithProjection

from pipelines.diffusion.base.lease import Lease
from pipelines.diffusion.base.loading import Source
from pipelines.diffusion.sampling import adapters, clip_vision, pipeline_call
from pipelines.diffusion.sampling.pipeline_call import Conditions, strength
from pipelines.engines import Engines
from pipelines.model_store.store import Models
from pipelines.settings import Settings
from portrait.generation.parameters import Drawing
from portrait.types import Identity, Reference

SPACE = "buffalo_l"
STRENGTH = 0.7
GROUPS = ("image_proj", "ip_adapter")
PARTS = ("to_q", "to_k", "to_v", "to_out")


@dataclass(frozen=True, slots=True)
class Edition:
    """What sets the editions apart."""

    name: str
    files: dict[str, tuple[str, str]]
    """Model and file by family."""
    plus: bool = False
    """Whether it looks at the photo too, through CLIP."""


PLAIN = Edition(
    "faceid",
    {
        "sd15": ("faceid_sd15", "ip-adapter-faceid_sd15.bin"),
        "sdxl": ("faceid_sdxl", "ip-adapter-faceid_sdxl.bin"),
    },
)


class FaceId:
    """A face, and nothing else, is told."""

    def __init__(
        self, edition: Edition, file: Callable[[str], Path], reader: adapters.Reader, eyes: Callable[[], Path] | None
    ) -> None:
        """`file` finds the checkpoint for a family, `eyes` the folder of the CLIP that the plus editions look through."""
        self._edition, self._file, self._reader, self._eyes = edition, file, reader, eyes

    def words(self, person: Identity, words: str) -> str:
        """The words as they are."""
        return words

    def check(self, person: Identity, base: Source) -> None:
        """See `portrait.ports.Identifier`."""
        adapters.tensors(self._file(base.family.name), GROUPS)
        if self._eyes is not None:
            self._eyes()
        self._reader.leading(person)

    def prepare(self, lease: Lease, person: Identity, drawing: Drawing) -> Conditions:
        """Let the attention look at the face."""
        name, scale = self._edition.name, strength(drawing.technique, self._edition.name, STRENGTH)
        file = self._file(lease.family.name)
        guided = pipeline_call.is_guided(drawing)
        references = self._reader.references(person, 1 if self._edition.plus else 3)
        layer = lease.attend(name, lambda: _without_lora(adapters.tensors(file, GROUPS)), scale)
        places = list(lease.loaded.pipeline.unet.attn_processors)
        lease.add_lora(name, lambda: _lora(adapters.tensors(file, GROUPS)["ip_adapter"], places), 1.0)
        if self._edition.plus:
            layer.shortcut = True
            layer.clip_embeds = self._seen(lease, references[0], guided)
            lease.undo(setattr, layer, "clip_embeds", None)
        told = pipeline_call.faces(_mean(references), lease, guided)
        return Conditions(arguments={"ip_adapter_image_embeds": [told]}, facts={name: {"scale": scale}})

    def _seen(self, lease: Lease, reference: Reference, guided: bool) -> torch.Tensor:
        """CLIP's patches of the face, batch×1×patches×width; before them those of nothing, where there is guidance."""
        if self._eyes is None:
            raise RuntimeError("an edition that looks at photos needs eyes")
        folder = self._eyes()
        network = lease.keep(
            "clip vision", lambda: adapters.network(CLIPVisionModelWithProjection, folder, lease.dtype, lease.device)
        )
        pixels = clip_vision.pixels([clip_vision.head(reference)]).to(lease.device, lease.dtype)
        both = torch.cat([torch.zeros_like(pixels), pixels]) if guided else pixels
        with torch.no_grad():
            return network(both, output_hidden_states=True).hidden_states[-2][:, None]


def _mean(references: list[Reference]) -> np.ndarray:
    """The mean of unit vectors, a unit vector again."""
    units = [reference.face.embeddings[SPACE] for reference in references]
    mean = np.mean([each / max(float(np.linalg.norm(each)), 1e-12) for each in units], axis=0)
    return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-12), np.float32)


def _without_lora(weights: dict[str, Any]) -> dict[str, Any]:
    """The checkpoint without its LoRA, which diffusers would load under a name that every edition shares."""
    kept = {name: each for name, each in weights["ip_adapter"].items() if "_lora." not in name}
    return {**weights, "ip_adapter": kept}


def _lora(weights: dict[str, torch.Tensor], places: list[str]) -> dict[str, torch.Tensor]:
    """Its LoRA in the names that diffusers reads; the checkpoint numbers the places of attention."""
    named: dict[str, torch.Tensor] = {}
    for number, place in enumerate(places):
        for part in PARTS:
            for half in ("down", "up"):
                key = f"{part}_lora.{half}.weight"
                if f"{number}.{key}" in weights:
                    named[f"unet.{place}.{key}"] = weights[f"{number}.{key}"]
    return named


def make(settings: Settings, models: Models, engines: Engines) -> FaceId:
    """The networks are loaded with the first portrait; which checkpoint it is depends on the base."""
    return edition(PLAIN, models, engines)


def edition(made: Edition, models: Models, engines: Engines) -> FaceId:
    """Any of them; raises `OperatorError` (`missing_model`) when its checkpoints are missing for every family."""
    if all(models.missing(model) for model, _ in made.files.values()):
        models.folder(next(iter(made.files.values()))[0])
    models.folder(SPACE)
    eyes = (lambda: models.folder("clip_vit_h") / "models" / "image_encoder") if made.plus else None
    return FaceId(
        made, lambda family: models.file(*made.files[family]), adapters.Reader(SPACE, engines.reader(SPACE)), eyes
    )


def status(settings: Settings, models: Models) -> list[str]:
    """What is still missing."""
    return needs(PLAIN, models)


def needs(made: Edition, models: Models) -> list[str]:
    """One family's checkpoint is enough."""
    missing = [models.missing(model) for model, _ in made.files.values()]
    eyes = models.missing("clip_vit_h") if made.plus else []
    return [*min(missing, key=len), *models.missing(SPACE), *eyes]
