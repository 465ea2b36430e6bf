"""Prompts: placeholders filled in, emphasis and long texts encoded through compel, CLIP skip."""

import re
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from compel import Compel, ReturnedEmbeddingsType
from compel.prompt_parser import FlattenedPrompt, Fragment

from pipelines.diffusion.base.device import execution_device
from pipelines.diffusion.base.family import Family, TextEmbeddings
from portrait.errors import UserError
from portrait.generation.prompts import Part, parse_weights, strip_weights, take_loras


class PromptCache:
    """Embeddings of words by a base's own text encoders, in main memory: those that were asked for last.

    64 prompts of a base with the longest ones (512 tokens of 4,096 numbers in bfloat16) take 270 MB.
    """

    def __init__(self, most: int = 64) -> None:
        self._most = most
        self._kept: OrderedDict[Hashable, list[TextEmbeddings]] = OrderedDict()

    def get(self, words: Hashable, encode: Callable[[], Sequence[TextEmbeddings]]) -> list[TextEmbeddings]:
        """Copies of the embeddings of words, which are encoded where they are not kept."""
        if words not in self._kept:
            self._kept[words] = [each.copy_to_cpu() for each in encode()]
        self._kept.move_to_end(words)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return [each.copy_to_cpu() for each in self._kept[words]]


def fill_template(template: str, who: str, traits: str = "") -> str:
    """The words of a prompt template with `{who}` and `{traits}` filled in; an empty placeholder leaves no comma behind."""
    text, _ = take_loras(template.replace("{who}", who).replace("{traits}", traits))
    return re.sub(r"\s*,(\s*,)+", ",", re.sub(r"[ \t]+", " ", text)).strip(" ,")


def encode_prompts(
    family: Family, components: Mapping[str, Any], prompt: str, negative: str, clip_skip: int
) -> tuple[TextEmbeddings, TextEmbeddings]:
    """Encode a prompt and its negative to the same length; without weights or long texts as the stock pipeline does.

    Raises `UserError` (`bad_technique`) for CLIP skip together with weights or long prompts.
    """
    if not family.abilities.prompt_weights:
        return encode_prompt(family, components, prompt), encode_prompt(family, components, negative)
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


def encode_prompt(family: Family, components: Mapping[str, Any], prompt: str) -> TextEmbeddings:
    """Encode a prompt without weights, as the stock pipeline does."""
    with torch.no_grad():
        return family.encode(components, [prompt])


def _needs_compel(components: Mapping[str, Any], family: Family, text: str) -> bool:
    """Whether a text has weights, or more tokens than a text encoder takes."""
    tokenizer = components[family.text_encoders[0][0]]
    return strip_weights(text) != text or len(tokenizer(text).input_ids) > tokenizer.model_max_length


@dataclass(frozen=True, slots=True)
class _PlacedEncoder:
    """A text encoder with the device that it computes on: compel puts tensors where the weights are, which may be elsewhere."""

    network: Any
    device: torch.device
    dtype: torch.dtype

    def __call__(self, *given: Any, **named: Any) -> Any:
        return self.network(*given, **named)


def _encode_with_compel(
    tokenizer: Any, encoder: Any, family: Family, texts: tuple[str, str]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Both texts encoded by one encoder, the shorter one padded."""
    placed = _PlacedEncoder(encoder, execution_device(encoder), next(encoder.parameters()).dtype)
    types = ReturnedEmbeddingsType
    compel = Compel(
        tokenizer,
        placed,  # all that compel uses of a text encoder
        dtype_for_device_getter=lambda device: placed.dtype,
        truncate_long_prompts=False,
        returned_embeddings_type=types.PENULTIMATE_HIDDEN_STATES_NON_NORMALIZED
        if len(family.text_encoders) > 1
        else types.LAST_HIDDEN_STATES_NORMALIZED,
    )
    encoded: Any = [_encode_parts(compel, parse_weights(text)) for text in texts]
    positive, unconditional = compel.pad_conditioning_tensors_to_same_length(encoded)
    return positive, unconditional


def _encode_parts(compel: Compel, parts: Sequence[Part]) -> torch.Tensor:
    """Parts of a prompt encoded as they are, without compel's own syntax in them."""
    fragments = []
    for words, weight in [part for part in parts if part[0].strip()] or [("", 1.0)]:
        fragment = Fragment("", weight)
        fragment.text = words  # given to the constructor, it would lose its backslashes
        fragments.append(fragment)
    (encoded, _), _ = compel.build_conditioning_tensor_for_prompt_object(FlattenedPrompt(fragments))
    return encoded
