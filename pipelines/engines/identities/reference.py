"""Reference pictures: a base that edits pictures sees up to four photos of the person beside the words; nothing is trained.

It needs no model of the store: what it takes is the base's own, and so is its licence.
"""

from pipelines.diffusion.base.lease import Lease
from pipelines.diffusion.base.source import BaseSource
from pipelines.diffusion.sampling.pipeline_call import Conditioning
from pipelines.diffusion.sampling.reference_faces import NO_REFERENCE
from pipelines.engines import Engines
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.errors import UserError
from portrait.generation.parameters import GenerationParameters
from portrait.images.reference_pictures import crop_heads
from portrait.types import Identity

PHOTOS = 4
"""Most photos: Black Forest Labs recommend two to four, and each costs as much as the picture that is drawn."""


class ReferencePictures:
    """Shows head and shoulders of the best photos to the base."""

    def describe(self, person: Identity, description: str) -> str:
        """The description unchanged."""
        return description

    def check(self, person: Identity, base: BaseSource) -> None:
        """Raise what keeps the person from being drawn on this base; see `portrait.ports.IdentityAdapter`."""
        if not base.family.abilities.references:
            raise UserError(
                "wrong_family",
                f"{base.name} ({base.family.name}) draws nobody from reference pictures: choose another way of telling who, "
                "or another base.",
            )
        if not person.references:
            raise UserError("no_reference", NO_REFERENCE)

    def prepare(self, lease: Lease, person: Identity, parameters: GenerationParameters) -> Conditioning:
        """The best photos first, as many as the base takes beside the pictures of an edit."""
        room = lease.family.abilities.references - parameters.references
        photos = person.references[: max(0, min(PHOTOS, room))]
        # Beside a start picture the stock pipeline makes all references as large as the first.
        crops = crop_heads(photos, same_size=parameters.task != "text") if photos else []
        return Conditioning(references=crops, facts={"reference": {"photos": len(crops)}})


def make(settings: Settings, models: ModelStore, engines: Engines) -> ReferencePictures:
    """The adapter; nothing is loaded for it."""
    return ReferencePictures()
