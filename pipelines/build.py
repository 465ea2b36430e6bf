"""Settings to flows: the one place where engines meet flows."""

from collections.abc import Callable, Collection
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

from pipelines import model_requirements as known
from pipelines.diffusion.base import families
from pipelines.engines import Engines, engine_names, load_module
from pipelines.evaluate import Evaluate
from pipelines.idphotos import presets
from pipelines.idphotos.idphoto import IdPainter
from pipelines.model_store.store import ModelStore
from pipelines.prepare import Prepare
from pipelines.refine import UPSCALE_FACTORS, RestoreFaces, Upscale
from pipelines.render import Render
from pipelines.settings import DrawSettings, Settings
from pipelines.train import Train
from portrait.errors import OperatorError
from portrait.ports import Guard, Painter, Refiner
from portrait.types import Refinement

T = TypeVar("T")


def open_engines(settings: Settings) -> Engines:
    """The engines of an installation; nothing is loaded until it is asked for. Use it as a context."""
    return Engines(settings, ModelStore(settings.models))


def prepare(settings: Settings, engines: Engines) -> Prepare:
    """Selfies to training set, with the engines that the settings name."""
    matter = engines.matter() if settings.prepare.white else None
    return Prepare(engines.finder(), engines.restorer(), matter, settings.prepare, settings.quality)


def train(engines: Engines) -> Train:
    """Training set to identity, with the trainer that the settings name."""
    return Train(engines.trainer())


def missing_by_base(settings: Settings) -> dict[str, list[str]]:
    """Bases that a person can be learned on, each with what it still lacks, in words; nothing is loaded."""
    models = ModelStore(settings.models)
    absent = [name for name in ("torch", "diffusers", "peft", "transformers") if find_spec(name) is None]
    mend = f"{', '.join(absent)} missing: pip install -c constraints.txt '.[diffusion]'"
    lacks = {name: models.missing(name) for name in families.family_names()}
    for name, base in settings.bases.items():
        lacks[name] = [] if base.path.exists() else [f"There is no base model at {base.path}."]
    return {name: ([mend] if absent else []) + lines for name, lines in lacks.items()}


def missing_by_ability(settings: Settings) -> dict[str, list[str]]:
    """What a person can be drawn with, each with what it lacks, in words; nothing is loaded.

    By word: `base:sdxl`, `base:sdxl:instantid` for each identity, `base:sdxl:fast` for drawings of few steps,
    `base:sdxl:hint:pose` for each control.
    """
    models = ModelStore(settings.models)
    found: dict[str, list[str]] = {}
    for base, lines in missing_by_base(settings).items():
        family = known.family_of(settings, base)
        found[f"base:{base}"] = lines
        for way in (*known.IDENTITY_MODELS, "fast"):
            found[f"base:{base}:{way}"] = [*lines, *known.missing_models(way, family, models)]
        for kind in known.CONTROL_MODELS:
            found[f"base:{base}:hint:{kind}"] = [*lines, *known.missing_control_models(kind, family, models)]
    return found


def convert(settings: Settings, base: str, place: Path, dtype: str) -> None:
    """A base model from a folder to one file, or back; see `engines.diffusion.convert`."""
    load_module("pipelines.diffusion.base.convert", "What converts base models").convert(
        base, place, dtype, settings, ModelStore(settings.models)
    )


PAINTERS = {"studio": "studio", "template": "fusion", "inpaint": "inpaint", "text": "diffusion"}
"""Which engine draws in which way; see `PortraitRequest.way`. ID photos are framed and not painted."""


def render(
    engines: Engines, ways: Collection[str], steps: Collection[Refinement] = (), draw: DrawSettings | None = None
) -> Render:
    """Request to portraits, with the painters that these ways of drawing need and the refiners of these steps."""
    painters: dict[str, Painter] = {way: engines.painter(PAINTERS[way]) for way in sorted(set(ways) & set(PAINTERS))}
    if "idphoto" in ways:
        painters["idphoto"] = IdPainter(engines.finder(), engines.matter(), presets.load_presets())
    redraws = 0 if draw is None else draw.redraws
    return Render(painters, engines.finder(), refiners(engines, steps), guard(engines, ways, draw), redraws)


def evaluate(settings: Settings, engines: Engines) -> Evaluate:
    """Pictures to numbers, with the networks that are here; what is not is told, with what would bring it."""
    models, absent = ModelStore(settings.models), {}

    def here(role: str, model: str, get: Callable[[], T]) -> T | None:
        # Asked for before their libraries are loaded, which takes longer than all the rest.
        if missing := models.missing(model):
            absent[role] = missing[0]
            return None
        try:
            return get()
        except OperatorError as error:
            absent[role] = error.message
            return None

    classifier = here("classifier", "inception", engines.image_classifier)
    return Evaluate(engines.finder(), classifier, here("comparer", "clip", engines.image_text_encoder), absent)


def missing_guard(settings: Settings) -> list[str]:
    """What is missing of the guard that the settings ask for, in words."""
    return ModelStore(settings.models).missing("safety_checker") if settings.draw.guard == "always" else []


def guard(engines: Engines, ways: Collection[str], draw: DrawSettings | None) -> Guard | None:
    """What portraits that a diffusion model makes up must pass; raises `OperatorError` where it must be here and is not."""
    if draw is None or draw.guard == "off" or not {"text", "inpaint"} & set(ways):
        return None
    try:
        return engines.guard("nsfw")
    except OperatorError as error:
        if draw.guard == "always" or error.code != "missing_model":
            raise
        return None


def refiners(engines: Engines, steps: Collection[Refinement]) -> dict[str, Refiner]:
    """The refiners of some steps, by name; raises `OperatorError` for what is unknown or missing."""
    return {step.name: refiner(engines, step.name) for step in steps}


def refiner(engines: Engines, name: str) -> Refiner:
    """A refiner by name; a restorer of faces and the upscaler are refiners too. Raises `OperatorError`."""
    if name in UPSCALE_FACTORS:
        return Upscale(engines.upscaler(), UPSCALE_FACTORS[name])
    if name in engine_names("refiners"):
        return engines.refiner(name)
    if name in engine_names("restorers"):
        return RestoreFaces(engines.restorer(name))
    known = ", ".join([*engine_names("refiners"), *engine_names("restorers"), *UPSCALE_FACTORS])
    raise OperatorError("unknown_engine", f"There is no refiner {name!r}. Choose one of: {known}.")
