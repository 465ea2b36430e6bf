"""The LoRA that was learned of a person, in the slot of a shared base; with it the word that stands for them."""

from pipelines.diffusion.base import lora_slot
from pipelines.diffusion.base.lease import Lease
from pipelines.diffusion.base.loading import BaseSource, empty_unet
from pipelines.diffusion.sampling.pipeline_call import Conditioning, strength_of
from pipelines.engines import Engines
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.errors import UserError
from portrait.generation.parameters import GenerationParameters
from portrait.types import Identity

STRENGTH = 0.9
"""FaceChain wears people at 0.80 to 0.95."""


class Lora:
    """Wears what was learned."""

    def describe(self, person: Identity, description: str) -> str:
        """Trigger and words: `sks person`."""
        return f"{person.trigger} {description}".strip()

    def check(self, person: Identity, base: BaseSource) -> None:
        """See `portrait.ports.Identifier`."""
        if person.lora is None and person.tokens is None:
            raise UserError(
                "not_learned", "This person was not learned yet: train them first, or choose an adapter instead."
            )
        if person.lora is not None:
            lora_slot.check_lora_file(person.lora, lora_slot.linear_shapes(empty_unet(base)))

    def prepare(self, lease: Lease, person: Identity, parameters: GenerationParameters) -> Conditioning:
        """Put the LoRA into the slot, and the learned word into the vocabulary."""
        worn = strength_of(parameters.options, "lora", STRENGTH)
        if person.tokens is not None:
            lease.load_textual_inversion(person.tokens, person.trigger)
        if person.lora is not None:
            lease.load_person_lora(person.lora, worn)
        return Conditioning(facts={"lora": {"strength": worn, "trigger": person.trigger}})


def make(settings: Settings, models: ModelStore, engines: Engines) -> Lora:
    """Nothing to load: each person brings their own."""
    return Lora()


def status(settings: Settings, models: ModelStore) -> list[str]:
    """Nothing is missing."""
    return []
