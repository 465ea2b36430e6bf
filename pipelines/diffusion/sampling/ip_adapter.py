"""IP-Adapters as image prompts: what a picture gives a portrait (plain, Plus, Plus Face), beside whoever is drawn."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers.models.embeddings import ImageProjection
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from pipelines import model_requirements
from pipelines.diffusion.base import checkpoint_files, checksums
from pipelines.diffusion.base.lease import Lease
from pipelines.diffusion.base.source import BaseSource
from pipelines.diffusion.sampling import clip_vision
from pipelines.diffusion.sampling.pipeline_call import Conditioning
from pipelines.model_store.store import ModelStore
from portrait.arrays import Image
from portrait.errors import UserError, broken_model
from portrait.generation.options import ImagePrompt

GROUPS = ("image_proj", "ip_adapter")
PLAIN, PLUS, FULL = "proj.weight", "proj_in.weight", "proj.3.weight"
"""Weights by which the image projections of plain IP-Adapters, Plus and full face are told apart, as diffusers does."""
FACE_ID = ("perceiver_resampler.proj_in.weight", "proj.2.weight")
"""Weights of FaceID's projections that none of the others has but full face."""
ENCODER = Path("models") / "image_encoder"


def check_image_prompt(look: ImagePrompt | None, base: BaseSource, models: ModelStore) -> None:
    """Raise what keeps a look from being drawn on a base, before it is loaded.

    `UserError` (`bad_technique`, `wrong_family`), `OperatorError` (`missing_model`, `licence_refused`), `EngineError`
    (`broken_model`).
    """
    if look is None:
        return
    if not 0 <= look.scale <= 1:
        raise UserError("bad_technique", f"A look has a scale of 0 to 1, not {look.scale:g}.")
    family = base.family.name
    file, folder = _adapter_file(look, family, models, f"{base.name} ({family})"), _encoder_folder(models)
    weights = checkpoint_files.load_checkpoint(file, GROUPS)
    projection = weights["image_proj"]
    kind = _kind_of(projection)
    if not kind:
        raise UserError(
            "bad_technique",
            f"{look.adapter} is no adapter for a look: it reads the embedding of a face. Choose another one.",
        )
    encoder = _encoder_config(folder)
    seen = encoder.projection_dim if kind == PLAIN else encoder.hidden_size
    if _input_width(projection, kind) != seen:
        raise UserError(
            "bad_technique",
            f"{look.adapter} was made for another encoder than clip_vit_h. Choose one whose name ends in vit-h.",
        )
    width = next((each.shape[1] for name, each in weights["ip_adapter"].items() if name.endswith("to_k_ip.weight")), 0)
    if width != base.denoiser_config["cross_attention_dim"]:
        raise UserError("wrong_family", f"{look.adapter} was not made for bases such as {base.name}: choose another.")


def weight_files(look: ImagePrompt | None, family: str, models: ModelStore) -> dict[str, Path]:
    """The weight files of its adapter and encoder; see `checksums.weight_files`."""
    if look is None or look.scale == 0:
        return {}
    found: dict[str, Path] = {}
    for model in model_requirements.ip_adapter_models(look.adapter, family, models):
        found |= checksums.weight_files(model, models.folder(model))
    return found


def load_image_prompt(lease: Lease, look: ImagePrompt | None, models: ModelStore, guided: bool) -> Conditioning:
    """Load the adapter, and give the picture as image embeddings; `guided`: with those of no picture before it."""
    if look is None:
        return Conditioning()
    facts = {"look": {"adapter": look.adapter, "scale": look.scale}}
    if look.scale == 0:
        return Conditioning(facts=facts)
    load = partial(checkpoint_files.load_checkpoint, _adapter_file(look, lease.family.name, models), GROUPS)
    layer = lease.load_ip_adapter(f"look {look.adapter}", load, look.scale)
    encoder = lease.load_network("clip vision", CLIPVisionModelWithProjection, _encoder_folder(models))
    embeds = _image_embeds(lease, encoder, look.picture, isinstance(layer, ImageProjection))
    given = torch.cat(embeds) if guided else embeds[1]
    return Conditioning(arguments={"ip_adapter_image_embeds": [given]}, facts=facts)


def _image_embeds(lease: Lease, encoder: Any, picture: Image, pooled: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """The embeddings of no picture and of the picture: 1×1×width where `pooled`, else CLIP's patches 1×1×patches×width."""
    pixels = clip_vision.preprocess([picture]).to(lease.device, lease.dtype)
    with torch.no_grad():
        if pooled:
            embeds = encoder(pixels).image_embeds[:, None]
            return torch.zeros_like(embeds), embeds
        none, patches = (
            encoder(each, output_hidden_states=True).hidden_states[-2][:, None]
            for each in (torch.zeros_like(pixels), pixels)
        )
        return none, patches


def _kind_of(projection: Mapping[str, torch.Tensor]) -> str:
    """The weight by which its kind is told; empty for those of FaceID."""
    if PLAIN in projection or FULL in projection:
        return PLAIN if PLAIN in projection else FULL
    return PLUS if "latents" in projection and not any(name in projection for name in FACE_ID) else ""


def _input_width(projection: Mapping[str, torch.Tensor], kind: str) -> int:
    """Channels of CLIP that a projection takes."""
    return int(projection["proj.0.weight" if kind == FULL else kind].shape[1])


def _adapter_file(look: ImagePrompt, family: str, models: ModelStore, base: str = "") -> Path:
    return models.weights_file(model_requirements.ip_adapter_models(look.adapter, family, models, base)[0])


def _encoder_config(folder: Path) -> CLIPVisionConfig:
    try:
        return CLIPVisionConfig.from_pretrained(str(folder), local_files_only=True)
    except checkpoint_files.BROKEN as error:
        raise broken_model(folder, str(error).split("\n")[0]) from error


def _encoder_folder(models: ModelStore) -> Path:
    return models.folder("clip_vit_h") / ENCODER
