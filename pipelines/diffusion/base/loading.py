"""Base models from where they lie: a hub folder, a single `.safetensors`, or a pickled `.ckpt` of which only tensors are read.

Parts are loaded by name, so that a trainer holds text encoders and VAE only while it needs them, and in the dtype they will
be used in, so that a file in that dtype is mapped into memory instead of copied.
"""

import hashlib
import json
import logging
import pickle
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers import DDPMScheduler, DiffusionPipeline, UNet2DConditionModel
from safetensors import SafetensorError, safe_open

from pipelines.diffusion.base.family import Family
from pipelines.diffusion.base.registry import all_families, family_of_pipeline, family_of_weights
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.errors import EngineError, OperatorError, UserError

INDEX = "model_index.json"
UNUSED_COMPONENTS = ("safety_checker", "feature_extractor", "image_encoder")
"""Parts of Stable Diffusion 1.5's folder that neither training nor drawing needs."""
COMPANIONS = ("text_encoder", "text_encoder_2", "vae")
"""Parts with weights, beside the U-Net."""
_BROKEN = (OSError, ValueError, KeyError, RuntimeError, SafetensorError, pickle.UnpicklingError)


@dataclass(frozen=True, slots=True)
class BaseSource:
    """A base model on this machine."""

    name: str
    path: Path
    family: Family
    config_folder: Path
    """A hub folder with its configurations and tokenizers: `path` itself, unless that is a single file."""

    @property
    def is_single_file(self) -> bool:
        """Whether it is one file."""
        return self.path.is_file()

    def config(self, part: str) -> dict[str, Any]:
        """The configuration of a part."""
        name = "scheduler_config.json" if part == "scheduler" else "config.json"
        return json.loads((self.config_folder / part / name).read_text("utf-8"))

    @property
    def vae_scale_factor(self) -> int:
        """Pixels a latent is wide."""
        return 2 ** (len(self.config("vae")["block_out_channels"]) - 1)

    @property
    def native_side(self) -> int:
        """The size it was trained at, pixels."""
        return int(self.config("unet")["sample_size"]) * self.vae_scale_factor

    @property
    def size_multiple(self) -> int:
        """Sides must be multiples of this: what VAE and U-Net halve without a rest; 64 from 512 pixels on."""
        least = self.vae_scale_factor * 2 ** (len(self.config("unet")["block_out_channels"]) - 1)
        return max(least, 64) if self.native_side >= 512 else least

    @property
    def weights_file(self) -> Path:
        """The U-Net's file, or the single file; raises `OperatorError` (`bad_base`)."""
        return self.path if self.is_single_file else _weights_file(self.path / "unet")

    def companion_files(self) -> dict[str, Path]:
        """The files of text encoders and VAE that are loaded, as `PART/FILE`; a single file holds them itself."""
        if self.is_single_file:
            return {}
        half = _is_half_precision(self.path)
        found = (file for part in COMPANIONS for file in _component_files(self.path / part, half))
        return {f"{file.parent.name}/{file.name}": file for file in found}

    def sha256(self) -> str:
        """SHA-256 of the weights: which base a LoRA was learned on."""
        with self.weights_file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()


def find_base(name: str, settings: Settings, models: ModelStore) -> BaseSource:
    """A base by its name in the settings or in the store, or by where it lies.

    Raises `OperatorError` (`unknown_base`, `missing_model`, `bad_base`, `unknown_family`).
    """
    if name in settings.bases:
        given = settings.bases[name]
        return open_base(name, given.path, given.configs or _find_configs(given.path, models))
    path = Path(name)
    if path.exists():
        return open_base(path.stem if path.is_file() else path.resolve().name, path, _find_configs(path, models))
    if name in [family.name for family in all_families()]:
        return open_base(name, models.folder(name))
    known = ", ".join(dict.fromkeys([*(family.name for family in all_families()), *settings.bases]))
    raise OperatorError("unknown_base", f"There is no base model {name!r}: name a folder, a file, or one of {known}.")


def _find_configs(path: Path, models: ModelStore) -> Path | None:
    """The store's folder of the family of a single file, where it is here."""
    if not path.is_file():
        return None
    family = family_of_weights(_weight_names(path)).name
    return None if models.missing(family) else models.folder(family)


