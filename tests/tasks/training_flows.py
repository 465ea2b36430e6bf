"""The flows of an installation that learns people with the real trainer, and finds faces without a model."""

from typing import cast

from pipelines.diffusion.base.loading import find_base_to_learn_on
from pipelines.engines import Engines
from pipelines.engines.trainers.dreambooth import Dreambooth
from pipelines.guards.pictures import PictureGuard
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.ports import FaceFinder, Trainer
from tasks.queue.flows import Flows, PortraitFlows
from tests import fakes


class LearningEngines:
    """The real trainer with a finder that needs no model."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def finder(self) -> FaceFinder:
        return fakes.FakeFinder()

    def trainer(self) -> Trainer:
        models = ModelStore(self._settings.models)
        return Dreambooth(
            lambda name: find_base_to_learn_on(name, self._settings, models),
            self.finder,
            self._settings.train,
            self._settings.models.folder,
        )

    def picture_guard(self) -> PictureGuard:
        return PictureGuard(None, closed=False)

    def __exit__(self, *_: object) -> None:
        """Nothing is held."""


def open_flows(settings: Settings) -> Flows:
    """As `tasks.queue.flows.open_flows`."""
    return PortraitFlows(settings, cast("Engines", LearningEngines(settings)))
