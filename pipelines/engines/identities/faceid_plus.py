"""IP-Adapter FaceID Plus v2: FaceID that looks at the photo too, through CLIP; non-commercial."""

from pipelines.engines import Engines
from pipelines.engines.identities.faceid import Edition, FaceId, edition, needs
from pipelines.model_store.store import Models
from pipelines.settings import Settings

PLUS = Edition(
    "faceid_plus",
    {
        "sd15": ("faceid_plusv2_sd15", "ip-adapter-faceid-plusv2_sd15.bin"),
        "sdxl": ("faceid_plusv2_sdxl", "ip-adapter-faceid-plusv2_sdxl.bin"),
    },
    plus=True,
)


def make(settings: Settings, models: Models, engines: Engines) -> FaceId:
    """The networks are loaded with the first portrait."""
    return edition(PLUS, models, engines)


def status(settings: Settings, models: Models) -> list[str]:
    """What is still missing."""
    return needs(PLUS, models)
