"""Loading base models: from a hub folder, a single `.safetensors`, or a pickled `.ckpt` of which only tensors are read.

Components are loaded by name, so that a trainer holds text encoders and VAE only while it needs them, and in the dtype in which
they are used, so that a file in that dtype is memory-mapped instead of copied.
"""

import inspect
import json
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers.utils.logging
from diffusers import AutoencoderKL, DiffusionPipeline, GGUFQuantizationConfig, UNet2DConditionModel
from diffusers.models.model_loading_utils import load_gguf_checkpoint
from safetensors import safe_open
from safetensors.torch import load_file

from pipelines import model_requirements
from pipelines.diffusion.base import quantised
from pipelines.diffusion.base.checkpoint_files import BROKEN, count_weights
from pipelines.diffusion.base.family import Family
from pipelines.diffusion.base.parts import single_file
from pipelines.diffusion.base.registry import PREFIX, families_built_alike, family_of_folder, family_of_weights
from pipelines.diffusion.base.source import BaseSource, is_half_precision
from pipelines.model_store.manifest import Model, builtin_manifest, read_pair
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.errors import EngineError, OperatorError, UserError
from portrait.generation.sampling_facts import NO_FACTS, SamplingFacts, read_facts

INDEX = "model_index.json"
UNUSED_COMPONENTS = ("safety_checker", "feature_extractor", "image_encoder")
"""Components of Stable Diffusion 1.5's folder that neither training nor sampling needs."""
OWN_VAE = "own"
"""Stands for the base's own VAE, where settings choose another."""


def find_base(name: str, settings: Settings, models: ModelStore) -> BaseSource:
    """A base by its name in the settings or the model store, or by its path, with the VAE that the settings choose.

    Raises `OperatorError` (`unknown_base`, `missing_model`, `licence_refused`, `bad_base`, `unknown_family`), and what
    `choose_vae` does.
    """
    if refused := model_requirements.refused_base(settings, name, models):
        raise OperatorError("licence_refused", refused)
    found = _find_base(name, settings, models)
    half_vae = found.family.half_vae
    found = replace(found, half_vae=models.folder(half_vae)) if half_vae and not models.missing(half_vae) else found
    found = found if settings.draw.t5 else replace(found, left_out=tuple(found.family.optional_components))
    location = settings.bases.get(name)
    storage = (location.storage if location is not None else "") or settings.draw.storage
    found = found if found.is_gguf else replace(found, storage=storage)
    chosen = location.vae if location is not None else ""
    if not chosen and settings.draw.vae and models.find(settings.draw.vae).family in ("", found.family.name):
        chosen = settings.draw.vae
    return choose_vae(found, chosen, models)


def find_base_to_learn_on(name: str, settings: Settings, models: ModelStore) -> BaseSource:
    """The base that people are learned on where one is named, which then draws them: a distilled one is not learned on.

    Raises what `find_base` does.
    """
    other = model_requirements.pair_of(settings, name, models).learn_on
    return replace(find_base(other, settings, models), draw_on=name) if other else find_base(name, settings, models)


def find_base_to_draw_on(name: str, find: Callable[[str], BaseSource]) -> BaseSource:
    """The base that draws who was learned on one: its distilled sibling, or itself where that is not here.

    `find` is `find_base`, and what it raises is raised.
    """
    base = find(name)
    try:
        return find(base.draw_on) if base.draw_on else base
    except OperatorError as error:
        if error.code not in ("missing_model", "unknown_base", "licence_refused"):
            raise
        return base


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
        pair = {"learn_on": location.learn_on, "draw_on": location.draw_on}
        return replace(found, facts=found.facts.updated(location.facts), **pair)
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
    pair = read_pair(models.find(name).facts)
    return replace(found, facts=found.facts.updated(facts), learn_on=pair.learn_on, draw_on=pair.draw_on)


def sampling_facts(model: Model) -> SamplingFacts:
    """What the manifest says of how a model wants to be sampled; raises `OperatorError` (`bad_manifest`)."""
    try:
        return read_facts(model.facts)
    except ValueError as error:
        raise OperatorError(
            "bad_manifest", f"The facts of the model {model.name} do not hold: {error}. Add it again with others."
        ) from error


