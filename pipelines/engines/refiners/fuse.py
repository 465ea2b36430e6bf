"""Refiner that fuses the person's best selfie into a portrait, as templates are fused; no model but the face mesh.

What a diffusion model draws of a person is often less like them than their photo: the selfie nearest in pose and expression is
warped onto the drawn face. `pipelines.refine` keeps it only where the face becomes more like the person.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pipelines.engines import Engines
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.arrays import Image
from portrait.ports import Painter, StreamingPainter
from portrait.types import Candidate, Face, Identity, PortraitRequest, Style, StylePicture


@dataclass(frozen=True, slots=True)
class FaceFusion:
    """Fuses the best selfie into a portrait, by the painter of templates."""

    painter: Painter
    face_swap: Callable[[], Mapping[str, object]] = dict
    """The facts of the face swapper that draws the face; empty for a warped selfie."""

    def facts(self) -> Mapping[str, object]:
        """See `portrait.ports.PersonRefiner`."""
        return self.face_swap()

    def refine_person(self, image: Image, face: Face, person: Identity) -> Image:
        """See `portrait.ports.PersonRefiner`; the portrait's own light and skin stay."""
        style = Style("portrait", 1, "template", "", picture=StylePicture(image, (face,)))
        drawn = {"faceswap": dict(facts)} if (facts := self.face_swap()) else {}
        request = PortraitRequest({1: person}, style, 0, 1, skin="template", drawn=drawn)
        return self._first(request).image

    def _first(self, request: PortraitRequest) -> Candidate:
        if isinstance(self.painter, StreamingPainter):
            return next(iter(self.painter.draw_each(request, _silent)))
        return self.painter.paint(request, _silent)[0]


def _silent(done: int, total: int, doing: str, preview: Image | None = None) -> None:
    pass


def make(settings: Settings, models: ModelStore, engines: Engines) -> FaceFusion:
    """The engine; there is nothing to load."""
    return FaceFusion(engines.painter("fusion"))


def status(settings: Settings, models: ModelStore) -> list[str]:
    """Always empty: the engine needs no model files."""
    return []
