"""Loading base models: from a hub folder, a single `.safetensors`, or a pickled `.ckpt` of which only tensors are read.

Components are loaded by name, so that a trainer holds text encoders and VAE only while it needs them, and in the dtype in which
they are used, so that a file in that dtype is memory-mapped instead of copied.
"""

import json
import logging
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers import AutoencoderKL, DDPMScheduler, DiffusionPipeline, UNet2DConditionModel
from safetensors import safe_open

from pipelines.diffusion.base import checksums, single_file
from pipelines.diffusion.base.checkpoint_files import BROKEN
from pipelines.diffusion.base.family import Family
from pipelines.diffusion.base.registry import family_of_pipeline, family_of_weights
from pipelines.model_store.manifest import Model
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.errors import EngineError, OperatorError, UserError
from portrait.generation.sampling_facts import NO_FACTS, SamplingFacts, read_facts

INDEX = "model_index.json"
UNUSED_COMPONENTS = ("safety_checker", "feature_extractor", "image_encoder")
"""Components of Stable Diffusion 1.5's folder that neither training nor sampling needs."""
COMPANIONS = ("text_encoder", "text_encoder_2", "vae")
"""Components with weights beside the U-Net."""
OWN_VAE = "own"
"""Stands for the base's own VAE, where settings choose another."""
SD2_WIDTH = 1024
"""Width of the text that the U-Nets of Stable Diffusion 2 attend to; those of 1.x attend to 768."""
HALF = re.compile(r"\.fp16[.-]")
"""In the names of files in half precision: before the ending, or before the number of a part."""


@dataclass(frozen=True, slots=True)
class BaseSource:
    """Where a base model lies on this machine, and its family."""

    name: str
    path: Path
    family: Family
    config_folder: Path
    """A hub folder with its configurations and tokenizers: `path` itself, unless it is a single file."""
    half_vae: Path | None = None
    """Folder of a VAE that takes the place of its own in float16, in which its own overflows; None without one."""
    vae: Path | None = None
    """Folder or single file of a VAE that was chosen in place of its own, in every dtype; None without one."""
    vae_name: str = ""
    """Its name in the model store."""
    facts: SamplingFacts = NO_FACTS
    """How it wants to be sampled."""
    in_channels: int = 0
    """Channels that the U-Net of a single file takes; 0: as many as its configuration says."""

    @property
    def is_single_file(self) -> bool:
        """Whether it is a single file."""
        return self.path.is_file()

    def config(self, component: str) -> dict[str, Any]:
        """The configuration of a component."""
        name = "scheduler_config.json" if component == "scheduler" else "config.json"
        config = json.loads((self.config_folder / component / name).read_text("utf-8"))
        if component == "unet" and self.in_channels:
            config["in_channels"] = self.in_channels
        return config | self.facts.scheduler_config if component == "scheduler" else config

    @property
    def embeds_guidance(self) -> bool:
        """Whether its U-Net is told the guidance scale, instead of drawing once with and once without the prompt."""
        return bool(self.config("unet").get("time_cond_proj_dim"))

    @property
    def vae_scale_factor(self) -> int:
        """Pixels per latent along each side."""
        return 2 ** (len(self.config("vae")["block_out_channels"]) - 1)

    @property
    def native_side(self) -> int:
        """Side of the square it was trained at, pixels."""
        return int(self.config("unet")["sample_size"]) * self.vae_scale_factor

    @property
    def size_multiple(self) -> int:
        """Sides must be multiples of this, so that VAE and U-Net can halve them; 64 for bases from 512 pixels on."""
        least = self.vae_scale_factor * 2 ** (len(self.config("unet")["block_out_channels"]) - 1)
        return max(least, 64) if self.native_side >= 512 else least

    @property
    def weights_files(self) -> list[Path]:
        """The U-Net's weight files that are loaded, several where it is in parts, or the single file.

        Raises `OperatorError` (`bad_base`).
        """
        if self.is_single_file:
            return [self.path]
        files = _component_files(self.path / "unet", _is_half_precision(self.path))
        if not files:
            raise OperatorError("bad_base", f"{self.path / 'unet'} holds no weights.")
        return files

    def companion_files(self, dtype: torch.dtype) -> dict[str, Path]:
        """The weight files of text encoders and VAE that are loaded in a dtype, by `COMPONENT/FILE`.

        Those that a single file contains are not among them.
        """
        half = not self.is_single_file and _is_half_precision(self.path)
        folders = {} if self.is_single_file else {component: self.path / component for component in COMPANIONS}
        if vae := self.vae_in_place(dtype):
            folders["vae"] = vae
        files = ((name, file) for name, folder in folders.items() for file in _component_files(folder, half))
        return {f"{name}/{file.name}": file for name, file in files}

    def vae_in_place(self, dtype: torch.dtype) -> Path | None:
        """Folder or file of the VAE that takes the place of its own in a dtype; None where its own is loaded."""
        if self.vae is not None:
            return self.vae
        return self.half_vae if dtype == torch.float16 and self.config("vae").get("force_upcast", True) else None

    def sha256(self) -> str:
        """SHA-256 of the U-Net's weights, which identifies the base that a LoRA was trained on."""
        return checksums.sha256(self.weights_files)


