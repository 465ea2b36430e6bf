"""PhotoMaker V2 for SDXL: V1 led by face embeddings of buffalo_l; non-commercial."""

from pipelines.diffusion.sampling import adapters
from pipelines.engines import Engines
from pipelines.engines.identities.photomaker import PhotoMaker, Version
from pipelines.model_store.store import Models
from pipelines.settings import Settings

V2 = Version("photomaker_v2", "photomaker_v2", "photomaker-v2.bin", "buffalo_l")


def make(settings: Settings, models: Models, engines: Engines) -> PhotoMaker:
    """The networks are loaded with the first portrait."""
    models.folder(V2.space)
    return PhotoMaker(V2, models.file(V2.model, V2.file), adapters.Reader(V2.space, engines.reader(V2.space)))


def status(settings: Settings, models: Models) -> list[str]:
    """What is still missing."""
    return [*models.missing(V2.model), *models.missing(V2.space)]