def _find_configs(path: Path, models: ModelStore) -> Path | None:
    """The store's hub folder of a single file's family, of those that ship with this program before others; None where none is
    installed, or for a folder.

    A file that holds the denoiser alone goes with a folder whose denoiser has as many weights; of several, such as a distilled
    one and its base, with the one whose name is most like the file's.
    """
    if not path.is_file():
        return None
    family = family_of_weights(_weight_names(path))
    alike = families_built_alike(family)
    described = sorted(
        (model for model in models.of_kind("base") if model.family in alike), key=lambda model: model.own
    )
    if family.single_file == "whole":  # what others made of them has further layers, or fewer
        described = [model for model in described if not model.own]
    here = [model.name for model in described if not models.missing(model.name)]
    folders = {name: models.folder(name) for name in here if (models.folder(name) / INDEX).is_file()}
    if family.single_file == "denoiser":
        size = count_weights(path, PREFIX)  # some have other networks beside it
        folders = {name: folder for name, folder in folders.items() if _count_denoiser(name, folder) == size}
        likeness = {name: SequenceMatcher(None, path.stem.lower(), name).ratio() for name in folders}
        folders = {name: folders[name] for name in sorted(folders, key=lambda name: -likeness[name])}
    return next(iter(folders.values()), None)


def _count_denoiser(name: str, folder: Path) -> int:
    return sum(count_weights(file) for file in open_base(name, folder).weights_files)


def _base_to_pull(family: str) -> str:
    """The first base of a family that ships with this program; empty where there is none."""
    bases = (model for model in builtin_manifest().models.values() if model.kind == "base")
    return next((model.name for model in bases if model.family == family), "")


def open_base(name: str, path: Path, configs: Path | None = None) -> BaseSource:
    """The base at a path, its family detected; raises `OperatorError` (`bad_base`, `unknown_family`)."""
    if path.is_dir():
        index = _index(path)
        family = family_of_folder(path)
        zero_snr = bool(_config_or_empty(path / "scheduler" / "scheduler_config.json").get("rescale_betas_zero_snr"))
        facts = _folder_facts(family, path, index).updated(SamplingFacts(rescale_betas_zero_snr=zero_snr))
        return BaseSource(name, path, family, path, facts=facts)
    if not path.is_file():
        raise OperatorError("bad_base", f"There is no base model at {path}.")
    keys = _weight_names(path)
    family = family_of_weights(keys, configs)
    quantised.check_scales(path, keys)
    if path.suffix == quantised.GGUF and family.single_file == "whole":
        raise OperatorError(
            "bad_base",
            f"{path.name} holds a denoiser alone, and of the family {family.name} files with all networks are read: take a "
            ".safetensors, or a hub folder.",
        )
    if configs is None or not (configs / INDEX).is_file():
        known = _base_to_pull(family.name)
        pull = f", or run `portrait models pull {known}`" if known else ""
        holds = "" if family.single_file == "whole" else f" and holds its {family.denoiser} alone"
        raise OperatorError(
            "bad_base",
            f"{path.name} is a single file, which does not say how its networks are built{holds}: name a hub folder of the "
            f"family {family.name} that does{pull}.",
        )
    facts = _folder_facts(family, configs, _index(configs)).updated(_facts_of_keys(keys))
    base = BaseSource(name, path, family, configs, facts=facts)
    if family.single_file == "denoiser":
        return base
    channels = single_file.read_in_channels(path)
    usual = _config_or_empty(configs / "unet" / "config.json").get("in_channels", channels)
    return replace(base, in_channels=0 if channels == usual else channels)


