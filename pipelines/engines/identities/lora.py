"""The LoRA that was learned of a person, in the slot of a shared base; with it the word that stands for them."""

from pipelines.diffusion.base import lora_slot
from pipelines.diffusion.base.lease import Lease
from pipelines.diffusion.base.loading import Source, empty_unet
from pipelines.diffusion.sampling.pipeline_call import Conditions, strength
from pipelines.engines import Engines
from pipelines.model_store.store import Models
from pipelines.settings import Settings
from portrait.errors import UserError
from portrait.generation.parameters import Drawing
from portrait.types import Identity

STRENGTH = 0.9
"""FaceChain wears people at 0.80 to 0.95."""


class Lora:
    """Wears what was learned."""

    def words(self, person: Identity, words: str) -> str:
        """Trigger and words: `sks person`."""
        return f"{person.trigger} {words}".strip()

    def check(self, person: Identity, base: Source) -> None:
        """See `portrait.ports.Identifier`."""
        if person.lora is None and person.tokens is None:
            raise UserError(
                "not_learned", "This person was not learned yet: train them first, or choose an adapter instead."
            )
        if person.lora is not None:
            lora_slot.check(person.lora, lora_slot.shapes(empty_unet(base)))

    def prepare(self, lease: Lease, person: Identity, drawing: Drawing) -> Conditions:
        """Put the LoRA into the slot, and the learned word into the vocabulary."""
        worn = strength(drawing.technique, "lora", STRENGTH)
        if person.tokens is not None:
            lease.learn(person.tokens, person.trigger)
        if person.lora is not None:
            lease.wear(person.lora, worn)
        return Conditions(facts={"lora": {"strength": worn, "trigger": person.trigger}})


def make(settings: Settings, models: Models, engines: Engines) -> Lora:
    """Nothing to load: each person brings their own."""
    return Lora()


def status(settings: Settings, models: Models) -> list[str]:
    """Nothing is missing."""
    return []
