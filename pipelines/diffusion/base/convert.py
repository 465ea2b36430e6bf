"""A base model from a hub folder to a single file and back, in the dtype it will be served in."""

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
    """A base by its name or place, to one file where the new place is named so, else to a folder.

    Raises `UserError` (`folder_taken`), `OperatorError` (`unknown_base`, `bad_base`, `cannot_write`).
    """
    base = find_base(name, settings, models)
    (to_file if place.suffix == ".safetensors" else to_folder)(base, place, DTYPES[dtype])


def to_file(base: BaseSource, file: Path, dtype: torch.dtype) -> None:
    """Write one `.safetensors` under the names of the published checkpoints, which every other program reads."""
    _free(file)
    given = load_pipeline(base, dtype, None).components
    weights = single_file.unet_weights(given["unet"].state_dict(), given["unet"].config)
    weights |= single_file.vae_weights(given["vae"].state_dict(), given["vae"].config)
    weights |= base.family.single_file_text_encoders(given)
    staged = file.with_name(f".{file.name}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        told = {"format": "pt", "modelspec.architecture": base.family.architecture, "modelspec.title": base.name}
        save_file({name: weight.contiguous() for name, weight in weights.items()}, staged, told)
        staged.replace(file)
    except OSError as error:
        raise OperatorError("cannot_write", f"{file} cannot be written: {error.strerror}.") from error
    finally:
        staged.unlink(missing_ok=True)


def to_folder(base: BaseSource, folder: Path, dtype: torch.dtype) -> None:
    """Write a hub folder."""
    _free(folder)
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


def _free(place: Path) -> None:
    if place.exists():
        raise UserError("folder_taken", f"{place} is there already. Name a new place.")
