"""LoRAs and embeddings that styles and prompts name: found in the model store, checked for a base, planned."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipelines.diffusion.base import textual_inversion
from pipelines.diffusion.base.loras import blocks
from pipelines.diffusion.base.loras.layers import layers_of
from pipelines.diffusion.base.loras.reader import LoraError, read_lora
from pipelines.diffusion.base.source import BaseSource
from pipelines.model_store.store import ModelStore
from portrait.errors import OperatorError, UserError
from portrait.generation import prompts
from portrait.generation.edits import Edit
from portrait.generation.options import GenerationOptions, LoraChoice, PromptSpec

PERSON = "lora"
"""Name of the person's own LoRA among strengths and block weights."""


@dataclass(frozen=True, slots=True)
class PlannedLora:
    """A LoRA beside the person's, with its file."""

    choice: LoraChoice
    file: Path

    @property
    def name(self) -> str:
        """Its name in the model store."""
        return self.choice.model


@dataclass(frozen=True, slots=True)
class PlannedEmbedding:
    """An embedding (textual inversion) that a prompt names, with its file."""

    name: str
    file: Path


def with_prompt_loras(
    spec: PromptSpec, options: GenerationOptions, edit: Edit | None, models: ModelStore
) -> PromptSpec:
    """What a style says, with the LoRAs that its prompt, and traits and edit of a request name (`<lora:…>`).

    In recipes of version 0.1.0 plain parentheses and brackets are words. Raises `UserError` (`unknown_lora`, `bad_lora_tag`).
    """
    if options.method == 1:
        prompt, negative = (prompts.escape_plain(text) for text in (spec.prompt, spec.negative))
        spec = replace(spec, prompt=prompt, negative=negative)
    _, named = prompts.take_loras(f"{spec.prompt} {options.traits} {edit.extra_prompt if edit else ''}")
    _, of_negative = prompts.take_loras(spec.negative)
    if of_negative:
        raise UserError(
            "bad_lora_tag",
            f"The LoRA {of_negative[0].model} is named in the negative prompt. It acts on the whole picture: name it in the "
            "prompt.",
        )
    for choice in named:
        _require_lora(choice.model, models)
    if not named:
        return spec
    return replace(spec, loras=tuple({each.model: each for each in (*spec.loras, *named)}.values()))


def plan_loras(
    choices: Sequence[LoraChoice], weights: Mapping[str, Sequence[float]], base: BaseSource, models: ModelStore
) -> list[PlannedLora]:
    """LoRAs with their files, each fit for the base; `weights` are block weights by name, in place of those chosen.

    Raises `UserError` (`bad_lora`, `unsupported_lora`, `wrong_base`, `bad_blocks`), and what `ModelStore.weights_file` raises.
    """
    unused = sorted(weights.keys() - {choice.model for choice in choices} - {PERSON})
    if unused:
        raise UserError(
            "bad_blocks", f"Block weights were given for {unused[0]}, which neither style nor prompt names."
        )
    if not base.family.abilities.block_weights and (weights or any(choice.blocks for choice in choices)):
        raise UserError("bad_blocks", f"LoRAs have no weights by block on {base.name}: leave them out.")
    config = base.denoiser_config
    if PERSON in weights:
        blocks.weights_by_block(weights[PERSON], config)
    planned = []
    for choice in choices:
        chosen = replace(choice, blocks=tuple(weights[choice.model])) if choice.model in weights else choice
        if chosen.blocks:
            blocks.weights_by_block(chosen.blocks, config)
        planned.append(PlannedLora(chosen, models.weights_file(choice.model)))
    if planned:
        _check_loras(planned, base)
    return planned


def _require_lora(name: str, models: ModelStore) -> None:
    """Raise `UserError` (`unknown_lora`) unless the store knows a LoRA of that name."""
    known = {model.name for model in models.of_kind("lora")}
    if name not in known:
        others = ", ".join(sorted(known)) or "none"
        raise UserError(
            "unknown_lora",
            f"There is no LoRA {name!r} here (there are: {others}). An operator adds one: "
            f"`portrait models add {name} --kind lora FILE`.",
        )


def _check_loras(planned: Sequence[PlannedLora], base: BaseSource) -> None:
    """Raise what keeps LoRAs from being drawn with on a base."""
    layers = layers_of(base)
    for each in planned:
        try:
            layers.check(read_lora(each.file))
        except LoraError as fault:
            raise UserError(fault.code, f"The LoRA {each.name} cannot be used: {fault.reason}.") from fault


def plan_embeddings(texts: Sequence[str], base: BaseSource, models: ModelStore) -> list[PlannedEmbedding]:
    """The embeddings of the base's family that a prompt or its negative names, those that are here.

    Raises `UserError` (`bad_embedding`).
    """
    known = [model.name for model in models.of_kind("embedding") if model.family in ("", base.family.name)]
    named = [name for name in known if any(prompts.named_embeddings(text, [name]) for text in texts)]
    found = []
    for name in named:
        try:
            file = models.weights_file(name)
        except OperatorError as error:
            if error.code == "missing_model":
                continue  # a shipped one that nobody brought: its name is a word
            raise
        textual_inversion.load_vectors(name, file, base)
        found.append(PlannedEmbedding(name, file))
    return found
