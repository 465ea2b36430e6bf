"""GenerationPlan: one request with all choices made, the model files that take part in it, and what its recipe records."""

import importlib.metadata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pipelines import model_requirements
from pipelines.diffusion.base import checksums
from pipelines.diffusion.base.loras.named_models import PlannedEmbedding, PlannedLora
from pipelines.diffusion.base.source import BaseSource
from pipelines.diffusion.sampling import controlnet, ip_adapter, pipeline_call, refiner
from pipelines.diffusion.sampling.pipeline_call import Conditioning
from pipelines.model_store.store import ModelStore
from portrait.arrays import Image, Size
from portrait.errors import OperatorError
from portrait.generation.parameters import GenerationParameters, steps_of
from portrait.generation.sampling_facts import NO_FACTS
from portrait.images.edit_canvas import EditCanvas
from portrait.images.resize import crop_to_fill
from portrait.ports import IdentityAdapter
from portrait.types import Identity

PACKAGES = ("torch", "diffusers", "transformers", "peft")
"""Those whose versions a recipe records."""


@dataclass(frozen=True, slots=True, eq=False)
class GenerationPlan:
    """One request with all choices made, and checked to be possible."""

    person: Identity
    base: BaseSource
    identities: Sequence[tuple[str, IdentityAdapter]]
    parameters: GenerationParameters
    scheduler: str
    loras: Sequence[PlannedLora]
    """LoRAs beside the person's: those of the style and the prompt, and the LoRA of few steps."""
    portrait_size: Size
    """Of the portrait; it may be generated smaller or larger."""
    canvas: EditCanvas | None = None
    """The picture that an edit starts from, laid out."""
    refiner_prompt: str = ""
    """The prompt without trained tokens and trigger words, for a refiner."""
    embeddings: Sequence[PlannedEmbedding] = ()
    """Those that the prompt or its negative names."""
    is_second_pass: bool = False
    """Whether it draws a finished drawing once more (SDEdit)."""

    @property
    def uses_sdedit(self) -> bool:
        """Whether the finished drawing is drawn once more; never in img2img."""
        return self.parameters.options.sdedit > 0 and self.parameters.task == "text"

    @property
    def redraws_by_refiner(self) -> bool:
        """Whether this is a second pass, and the refiner draws it."""
        return self.is_second_pass and self.parameters.options.sdedit_model == "refiner"

    @property
    def steps_done(self) -> int:
        """Steps that are run, those of a second pass with them."""
        parameters = self.parameters
        again = steps_of(parameters.steps, parameters.options.sdedit) if self.uses_sdedit else 0
        return parameters.steps_done + again

    @property
    def uses_refiner(self) -> bool:
        """Whether a refiner samples the last steps; never in img2img."""
        return self.parameters.options.refiner > 0 and self.parameters.task == "text"

    @property
    def uses_controlnets(self) -> bool:
        """Whether control networks take part."""
        inputs = self.parameters.options.control_inputs
        return bool(inputs) or any(name == "instantid" for name, _ in self.identities)

    def to_portrait(self, drawn: Image) -> Image:
        """The portrait at its size, from the generated image."""
        return crop_to_fill(drawn, self.portrait_size) if self.canvas is None else self.canvas.paste(drawn)


def model_files(plan: GenerationPlan, models: ModelStore, dtype: torch.dtype) -> dict[str, Path | Sequence[Path]]:
    """Files of every model that takes part, by name; see `checksums.WeightChecksums.for_recipe`."""
    files: dict[str, Path | Sequence[Path]] = {checksums.BASE: plan.base.weights_files}
    family = plan.base.family.name
    companions = plan.base.companion_files(dtype)
    files |= {f"{checksums.COMPANION_PREFIX}{name}": file for name, file in companions.items()}
    for name, _ in plan.identities:
        for model in model_requirements.IDENTITY_MODELS.get(name, {}).get(family, ()):
            files |= checksums.weight_files(model, models.folder(model))
    if plan.person.lora is not None and any(name == "lora" for name, _ in plan.identities):
        files[checksums.LORA] = plan.person.lora
    if plan.person.tokens is not None and any(name == "lora" for name, _ in plan.identities):
        files[f"learned/{plan.person.tokens.name}"] = plan.person.tokens
    files |= {f"{each.name}/{each.file.name}": each.file for each in (*plan.loras, *plan.embeddings)}
    options = plan.parameters.options
    if plan.uses_refiner or (plan.uses_sdedit and options.sdedit_model == "refiner"):
        files |= checksums.weight_files(refiner.MODEL, models.folder(refiner.MODEL))
    files |= ip_adapter.weight_files(options.look, family, models)
    return files | controlnet.weight_files(options.control_inputs, family, models)


def require_same_sampling(plan: GenerationPlan, facts: Mapping[str, Any]) -> None:
    """Raise `OperatorError` (`model_differs`) where a recipe was sampled in another way than its models' facts say by now."""
    parameters = plan.parameters
    now: dict[str, Any] = {"guidance": parameters.guidance, "scheduler": plan.scheduler or "own"}
    if parameters.facts.steps:
        now["steps"] = parameters.steps
    for name, value in now.items() if parameters.facts != NO_FACTS else ():
        if facts.get(name, value) != value:
            raise OperatorError(
                "model_differs",
                f"This portrait was drawn with {name} {facts[name]}, and by the facts of its models it would be {value} now: "
                "put back the facts they had.",
            )


def recipe_facts(plan: GenerationPlan, conditionings: Sequence[Conditioning], precision: torch.dtype) -> dict[str, Any]:
    """What the recipe records of an image, but for the hashes of model files: settings and versions."""
    facts: dict[str, Any] = {
        "base": plan.base.name,
        "prompt": plan.parameters.prompt,
        "negative": plan.parameters.negative,
        "size": [plan.parameters.size.width, plan.parameters.size.height],
        "steps": plan.parameters.steps,
        "guidance": plan.parameters.guidance,
        "scheduler": plan.scheduler or "own",
        "looks": {each.name: each.choice.strength for each in plan.loras},
        "precision": str(precision).removeprefix("torch.")
        + (", weights in float8" if plan.base.storage == "float8" else ""),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
    }
    if plan.base.vae_name:
        facts["vae"] = plan.base.vae_name
    if plan.parameters.options.few_steps:
        facts["few_steps"] = plan.parameters.options.few_steps
    details = {each.name: each.choice.details() for each in plan.loras if each.choice.details()}
    if details:
        facts["lora_details"] = details
    if plan.embeddings:
        facts["embeddings"] = [each.name for each in plan.embeddings]
    if plan.uses_refiner:
        facts["refiner"] = plan.parameters.options.refiner
    if plan.uses_sdedit:
        facts["sdedit"] = {"strength": plan.parameters.options.sdedit, "model": plan.parameters.options.sdedit_model}
    for each in conditionings:
        facts = pipeline_call.merge(facts, each.facts)
    return facts
