"""The LoRA trained on a person, loaded into the slot of a shared base, and the token that stands for them."""

from pipelines.diffusion.base import lora, textual_inversion
from pipelines.diffusion.base.lease import Lease
from pipelines.diffusion.base.source import BaseSource
from pipelines.diffusion.sampling.pipeline_call import Conditioning, strength_of
from pipelines.engines import Engines
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.errors import UserError
from portrait.generation.parameters import GenerationParameters
from portrait.types import Identity

STRENGTH = 0.9
"""FaceChain loads LoRAs of people at 0.80 to 0.95."""


class Lora:
    """Loads a person's LoRA and textual inversion token."""

    def describe(self, person: Identity, description: str) -> str:
        """Trigger and description: `sks person`."""
        return f"{person.trigger} {description}".strip()

    def check(self, person: Identity, base: BaseSource) -> None:
        """Raise what keeps the person from being drawn on this base; see `portrait.ports.IdentityAdapter`."""
        if person.lora is None and person.tokens is None:
            raise UserError(
                "not_learned", "This person was not learned yet: train them first, or choose an adapter instead."
            )
        if person.lora is not None:
            lora.check_person_lora(person.lora, base)
        if person.tokens is not None:
            textual_inversion.check_file(person.tokens, base)

    def prepare(self, lease: Lease, person: Identity, parameters: GenerationParameters) -> Conditioning:
        """Load the LoRA into the slot, and the token into the vocabulary."""
        strength = strength_of(parameters.options, "lora", STRENGTH)
        blocks = parameters.options.lora_weights.get("lora", ())
        if person.tokens is not None:
            lease.load_textual_inversion(person.tokens, person.trigger)
        if person.lora is not None:
            lease.load_person_lora(person.lora, strength, blocks)
        facts = {"strength": strength, "trigger": person.trigger, **({"blocks": list(blocks)} if blocks else {})}
        return Conditioning(facts={"lora": facts})


def make(settings: Settings, models: ModelStore, engines: Engines) -> Lora:
    """The adapter; each person has their own files."""
    return Lora()
