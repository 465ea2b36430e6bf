"""Settings to flows: the one place where engines meet flows."""

from collections.abc import Callable, Collection
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

from pipelines import model_requirements as known
from pipelines.diffusion.base import families
from pipelines.engines import Engines, load_module, names
from pipelines.evaluate import Evaluate
from pipelines.idphotos import presets
from pipelines.idphotos.idphoto import IdPainter
from pipelines.model_store.store import Models
from pipelines.prepare import Prepare
from pipelines.refine import ENLARGING, EachFace, Enlarge
from pipelines.render import Render
from pipelines.settings import Draw, Settings
from pipelines.train import Train
from portrait.errors import OperatorError
from portrait.ports import Guard, Painter, Refiner
from portrait.types import Refinement

T = TypeVar("T")


def open_engines(settings: Settings) -> Engines:
    """The engines of an installation; nothing is loaded until it is asked for. Use it as a context."""
    return Engines(settings, Models(settings.models))


def prepare(settings: Settings, engines: Engines) -> Prepare:
    """Selfies to training set, with the engines that the settings name."""
    matter = engines.matter() if settings.prepare.white else None
    return Prepare(engines.finder(), engines.restorer(), matter, settings.prepare, settings.quality)


def train(engines: Engines) -> Train:
    """Training set to identity, with the trainer that the settings name."""
    return Train(engines.trainer())


def bases(settings: Settings) -> dict[str, list[str]]:
    """Bases that a person can be learned on, each with what it still lacks, in words; nothing is loaded."""
    models = Models(settings.models)
    absent = [name for name in ("torch", "diffusers", "peft", "transformers") if find_spec(name) is None]
    mend = f"{', '.join(absent)} missing: pip install -c constraints.txt '.[diffusion]'"
    lacks = {name: models.missing(name) for name in families.names()}
    for name, base in settings.bases.items():
        lacks[name] = [] if base.path.exists() else [f"There is no base model at {base.path}."]
    return {name: ([mend] if absent else []) + lines for name, lines in lacks.items()}


def ways(settings: Settings) -> dict[str, list[str]]:
    """What a person can be drawn with, each with what it lacks, in words; nothing is loaded.

    By word: `base:sdxl`, `base:sdxl:instantid` for each identity, `base:sdxl:fast` for drawings of few steps,
    `base:sdxl:hint:pose` for each control.
    """
    models = Models(settings.models)
    found: dict[str, list[str]] = {}
    for base, lines in bases(settings).items():
        family = known.family_of(settings, base)
        found[f"base:{base}"] = lines
        for way in (*known.MODELS, "fast"):
            found[f"base:{base}:{way}"] = [*lines, *known.missing(way, family, models)]
        for kind in known.CONTROLS:
            found[f"base:{base}:hint:{kind}"] = [*lines, *known.unfollowed(kind, family, models)]
    return found


def convert(settings: Settings, base: str, place: Path, dtype: str) -> None:
    """A base model from a folder to one file, or back; see `engines.diffusion.convert`."""
    load_module("pipelines.diffusion.base.convert", "What converts base models").convert(
        base, place, dtype, settings, Models(settings.models)
    )


PAINTERS = {"studio": "studio", "template": "fusion", "inpaint": "inpaint", "text": "diffusion"}
"""Which engine draws in which way; see `PortraitRequest.way`. ID photos are framed and not painted."""


def render(
    engines: Engines, ways: Collection[str], steps: Collection[Refinement] = (), draw: Draw | None = None
) -> Render:
    """Request to portraits, with the painters that these ways of drawing need and the refiners of these steps."""
    painters: dict[str, Painter] = {way: engines.painter(PAINTERS[way]) for way in sorted(set(ways) & set(PAINTERS))}
    if "idphoto" in ways:
        painters["idphoto"] = IdPainter(engines.finder(), engines.matter(), presets.load())
    redraws = 0 if draw is None else draw.redraws
    return Render(painters, engines.finder(), refiners(engines, steps), guard(engines, ways, draw), redraws)


def evaluate(settings: Settings, engines: Engines) -> Evaluate:
    """Pictures to numbers, with the networks that are here; what is not is told, with what would bring it."""
    models, absent = Models(settings.models), {}

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

    classifier = here("classifier", "inception", engines.classifier)
    return Evaluate(engines.finder(), classifier, here("comparer", "clip", engines.comparer), absent)


def guarding(settings: Settings) -> list[str]:
    """What is missing of the guard that the settings ask for, in words."""
    return Models(settings.models).missing("safety_checker") if settings.draw.guard == "always" else []


def guard(engines: Engines, ways: Collection[str], draw: Draw | None) -> Guard | None:
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
    if name in ENLARGING:
        return Enlarge(engines.upscaler(), ENLARGING[name])
    if name in names("refiners"):
        return engines.refiner(name)
    if name in names("restorers"):
        return EachFace(engines.restorer(name))
    known = ", ".join([*names("refiners"), *names("restorers"), *ENLARGING])
    raise OperatorError("unknown_engine", f"There is no refiner {name!r}. Choose one of: {known}.")
