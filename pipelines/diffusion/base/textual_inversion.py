"""Textual inversion: a new token whose embedding is learned, in every text encoder of a base."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from pipelines.diffusion.base.family import Family

FILE_NAMES = ("clip_l", "clip_g")
"""What files call the two encoders of SDXL; a file for one encoder calls its only row by the token."""


class TokenEmbedding(torch.nn.Module):
    """An embedding table that is left as it is, and one more row that learns."""

    def __init__(self, table: torch.nn.Module, number: int, row: torch.Tensor) -> None:
        super().__init__()
        self.table = table
        self.token_id = number
        self.row = torch.nn.Parameter(row.detach().float().clone())

    @property
    def weight(self) -> torch.Tensor:
        """The table itself: encoders read dtype and device from it."""
        weight = self.table.weight
        if not isinstance(weight, torch.Tensor):
            raise TypeError("an embedding table has a weight")
        return weight

    def forward(self, numbers: torch.Tensor) -> torch.Tensor:
        """Embeddings of token numbers."""
        new = numbers == self.token_id
        known = self.table(numbers.masked_fill(new, 0))
        return torch.where(new[..., None], self.row.to(known.dtype), known)


def placeholder_token(trigger: str) -> str:
    """The new token's text: `<sks>`, which no vocabulary has."""
    return trigger if trigger.startswith("<") else f"<{trigger}>"


def add_token(family: Family, parts: Mapping[str, Any], token: str, initializer: str) -> dict[str, TokenEmbedding]:
    """Add a token to tokenizers and encoders; it starts as the mean of the word it is like. By encoder."""
    added = {}
    for tokenizer_name, encoder_name in family.text_encoders:
        tokenizer, encoder = parts[tokenizer_name], parts[encoder_name]
        numbers = tokenizer(initializer, add_special_tokens=False).input_ids
        tokenizer.add_tokens([token])
        table = encoder.get_input_embeddings()
        row = table.weight[torch.tensor(numbers, device=table.weight.device)].mean(dim=0)
        added[encoder_name] = TokenEmbedding(table, tokenizer.convert_tokens_to_ids(token), row)
        encoder.set_input_embeddings(added[encoder_name])
    return added


def save_embeddings(rows: Mapping[str, torch.Tensor], token: str, file: Path) -> Path:
    """Rows by encoder, in the layout that diffusers and the web interfaces read."""
    named = {token: next(iter(rows.values()))} if len(rows) == 1 else dict(zip(FILE_NAMES, rows.values(), strict=True))
    save_file({name: row.detach().to("cpu", torch.float32).contiguous() for name, row in named.items()}, file)
    return file


def load_embeddings(file: Path, family: Family) -> dict[str, torch.Tensor]:
    """Rows by encoder."""
    held = load_file(file)
    encoders = [encoder for _, encoder in family.text_encoders]
    ordered = list(held.values()) if len(held) == 1 else [held[name] for name in FILE_NAMES]
    return dict(zip(encoders, ordered, strict=True))