def find_base(name: str, settings: Settings, models: ModelStore) -> BaseSource:
    """A base by its name in the settings or the model store, or by its path, with the VAE that the settings choose.

    Raises `OperatorError` (`unknown_base`, `missing_model`, `bad_base`, `unknown_family`), and what `choose_vae` does.
    """
    found = _find_base(name, settings, models)
    half_vae = found.family.half_vae
    found = replace(found, half_vae=models.folder(half_vae)) if half_vae and not models.missing(half_vae) else found
    chosen = settings.bases[name].vae if name in settings.bases else ""
    if not chosen and settings.draw.vae and models.find(settings.draw.vae).family in ("", found.family.name):
        chosen = settings.draw.vae
    return choose_vae(found, chosen, models)


def choose_vae(base: BaseSource, name: str, models: ModelStore) -> BaseSource:
    """A base with a VAE of the store in place of its own; `own` for its own, empty for the one it has.

    Raises `OperatorError` (`unknown_model`, `missing_model`, `licence_refused`), `UserError` (`wrong_family`,
    `bad_technique`).
    """
    if name in ("", OWN_VAE):
        return replace(base, vae=None, vae_name="") if name else base
    model = models.find(name)
    if model.kind != "vae":
        fit = [each.name for each in models.of_kind("vae") if each.family in ("", base.family.name)]
        known = ", ".join([*fit, OWN_VAE])
        raise UserError("bad_technique", f"{name} is no VAE. Choose one of: {known}.")
    if model.family not in ("", base.family.name):
        raise UserError(
            "wrong_family",
            f"The VAE {name} is for {model.family}, and {base.name} is {base.family.name}: leave it out.",
        )
    folder = models.folder(name)
    return replace(base, vae=folder if (folder / "config.json").is_file() else models.weights_file(name), vae_name=name)


def _find_base(name: str, settings: Settings, models: ModelStore) -> BaseSource:
    if name in settings.bases:
        location = settings.bases[name]
        found = open_base(name, location.path, location.configs or _find_configs(location.path, models))
        return replace(found, facts=found.facts.updated(location.facts))
    path = Path(name)
    if path.exists():
        return open_base(path.stem if path.is_file() else path.resolve().name, path, _find_configs(path, models))
    stored = [model.name for model in models.of_kind("base")]
    if name not in stored:
        known = ", ".join(dict.fromkeys([*stored, *settings.bases]))
        raise OperatorError(
            "unknown_base", f"There is no base model {name!r}: name a folder, a file, or one of {known}."
        )
    folder, facts = models.folder(name), sampling_facts(models.find(name))
    if (folder / INDEX).is_file():
        found = open_base(name, folder)
    else:
        file = models.weights_file(name)
        found = open_base(name, file, _find_configs(file, models))
    return replace(found, facts=found.facts.updated(facts))


def sampling_facts(model: Model) -> SamplingFacts:
    """What the manifest says of how a model wants to be sampled; raises `OperatorError` (`bad_manifest`)."""
    try:
        return read_facts(model.facts)
    except ValueError as error:
        raise OperatorError(
            "bad_manifest", f"The facts of the model {model.name} do not hold: {error}. Add it again with others."
        ) from error


