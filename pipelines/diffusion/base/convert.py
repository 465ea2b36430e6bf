"""Converts a base model from a hub folder to a single file and back, in the dtype it will be served in."""

import shutil
from pathlib import Path
from tempfile import mkdtemp

import torch
from safetensors.torch import save_file

from pipelines.diffusion.base import single_file
from pipelines.diffusion.base.loading import BaseSource, find_base, load_pipeline
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.errors import OperatorError, UserError

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def convert(name: str, place: Path, dtype: str, settings: Settings, models: ModelStore) -> None:
    """Convert a base, given by name or path, to a single file where `place` ends in `.safetensors`, else to a hub folder.

    Raises `UserError` (`folder_taken`), `OperatorError` (`unknown_base`, `bad_base`, `cannot_write`).
    """
    base = find_base(name, settings, models)
    (to_file if place.suffix == ".safetensors" else to_folder)(base, place, DTYPES[dtype])


def to_file(base: BaseSource, file: Path, dtype: torch.dtype) -> None:
    """Write one `.safetensors` with the key names of the published checkpoints, which other programs read."""
    _require_new(file)
    components = load_pipeline(base, dtype, None).components
    weights = single_file.unet_weights(components["unet"].state_dict(), components["unet"].config)
    weights |= single_file.vae_weights(components["vae"].state_dict(), components["vae"].config)
    weights |= base.family.single_file_text_encoders(components)
    staged = file.with_name(f".{file.name}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        metadata = {"format": "pt", "modelspec.architecture": base.family.architecture, "modelspec.title": base.name}
        save_file({name: weight.contiguous() for name, weight in weights.items()}, staged, metadata)
        staged.replace(file)
    except OSError as error:
        raise OperatorError("cannot_write", f"{file} cannot be written: {error.strerror}.") from error
    finally:
        staged.unlink(missing_ok=True)


def to_folder(base: BaseSource, folder: Path, dtype: torch.dtype) -> None:
    """Write a hub folder; it appears at its place only when complete."""
    _require_new(folder)
    pipeline = load_pipeline(base, dtype)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        staged = Path(mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            pipeline.save_pretrained(staged)
            staged.chmod(0o755)
            staged.rename(folder)
        finally:
            shutil.rmtree(staged, ignore_errors=True)
    except OSError as error:
        raise OperatorError("cannot_write", f"{folder} cannot be written: {error.strerror}.") from error


def _require_new(place: Path) -> None:
    if place.exists():
        raise UserError("folder_taken", f"{place} is there already. Name a new place.")
