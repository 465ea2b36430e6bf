"""Refiner that draws the person's face into a portrait with a face swapper, by the painter of templates.

`pipelines.refine` keeps it only where the face becomes more like the person, as with `fuse`.
"""

from pipelines.engines import Engines
from pipelines.engines import status as status_of
from pipelines.engines.refiners.fuse import FaceFusion
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings


def make(settings: Settings, models: ModelStore, engines: Engines) -> FaceFusion:
    """Load the face swapper that the settings name, or inswapper where they name none."""
    swapper = engines.faceswapper_named()
    return FaceFusion(engines.painter("fusion"), lambda: swapper.facts)


def status(settings: Settings, models: ModelStore) -> list[str]:
    """What is missing of that swapper."""
    return status_of("faceswap", settings.engines.faceswap or "inswapper", settings, models)