def _find_configs(path: Path, models: ModelStore) -> Path | None:
    """The store's hub folder of a single file's family; None where it is not installed, or for a folder."""
    if not path.is_file():
        return None
    family = family_of_weights(_weight_names(path)).name
    return None if models.missing(family) else models.folder(family)


def open_base(name: str, path: Path, configs: Path | None = None) -> BaseSource:
    """The base at a path, its family detected; raises `OperatorError` (`bad_base`, `unknown_family`)."""
    if path.is_dir():
        index = _index(path)
        family = family_of_pipeline(str(index.get("_class_name")))
        zero_snr = bool(_config_or_empty(path / "scheduler" / "scheduler_config.json").get("rescale_betas_zero_snr"))
        return _require_known(
            BaseSource(name, path, family, path, facts=SamplingFacts(rescale_betas_zero_snr=zero_snr))
        )
    if not path.is_file():
        raise OperatorError("bad_base", f"There is no base model at {path}.")
    keys = _weight_names(path)
    family = family_of_weights(keys)
    if configs is None or not (configs / INDEX).is_file():
        raise OperatorError(
            "bad_base",
            f"{path.name} is a single file, which does not say how its networks are built: name a hub folder of the "
            f"family {family.name} that does, or run `portrait models pull {family.name}`.",
        )
    base = BaseSource(name, path, family, configs, facts=_facts_of_keys(keys))
    channels = single_file.read_in_channels(path)
    usual = _config_or_empty(configs / "unet" / "config.json").get("in_channels", channels)
    return _require_known(replace(base, in_channels=0 if channels == usual else channels))


def _require_known(base: BaseSource) -> BaseSource:
    """The base itself; raises `OperatorError` (`unknown_family`) for Stable Diffusion 2, which goes by the name of 1."""
    width = _config_or_empty(base.config_folder / "unet" / "config.json").get("cross_attention_dim")
    if base.family.name == "sd15" and width == SD2_WIDTH:
        raise OperatorError(
            "unknown_family",
            f"{base.name} is a Stable Diffusion 2, for which LoRAs and adapters of no known family are made: "
            "choose a base of sd15 or sdxl.",
        )
    return base


def _config_or_empty(file: Path) -> Mapping[str, Any]:
    """A configuration of a hub folder, empty where there is none that can be read, which loading says."""
    try:
        return json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}


def _facts_of_keys(keys: Collection[str]) -> SamplingFacts:
    """What single files say by the names of empty weights, as ComfyUI and kohya's trainers write and read them."""
    if "v_pred" not in keys:
        return NO_FACTS
    zero_snr = "ztsnr" in keys
    return SamplingFacts(
        prediction_type="v_prediction",
        rescale_betas_zero_snr=zero_snr,
        timestep_spacing="trailing" if zero_snr else "",
    )


def require_family(base: BaseSource, family: str, adapter: str) -> None:
    """Raise `UserError` (`wrong_family`) for a base that an adapter was not trained for."""
    if base.family.name != family:
        raise UserError(
            "wrong_family", f"{adapter} draws on a base of the family {family}, and {base.name} is {base.family.name}."
        )


