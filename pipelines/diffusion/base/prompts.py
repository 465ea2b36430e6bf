"""Prompts as a base understands them: blanks filled in, weights and long texts through compel, CLIP skip."""

import re
from collections.abc import Mapping
from typing import Any

import torch
from compel import Compel, ReturnedEmbeddingsType

from pipelines.diffusion.base.family import Family, TextEmbeddings
from portrait.errors import UserError

WEIGHT = re.compile(r"\(([^():]+):\s*(\d+(?:\.\d+)?)\s*\)")
"""`(red scarf:1.2)`, as the web interfaces write it."""


def fill_template(template: str, who: str, traits: str = "") -> str:
    """A scene's prompt with its blanks filled in; a blank that stays empty leaves no comma behind."""
    text = template.replace("{who}", who).replace("{traits}", traits)
    return re.sub(r"\s*,(\s*,)+", ",", re.sub(r"[ \t]+", " ", text)).strip(" ,")


def strip_weights(text: str) -> str:
    """The words without their weights."""
    return WEIGHT.sub(r"\1", text)


def encode_prompts(
    family: Family, parts: Mapping[str, Any], prompt: str, negative: str, skip: int
) -> tuple[TextEmbeddings, TextEmbeddings]:
    """What the text encoders make of both, equally long; as the stock pipeline does where there is nothing special.

    Raises `UserError` (`bad_technique`) for CLIP skip together with weights or long prompts.
    """
    with torch.no_grad():
        if not any(_needs_compel(parts, family, text) for text in (prompt, negative)):
            return family.encode(parts, [prompt], skip), family.encode(parts, [negative], skip)
        if skip:
            raise UserError("bad_technique", "CLIP skip goes with prompts without weights and of at most 75 tokens.")
        hidden = [
            _encode_with_compel(parts[one], parts[other], family, (prompt, negative))
            for one, other in family.text_encoders
        ]
        pooled = [family.encode(parts, [strip_weights(text)], 0).pooled for text in (prompt, negative)]
    said, unsaid = (torch.cat(each, dim=-1) for each in zip(*hidden, strict=True))
    return TextEmbeddings(said, pooled[0]), TextEmbeddings(unsaid, pooled[1])


def _needs_compel(parts: Mapping[str, Any], family: Family, text: str) -> bool:
    """Whether a text has weights, or more tokens than a text encoder reads at once."""
    tokenizer = parts[family.text_encoders[0][0]]
    return bool(WEIGHT.search(text)) or len(tokenizer(text).input_ids) > tokenizer.model_max_length


def _encode_with_compel(
    tokenizer: Any, encoder: Any, family: Family, texts: tuple[str, str]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Both texts by one encoder, the shorter one padded."""
    dtype = next(encoder.parameters()).dtype
    kind = ReturnedEmbeddingsType
    through = Compel(
        tokenizer,
        encoder,
        dtype_for_device_getter=lambda device: dtype,
        truncate_long_prompts=False,
        returned_embeddings_type=kind.PENULTIMATE_HIDDEN_STATES_NON_NORMALIZED
        if len(family.text_encoders) > 1
        else kind.LAST_HIDDEN_STATES_NORMALIZED,
    )
    both: Any = [through.build_conditioning_tensor(WEIGHT.sub(r"(\1)\2", text)) for text in texts]
    said, unsaid = through.pad_conditioning_tensors_to_same_length(both)
    return said, unsaid
