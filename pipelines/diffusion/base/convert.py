"""Converts a base model from a hub folder to a single file and back, in the dtype it will be served in."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from diffusers import DiffusionPipeline
from safetensors.torch import save_file

from pipelines.diffusion.base.loading import find_base, load_pipeline
from pipelines.diffusion.base.source import BaseSource
from pipelines.folders import atomic
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.errors import OperatorError, UserError

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def convert(name: str, place: Path, dtype: str, settings: Settings, models: ModelStore) -> None:
    """Convert a base, given by name or path, to a single file where `place` ends in `.safetensors`, else to a hub folder.

    Raises `UserError` (`folder_taken`), `OperatorError` (`unknown_base`, `bad_base`, `cannot_write`).
    """
    base = find_base(name, settings, models)
    if base.is_gguf:
        raise OperatorError(
            "bad_base",
            f"{base.name} is quantised (GGUF), and what quantising took away does not come back: convert the base that it was "
            "made of.",
        )
    (to_file if place.suffix == ".safetensors" else to_folder)(base, place, DTYPES[dtype])


def to_file(base: BaseSource, file: Path, dtype: torch.dtype) -> None:
    """Write one `.safetensors` with the key names of the published checkpoints, which other programs read.

    It holds all networks, or the denoiser alone where the family's files do.
    """
    _require_new(file)
    names = [base.family.denoiser] if base.family.single_file == "denoiser" else None
    components = _with_its_own_vae(base, dtype, names).components
    weights = base.family.single_file_weights(components)
    metadata = {"format": "pt", "modelspec.architecture": base.family.architecture, "modelspec.title": base.name}
    with atomic.reported(f"{file} cannot be written"), atomic.replace_file(file) as staged:
        save_file({name: weight.contiguous() for name, weight in weights.items()}, staged, metadata)


def to_folder(base: BaseSource, folder: Path, dtype: torch.dtype) -> None:
    """Write a hub folder; it appears at its place only when complete."""
    _require_new(folder)
    pipeline = _with_its_own_vae(base, dtype)
    with atomic.reported(f"{folder} cannot be written"), atomic.replace_folder(folder) as staged:
        pipeline.save_pretrained(staged)


def _with_its_own_vae(base: BaseSource, dtype: torch.dtype, names: Sequence[str] | None = None) -> DiffusionPipeline:
    """The named networks, or all of them, whatever takes the place of its VAE where it draws."""
    return load_pipeline(replace(base, half_vae=None, vae=None), dtype, names)


def _require_new(place: Path) -> None:
    if place.exists():
        raise UserError("folder_taken", f"{place} is there already. Name a new place.")
