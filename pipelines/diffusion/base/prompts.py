"""Prompts: placeholders filled in, weights and long texts encoded through compel, CLIP skip."""

import re
from collections.abc import Mapping
from typing import Any

import torch
from compel import Compel, ReturnedEmbeddingsType

from pipelines.diffusion.base.family import Family, TextEmbeddings
from portrait.errors import UserError

WEIGHT = re.compile(r"\(([^():]+):\s*(\d+(?:\.\d+)?)\s*\)")
"""`(red scarf:1.2)`, the syntax of the web interfaces."""


def fill_template(template: str, who: str, traits: str = "") -> str:
    """A prompt template with `{who}` and `{traits}` filled in; an empty placeholder leaves no comma behind."""
    text = template.replace("{who}", who).replace("{traits}", traits)
    return re.sub(r"\s*,(\s*,)+", ",", re.sub(r"[ \t]+", " ", text)).strip(" ,")


def strip_weights(text: str) -> str:
    """A prompt without its weights."""
    return WEIGHT.sub(r"\1", text)


def encode_prompts(
    family: Family, components: Mapping[str, Any], prompt: str, negative: str, clip_skip: int
) -> tuple[TextEmbeddings, TextEmbeddings]:
    """Encode a prompt and its negative to the same length; without weights or long texts as the stock pipeline does.

    Raises `UserError` (`bad_technique`) for CLIP skip together with weights or long prompts.
    """
    with torch.no_grad():
        if not any(_needs_compel(components, family, text) for text in (prompt, negative)):
            return family.encode(components, [prompt], clip_skip), family.encode(components, [negative], clip_skip)
        if clip_skip:
            raise UserError("bad_technique", "CLIP skip goes with prompts without weights and of at most 75 tokens.")
        hidden = [
            _encode_with_compel(components[tokenizer], components[encoder], family, (prompt, negative))
            for tokenizer, encoder in family.text_encoders
        ]
        pooled = [family.encode(components, [strip_weights(text)], 0).pooled for text in (prompt, negative)]
    positive, unconditional = (torch.cat(each, dim=-1) for each in zip(*hidden, strict=True))
    return TextEmbeddings(positive, pooled[0]), TextEmbeddings(unconditional, pooled[1])


def _needs_compel(components: Mapping[str, Any], family: Family, text: str) -> bool:
    """Whether a text has weights, or more tokens than a text encoder takes."""
    tokenizer = components[family.text_encoders[0][0]]
    return bool(WEIGHT.search(text)) or len(tokenizer(text).input_ids) > tokenizer.model_max_length


def _encode_with_compel(
    tokenizer: Any, encoder: Any, family: Family, texts: tuple[str, str]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Both texts encoded by one encoder, the shorter one padded."""
    dtype = next(encoder.parameters()).dtype
    types = ReturnedEmbeddingsType
    compel = Compel(
        tokenizer,
        encoder,
        dtype_for_device_getter=lambda device: dtype,
        truncate_long_prompts=False,
        returned_embeddings_type=types.PENULTIMATE_HIDDEN_STATES_NON_NORMALIZED
        if len(family.text_encoders) > 1
        else types.LAST_HIDDEN_STATES_NORMALIZED,
    )
    encoded: Any = [compel.build_conditioning_tensor(WEIGHT.sub(r"(\1)\2", text)) for text in texts]
    positive, unconditional = compel.pad_conditioning_tensors_to_same_length(encoded)
    return positive, unconditional