def load_pipeline(base: BaseSource, dtype: torch.dtype, names: Collection[str] | None = None) -> DiffusionPipeline:
    """The stock pipeline with the named components, the others None; with all of them for None.

    Raises `EngineError` (`broken_model`).
    """
    _silence_libraries()
    known = [name for name in _index(base.config_folder) if not name.startswith("_")]
    unused = [name for name in UNUSED_COMPONENTS if name in known]
    omitted = {name: None for name in known if name in unused or (names is not None and name not in names)}
    arguments: dict[str, Any] = {"dtype": dtype, "local_files_only": True, **omitted}
    if "safety_checker" in known:
        arguments["requires_safety_checker"] = False
    try:
        vae = base.vae_in_place(dtype)
        if vae is not None and "vae" not in omitted:
            arguments["vae"] = _load_vae(vae, base, dtype)
        if base.facts.scheduler_config and "scheduler" not in omitted:
            config = base.config("scheduler")
            arguments["scheduler"] = getattr(diffusers, str(config["_class_name"])).from_config(config)
        if base.in_channels and "unet" not in omitted:  # the configuration may be that of a base that does not inpaint
            arguments["unet"] = UNet2DConditionModel.from_single_file(
                str(base.path),
                config=str(base.config_folder),
                subfolder="unet",
                in_channels=base.in_channels,
                torch_dtype=dtype,
                local_files_only=True,
            )
        if base.is_single_file:
            return base.family.pipeline.from_single_file(  # type: ignore[attr-defined] -- both stock pipelines have it
                str(base.path), config=str(base.config_folder), **arguments
            )
        if _is_half_precision(base.path):
            arguments["variant"] = "fp16"
        return base.family.pipeline.from_pretrained(str(base.path), **arguments)
    except BROKEN as error:
        raise EngineError("broken_model", f"The base model {base.name} cannot be read: {error}.") from error


def _load_vae(place: Path, base: BaseSource, dtype: torch.dtype) -> AutoencoderKL:
    """The VAE of a folder, or of a single file that is built as the base's own; raises one of `BROKEN`."""
    if place.is_dir():
        return AutoencoderKL.from_pretrained(str(place), dtype=dtype, local_files_only=True)
    return AutoencoderKL.from_single_file(
        str(place), config=str(base.config_folder), subfolder="vae", dtype=dtype, local_files_only=True
    )


def load_components(base: BaseSource, dtype: torch.dtype, names: Collection[str]) -> dict[str, Any]:
    """Some components by name, networks frozen and in evaluation mode."""
    loaded = load_pipeline(base, dtype, names).components
    components = {name: component for name, component in loaded.items() if name in names}
    for component in components.values():
        if isinstance(component, torch.nn.Module):
            component.requires_grad_(False).eval()
    return components


def training_scheduler(base: BaseSource) -> Any:
    """A `DDPMScheduler` with the noise schedule and prediction type that the base was trained with."""
    return DDPMScheduler.from_config(base.config("scheduler"))


def empty_unet(base: BaseSource) -> Any:
    """Its U-Net without weights, on the `meta` device, for estimates."""
    _silence_libraries()
    with torch.device("meta"):
        return UNet2DConditionModel.from_config(base.config("unet"))


def empty_text_encoder(base: BaseSource, component: str) -> Any:
    """One of its text encoders without weights, on the `meta` device."""
    with torch.device("meta"):
        return transformers.CLIPTextModel(transformers.CLIPTextConfig.from_dict(base.config(component)))


def _index(folder: Path) -> Mapping[str, Any]:
    try:
        return json.loads((folder / INDEX).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise OperatorError("bad_base", f"{folder} is no base model: it has no {INDEX} that can be read.") from error


def _weight_names(file: Path) -> list[str]:
    """The key names of a single file's weights."""
    try:
        if file.suffix == ".safetensors":
            with safe_open(file, framework="pt") as stream:
                return list(stream.keys())
        # Tensors only: a pickle could run any program.
        stored = torch.load(file, map_location="meta", weights_only=True, mmap=True)
        return list(stored.get("state_dict", stored))
    except (*BROKEN, AttributeError, TypeError) as error:
        raise OperatorError("bad_base", f"{file} cannot be read as a base model: {error}.") from error


def _component_files(folder: Path, half: bool) -> list[Path]:
    """The files of a component that are loaded: safetensors before pickles, one precision of two; a single file itself."""
    if folder.is_file():
        return [folder]
    files = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("*.bin"))
    return [file for file in files if bool(HALF.search(file.name)) == half] or files


def _is_half_precision(folder: Path) -> bool:
    """Whether the U-Net of a hub folder is there in half precision alone."""
    files = list(folder.glob("unet/*.safetensors")) or list(folder.glob("unet/*.bin"))
    return bool(files) and all(HALF.search(file.name) for file in files)


def _silence_libraries() -> None:
    """Turn off the libraries' progress bars and warnings: they are not for users."""
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    logging.getLogger("torch.distributed").setLevel(logging.ERROR)
