"""PhotoMaker V2 for SDXL: V1 with face embeddings of buffalo_l; non-commercial."""

from pipelines.diffusion.sampling.reference_faces import ReferenceEmbedder
from pipelines.engines import Engines
from pipelines.engines.identities.photomaker import PhotoMaker, Version
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings

V2 = Version("photomaker_v2", "photomaker_v2", "photomaker-v2.bin", "buffalo_l")


def make(settings: Settings, models: ModelStore, engines: Engines) -> PhotoMaker:
    """PhotoMaker V2; the networks are loaded with the first portrait."""
    models.folder(V2.space)
    return PhotoMaker(V2, models.file(V2.model, V2.file), ReferenceEmbedder(V2.space, engines.lazy_embedder(V2.space)))


def status(settings: Settings, models: ModelStore) -> list[str]:
    """What is still missing."""
    return [*models.missing(V2.model), *models.missing(V2.space)]