def open_base(name: str, path: Path, configs: Path | None = None) -> BaseSource:
    """See what lies there; raises `OperatorError` (`bad_base`, `unknown_family`)."""
    if path.is_dir():
        index = _index(path)
        return BaseSource(name, path, family_of_pipeline(str(index.get("_class_name"))), path)
    if not path.is_file():
        raise OperatorError("bad_base", f"There is no base model at {path}.")
    family = family_of_weights(_weight_names(path))
    if configs is None or not (configs / INDEX).is_file():
        raise OperatorError(
            "bad_base",
            f"{path.name} is a single file, which does not say how its networks are built: name a hub folder of the "
            f"family {family.name} that does, or run `portrait models pull {family.name}`.",
        )
    return BaseSource(name, path, family, configs)


def require_family(base: BaseSource, family: str, adapter: str) -> None:
    """Raise `UserError` (`wrong_family`) for a base that an adapter was not trained for."""
    if base.family.name != family:
        raise UserError(
            "wrong_family", f"{adapter} draws on a base of the family {family}, and {base.name} is {base.family.name}."
        )


def load_pipeline(base: BaseSource, dtype: torch.dtype, wanted: Collection[str] | None = None) -> DiffusionPipeline:
    """The stock pipeline with the parts that are wanted, the others None; all of them when not told.

    Raises `EngineError` (`broken_model`).
    """
    _silence_libraries()
    known = [name for name in _index(base.config_folder) if not name.startswith("_")]
    never = [name for name in UNUSED_COMPONENTS if name in known]
    left = {name: None for name in known if name in never or (wanted is not None and name not in wanted)}
    more: dict[str, Any] = {"dtype": dtype, "local_files_only": True, **left}
    if "safety_checker" in known:
        more["requires_safety_checker"] = False
    try:
        if base.is_single_file:
            return base.family.pipeline.from_single_file(  # type: ignore[attr-defined] -- both stock pipelines have it
                str(base.path), config=str(base.config_folder), **more
            )
        if _is_half_precision(base.path):
            more["variant"] = "fp16"
        return base.family.pipeline.from_pretrained(str(base.path), **more)
    except _BROKEN as error:
        raise EngineError("broken_model", f"The base model {base.name} cannot be read: {error}.") from error


def load_components(base: BaseSource, dtype: torch.dtype, wanted: Collection[str]) -> dict[str, Any]:
    """Some parts by name, still, and taught nothing."""
    found = {name: part for name, part in load_pipeline(base, dtype, wanted).components.items() if name in wanted}
    for part in found.values():
        if isinstance(part, torch.nn.Module):
            part.requires_grad_(False).eval()
    return found


def training_scheduler(base: BaseSource) -> Any:
    """How noise was added when the base was trained, and what it predicts: a `DDPMScheduler`."""
    return DDPMScheduler.from_config(base.config("scheduler"))


def empty_unet(base: BaseSource) -> Any:
    """Its U-Net without weights, for estimates."""
    _silence_libraries()
    with torch.device("meta"):
        return UNet2DConditionModel.from_config(base.config("unet"))


def _index(folder: Path) -> Mapping[str, Any]:
    try:
        return json.loads((folder / INDEX).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise OperatorError("bad_base", f"{folder} is no base model: it has no {INDEX} that can be read.") from error


def _weight_names(file: Path) -> list[str]:
    """The names of a single file's weights."""
    try:
        if file.suffix == ".safetensors":
            with safe_open(file, framework="pt") as opened:
                return list(opened.keys())
        # Tensors alone: a pickle could run any program.
        held = torch.load(file, map_location="meta", weights_only=True, mmap=True)
        return list(held.get("state_dict", held))
    except (*_BROKEN, AttributeError, TypeError) as error:
        raise OperatorError("bad_base", f"{file} cannot be read as a base model: {error}.") from error


def _weights_file(folder: Path) -> Path:
    """The file of a part's weights."""
    found = sorted([*folder.glob("*.safetensors"), *folder.glob("*.bin")])
    if not found:
        raise OperatorError("bad_base", f"{folder} holds no weights.")
    return found[0]


def _component_files(folder: Path, half: bool) -> list[Path]:
    """Of a part's files those that are read: safetensors before pickles, one precision of two."""
    found = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("*.bin"))
    return [file for file in found if (".fp16." in file.name) == half] or found


def _is_half_precision(folder: Path) -> bool:
    """Whether a hub folder has half-precision files alone."""
    half, all_of_them = list(folder.glob("unet/*.fp16.*")), list(folder.glob("unet/*.safetensors"))
    return bool(half) and len(half) == len(all_of_them)


def _silence_libraries() -> None:
    """Progress bars and advice of the libraries are not for whoever trains a person."""
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    logging.getLogger("torch.distributed").setLevel(logging.ERROR)
