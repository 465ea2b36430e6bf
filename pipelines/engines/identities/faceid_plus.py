"""IP-Adapter FaceID Plus v2: FaceID with CLIP features of the photo beside the embedding; non-commercial."""

from pipelines.engines import Engines
from pipelines.engines.identities.faceid import FaceId, Variant, build, missing_models
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings

PLUS = Variant(
    "faceid_plus",
    {
        "sd15": ("faceid_plusv2_sd15", "ip-adapter-faceid-plusv2_sd15.bin"),
        "sdxl": ("faceid_plusv2_sdxl", "ip-adapter-faceid-plusv2_sdxl.bin"),
    },
    plus=True,
)


def make(settings: Settings, models: ModelStore, engines: Engines) -> FaceId:
    """The networks are loaded with the first portrait."""
    return build(PLUS, models, engines)


def status(settings: Settings, models: ModelStore) -> list[str]:
    """What is still missing."""
    return missing_models(PLUS, models)
