"""Qwen3 as a text encoder: a prompt in its chat template, and hidden states of some of its layers."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from pipelines.diffusion.base.device import execution_device

MOST_TOKENS = 512
"""Of a prompt with its template, in FLUX.2 and Z-Image."""


def tokenize(tokenizer: Any, captions: Sequence[str], thinking: bool = False) -> Mapping[str, torch.Tensor]:
    """Token ids and attention mask N×length: each caption as what a user says, before an answer.

    `thinking`: whether the answer may begin with thoughts; else the template closes them before it.
    """
    texts = [_in_template(tokenizer, caption, thinking) for caption in captions]
    padded = {"padding": "max_length", "truncation": True, "max_length": most_tokens(tokenizer)}
    return tokenizer(texts, return_tensors="pt", **padded)


def most_tokens(tokenizer: Any) -> int:
    """Tokens that a prompt may have with its template."""
    return min(int(tokenizer.model_max_length), MOST_TOKENS)


def count_unread(tokenizer: Any, prompt: str, thinking: bool = False) -> int:
    """Tokens at the end of a prompt in its template that `tokenize` cuts off."""
    return max(0, len(tokenizer(_in_template(tokenizer, prompt, thinking)).input_ids) - most_tokens(tokenizer))


def _in_template(tokenizer: Any, caption: str, thinking: bool) -> str:
    chat = [{"role": "user", "content": caption}]
    template = {"tokenize": False, "add_generation_prompt": True, "enable_thinking": thinking}
    return tokenizer.apply_chat_template(chat, **template)


def hidden_states(encoder: Any, tokens: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """N×length×3·width: the states at a quarter, half and three quarters of its layers side by side (9, 18 and 27 of 36)."""
    where = execution_device(encoder)
    output = encoder(
        input_ids=tokens["input_ids"].to(where),
        attention_mask=tokens["attention_mask"].to(where),
        output_hidden_states=True,
        use_cache=False,
        logits_to_keep=1,  # of the words that would follow
    )
    depth = len(output.hidden_states) - 1
    return torch.cat([output.hidden_states[depth * quarter // 4] for quarter in (1, 2, 3)], dim=-1)


def penultimate_state(encoder: Any, tokens: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """The state before the last layer, N×length×width, and where it counts, N×length; as long as the longest caption."""
    where = execution_device(encoder)
    longest = int(tokens["attention_mask"].sum(dim=1).max())
    ids, mask = (tokens[name][:, :longest].to(where) for name in ("input_ids", "attention_mask"))
    output = encoder(input_ids=ids, attention_mask=mask, output_hidden_states=True, use_cache=False)
    return output.hidden_states[-2], mask.bool()
