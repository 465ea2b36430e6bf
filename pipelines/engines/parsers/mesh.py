"""Regions of a face drawn from its mesh: no model of its own, any machine; it knows neither hair nor what covers the face."""

from collections.abc import Mapping

import numpy as np

from pipelines.engines import Engines
from pipelines.models import Models
from pipelines.settings import Settings
from portrait.errors import EngineError
from portrait.types import Face, Image, Mask
from portrait.warp import POINTS, region

FEATURES = ("eyes", "brows", "lips")
"""Regions that are cut out of the skin; `lips` holds the mouth."""


class MeshParser:
    """Draws the regions of a face as the outlines of its mesh."""

    def parse(self, image: Image, face: Face) -> Mapping[str, Mask]:
        """Masks as large as `image` by name: `oval` (the whole face), `skin` (the oval without its features), `eyes`, `brows`,
        `lips` (with the mouth) and `mouth` (between the lips). Give it a crop where the picture is much larger than the face.
        """
        if face.mesh is None or len(face.mesh) < POINTS:
            raise EngineError("no_mesh", "The mesh parser needs a face with a mesh; set engines.faces to blazeface.")
        shape = (image.shape[0], image.shape[1])
        regions = {name: region(face.mesh, name, shape) for name in ("oval", *FEATURES, "mouth")}
        covered = np.maximum.reduce([regions[name] for name in FEATURES])
        return regions | {"skin": regions["oval"] * (1 - covered)}


def make(settings: Settings, models: Models, engines: Engines) -> MeshParser:
    """Nothing to load."""
    return MeshParser()


def status(settings: Settings, models: Models) -> list[str]:
    """What is still missing: nothing ever is."""
    return []
