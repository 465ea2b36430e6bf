"""Settings to flows: the one place where engines meet flows."""

from pipelines.engines import Engines
from pipelines.models import Models
from pipelines.prepare import Prepare
from pipelines.settings import Settings


def engines(settings: Settings) -> Engines:
    """The engines of an installation; nothing is loaded until it is asked for."""
    return Engines(settings, Models(settings.models))


def prepare(settings: Settings, parts: Engines) -> Prepare:
    """Selfies to training set, with the engines that the settings name."""
    matter = parts.matter() if settings.prepare.white else None
    return Prepare(parts.finder(), parts.restorer(), matter, settings.prepare, settings.quality)