def _folder_facts(family: Family, folder: Path, index: Mapping[str, Any]) -> SamplingFacts:
    """How a base wants to be sampled, as far as its hub folder says so."""

    def config(component: str) -> Mapping[str, Any]:
        name = "scheduler_config.json" if component == "scheduler" else "config.json"
        return _config_or_empty(folder / component / name)

    return family.facts(index).updated(family.config_facts(config))


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
    unused = [name for name in (*UNUSED_COMPONENTS, *base.left_out) if name in known]
    omitted = {name: None for name in known if name in unused or (names is not None and name not in names)}
    arguments: dict[str, Any] = {"dtype": dtype, "local_files_only": True, **omitted}
    if "safety_checker" in known:
        arguments["requires_safety_checker"] = False
    try:
        arguments |= {
            name: each for name, each in base.family.own_components(base.config_folder).items() if name not in omitted
        }
        vae = base.vae_in_place(dtype)
        if vae is not None and "vae" not in omitted:
            arguments["vae"] = _load_vae(vae, base, dtype)
        if base.facts.scheduler_config and "scheduler" not in omitted:
            config = base.config("scheduler")
            arguments["scheduler"] = getattr(diffusers, str(config["_class_name"])).from_config(config)
        if base.is_single_file and base.family.single_file == "denoiser":
            return _load_beside(base, dtype, arguments, omitted)
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
            return base.family.pipeline.from_single_file(  # pyrefly: ignore[missing-attribute] -- both stock pipelines have it
                str(base.path), config=str(base.config_folder), **arguments
            )
        if is_half_precision(base.path / base.family.denoiser):
            arguments["variant"] = "fp16"
        return base.family.pipeline.from_pretrained(str(base.path), **arguments)
    except BROKEN as error:
        raise EngineError("broken_model", f"The base model {base.name} cannot be read: {error}.") from error


def _load_beside(
    base: BaseSource, dtype: torch.dtype, arguments: Mapping[str, Any], omitted: Collection[str]
) -> DiffusionPipeline:
    """The pipeline of a single file that holds the denoiser alone: all else is of the folder. Raises one of `BROKEN`."""
    denoiser = base.family.denoiser
    given = dict(arguments)
    if denoiser not in omitted:
        kept = {"quantization_config": GGUFQuantizationConfig(compute_dtype=dtype)} if base.is_gguf else {}
        given[denoiser] = base.family.denoiser_class.from_single_file(
            _denoiser_checkpoint(base.path),
            config=str(base.config_folder),
            subfolder=denoiser,
            torch_dtype=dtype,
            local_files_only=True,
            **kept,
        )
    return base.family.pipeline.from_pretrained(str(base.config_folder), **given)


def _denoiser_checkpoint(file: Path) -> str | dict[str, torch.Tensor]:
    """What diffusers reads a denoiser from: its file, or its weights without a prefix that not all of its readers know."""
    readers = {".safetensors": load_file, quantised.GGUF: load_gguf_checkpoint}
    if file.suffix not in readers or not any(name.startswith(PREFIX) for name in _weight_names(file)):
        return str(file)
    return {name.removeprefix(PREFIX): weight for name, weight in readers[file.suffix](str(file)).items()}


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


def empty_denoiser(base: BaseSource) -> Any:
    """Its denoiser without weights, on the `meta` device, for estimates."""
    _silence_libraries()
    with torch.device("meta"):
        return base.family.denoiser_class.from_config(base.denoiser_config)


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
        if file.suffix == quantised.GGUF:
            return [tensor.name for tensor in quantised.read_header(file)]
        # Tensors only: a pickle could run any program.
        stored = torch.load(file, map_location="meta", weights_only=True, mmap=True)
        return list(stored.get("state_dict", stored))
    except (*BROKEN, AttributeError, TypeError) as error:
        raise OperatorError("bad_base", f"{file} cannot be read as a base model: {error}.") from error


def _silence_libraries() -> None:
    """Turn off the libraries' progress bars and warnings: they are not for users."""
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    logging.getLogger("torch.distributed").setLevel(logging.ERROR)


def own_config(pipeline_class: type, pipeline: Any) -> dict[str, Any]:
    """What a pipeline's configuration says beside its components, as far as another class takes it: `is_distilled`."""
    taken = inspect.signature(pipeline_class.__init__).parameters
    said = {name: value for name, value in pipeline.config.items() if name not in pipeline.components}
    return {name: value for name, value in said.items() if name in taken}
