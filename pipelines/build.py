"""Builds the flows from settings: the composition root, where engines are put into flows."""

from collections.abc import Callable, Collection
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from pipelines import model_requirements
from pipelines.engines import Engines, engine_names, load_module
from pipelines.evaluate import Evaluate
from pipelines.guards.pictures import lacking
from pipelines.model_store.store import ModelStore
from pipelines.prepare import Prepare
from pipelines.refine import UPSCALE_FACTORS, RestoreFaces, Upscale
from pipelines.render import Render
from pipelines.settings import DrawSettings, Settings
from pipelines.train import Train
from portrait.errors import OperatorError
from portrait.generation.abilities import Abilities
from portrait.ports import AnyRefiner, Guard, Matter
from portrait.types import Refinement

T = TypeVar("T")


def open_engines(settings: Settings) -> Engines:
    """Open the engines of an installation, each loaded when it is first used. Use it as a context."""
    return Engines(settings, ModelStore(settings.models))


def prepare(settings: Settings, engines: Engines) -> Prepare:
    """Build the flow from selfies to a training set, with the engines that the settings name."""
    matter = engines.matter() if settings.prepare.white else None
    return Prepare(
        engines.finder(),
        engines.restorer(),
        matter,
        settings.prepare,
        settings.quality,
        upscaler=engines.detailer() if settings.prepare.small_face else None,
        silhouettes=matter or _matter_if_present(engines),
        attributes=engines.attributes(),
        guard=engines.picture_guard(),
    )


def _matter_if_present(engines: Engines) -> Matter | None:
    """Return the matter, or None where its models or library are missing: what photos serve is then not told."""
    try:
        return engines.matter()
    except OperatorError:
        return None


def train(engines: Engines) -> Train:
    """Build the flow from a training set to an identity, with the trainer that the settings name."""
    return Train(engines.trainer())


def missing_by_base(settings: Settings) -> dict[str, list[str]]:
    """Return the bases that a person can be drawn on, each with what is missing, in sentences; nothing is loaded.

    Among them is the first base of each family that ships with this program, here or not.
    """
    models = ModelStore(settings.models)
    missing = {name: models.missing(name) for name in model_requirements.first_bases(models)}
    for name, base in settings.bases.items():
        lines = [] if base.path.exists() else [f"There is no base model at {base.path}."]
        missing[name] = [*filter(None, [model_requirements.refused_base(settings, name, models)]), *lines]
    for model in models.of_kind("base"):
        # Shipped ones beside the families' own are told where they are here: nobody has to have them.
        if model.own or (model.name not in missing and not models.missing(model.name)):
            missing.setdefault(model.name, models.missing(model.name))
    return {name: [*_missing_libraries(), *lines] for name, lines in missing.items()}


def missing_for_training(settings: Settings) -> dict[str, list[str]]:
    """Return the bases that a person can be trained on, as `missing_by_base`: by `learn_on`, where they name another."""
    models, missing = ModelStore(settings.models), missing_by_base(settings)
    learn_on = {base: model_requirements.pair_of(settings, base, models).learn_on or base for base in missing}
    others = {name: [*_missing_libraries(), *models.missing(name)] for name in {*learn_on.values()} - {*missing}}
    return {base: {**missing, **others}[name] for base, name in learn_on.items()}


def _missing_libraries() -> list[str]:
    absent = [name for name in ("torch", "diffusers", "peft", "transformers") if find_spec(name) is None]
    return [f"{', '.join(absent)} missing: pip install -c constraints.txt '.[diffusion]'"] if absent else []


def missing_by_ability(settings: Settings) -> dict[str, list[str]]:
    """Return the abilities to draw a person, each with what is missing, in sentences; nothing is loaded.

    The keys are the words of the API: `base:sdxl`, `base:sdxl:instantid` for each identity adapter, `base:sdxl:fast` for the
    preset of few steps, `base:sdxl:hint:pose` for each control, `base:sdxl:vae:NAME` and `base:sdxl:few_steps:NAME` for VAEs
    and LoRAs of few steps that are here, `base:sdxl:look:NAME` for each adapter of a look; where the family can,
    `base:NAME:instruct`, and `base:NAME:option:prompt_weights` for each option of `model_requirements.OPTIONS`.
    """
    models = ModelStore(settings.models)
    found: dict[str, list[str]] = {}
    for base, lines in missing_by_base(settings).items():
        family = model_requirements.family_of(settings, base)
        found[f"base:{base}"] = lines
        for ability in model_requirements.IDENTITY_MODELS:
            found[f"base:{base}:{ability}"] = [*lines, *model_requirements.missing_models(ability, family, models)]
        for word in model_requirements.ability_words(family):
            found[f"base:{base}:{word}"] = lines
        distilled = model_requirements.is_distilled(settings, base, models)
        lcm = [] if distilled else model_requirements.missing_models("fast", family, models)
        found[f"base:{base}:fast"] = [*lines, *lcm]
        for name in model_requirements.vaes(family, models):
            found[f"base:{base}:vae:{name}"] = lines
        for name in () if distilled else model_requirements.few_step_loras(family, models):
            found[f"base:{base}:few_steps:{name}"] = lines
        for name in model_requirements.ip_adapters(family, models):
            look = model_requirements.missing_ip_adapter_models(name, family, models)
            found[f"base:{base}:look:{name}"] = [*lines, *look]
        for kind in dict.fromkeys([*model_requirements.CONTROL_MODELS, *model_requirements.controls(family, models)]):
            found[f"base:{base}:hint:{kind}"] = [
                *lines,
                *model_requirements.missing_control_models(kind, family, models),
            ]
    return found


