"""Settings to flows: the one place where engines meet flows."""

from collections.abc import Collection

from pipelines.engines import Engines
from pipelines.models import Models
from pipelines.prepare import Prepare
from pipelines.render import Render
from pipelines.settings import Settings


def open_engines(settings: Settings) -> Engines:
    """The engines of an installation; nothing is loaded until it is asked for. Use it as a context."""
    return Engines(settings, Models(settings.models))


def prepare(settings: Settings, engines: Engines) -> Prepare:
    """Selfies to training set, with the engines that the settings name."""
    matter = engines.matter() if settings.prepare.white else None
    return Prepare(engines.finder(), engines.restorer(), matter, settings.prepare, settings.quality)


PAINTERS = {"studio": "studio", "template": "fusion"}
"""Which engine draws which kind of style."""


def render(engines: Engines, kinds: Collection[str]) -> Render:
    """Request to portraits, with the painters that these kinds of style need."""
    return Render({kind: engines.painter(PAINTERS[kind]) for kind in sorted(set(kinds))}, engines.finder())