def base_abilities(settings: Settings, base: str) -> Abilities:
    """Return what a base can do beyond drawing words; raises `OperatorError` (`missing_model`, `unknown_base`, `bad_base`)."""
    module = load_module("pipelines.diffusion.base.loading", "What draws")
    return module.find_base(base, settings, ModelStore(settings.models)).family.abilities


def convert(settings: Settings, base: str, place: Path, dtype: str) -> None:
    """Convert a base model from a folder to one file, or back; see `pipelines.diffusion.base.convert`."""
    load_module("pipelines.diffusion.base.convert", "What converts base models").convert(
        base, place, dtype, settings, ModelStore(settings.models)
    )


def import_person_lora(settings: Settings, file: Path, base: str, trigger: str, work_dir: Path) -> Any:
    """Write a person's LoRA from elsewhere as an identity has it; see `pipelines.diffusion.base.lora`."""
    module = load_module("pipelines.diffusion.base.lora", "What reads LoRAs")
    return module.import_person_lora(file, base, trigger, work_dir, settings, ModelStore(settings.models))


def merge_bases(
    settings: Settings, bases: tuple[str, str], place: Path, how: str, alpha: float, blocks: tuple[float, ...]
) -> Any:
    """Merge two bases into a file or folder; see `pipelines.diffusion.base.merge_bases`."""
    module = load_module("pipelines.diffusion.base.merge_bases", "What merges base models")
    return module.merge(*bases, place, module.MergeOptions(how, alpha, blocks), settings, ModelStore(settings.models))


def convert_pickled(pickled: Path, file: Path) -> None:
    """Write the tensors of a pickled file into a safetensors file; see `pipelines.diffusion.base.checkpoint_files`."""
    load_module("pipelines.diffusion.base.checkpoint_files", "What reads pickled files").convert_pickled(pickled, file)


PAINTERS = {"studio": "studio", "template": "fusion", "inpaint": "inpaint", "text": "diffusion", "idphoto": "idphoto"}
"""Painter engine by `PortraitRequest.mode`."""


def render(
    engines: Engines, modes: Collection[str], steps: Collection[Refinement] = (), draw: DrawSettings | None = None
) -> Render:
    """Build the flow from a request to portraits, with the painters of these modes and the refiners of these steps."""
    painters = {mode: engines.painter(PAINTERS[mode]) for mode in sorted(set(modes) & set(PAINTERS))}
    redraws = 0 if draw is None else draw.redraws
    checker, pictures = guard(engines, modes, draw), engines.picture_guard()
    return Render(painters, engines.finder(), refiners(engines, steps), checker, redraws, pictures)


def evaluate(settings: Settings, engines: Engines) -> Evaluate:
    """Build the evaluation, with the networks that are here; for the others it knows what would bring them."""
    models, absent = ModelStore(settings.models), {}

    def load_if_present(role: str, model: str, get: Callable[[], T]) -> T | None:
        # The store is asked before libraries are loaded, which takes longer than all the rest.
        if missing := models.missing(model):
            absent[role] = missing[0]
            return None
        try:
            return get()
        except OperatorError as error:
            absent[role] = error.message
            return None

    classifier = load_if_present("classifier", "inception", engines.image_classifier)
    return Evaluate(
        engines.finder(), classifier, load_if_present("encoder", "clip", engines.image_text_encoder), absent
    )


def missing_guard(settings: Settings) -> list[str]:
    """Return what is missing of the guard of drawings that the settings require, in sentences."""
    return ModelStore(settings.models).missing("safety_checker") if settings.draw.guard == "always" else []


def missing_picture_guard(settings: Settings) -> list[str]:
    """Return what is missing of the guard of pictures, in sentences, where nothing passes without it."""
    return lacking(settings) if settings.guards_closed else []


def guard(engines: Engines, modes: Collection[str], draw: DrawSettings | None) -> Guard | None:
    """Return the safety checker for modes in which a diffusion model draws, or None.

    Raises `OperatorError` (`missing_model`) when the settings require it and it is missing.
    """
    if draw is None or draw.guard == "off" or not {"text", "inpaint"} & set(modes):
        return None
    try:
        return engines.guard("nsfw")
    except OperatorError as error:
        if draw.guard == "always" or error.code not in ("missing_model", "licence_refused"):
            raise
        return None


def refiners(engines: Engines, steps: Collection[Refinement]) -> dict[str, AnyRefiner]:
    """Return the refiners of some steps, by name; raises `OperatorError` for what is unknown or missing."""
    return {step.name: refiner(engines, step.name) for step in steps}


def refiner(engines: Engines, name: str) -> AnyRefiner:
    """Return a refiner by name; face restorers and the upscaler count too. Raises `OperatorError` (`unknown_engine`)."""
    if name in UPSCALE_FACTORS:
        return Upscale(engines.upscaler(), UPSCALE_FACTORS[name])
    if name in engine_names("refiners"):
        return engines.refiner(name)
    if name in engine_names("restorers"):
        return RestoreFaces(engines.restorer(name))
    known = ", ".join([*engine_names("refiners"), *engine_names("restorers"), *UPSCALE_FACTORS])
    raise OperatorError("unknown_engine", f"There is no refiner {name!r}. Choose one of: {known}.")
